//! Tests REST answers against a real writer and ledger: what was read from MISP overrides what MISP pushed.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use misp_sentinel_relay::ledger::{Candidate, Ledger, Listing};
use misp_sentinel_relay::notice::{
    Cause, EventAnswer, EventRef, Read, Receipt, TagChange, What, Withdrawal,
};
use uuid::Uuid;

use super::support::ledger::Relay;
use super::support::sentinel::Sentinel;

pub(super) const EVENT: Uuid = Uuid::from_u128(0xe_4000_8000_0000_0000_0000);

/// An attribute of MISP: number, value, timestamp.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) number: u32,
    pub(super) value: &'static str,
    pub(super) timestamp: i64,
    pub(super) to_ids: bool,
    pub(super) deleted: bool,
    pub(super) comment: &'static str,
    pub(super) tag: Option<&'static str>,
}

pub(super) fn shown(number: u32, value: &'static str, timestamp: i64) -> Shown {
    Shown { number, value, timestamp, to_ids: true, deleted: false, comment: "", tag: None }
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number) + 0x4000_8000_0000_0000_0000)
}

/// An event as MISP writes it: `Event.timestamp`, `published`, `publish_timestamp`.
pub(super) fn event(
    (timestamp, published, publication): (i64, bool, i64),
    attributes: &[Shown],
) -> Vec<u8> {
    let mut list = String::new();
    for one in attributes {
        let Shown { number, value, timestamp, to_ids, deleted, comment, tag } = one;
        let tags = tag.map_or_else(String::new, |tag| format!(r#","Tag":[{{"name":"{tag}"}}]"#));
        let uuid = uuid(*number);
        let comma = if list.is_empty() { "" } else { "," };
        write!(list, r#"{comma}{{"id":"{number}","uuid":"{uuid}","type":"ip-dst","category":"Network activity","value":"{value}","to_ids":{to_ids},"deleted":{deleted},"timestamp":"{timestamp}","distribution":"5","comment":"{comment}"{tags}}}"#).unwrap();
    }
    format!(
        r#"{{"Event":{{"id":"1","uuid":"{EVENT}","info":"i","timestamp":"{timestamp}","published":{published},"publish_timestamp":"{publication}","distribution":"3","Attribute":[{list}],"Object":[]}}}}"#
    )
    .into_bytes()
}

pub(super) struct Stage {
    pub(super) relay: Relay,
    pub(super) sentinel: Sentinel,
}

impl Stage {
    pub(super) async fn set(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("MSR_MISP__URL", "https://misp.example.org"),
            ("MSR_MISP__KEY", "0123456789012345678901234567890123456789"),
            ("MSR_MISP__REST__CONFIRM_AFTER", "1ms,2ms"),
            ("MSR_EXPIRY__DEFAULT_DAYS", "36500"),
            ("MSR_EXPIRY__DAYS__IPV4_ADDR", "36500"),
        ];
        all.extend(settings);
        Self { relay: Relay::start_with(&all).await, sentinel: Sentinel::default() }
    }

    /// Pushed by the feed, from before it is saved.
    pub(super) async fn push(&mut self, timestamp: i64, attributes: &[Shown]) -> Vec<String> {
        self.relay.publish(event((timestamp, false, 0), attributes)).await;
        self.live().await
    }

    pub(super) async fn withdraw(&mut self, withdrawal: Withdrawal) -> Vec<String> {
        self.relay.commit(What::Withdrawn(withdrawal)).await;
        self.live().await
    }

    /// What is asked for now, whenever it is due.
    pub(super) async fn asked(&self) -> Read {
        let due = self.relay.ledger.due_reads("misp", i64::MAX, 1).await.unwrap();
        let (sequence, asked, attempts, confirm) = match due.first() {
            Some(due) => (due.sequence, due.asked, due.attempts, due.confirm),
            None => {
                let candidate = Candidate { event: EVENT, weight: 0 };
                let now = Ledger::now();
                let ledger = &self.relay.ledger;
                ledger.ask_for("misp", &[candidate], Listing::CatchUp, now).await.unwrap();
                return Box::pin(self.asked()).await;
            }
        };
        Read {
            event: EVENT,
            began: SystemTime::now(),
            sequence,
            asked,
            attempts,
            confirm,
            backlog: false,
            date: Ledger::now() / 1_000,
            answer: EventAnswer::Gone,
        }
    }

    pub(super) async fn answer(&self, read: Read, answer: EventAnswer) -> Receipt {
        let what = What::Read(Read { answer, ..read });
        let receipt = self.relay.inbox.offer_and_wait(what, Instant::now()).unwrap();
        receipt.await.unwrap()
    }

    /// Reads the event; nobody confirms anything any more.
    pub(super) async fn read(
        &mut self,
        head: (i64, bool, i64),
        attributes: &[Shown],
    ) -> Vec<String> {
        let document = event(head, attributes).into();
        let read = Read { confirm: false, ..self.asked().await };
        let answer = EventAnswer::Event { document, selected: true };
        assert_eq!(self.answer(read, answer).await, Receipt::Committed);
        self.live().await
    }

    pub(super) async fn live(&mut self) -> Vec<String> {
        self.sentinel.accept_all(&self.relay).await;
        self.sentinel.live().into_keys().collect()
    }

    pub(super) async fn left(&self) -> usize {
        self.relay.ledger.due_reads("misp", i64::MAX, 10).await.unwrap().len()
    }
}

fn ids_off(number: u32, timestamp: i64) -> Withdrawal {
    let event = EventRef { uuid: Some(EVENT), id: None };
    Withdrawal::Attribute { event, attribute: uuid(number), timestamp, cause: Cause::ToIdsOff }
}

#[tokio::test]
async fn what_was_pushed_is_read_back_once_and_sent_once() {
    let mut stage = Stage::set(&[]).await;
    let attributes = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10)];
    assert_eq!(stage.push(10, &attributes).await, ["1.1.1.1", "2.2.2.2"]);
    stage.push(10, &attributes).await;
    assert_eq!(stage.left().await, 1, "two publications, one read");
    assert_eq!(stage.read((10, true, 11), &attributes).await, ["1.1.1.1", "2.2.2.2"]);
    assert_eq!((stage.left().await, stage.sentinel.writes), (0, 2));
}

