//! Decides whether an object in Sentinel is as the ledger says that it should be. `compare` finds the
//! differences, `ours` recognises this relay's own indicators, and `report` and `cleaning` hold the results.

mod cleaning;
mod compare;
pub mod kql;
mod listed;
mod ours;
mod report;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use cleaning::{Cleaning, kind_of, rejected};
pub use compare::differences;
use compare::is_changed_there;
pub use listed::{CountedExamples, Example};
pub use ours::{Ours, is_own_relationship, observable};
pub use report::{AcceptedCount, VerifyLine, VerifyReport, text};

/// How an object stands at a target, by the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// A version of it is still to be sent, is on its way, or was refused. So there is nothing to compare yet.
    Moving,
    /// It was accepted as it is wanted: this STIX object.
    Live { json: String, accepted_at: i64 },
    /// It was accepted as it is wanted, and its validity has ended since.
    Expired,
    /// Its withdrawal was accepted, with this `modified` and this end of its validity.
    Ended { accepted_at: i64, modified: i64, ended_at: Option<i64> },
    /// It has no claim, and was never sent to this target.
    NeverSent,
}

/// What the comparison of one object finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    Same,
    /// Its validity is over in Sentinel, as it should, or the object is gone.
    Ended,
    /// See [`Stand::Moving`].
    Moving,
    /// It differs, but it was accepted so lately that Sentinel may not show it yet.
    NotYet,
    Missing,
    /// It differs in these properties.
    Different(Vec<String>),
    /// It differs in these properties, and an ingestion rule or a user changed them in Sentinel. Sending it
    /// again would undo what they want, and the rule would change it again.
    ChangedThere(Vec<String>),
    /// It is the withdrawn version, but an ingestion rule gave it another end.
    Revived,
    /// It is live in Sentinel, and has no claim.
    LeftOver,
}

/// Compares an object that the ledger knows with what Sentinel shows of it. A version that was accepted after
/// `shown` may not be visible yet. `now` and `shown` are Unix milliseconds.
pub fn judge(stand: &Stand, held: Option<&Value>, now: i64, shown: i64) -> Comparison {
    let later = |at: &i64, verdict| if *at > shown { Comparison::NotYet } else { verdict };
    match (stand, held) {
        (Stand::Moving, _) => Comparison::Moving,
        (Stand::Live { accepted_at, .. }, None) => later(accepted_at, Comparison::Missing),
        (Stand::Live { json, accepted_at }, Some(held)) => {
            // The ledger wrote this column, so it is JSON.
            let sent = serde_json::from_str(json).unwrap_or_default();
            match differences(&sent, held) {
                none if none.is_empty() => Comparison::Same,
                properties if is_changed_there(&sent, held, &properties) => {
                    later(accepted_at, Comparison::ChangedThere(properties))
                }
                properties => later(accepted_at, Comparison::Different(properties)),
            }
        }
        (Stand::Ended { accepted_at, modified, ended_at }, Some(held))
            if may_match(held, now)
                && ended_at.is_some_and(|end| end <= now)
                && time(held, "modified") == Some(*modified) =>
        {
            later(accepted_at, Comparison::Revived)
        }
        (Stand::Ended { accepted_at, .. }, Some(held)) if may_match(held, now) => {
            later(accepted_at, Comparison::LeftOver)
        }
        (Stand::NeverSent, Some(held)) if lives(held, now) => Comparison::LeftOver,
        (Stand::Expired | Stand::Ended { .. } | Stand::NeverSent, _) => Comparison::Ended,
    }
}

/// Whether an object is neither revoked nor expired. Without `valid_until` it does not expire.
pub fn lives(object: &Value, now: i64) -> bool {
    let is_revoked = object.get("revoked").and_then(Value::as_bool).unwrap_or_default();
    !is_revoked && time(object, "valid_until").is_none_or(|until| until > now)
}

