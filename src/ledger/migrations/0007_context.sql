-- Context objects: identities, techniques, actors, and the relationships that point to them.

-- The indicator that a relationship starts at.
ALTER TABLE wanted ADD COLUMN source BLOB;
CREATE INDEX wanted_by_source ON wanted (view, source) WHERE source IS NOT NULL;

-- Of what several events say of one thing the newest counts: Event.timestamp, Unix seconds.
ALTER TABLE wanted ADD COLUMN said_at BIGINT NOT NULL DEFAULT 0;

-- No indicator.
ALTER TABLE delivered ADD COLUMN context BOOLEAN NOT NULL DEFAULT FALSE;
