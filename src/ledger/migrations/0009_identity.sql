-- Identity per target: claims always have the key of their observable. In a view with
-- identity = "attribute", where one observable has many objects, `observable` is that key; NULL in all
-- others.
ALTER TABLE wanted ADD COLUMN observable BLOB;
CREATE INDEX wanted_by_observable ON wanted (view, observable) WHERE observable IS NOT NULL;

-- What ids are made of: "observable" or "attribute".
ALTER TABLE targets ADD COLUMN identity TEXT NOT NULL DEFAULT 'observable';