/// Whether a rule of Sentinel can match an object. One of the rules does not look at `revoked`, so the validity
/// must be over as well.
fn may_match(object: &Value, now: i64) -> bool {
    lives(object, now) || time(object, "valid_until").is_some_and(|until| until > now)
}

/// Reads a time of an object as Unix milliseconds.
pub fn time(object: &Value, member: &str) -> Option<i64> {
    let text = object.get(member)?.as_str()?;
    instant(text).map(|instant| instant.timestamp_millis())
}

/// Reads a time of STIX or of Sentinel, which may leave out the zone and means UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn live(accepted_at: i64) -> Stand {
        let json = json!({"id": "indicator--1", "name": "a"}).to_string();
        Stand::Live { json, accepted_at }
    }

    fn judged(stand: &Stand, held: Option<&Value>) -> Comparison {
        judge(stand, held, NOW, NOW - 1_000)
    }

    #[test]
    fn what_was_accepted_lately_may_not_be_there_yet() {
        let other = json!({"id": "indicator--1", "name": "b"});
        assert_eq!(judged(&live(NOW - 2_000), None), Comparison::Missing);
        assert_eq!(judged(&live(NOW - 500), None), Comparison::NotYet);
        let different = Comparison::Different(vec!["name".to_owned()]);
        assert_eq!(judged(&live(NOW - 2_000), Some(&other)), different);
        assert_eq!(judged(&live(NOW - 500), Some(&other)), Comparison::NotYet);
        let ended = |accepted_at| {
            judged(&Stand::Ended { accepted_at, modified: 1, ended_at: None }, Some(&other))
        };
        assert_eq!(ended(NOW - 2_000), Comparison::LeftOver);
        assert_eq!(ended(NOW - 500), Comparison::NotYet);
    }

    #[test]
    fn what_is_over_or_revoked_is_not_left_over() {
        let over = json!({"valid_until": "2020-01-01T00:00:00.0000000"});
        let revoked = json!({"revoked": true});
        for held in [&over, &revoked] {
            assert_eq!(judged(&ENDED, Some(held)), Comparison::Ended);
            assert_eq!(judged(&Stand::NeverSent, Some(held)), Comparison::Ended);
        }
        let matched = json!({"revoked": true, "valid_until": "2100-01-01T00:00:00Z"});
        assert_eq!(judged(&ENDED, Some(&matched)), Comparison::LeftOver, "a rule ignores revoked");
        assert_eq!(judged(&Stand::NeverSent, Some(&json!({}))), Comparison::LeftOver);
        assert_eq!(judged(&Stand::Expired, None), Comparison::Ended);
        assert_eq!(judged(&ENDED, None), Comparison::Ended);
    }

    const ENDED: Stand = Stand::Ended {
        accepted_at: 0,
        modified: 1_700_000_000_120,
        ended_at: Some(1_700_000_000_000),
    };

    /// "The modified date isn't updated" by an ingestion rule.
    #[test]
    fn what_an_ingestion_rule_gives_another_end_is_told_from_what_others_brought_back() {
        let mut held = json!({
            "modified": "2023-11-14T22:13:20.1200000Z",
            "valid_until": "2100-01-01T00:00:00Z",
        });
        assert_eq!(judged(&ENDED, Some(&held)), Comparison::Revived);
        // Our own withdrawal named an end that has not come yet.
        let modified = 1_700_000_000_120;
        for ended_at in [None, Some(NOW + 1)] {
            let early = Stand::Ended { accepted_at: 0, modified, ended_at };
            assert_eq!(judged(&early, Some(&held)), Comparison::LeftOver);
        }
        held["modified"] = json!("2023-11-14T22:13:21Z");
        assert_eq!(judged(&ENDED, Some(&held)), Comparison::LeftOver);
        held["modified"] = Value::Null;
        assert_eq!(judged(&ENDED, Some(&held)), Comparison::LeftOver);
    }
}
