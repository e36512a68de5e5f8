-- withdraw = "revoke": how each object was withdrawn, and to whom the revocation went.

-- Withdrawn by `revoked`; else by its validity's end.
ALTER TABLE wanted ADD COLUMN revoke BOOLEAN NOT NULL DEFAULT FALSE;

-- 0 no, 1 in a request whose outcome is not known and for the first time, 2 accepted or may have
-- arrived: the id is used up.
ALTER TABLE delivered ADD COLUMN revoked SMALLINT NOT NULL DEFAULT 0;

-- identity = "attribute": several objects, one after the other, may have one id.
CREATE INDEX wanted_by_stix_id ON wanted (view, stix_id) WHERE stix_id <> object;

-- Withdrawn objects, for forgetting them in the end.
CREATE INDEX wanted_withdrawn ON wanted (view, object) WHERE version = 0;
