-- What MISP's decaying models said of attributes at the last read, where any apply.
CREATE TABLE decay (
    source    TEXT NOT NULL,
    attribute BLOB NOT NULL,
    -- 0 to 100, in tens.
    score     SMALLINT NOT NULL,
    decayed   BOOLEAN NOT NULL,
    PRIMARY KEY (source, attribute)
);
-- It says nothing of what claims nothing.
CREATE TRIGGER decay_ends AFTER DELETE ON claims BEGIN
    DELETE FROM decay WHERE source = OLD.source AND attribute = OLD.attribute;
END;