#[tokio::test]
async fn a_publication_that_misp_has_not_saved_yet_is_looked_for_again() {
    let mut stage = Stage::set(&[]).await;
    stage.push(10, &[shown(1, "1.1.1.1", 10)]).await;
    let unsaved = || EventAnswer::Event {
        document: event((10, false, 0), &[shown(1, "1.1.1.1", 10)]).into(),
        selected: true,
    };
    let read = stage.asked().await;
    assert_eq!(stage.answer(read, unsaved()).await, Receipt::Again);
    assert_eq!(stage.live().await, ["1.1.1.1"]);
    let read = stage.asked().await;
    assert_eq!(read.attempts, 1);
    assert_eq!(stage.answer(read, unsaved()).await, Receipt::Committed);
    assert!(stage.live().await.is_empty(), "never saved, so never published");
}

#[tokio::test]
async fn a_read_counts_also_when_misps_clock_was_set_back() {
    let mut stage = Stage::set(&[]).await;
    assert_eq!(stage.push(5_000, &[shown(1, "1.1.1.1", 5_000)]).await, ["1.1.1.1"]);
    let now = [shown(1, "2.2.2.2", 100)];
    assert_eq!(stage.push(100, &now).await, ["1.1.1.1"], "a snapshot may be late");
    assert_eq!(stage.read((100, true, 101), &now).await, ["2.2.2.2"], "a read is not");
}

