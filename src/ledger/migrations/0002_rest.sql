-- What REST settles: the queue of reads, and what the guard holds.

-- Events that are to be read whole over REST, and when. Whatever asks only writes here; one task
-- works it down, so that every asking survives a crash and many askings are one read.
CREATE TABLE reads (
    source   TEXT NOT NULL,
    event    BLOB NOT NULL,
    -- 0 urgent, 1 read-back of a publication, 2 catch-up, 3 full resync.
    lane     SMALLINT NOT NULL,
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
    PRIMARY KEY (source, event)
);
INSERT INTO reads (source, event, lane, due_at, asked_at, asked)
    SELECT source, event, 0, 0, 0, 1 FROM events WHERE reread;
CREATE INDEX reads_by_lane ON reads (source, lane, due_at);
CREATE INDEX reads_of_resync ON reads (source) WHERE resync;

-- An event that is to be read again has a row there now.
DROP INDEX events_reread;
ALTER TABLE events DROP COLUMN reread;

-- What the last read of the event showed, Unix seconds of MISP: catch-up passes over an event whose
-- head has not changed since. `read_at` is MISP's clock at that read.
ALTER TABLE events ADD COLUMN read_timestamp BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN read_publication BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN read_published BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE events ADD COLUMN read_at BIGINT NOT NULL DEFAULT 0;

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

-- withdraw = "revoke": an observable that returns is another object of the next generation;
-- `claimed` is then the key that its claims count for (else `object` is).
ALTER TABLE wanted ADD COLUMN generation SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE wanted ADD COLUMN claimed BLOB;
CREATE INDEX wanted_by_claimed ON wanted (view, claimed) WHERE claimed IS NOT NULL;
