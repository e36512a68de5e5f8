//! Writes the withdrawal of an indicator: the object as it was delivered, but with a validity that has ended.

use serde::Deserialize;

use super::envelope::live;
use super::time::timestamp;

/// `valid_until` must be later than `valid_from` (STIX 2.1, 4.7).
const SHORTEST_LIFE: i64 = 1_000;

/// The withdrawal of an indicator.
#[derive(Debug, Clone, Copy)]
pub struct EndedIndicator<'a> {
    /// The body that was delivered, without the members that sending adds.
    pub body: &'a str,
    /// The `valid_from` of the body, Unix milliseconds.
    pub valid_from: i64,
    /// When the validity ended, Unix milliseconds. If `valid_from` is later, it moves before this time.
    pub at: i64,
    /// The highest confidence that was delivered. A rule of Sentinel filters by confidence before it
    /// looks for the newest row, so an end with a lower one does not silence the row before it.
    pub confidence: Option<u8>,
    /// Whether the object also says `revoked`. In STIX that is permanent (STIX 2.1, 3.2 "Common Properties", revoked),
    /// so the id is used up. The validity ends all the same, since a rule of Sentinel does not look at `revoked`.
    pub revoked: bool,
}

impl EndedIndicator<'_> {
    /// Returns the object as it is sent. The same arguments give the same bytes.
    pub fn json(&self, created: i64, modified: i64) -> String {
        let latest = self.at.saturating_sub(SHORTEST_LIFE);
        let mut body = self.body.to_owned();
        if self.valid_from > latest {
            replace(&mut body, "\"valid_from\":\"", '"', &timestamp(latest));
        }
        // The body is the last version that was wanted, and an earlier one with more confidence may have been
        // sent.
        let known = confidence(self.body);
        if let Some(delivered) = self.confidence.filter(|one| known.is_some_and(|it| it < *one)) {
            replace(&mut body, "\"confidence\":", ',', &delivered.to_string());
        }
        let mut object = live(&body, self.at, created, modified);
        if self.revoked {
            object.pop();
            object.push_str(",\"revoked\":true}");
        }
        object
    }
}

/// The confidence of a body.
pub fn confidence(body: &str) -> Option<u8> {
    #[derive(Deserialize)]
    struct Confidence {
        confidence: Option<u8>,
    }
    serde_json::from_str::<Confidence>(body).ok()?.confidence
}

/// Replaces the value of a member by `value`. Within a text every quote is escaped, so a match of the member's
/// beginning is never part of a text.
fn replace(body: &mut String, member: &str, end: char, value: &str) {
    let Some(start) = body.rfind(member).map(|place| place + member.len()) else { return };
    let rest = body.get(start..).unwrap_or_default();
    let end = rest.find([end, '}']).map_or(body.len(), |length| start + length);
    body.replace_range(start..end, value);
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_795_953_600_000;

    fn body(valid_from: i64) -> String {
        let text = r#"says "confidence":99, "valid_from":"never""#;
        json!({
            "type": "indicator",
            "confidence": 25,
            "description": text,
            "pattern": "[domain-name:value = 'evil.example']",
            "valid_from": timestamp(valid_from),
        })
        .to_string()
    }

    fn ended(valid_from: i64, confidence: Option<u8>, revoked: bool) -> Value {
        let body = body(valid_from);
        let ending = EndedIndicator { body: &body, valid_from, at: NOW, confidence, revoked };
        serde_json::from_str(&ending.json(NOW - 5, NOW + 7)).unwrap()
    }

    fn time(object: &Value, member: &str) -> i64 {
        object[member].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp_millis()
    }

    #[test]
    fn the_validity_is_over_whatever_its_beginning_and_however_it_ends() {
        for (valid_from, from) in [
            (NOW - 86_400_000, NOW - 86_400_000),
            (NOW - 999, NOW - 1_000),
            (NOW, NOW - 1_000),
            (NOW + 3_600_000, NOW - 1_000),
            // The year 2062.
            (NOW + 36 * 366 * 86_400_000, NOW - 1_000),
        ] {
            for revoked in [false, true] {
                let object = ended(valid_from, None, revoked);
                assert_eq!(time(&object, "valid_until"), NOW);
                assert_eq!(time(&object, "valid_from"), from);
                assert_eq!(time(&object, "modified"), NOW + 7, "it has a clock of its own");
                assert_eq!(object["revoked"] == true, revoked);
            }
        }
    }

    #[test]
    fn all_else_is_as_it_was_delivered() {
        let mut object = ended(NOW + 1, None, false);
        for member in ["created", "modified", "valid_until"] {
            assert!(object.as_object_mut().unwrap().remove(member).is_some());
        }
        object["valid_from"] = timestamp(NOW + 1).into();
        assert_eq!(object, serde_json::from_str::<Value>(&body(NOW + 1)).unwrap());
    }

    #[test]
    fn an_end_is_never_less_confident_than_what_it_ends() {
        assert_eq!(ended(NOW + 1, Some(75), false)["confidence"], 75);
        assert_eq!(ended(NOW + 1, Some(25), false)["confidence"], 25);
        assert_eq!(ended(NOW + 1, Some(10), true)["confidence"], 25);
        assert_eq!(ended(NOW + 1, None, false)["confidence"], 25);
    }
}
