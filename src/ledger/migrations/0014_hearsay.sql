-- What frames said that may be about something which the ledger does not hold yet.

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

-- Withdrawals find their claims by uuids alone: MISP's numbers of events are not for ever.
CREATE INDEX claims_by_attribute ON claims (source, attribute);
DROP INDEX claims_by_misp_object;
CREATE INDEX claims_by_misp_object ON claims (source, misp_object) WHERE misp_object IS NOT NULL;