#[tokio::test]
async fn withdrawals_that_nothing_told_of_are_found() {
    let mut stage = Stage::set(&[]).await;
    let all = [1, 2, 3, 4, 5].map(|n| {
        shown(n, ["", "1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5"][n as usize], 10)
    });
    assert_eq!(stage.push(10, &all).await.len(), 5);
    let [one, two, three, four, five] = all;
    let now = [
        Shown { to_ids: false, timestamp: 20, ..one },
        Shown { deleted: true, timestamp: 20, ..two },
        Shown { value: "9.9.9.9", timestamp: 20, ..three },
        Shown { comment: "touched", timestamp: 20, ..four },
        // The fifth was deleted for good; a sixth waits for the next publication.
        shown(6, "6.6.6.6", 20),
    ];
    assert_eq!(stage.read((20, false, 11), &now).await, ["4.4.4.4"]);
    let writes = stage.sentinel.writes;
    assert_eq!(writes, 9, "the touched one is not sent again before its publication");
    assert_eq!(stage.read((20, true, 21), &now).await, ["4.4.4.4", "6.6.6.6", "9.9.9.9"]);
    let back = [now.to_vec(), vec![Shown { timestamp: 22, ..five }]].concat();
    assert_eq!(stage.read((22, true, 23), &back).await.len(), 4);
}

#[tokio::test]
async fn an_unpublished_event_gives_its_last_publication_as_far_as_misp_shows_it() {
    let shows = [
        shown(1, "1.1.1.1", 10),
        shown(2, "2.2.2.2", 12),
        Shown { to_ids: false, ..shown(3, "3.3.3.3", 10) },
    ];
    let mut stage = Stage::set(&[]).await;
    assert_eq!(stage.read((12, false, 11), &shows).await, ["1.1.1.1"]);
    let mut never = Stage::set(&[]).await;
    assert!(never.read((12, false, 0), &shows).await.is_empty());
    let mut strict = Stage::set(&[("MSR_MISP__ON_UNPUBLISH", "withdraw")]).await;
    assert_eq!(strict.read((12, true, 13), &shows).await, ["1.1.1.1", "2.2.2.2"]);
    assert!(strict.read((14, false, 13), &shows).await.is_empty());
}

#[tokio::test]
async fn an_answer_from_before_a_withdrawal_is_asked_for_again() {
    let mut stage = Stage::set(&[]).await;
    let attributes = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10)];
    stage.push(10, &attributes).await;
    let read = stage.asked().await;
    assert_eq!(stage.withdraw(ids_off(1, 20)).await, ["2.2.2.2"]);
    let document = event((10, true, 11), &attributes).into();
    let answer = EventAnswer::Event { document, selected: true };
    assert_eq!(stage.answer(read, answer).await, Receipt::Again);
    assert_eq!(stage.live().await, ["2.2.2.2"]);
    let restored = [shown(1, "1.1.1.1", 20), shown(2, "2.2.2.2", 10)];
    let live = stage.read((20, true, 20), &restored).await;
    assert_eq!(live, ["1.1.1.1", "2.2.2.2"], "of the same second, but read after it");
    assert_eq!(stage.push(20, &restored).await.len(), 2);
}

#[tokio::test]
async fn a_deleted_event_comes_back_only_by_a_read_that_began_well_after() {
    let mut stage = Stage::set(&[]).await;
    let attributes = [shown(1, "1.1.1.1", 10)];
    stage.push(10, &attributes).await;
    assert!(stage.withdraw(Withdrawal::Event { uuid: EVENT, timestamp: 10 }).await.is_empty());
    assert!(stage.push(12, &attributes).await.is_empty());
    let back = || EventAnswer::Event {
        document: event((9, true, 13), &attributes).into(),
        selected: true,
    };
    let read = stage.asked().await;
    assert_eq!(stage.answer(read, back()).await, Receipt::Again);
    let later = SystemTime::now() + Duration::from_secs(3);
    let read = Read { began: later, ..stage.asked().await };
    assert_eq!(stage.answer(read, back()).await, Receipt::Committed);
    assert_eq!(stage.live().await, ["1.1.1.1"]);
}

