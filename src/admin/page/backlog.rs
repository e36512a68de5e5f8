//! Says in one sentence what waits for a target, for how long still, and since when.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::words::number;
use crate::admin::SendingStatus;
use crate::ledger::{Lane, TargetStatus};
use crate::pure::age::{age, ago};

pub(super) fn write(
    target: &TargetStatus,
    sending: Option<&SendingStatus>,
    now: DateTime<Utc>,
) -> Markup {
    html! {
        (told(target, sending, now))
        @if let Some(lanes) = lanes(target) { br; span.dim { (lanes) } }
    }
}

fn told(target: &TargetStatus, sending: Option<&SendingStatus>, now: DateTime<Utc>) -> String {
    let objects: i64 = target.waiting.iter().map(|lane| lane.objects).sum();
    let mut told = match objects {
        0 => return "Nothing waits".to_owned(),
        1 => "1 object waits".to_owned(),
        more => format!("{} objects wait", number(more)),
    };
    if let Some(seconds) = sending.and_then(|one| one.eta_seconds) {
        // Nothing leaves before the target works again.
        let is_degraded = sending.is_some_and(|one| one.health.degraded.is_some());
        let when = if is_degraded { " once the target works" } else { "" };
        told.push_str(&format!(", about {} by the quota{when}", age(seconds)));
    }
    let oldest = target.waiting.iter().filter_map(|lane| lane.oldest).min();
    if let Some(oldest) = oldest.and_then(DateTime::from_timestamp_millis) {
        told.push_str(&format!(", the oldest came {}", ago(oldest, now)));
    }
    told
}

/// Returns how much waits in each lane, where something does.
fn lanes(target: &TargetStatus) -> Option<String> {
    let lanes = Lane::ALL.iter().zip(&target.waiting).filter(|(_, waiting)| waiting.objects > 0);
    let told: Vec<String> = lanes
        .map(|(lane, waiting)| format!("{} {}", number(waiting.objects), lane.word()))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::WaitingObjects;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn waiting(objects: [i64; 3], oldest: Option<i64>) -> TargetStatus {
        let waiting = objects.map(|objects| WaitingObjects { objects, oldest });
        TargetStatus { waiting, ..TargetStatus::default() }
    }

    #[test]
    fn a_backlog_is_a_sentence_with_its_end_and_its_age() {
        let mut sending = SendingStatus { eta_seconds: Some(840), ..SendingStatus::default() };
        let target = waiting([0, 3, 1_197], Some(1_000));
        let now = at(181);
        assert_eq!(
            told(&target, Some(&sending), now),
            "1\u{202f}200 objects wait, about 14 min by the quota, the oldest came 3 min ago"
        );
        assert_eq!(lanes(&target).unwrap(), "3 live, 1\u{202f}197 backlog");
        sending.health.degraded = Some("403".to_owned());
        let words = told(&target, Some(&sending), now);
        assert!(words.contains("14 min by the quota once the target works"), "{words}");
        assert_eq!(told(&waiting([1, 0, 0], None), None, now), "1 object waits");
    }

    #[test]
    fn nothing_waits_without_a_figure() {
        let target = waiting([0; 3], None);
        assert_eq!(told(&target, None, at(0)), "Nothing waits");
        assert_eq!(lanes(&target), None);
    }
}
