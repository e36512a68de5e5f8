-- What users of MISP saw of attributes, beyond their being there: false positives (kind 1) and
-- expirations (kind 2). Also of attributes that claim nothing (yet).
CREATE TABLE sightings (
    source    TEXT NOT NULL,
    attribute BLOB NOT NULL,
    sighting  BLOB NOT NULL,
    -- The observable's value that was sighted, as claims have it; '': whatever the attribute claims.
    value     TEXT NOT NULL,
    kind      SMALLINT NOT NULL,
    -- MISP's number of it: of several expirations the newest counts.
    number    BIGINT NOT NULL,
    -- `date_sighting`, of an expiration the date itself, Unix seconds.
    at        BIGINT NOT NULL,
    -- All zero: unknown.
    event     BLOB NOT NULL,
    heard_at  BIGINT NOT NULL,
    PRIMARY KEY (source, attribute, sighting, value)
);
CREATE INDEX sightings_by_event ON sightings (source, event);
CREATE INDEX sightings_by_age ON sightings (heard_at);

INSERT INTO sightings (source, attribute, sighting, value, kind, number, at, event, heard_at)
    SELECT source, attribute, attribute, value, 2, 0, expires_at / 1000, event, claimed_at
    FROM claims WHERE expires_at IS NOT NULL
    ON CONFLICT DO NOTHING;
ALTER TABLE claims DROP COLUMN expires_at;