#[tokio::test]
async fn an_event_that_misp_does_not_know_ends_unless_something_was_heard_meanwhile() {
    let mut stage = Stage::set(&[]).await;
    stage.push(10, &[shown(1, "1.1.1.1", 10)]).await;
    let stale = Read { sequence: 0, ..stage.asked().await };
    assert_eq!(stage.answer(stale, EventAnswer::Gone).await, Receipt::Again);
    assert_eq!(stage.live().await, ["1.1.1.1"]);
    let read = stage.asked().await;
    assert_eq!(stage.answer(read, EventAnswer::Gone).await, Receipt::Committed);
    assert!(stage.live().await.is_empty());
}

#[tokio::test]
async fn more_absent_claims_than_the_guard_allows_stand_until_released() {
    let mut stage = Stage::set(&[("MSR_GUARD__MAX", "1"), ("MSR_GUARD__PERCENT", "0")]).await;
    let all = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10), shown(3, "3.3.3.3", 10)];
    stage.push(10, &all).await;
    assert_eq!(stage.read((10, true, 11), &all[..2]).await.len(), 2, "one is within the measure");
    assert_eq!(stage.read((10, true, 12), &all[..1]).await.len(), 2, "the second is not");
    assert_eq!(stage.relay.ledger.held().await.unwrap()[0].claims, 1);
    assert_eq!(stage.read((10, true, 13), &all[..2]).await.len(), 2);
    assert!(stage.relay.ledger.held().await.unwrap().is_empty(), "it is back");
    assert_eq!(stage.read((10, true, 14), &[]).await.len(), 2);
    assert_eq!(stage.relay.release().await, 2);
    assert!(stage.live().await.is_empty());
    assert!(stage.relay.ledger.held().await.unwrap().is_empty());
}

/// Four are live, so that half of them are two.
#[tokio::test]
async fn the_larger_of_max_and_percent_counts() {
    let all = [
        shown(1, "1.1.1.1", 10),
        shown(2, "2.2.2.2", 10),
        shown(3, "3.3.3.3", 10),
        shown(4, "4.4.4.4", 10),
    ];
    for (max, percent, left) in
        [("0", "50", 2), ("0", "49", 4), ("2", "0", 2), ("1", "49", 4), ("1", "50", 2)]
    {
        let mut stage =
            Stage::set(&[("MSR_GUARD__MAX", max), ("MSR_GUARD__PERCENT", percent)]).await;
        stage.push(10, &all).await;
        let live = stage.read((10, true, 11), &all[..2]).await;
        assert_eq!(live.len(), left, "max {max}, percent {percent}");
    }
}

/// The same two steps as above, of which the second is held under a window of a day.
#[tokio::test]
async fn what_the_window_has_passed_counts_no_more() {
    let one = [("MSR_GUARD__MAX", "1"), ("MSR_GUARD__PERCENT", "0")];
    let mut stage = Stage::set(&[&one[..], &[("MSR_GUARD__WINDOW", "50ms")]].concat()).await;
    let all = [shown(1, "1.1.1.1", 10), shown(2, "2.2.2.2", 10), shown(3, "3.3.3.3", 10)];
    stage.push(10, &all).await;
    assert_eq!(stage.read((10, true, 11), &all[..2]).await.len(), 2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.read((10, true, 12), &all[..1]).await.len(), 1);
}

#[tokio::test]
async fn a_tag_taken_off_permits_by_a_read_of_the_published_event_only() {
    let mut stage = Stage::set(&[]).await;
    let red = [Shown { tag: Some("tlp:red"), ..shown(1, "1.1.1.1", 10) }];
    let bare = [shown(1, "1.1.1.1", 12)];
    assert!(stage.push(10, &red).await.is_empty());
    assert!(stage.read((12, false, 11), &bare).await.is_empty());
    assert_eq!(stage.read((12, true, 13), &bare).await, ["1.1.1.1"]);
    let change = TagChange {
        event_id: 1,
        attribute_id: Some(1),
        tag: "tlp:red".into(),
        local: true,
        attached: true,
    };
    stage.relay.commit(What::Tagged(change)).await;
    assert!(stage.live().await.is_empty());
    assert_eq!(stage.left().await, 1, "a tag has no time of MISP's: only a read tells");
    assert_eq!(stage.read((12, true, 13), &bare).await, ["1.1.1.1"]);
}
