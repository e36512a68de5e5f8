//! Tests every state in which a kill can leave the ledger. SQLite appends each commit to its write-ahead log, so the log
//! that is cut behind each commit in turn is what a process that was killed there leaves.

use std::path::Path;

use misp_sentinel_relay::ledger::{Finding, Ledger};
use misp_stand_in::{Frame, Misp, NewAttribute, NewEvent};
use tokio::sync::mpsc;

use super::support::database;
use super::support::ledger::Relay;

/// More than twice the claims that one transaction ends, and several chunks of a snapshot.
const LARGE: u32 = 10_100;

/// Sizes in the file format of the write-ahead log: <https://www.sqlite.org/fileformat2.html#walformat>.
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// What MISP does: each part is some frames, which are repeated from the part's beginning after a crash in it.
fn story() -> Vec<Vec<Frame>> {
    let misp = Misp::new(Ledger::now() / 1_000 - 100_000);
    let address = |number: u32| {
        let [_, high, middle, low] = number.to_be_bytes();
        NewAttribute::new("ip-dst", &format!("11.{high}.{middle}.{low}"))
    };
    let large = NewEvent { attributes: (0..LARGE).map(address).collect(), ..NewEvent::default() };
    let small = NewEvent { attributes: (0..3).map(address).collect(), ..NewEvent::default() };
    let (large_uuid, small_uuid) = (large.uuid, small.uuid);
    let attributes: Vec<_> = large.attributes.iter().map(|one| one.uuid).collect();
    let mut parts = vec![misp.add_event(large), misp.add_event(small)];
    let mut go_on = |frames: Vec<Frame>| {
        misp.advance(10);
        parts.push(frames);
    };
    go_on(misp.publish(large_uuid));
    go_on(misp.publish(small_uuid));
    go_on(misp.tag_attribute(large_uuid, attributes[1], "tlp:red", false));
    // Half of the large event is gone, and nothing but its next publication tells.
    for gone in &attributes[2..5_052] {
        drop(misp.remove_attribute(large_uuid, *gone));
    }
    go_on(misp.publish(large_uuid));
    go_on(misp.delete_attribute(small_uuid, misp.event(small_uuid).unwrap().attributes[0].uuid));
    go_on(misp.delete_event(large_uuid));
    parts.retain(|frames| !frames.is_empty());
    parts
}

/// Where the commits in a write-ahead log end.
fn commits(log: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = FRAME_HEAD + usize::try_from(number(8)).unwrap();
    let ends = (LOG_HEAD..).step_by(frame).take_while(|start| start + frame <= log.len());
    // The last frame of a commit says how large the file is after it.
    ends.filter(|start| number(start + 4) != 0).map(|start| start + frame).collect()
}

fn log_of(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("ledger.db-wal")).unwrap()
}

async fn assert_sound(relay: &Relay, when: &str) {
    let (tell, mut told) = mpsc::channel::<Finding>(100);
    relay.ledger.check(&relay.views, Ledger::now(), tell).await.unwrap();
    while let Some(finding) = told.recv().await {
        assert!(finding.holds(), "{when}: {finding:?}");
    }
}

/// The patterns that are wanted, and those that were once.
fn wanted(folder: &Path) -> (Vec<Vec<u8>>, i64) {
    let database = database::open(folder);
    let live = "SELECT object FROM wanted WHERE version <> 0 ORDER BY object";
    let mut live = database.prepare(live).unwrap();
    let live = live.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    (live, database::count(&database, "claims"))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_commit_the_ledger_is_sound_and_goes_on_to_the_same_end() {
    let story = story();
    let relay = Relay::start().await;
    let folder = relay.folder();
    let beginning = std::fs::read(folder.join("ledger.db")).unwrap();
    // How many commits there are when a part begins.
    let mut begins = Vec::new();
    for part in &story {
        begins.push(commits(&log_of(folder)).len());
        for frame in part {
            relay.hear(&frame.bytes).await;
        }
    }
    let (log, end) = (log_of(folder), wanted(folder));
    assert_eq!(std::fs::read(folder.join("ledger.db")).unwrap(), beginning, "all is in the log");
    let commits = commits(&log);
    // How many units share a commit depends on the machine, but a large publication never has one alone.
    let is_long = |part: &[usize]| part[1] - part[0] >= 3;
    assert!(begins.windows(2).any(is_long), "{begins:?}, {}", commits.len());
    assert_eq!((end.0.len(), end.1), (2, 2));
    for (number, cut) in commits.iter().enumerate().skip(begins[0]) {
        let crashed = tempfile::tempdir().unwrap();
        std::fs::write(crashed.path().join("ledger.db"), &beginning).unwrap();
        std::fs::write(crashed.path().join("ledger.db-wal"), &log[..*cut]).unwrap();
        let relay = Relay::start_in(crashed, &[]).await;
        assert_sound(&relay, &format!("after commit {number}")).await;
        // What was not committed is heard again, and with it the part's beginning.
        let part = begins.iter().rposition(|begin| *begin <= number + 1).unwrap();
        for frame in story[part..].iter().flatten() {
            relay.hear(&frame.bytes).await;
        }
        assert_eq!(wanted(relay.folder()), end, "after commit {number}, in part {part}");
        assert_sound(&relay, &format!("at the end, after commit {number}")).await;
    }
}
