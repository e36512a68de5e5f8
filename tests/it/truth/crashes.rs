//! Crashes after each commit of the ledger, one after the other: what a crash leaves behind is sound, and the next
//! start makes Sentinel equal to MISP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;

/// A library that ends the process at a commit which the environment names.
struct Crasher {
    folder: tempfile::TempDir,
}

impl Crasher {
    fn build() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/truth/crash_at_sync.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(Self::library(folder.path()));
        assert!(compiler.arg(source).arg("-ldl").status().unwrap().success());
        Self { folder }
    }

    fn library(folder: &Path) -> PathBuf {
        folder.join("crash_at_sync.so")
    }

    /// The next start of the relay ends right after its `commit`-th commit.
    fn arm(&self, relay: &mut Relay, commit: usize) {
        // The test may itself live on another day by such a library.
        let others = std::env::var("LD_PRELOAD").unwrap_or_default();
        let library = Self::library(self.folder.path());
        relay.set("LD_PRELOAD", &format!("{} {others}", library.display()));
        relay.set("CRASH_AT_SYNC", &commit.to_string());
    }

    fn disarm(relay: &mut Relay) {
        relay.unset("LD_PRELOAD");
        relay.unset("CRASH_AT_SYNC");
    }
}

/// Each commit reaches the disk. No upload is given up on a slow machine.
const SAFE: [(&str, &str); 2] =
    [("MSR_LEDGER__FSYNC", "true"), ("MSR_DELIVERY__REQUEST_TIMEOUT", "60s")];

/// What MISP shows: an event that stays while what it says changes, and one that is new in each round.
struct Shown {
    lasting: Uuid,
    attributes: Vec<Uuid>,
    expected: BTreeSet<String>,
}

/// The value of an attribute of the lasting event.
fn lasting(number: usize) -> String {
    format!("11.0.{}.{}", number / 256, number % 256)
}

/// A MISP whose lasting event has so many attributes.
fn filled(attributes: usize) -> (Misp, Shown) {
    let values: Vec<String> = (0..attributes).map(lasting).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let (misp, lasting, attributes) = misp(&values);
    let expected = values.iter().map(|value| pattern(value)).collect();
    (misp, Shown { lasting, attributes, expected })
}

impl Shown {
    /// Of each kind of notice one: a publication, a withdrawal, an attribute that is switched off, a tag on and off the
    /// event, an event that goes.
    async fn change(&mut self, stage: &Stage, round: usize, last: &mut Option<(Uuid, String)>) {
        let value = format!("198.51.100.{round}");
        let event = NewEvent { attributes: vec![address(&value)], ..NewEvent::default() };
        let uuid = event.uuid;
        stage.misp.advance(1);
        stage.send(stage.misp.add_event(event)).await;
        stage.send(stage.misp.publish(uuid)).await;
        self.expected.insert(pattern(&value));
        if let Some((event, value)) = last.replace((uuid, value)) {
            stage.send(stage.misp.delete_event(event)).await;
            self.expected.remove(&pattern(&value));
        }
        let gone = self.attributes.pop().unwrap();
        stage.send(stage.misp.delete_attribute(self.lasting, gone)).await;
        self.expected.remove(&pattern(&lasting(self.attributes.len())));
        let tag = format!("round:{round}");
        stage.send(stage.misp.tag_event(self.lasting, &tag, false)).await;
        stage.misp.advance(1);
        stage.send(stage.misp.publish(self.lasting)).await;
    }
}

/// Whether Sentinel became equal to MISP before the relay ended.
async fn lives_to_see(stage: &mut Stage, shown: &Shown) -> bool {
    let deadline = Instant::now() + Duration::from_secs(600);
    while stage.relay.runs() {
        if stage.live() == shown.expected {
            return true;
        }
        assert!(Instant::now() < deadline, "{:?} never became {:?}", stage.live(), shown.expected);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

fn check_ledger(stage: &Stage, commit: usize) {
    let checked = stage.relay.command(&["ledger", "check"]);
    let told = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "after commit {commit}: {told}");
}

/// Crashes after the first commit from the start on, then after the second, and so on until Sentinel becomes equal to
/// MISP before the crash; returns how many crashes there were.
async fn crash_after_each_commit(attributes: usize) -> usize {
    let crasher = Crasher::build();
    let (misp, mut shown) = filled(attributes);
    let mut stage = Stage::set(misp, &SAFE).await;
    assert!(lives_to_see(&mut stage, &shown).await);
    stage.relay.stop();
    let mut last = None;
    for commit in 1.. {
        crasher.arm(&mut stage.relay, commit);
        stage.relay.spawn();
        shown.change(&stage, commit, &mut last).await;
        let is_equal = lives_to_see(&mut stage, &shown).await;
        Crasher::disarm(&mut stage.relay);
        if is_equal {
            return commit - 1;
        }
        check_ledger(&stage, commit);
        stage.relay.spawn();
        assert!(lives_to_see(&mut stage, &shown).await);
        stage.relay.stop();
        check_ledger(&stage, commit);
    }
    0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_commit_loses_nothing() {
    let crashes = crash_after_each_commit(100).await;
    assert!(crashes > 10, "{crashes}");
}

/// Snapshots of more than 5,000 claims are applied and ended in several steps, each with a commit of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: for whoever changes how the ledger is written"]
async fn a_crash_between_any_two_steps_of_a_large_event_loses_nothing() {
    let crashes = crash_after_each_commit(5_500).await;
    assert!(crashes > 20, "{crashes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_ledger_is_made_is_over_with_the_next_start() {
    let crasher = Crasher::build();
    let (misp, shown) = filled(3);
    let mut stage = Stage::set(misp, &SAFE).await;
    assert!(lives_to_see(&mut stage, &shown).await);
    for commit in 1..=6 {
        stage.relay.stop();
        for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            std::fs::remove_file(stage.relay.folder().join(file)).ok();
        }
        crasher.arm(&mut stage.relay, commit);
        stage.relay.spawn();
        let deadline = Instant::now() + Duration::from_secs(30);
        while stage.relay.runs() {
            assert!(Instant::now() < deadline, "a start has more than {commit} commits");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Crasher::disarm(&mut stage.relay);
        stage.relay.restart_alone().await;
        check_ledger(&stage, commit);
    }
}
