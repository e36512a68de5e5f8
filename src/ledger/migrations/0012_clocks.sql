-- Clocks: withdrawals end by what time it is at the target, and ours may step.

-- Of the last withdrawal: when the validity ended that it sent, Unix milliseconds. (What was sent
-- before this column ended at `modified`.)
ALTER TABLE delivered ADD COLUMN ended_at BIGINT;

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
