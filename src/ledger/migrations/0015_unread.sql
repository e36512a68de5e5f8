-- A read that told nothing is tried ever later, and operators are told of it.

-- How often in a row the event was read in vain.
ALTER TABLE reads ADD COLUMN vain BIGINT NOT NULL DEFAULT 0;
-- Why the last read told nothing, with the remedy; empty: it did not fail.
ALTER TABLE reads ADD COLUMN why TEXT NOT NULL DEFAULT '';
CREATE INDEX reads_in_vain ON reads (source) WHERE vain > 0;
