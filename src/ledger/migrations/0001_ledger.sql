-- The memory on disk. Ids are 16-byte UUIDs, times are Unix milliseconds unless a column says
-- otherwise, JSON columns are read by the program only.

-- What must not change unnoticed between two runs: namespace, view fingerprint.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The number of the last change: one change is what one notice altered in one lane.
CREATE TABLE counters (
    name  TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('change', 0);

CREATE TABLE events (
    source     TEXT NOT NULL,
    event      BLOB NOT NULL,
    misp_id    BIGINT NOT NULL,
    -- Event.timestamp of the applied snapshot, Unix seconds.
    timestamp  BIGINT NOT NULL,
    -- Fingerprint of the applied snapshot; NULL while it is being applied or was altered since.
    content    BIGINT,
    -- Counts applied notices.
    sequence   BIGINT NOT NULL,
    -- Counts begun snapshots: an older one in progress gives way.
    generation BIGINT NOT NULL,
    deleted_at BIGINT,
    -- Work of a notice that needs several transactions: 0 none, 1 merge its objects anew, 2 end its
    -- claims. Taken up again after a crash.
    unfinished SMALLINT NOT NULL DEFAULT 0,
    -- A notice could not be judged: only a REST read of the event tells.
    reread     BOOLEAN NOT NULL DEFAULT FALSE,
    facts      TEXT NOT NULL,
    skipped    TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (source, event)
);
CREATE INDEX events_by_misp_id ON events (source, misp_id);
CREATE INDEX events_deleted ON events (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX events_unfinished ON events (source) WHERE unfinished <> 0;
CREATE INDEX events_reread ON events (source) WHERE reread;

CREATE TABLE claims (
    source       TEXT NOT NULL,
    event        BLOB NOT NULL,
    attribute    BLOB NOT NULL,
    part         SMALLINT NOT NULL,
    -- Key of the object that it counts for.
    object       BLOB NOT NULL,
    attribute_id BIGINT NOT NULL,
    misp_object  BLOB,
    path         TEXT NOT NULL,
    value        TEXT NOT NULL,
    -- Attribute.timestamp, Unix seconds.
    timestamp    BIGINT NOT NULL,
    claimed_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    digest       BIGINT NOT NULL,
    facts        TEXT NOT NULL,
    PRIMARY KEY (source, event, attribute, part)
);
CREATE INDEX claims_by_object ON claims (object);
-- Tag frames name the attribute by its number, object frames by the MISP object.
CREATE INDEX claims_by_attribute_id ON claims (source, event, attribute_id);
CREATE INDEX claims_by_misp_object ON claims (source, event, misp_object)
    WHERE misp_object IS NOT NULL;

-- What each view wants to exist: the merged claims.
CREATE TABLE wanted (
    view        TEXT NOT NULL,
    object      BLOB NOT NULL,
    kind        TEXT NOT NULL,
    stix_id     BLOB NOT NULL,
    body        TEXT NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    -- Fingerprint; 0: withdrawn.
    version     BIGINT NOT NULL,
    -- The last change that altered it.
    change      BIGINT NOT NULL,
    PRIMARY KEY (view, object)
);
-- With what tells whether an object is pending, so that others are passed over without their rows.
CREATE INDEX wanted_by_change ON wanted (change, object, version, valid_until);

-- Changes that a target has not fully taken yet. Change 0 stands for all that the view wants.
CREATE TABLE queue (
    target    TEXT NOT NULL,
    change    BIGINT NOT NULL,
    -- 0 withdrawals, 1 live, 2 backlog.
    lane      SMALLINT NOT NULL,
    event     BLOB,
    opened_at BIGINT NOT NULL,
    summary   TEXT NOT NULL,
    PRIMARY KEY (target, change)
);
CREATE INDEX queue_by_lane ON queue (target, lane, change);
CREATE INDEX queue_by_change ON queue (change);

-- What each target was sent, from the first attempt on.
CREATE TABLE delivered (
    target     TEXT NOT NULL,
    object     BLOB NOT NULL,
    created    BIGINT NOT NULL,
    modified   BIGINT NOT NULL,
    -- The version in a request whose outcome is not known.
    sending    BIGINT,
    -- The version that Sentinel holds, and until when it is valid there.
    accepted   BIGINT,
    valid_until BIGINT,
    accepted_at BIGINT,
    -- The version that Sentinel refused, in its words.
    rejected   BIGINT,
    -- The change that it was part of: a later change to the same version is tried again.
    rejected_in BIGINT,
    words      TEXT,
    -- An older version whose request may still arrive; after it, the final one is sent once more.
    doubt      BIGINT,
    resend_at  BIGINT,
    PRIMARY KEY (target, object)
);
CREATE INDEX delivered_resend ON delivered (target, resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX delivered_rejected ON delivered (target) WHERE rejected IS NOT NULL;

CREATE TABLE targets (
    target       TEXT NOT NULL PRIMARY KEY,
    view         TEXT NOT NULL,
    mode         TEXT NOT NULL,
    workspace    TEXT NOT NULL,
    sourcesystem TEXT NOT NULL
);

-- Withdrawn attributes (object all zero: whatever they claim; else that one observable only).
CREATE TABLE tombstones (
    source       TEXT NOT NULL,
    attribute    BLOB NOT NULL,
    object       BLOB NOT NULL,
    -- MISP's time of the withdrawal, Unix seconds.
    timestamp    BIGINT NOT NULL,
    -- to_ids was switched off: a snapshot of that very second without to_ids says the same.
    ids_only     BOOLEAN NOT NULL,
    withdrawn_at BIGINT NOT NULL,
    PRIMARY KEY (source, attribute, object)
);
CREATE INDEX tombstones_by_age ON tombstones (withdrawn_at);

-- Publications that a webhook announced and nothing confirmed yet.
CREATE TABLE announced (
    source      TEXT NOT NULL,
    event       BLOB NOT NULL,
    received_at BIGINT NOT NULL,
    body        BLOB NOT NULL,
    PRIMARY KEY (source, event)
);

-- Times in which something may have been missed; REST heals them.
CREATE TABLE gaps (
    source  TEXT NOT NULL,
    intake  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    -- The event that the dropped notice was about; all zero: unknown.
    event   BLOB NOT NULL,
    -- The feed's publication of this event was dropped.
    publication BOOLEAN NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    times   BIGINT NOT NULL,
    PRIMARY KEY (source, intake, reason, event)
);

-- Where catch-up by REST has come to.
CREATE TABLE cursors (
    source TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  BIGINT NOT NULL,
    PRIMARY KEY (source, name)
);
