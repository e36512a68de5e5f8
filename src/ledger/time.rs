//! Turns times and durations into the milliseconds that the ledger stores, and these into the times that people
//! and programs read.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Unix milliseconds.
pub(super) fn unix(time: SystemTime) -> i64 {
    millis(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A time in a document: RFC 3339. Documents of earlier builds have Unix milliseconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTime {
    Rfc3339(DateTime<Utc>),
    Millis(i64),
}

impl WrittenTime {
    fn millis(self) -> i64 {
        match self {
            Self::Rfc3339(time) => time.timestamp_millis(),
            Self::Millis(millis) => millis,
        }
    }
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Unix milliseconds that are RFC 3339 in JSON.
pub mod rfc3339 {
    use super::{Deserialize, Deserializer, Serialize, Serializer, WrittenTime, time};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        time(*millis).serialize(serializer)
    }

    /// # Errors
    /// It is no time.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<i64, D::Error> {
        WrittenTime::deserialize(deserializer).map(WrittenTime::millis)
    }
}

/// The same where there may be no time.
pub mod rfc3339_option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, WrittenTime, time};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        millis: &Option<i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        millis.map(time).serialize(serializer)
    }

    /// # Errors
    /// It is no time.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let written = Option::<WrittenTime>::deserialize(deserializer)?;
        Ok(written.map(WrittenTime::millis))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        #[serde(with = "rfc3339")]
        since: i64,
        #[serde(with = "rfc3339_option", default)]
        until: Option<i64>,
    }

    #[test]
    fn times_are_rfc_3339_and_earlier_documents_are_read() {
        let document = Document { since: 1_795_500_000_250, until: None };
        let written = serde_json::to_value(&document).unwrap();
        assert_eq!(written, json!({"since": "2026-11-24T06:00:00.250Z", "until": null}));
        assert_eq!(serde_json::from_value::<Document>(written).unwrap(), document);
        let earlier = json!({"since": 1_795_500_000_250_i64, "until": 7});
        let read: Document = serde_json::from_value(earlier).unwrap();
        assert_eq!(read, Document { until: Some(7), ..document });
    }

    #[test]
    fn a_time_beyond_all_calendars_is_written() {
        let document = Document { since: i64::MAX, until: Some(i64::MIN) };
        assert!(serde_json::to_string(&document).is_ok());
    }
}
