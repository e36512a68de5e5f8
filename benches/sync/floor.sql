-- The tables that a first sync fills, as the ledger had them when the floor was measured first, without the
-- columns and indices that such a sync leaves empty. They stay as they are, so that figures of different years
-- can be compared.
CREATE TABLE events (
    source     TEXT NOT NULL,
    event      BLOB NOT NULL,
    misp_id    BIGINT NOT NULL,
    timestamp  BIGINT NOT NULL,
    facts      TEXT NOT NULL,
    PRIMARY KEY (source, event)
);

CREATE TABLE claims (
    source       TEXT NOT NULL,
    event        BLOB NOT NULL,
    attribute    BLOB NOT NULL,
    part         SMALLINT NOT NULL,
    object       BLOB NOT NULL,
    attribute_id BIGINT NOT NULL,
    misp_object  BLOB,
    path         TEXT NOT NULL,
    value        TEXT NOT NULL,
    timestamp    BIGINT NOT NULL,
    claimed_at   BIGINT NOT NULL,
    digest       BIGINT NOT NULL,
    facts        TEXT NOT NULL,
    heard_at     BIGINT NOT NULL,
    PRIMARY KEY (source, event, attribute, part)
);
CREATE INDEX claims_by_object ON claims (object);
CREATE INDEX claims_by_attribute_id ON claims (source, event, attribute_id);
CREATE INDEX claims_by_value ON claims (lower(value));
CREATE INDEX claims_by_attribute ON claims (source, attribute);

CREATE TABLE wanted (
    view        TEXT NOT NULL,
    object      BLOB NOT NULL,
    kind        TEXT NOT NULL,
    stix_id     BLOB NOT NULL,
    body        TEXT NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    change      BIGINT NOT NULL,
    PRIMARY KEY (view, object)
);
CREATE INDEX wanted_by_change ON wanted (change, object, version, valid_until);

CREATE TABLE delivered (
    target      TEXT NOT NULL,
    object      BLOB NOT NULL,
    created     BIGINT NOT NULL,
    modified    BIGINT NOT NULL,
    sending     BIGINT,
    accepted    BIGINT,
    valid_until BIGINT,
    accepted_at BIGINT,
    confidence  SMALLINT,
    PRIMARY KEY (target, object)
);
