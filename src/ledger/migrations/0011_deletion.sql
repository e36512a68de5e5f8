-- withdraw = "delete": a withdrawn indicator is deleted later, over the management plane.

-- When that is due, Unix milliseconds; -1: a deletion is on its way, or its outcome is not known.
ALTER TABLE delivered ADD COLUMN deletion BIGINT NOT NULL DEFAULT 0;
-- How often it was tried.
ALTER TABLE delivered ADD COLUMN deletions SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX delivered_deletion ON delivered (target, deletion) WHERE accepted = 0 AND NOT context;
