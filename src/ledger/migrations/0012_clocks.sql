-- Clocks: withdrawals end by what time it is at the target, and ours may step.

-- Of the last withdrawal: when the validity ended that it sent, Unix milliseconds; NULL: an earlier
-- release sent it.
ALTER TABLE delivered ADD COLUMN ended_at BIGINT;

-- Earlier releases ended a withdrawal at its `modified`, or one second after `valid_from` if that was
-- later. Where this is still to come, Sentinel holds the indicator as valid. What it holds then counts as
-- a version that nobody rendered (1) and that ends at that time, so the withdrawal is sent again, with an
-- end that is over. What was deleted there for good stays deleted.
UPDATE delivered SET accepted = 1, valid_until = (
    SELECT CASE WHEN w.valid_from + 1000 > delivered.modified THEN w.valid_from + 1000
           ELSE delivered.modified END
    FROM targets t JOIN wanted w ON w.view = t.view
    WHERE t.target = delivered.target AND w.object = delivered.object)
WHERE accepted = 0 AND NOT context AND deletion < 9223372036854775807 AND EXISTS (
    SELECT 1 FROM targets t JOIN wanted w ON w.view = t.view
    WHERE t.target = delivered.target AND w.object = delivered.object AND w.version = 0
        AND (w.valid_from + 1000 > 1000 * CAST(strftime('%s', 'now') AS INTEGER)
             OR delivered.modified > 1000 * CAST(strftime('%s', 'now') AS INTEGER)));
INSERT INTO queue (target, change, lane, opened_at, summary)
    SELECT DISTINCT d.target, 0, 2, 1000 * CAST(strftime('%s', 'now') AS INTEGER), '{}'
    FROM delivered d JOIN targets t ON t.target = d.target
    WHERE d.accepted = 1 AND NOT d.context AND t.mode <> 'absent'
    ON CONFLICT (target, change) DO UPDATE SET opened_at = queue.opened_at + 1;

-- The highest confidence that was sent since the last withdrawal.
ALTER TABLE delivered ADD COLUMN confidence SMALLINT;

-- When the claim was first heard with its present timestamp, Unix milliseconds: what it says of a later
-- time counts as this. What is known already was heard by now.
ALTER TABLE claims ADD COLUMN heard_at BIGINT NOT NULL DEFAULT 0;
UPDATE claims SET heard_at = 1000 * CAST(strftime('%s', 'now') AS INTEGER);
CREATE INDEX claims_of_the_future ON claims (object) WHERE heard_at / 1000 < timestamp;

-- The latest time that the ledger saw, and when it last saw the clock jump ahead, Unix milliseconds.
INSERT INTO counters (name, value)
    SELECT 'clock', COALESCE(MAX(accepted_at), 0) FROM delivered;
INSERT INTO counters (name, value) VALUES ('clock jumped', 0);
