-- Values that an operator withholds, whatever claims them.
CREATE TABLE suppressed (
    -- As the operator wrote it.
    value  TEXT NOT NULL PRIMARY KEY,
    since  BIGINT NOT NULL,
    -- NULL: until `unsuppress`.
    until  BIGINT,
    reason TEXT NOT NULL
);

-- How claims spell them, in lower case.
CREATE TABLE suppressed_spellings (
    spelling TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (spelling, value)
);

CREATE INDEX claims_by_value ON claims (lower(value));
