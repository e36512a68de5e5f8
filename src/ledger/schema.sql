-- The ledger's schema, version 1. Ids are 16-byte UUIDs, times are Unix milliseconds unless a column
-- says otherwise, JSON columns are read by the program only.

-- What is remembered under a name, such as the namespace, and how each view judged all claims.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The numbers of the last change and of the last event, how often the ledger was opened, and the times that it notes of
-- the clock. One change is what one notice altered in one view and lane.
CREATE TABLE counters (
    name  TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE events (
    -- The relay's own number of the event, which its claims carry: a few bytes in place of source and uuid.
    number     INTEGER NOT NULL PRIMARY KEY,
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
    -- JSON: what MISP said of the event; '{}' of one that was deleted before the ledger knew it.
    facts      TEXT NOT NULL,
    -- JSON: what was left out, by reason.
    skipped    TEXT NOT NULL DEFAULT '{}',
    -- What the last read of the event showed, Unix seconds of MISP: catch-up passes over an event whose
    -- head has not changed since. `read_at` is MISP's clock at that read.
    read_timestamp BIGINT NOT NULL DEFAULT 0,
    read_publication BIGINT NOT NULL DEFAULT 0,
    read_published BOOLEAN NOT NULL DEFAULT FALSE,
    read_at BIGINT NOT NULL DEFAULT 0,
    UNIQUE (source, event)
);
CREATE INDEX events_by_misp_id ON events (source, misp_id);
CREATE INDEX events_deleted ON events (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX events_unfinished ON events (source) WHERE unfinished <> 0;

CREATE TABLE claims (
    -- events.number.
    event_number BIGINT NOT NULL,
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
    digest       BIGINT NOT NULL,
    -- JSON, packed.
    facts        BLOB NOT NULL,
    -- When the claim was first heard with its present timestamp, Unix milliseconds: what it says of a later
    -- time counts as this. What is known already was heard by now.
    heard_at BIGINT NOT NULL DEFAULT 0,
    -- Withdrawals find their claims by the attribute alone: MISP's numbers of events are not for ever.
    PRIMARY KEY (attribute, event_number, part)
);
CREATE INDEX claims_by_object ON claims (object);
-- The claims of an event. Tag frames name the attribute by its number. Walks sort the claims of one number by
-- themselves: MISP gives each attribute a number of its own.
CREATE INDEX claims_by_event ON claims (event_number, attribute_id);
CREATE INDEX claims_by_value ON claims (lower(value));
CREATE INDEX claims_of_the_future ON claims (object) WHERE timestamp > heard_at / 1000;
-- Object frames name the MISP object.
CREATE INDEX claims_by_misp_object ON claims (misp_object) WHERE misp_object IS NOT NULL;

-- What each view wants to exist: the merged claims.
CREATE TABLE wanted (
    view        TEXT NOT NULL,
    object      BLOB NOT NULL,
    -- withdraw = "revoke": an observable that comes back is another object of the next generation, with
    -- the same key. That of the first generation is its own key.
    key         BLOB NOT NULL,
    -- The key of the claims that count for an indicator. With identity = "attribute" one observable has
    -- many objects; else, and of other kinds, it is the key of the row.
    observable  BLOB NOT NULL,
    kind        TEXT NOT NULL,
    stix_id     BLOB NOT NULL,
    -- Packed.
    body        BLOB NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    -- Fingerprint; 0: withdrawn.
    version     BIGINT NOT NULL,
    -- The last change that altered it.
    change      BIGINT NOT NULL,
    generation SMALLINT NOT NULL DEFAULT 0,
    -- Withdrawn by `revoked`; else by its validity's end.
    revoke BOOLEAN NOT NULL DEFAULT FALSE,
    -- The indicator that a relationship starts at.
    source BLOB,
    -- Of what several events say of one thing the newest counts: Event.timestamp, Unix seconds.
    said_at BIGINT NOT NULL DEFAULT 0,
    -- The strictest level of TLP that was seen on the claims of a withdrawn indicator, 0 (clear) to 4 (red). The
    -- claims may be gone by now.
    tlp SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (view, object)
);
-- With what tells whether an object is pending, so that others are passed over without their rows.
CREATE INDEX wanted_by_change ON wanted (change, object, version, valid_until);
CREATE INDEX wanted_by_observable ON wanted (view, observable) WHERE observable <> key;
CREATE INDEX wanted_successors ON wanted (view, key) WHERE key <> object;
-- identity = "attribute": several objects, one after the other, may have one id.
CREATE INDEX wanted_by_stix_id ON wanted (view, stix_id) WHERE stix_id <> object;
-- Withdrawn objects, for forgetting them in the end.
CREATE INDEX wanted_withdrawn ON wanted (view, object) WHERE version = 0;
-- For counts: the guard asks for them while withdrawals wait.
CREATE INDEX wanted_indicators ON wanted (view) WHERE kind = 'indicator';
CREATE INDEX wanted_context ON wanted (view) WHERE kind <> 'indicator';
CREATE INDEX wanted_by_source ON wanted (view, source) WHERE source IS NOT NULL;

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
    -- 0 no, 1 in a request whose outcome is not known and for the first time, 2 accepted or may have
    -- arrived: the id is used up.
    revoked SMALLINT NOT NULL DEFAULT 0,
    -- No indicator.
    context BOOLEAN NOT NULL DEFAULT FALSE,
    -- withdraw = "delete": when the next deletion is due, Unix milliseconds; -1: one is on its way, or its
    -- outcome is not known; the greatest number: never.
    deletion BIGINT NOT NULL DEFAULT 0,
    -- How often it was tried.
    deletions SMALLINT NOT NULL DEFAULT 0,
    -- The end that the last withdrawal of an indicator was sent with, Unix milliseconds; NULL: there was
    -- none, or the next one has a new end.
    ended_at BIGINT,
    -- The highest confidence that was sent since the last withdrawal.
    confidence SMALLINT,
    PRIMARY KEY (target, object)
);
CREATE INDEX delivered_resend ON delivered (target, resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX delivered_rejected ON delivered (target) WHERE rejected IS NOT NULL;
-- For counts of the others, which are a million.
CREATE INDEX delivered_context ON delivered (target) WHERE context;
CREATE INDEX delivered_unaccepted ON delivered (target) WHERE accepted IS NULL AND NOT context;
-- For what was withdrawn since a moment.
CREATE INDEX delivered_withdrawn ON delivered (accepted_at, object) WHERE accepted = 0 AND NOT context;
CREATE INDEX delivered_deletion ON delivered (target, deletion) WHERE accepted = 0 AND NOT context;

CREATE TABLE targets (
    target       TEXT NOT NULL PRIMARY KEY,
    view         TEXT NOT NULL,
    mode         TEXT NOT NULL,
    workspace    TEXT NOT NULL,
    sourcesystem TEXT NOT NULL,
    -- What ids are made of: "observable" or "attribute".
    identity TEXT NOT NULL DEFAULT 'observable'
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
-- What another source withdrew outdates a claim.
CREATE INDEX tombstones_by_attribute ON tombstones (attribute);
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

-- Events that are to be read whole over REST, and when. Whatever asks only writes here; one task
-- works it down, so that every asking survives a crash and many askings are one read.
CREATE TABLE reads (
    source   TEXT NOT NULL,
    event    BLOB NOT NULL,
    -- 0 urgent, 1 read-back of a publication, 2 catch-up, 3 full resync.
    urgency  SMALLINT NOT NULL,
    due_at   BIGINT NOT NULL,
    -- A read that begins before this tells nothing: MISP saves a publication after telling of it.
    not_before BIGINT NOT NULL DEFAULT 0,
    -- When it was first asked for: publications move not_before on, but not for ever.
    asked_at BIGINT NOT NULL,
    -- Counts the askings: a read that began before the last one settles nothing.
    asked    BIGINT NOT NULL,
    -- Reads that did not settle it.
    attempts BIGINT NOT NULL DEFAULT 0,
    -- A publication that counts only if a read shows it: tried again as often as configured.
    confirm  BOOLEAN NOT NULL DEFAULT FALSE,
    -- A full resync waits for it.
    resync   BOOLEAN NOT NULL DEFAULT FALSE,
    -- Attributes, as far as known.
    weight   BIGINT NOT NULL DEFAULT 0,
    -- How often in a row the event was read in vain.
    vain BIGINT NOT NULL DEFAULT 0,
    -- Why the last read told nothing, with the remedy; empty: it did not fail.
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (source, event)
);
CREATE INDEX reads_by_urgency ON reads (source, urgency, due_at);
CREATE INDEX reads_of_resync ON reads (source) WHERE resync;
CREATE INDEX reads_in_vain ON reads (source) WHERE vain > 0;

-- Claims that MISP shows no longer, without saying that it deleted them: beyond the guard's measure
-- they stand until an operator releases them.
CREATE TABLE held (
    source    TEXT NOT NULL,
    event     BLOB NOT NULL,
    attribute BLOB NOT NULL,
    part      SMALLINT NOT NULL,
    since     BIGINT NOT NULL,
    PRIMARY KEY (source, event, attribute, part)
);

-- Indicators withdrawn because of an absence, for the guard's measure.
CREATE TABLE inferred (
    source  TEXT NOT NULL,
    view    TEXT NOT NULL,
    at      BIGINT NOT NULL,
    objects BIGINT NOT NULL
);

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
-- They count for the attribute, whichever source shows them.
CREATE INDEX sightings_by_attribute ON sightings (attribute);
CREATE INDEX sightings_by_event ON sightings (source, event);
CREATE INDEX sightings_by_age ON sightings (heard_at);

-- What MISP's decaying models said of attributes at the last read, where any apply.
CREATE TABLE decay (
    source    TEXT NOT NULL,
    attribute BLOB NOT NULL,
    -- 0 to 100, in tens.
    score     SMALLINT NOT NULL,
    decayed   BOOLEAN NOT NULL,
    PRIMARY KEY (source, attribute)
);

-- Tags put on and taken off, the last word of each. Frames name event and attribute by MISP's numbers;
-- attribute 0 stands for the event itself. A publication that was taken before the frame was sent says
-- the opposite, however late it arrives.
CREATE TABLE tag_changes (
    source    TEXT NOT NULL,
    event     BIGINT NOT NULL,
    attribute BIGINT NOT NULL,
    tag       TEXT NOT NULL,
    local     BOOLEAN NOT NULL,
    attached  BOOLEAN NOT NULL,
    -- Unix milliseconds.
    heard_at  BIGINT NOT NULL,
    PRIMARY KEY (source, event, attribute, tag)
);
CREATE INDEX tag_changes_by_age ON tag_changes (heard_at);

-- MISP's numbers of the tags that an event or its attributes carry: who renames or deletes a tag names
-- no event.
CREATE TABLE event_tags (
    source TEXT NOT NULL,
    event  BLOB NOT NULL,
    tag    BIGINT NOT NULL,
    PRIMARY KEY (source, event, tag)
);
CREATE INDEX event_tags_by_tag ON event_tags (source, tag);

-- What alerts of a target told of our indicators.
CREATE TABLE hits (
    -- The relay's own number of the hit, which grows: what makes sightings of hits has come so far.
    number     INTEGER NOT NULL PRIMARY KEY,
    target     TEXT NOT NULL,
    -- `SystemAlertId`.
    alert      TEXT NOT NULL,
    -- The indicator: an object of `wanted`, and the key of its claims.
    object     BLOB NOT NULL,
    observable BLOB NOT NULL,
    -- The name of the rule, which people choose.
    rule       TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    heard_at   BIGINT NOT NULL,
    UNIQUE (target, alert, object)
);
CREATE INDEX hits_by_observable ON hits (observable);
CREATE INDEX hits_by_age ON hits (heard_at);

-- Until when the alerts of a target were read.
CREATE TABLE alert_cursors (
    target TEXT NOT NULL PRIMARY KEY,
    value  BIGINT NOT NULL
);

-- The sightings that hits are told by to MISP. One is due until MISP took it (`sighting`) or it is refused for good
-- (`refused`).
CREATE TABLE own_sightings (
    source       TEXT NOT NULL,
    attribute    BLOB NOT NULL,
    target       TEXT NOT NULL,
    -- Of UTC, since 1970.
    day          BIGINT NOT NULL,
    attribute_id BIGINT NOT NULL,
    -- What the sighting says: its time, Unix seconds, and the source that MISP was last asked with.
    seen_at      BIGINT NOT NULL,
    said_by      TEXT NOT NULL,
    -- When it is tried next, and how often it was.
    due_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    -- MISP was asked, and its answer is not known.
    in_doubt     BOOLEAN NOT NULL DEFAULT FALSE,
    -- MISP's uuid of it.
    sighting     BLOB,
    -- Why it is refused for good.
    refused      TEXT,
    PRIMARY KEY (source, attribute, target, day)
);
CREATE INDEX own_sightings_due ON own_sightings (source, due_at) WHERE sighting IS NULL AND refused IS NULL;
CREATE INDEX own_sightings_by_age ON own_sightings (day);

INSERT INTO counters (name, value) VALUES ('change', 0), ('event', 0), ('opened', 0), ('clock', 0), ('clock jumped', 0);
