//! Crashes after each commit of the ledger, one after the other: what a crash leaves behind is sound, and the next
//! start makes Sentinel equal to MISP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use misp_stand_in::Edit;
use uuid::Uuid;

use super::*;

/// Each commit reaches the disk. No upload is given up on a slow machine.
const SAFE: [(&str, &str); 2] =
    [("MSR_LEDGER__FSYNC", "true"), ("MSR_DELIVERY__REQUEST_TIMEOUT", "60s")];

/// After Sentinel is equal to MISP the relay still commits what it settles.
const SETTLED: Duration = Duration::from_millis(200);

/// A library that ends the process at a commit which the environment names.
struct Crasher {
    folder: tempfile::TempDir,
}

impl Crasher {
    fn build() -> Self {
        let crasher = Self { folder: tempfile::TempDir::new().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/truth/crash_at_sync.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(crasher.library());
        assert!(compiler.arg(source).arg("-ldl").status().unwrap().success());
        crasher
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("crash_at_sync.so")
    }

    /// Counting begins when it is there.
    fn signal(&self) -> PathBuf {
        self.folder.path().join("count")
    }

    /// The next start of the relay ends right after its `commit`-th commit from [`Crasher::count`] on.
    fn arm(&self, relay: &mut Relay, commit: usize) {
        std::fs::remove_file(self.signal()).ok();
        // The test may itself live on another day by such a library.
        let others = std::env::var("LD_PRELOAD").unwrap_or_default();
        relay.set("LD_PRELOAD", &format!("{} {others}", self.library().display()));
        relay.set("CRASH_AT_SYNC", &commit.to_string());
        relay.set("CRASH_WHEN", &self.signal().display().to_string());
    }

    fn count(&self) {
        std::fs::write(self.signal(), "").unwrap();
    }

    fn disarm(relay: &mut Relay) {
        relay.unset("LD_PRELOAD");
        relay.unset("CRASH_");
    }
}

/// What MISP shows: an event that stays while what it says changes, and one that is new in each round.
struct Shown {
    lasting: Uuid,
    attributes: Vec<Uuid>,
    passing: Option<Uuid>,
    rounds: usize,
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
    (misp, Shown { lasting, attributes, passing: None, rounds: 0, expected })
}

impl Shown {
    /// A new event.
    fn publish(&mut self, misp: &Misp) -> (Uuid, Vec<Frame>) {
        self.rounds += 1;
        misp.advance(1);
        let value = format!("198.51.{}.{}", self.rounds / 256, self.rounds % 256);
        let event = NewEvent { attributes: vec![address(&value)], ..NewEvent::default() };
        let uuid = event.uuid;
        let mut frames = misp.add_event(event);
        frames.extend(misp.publish(uuid));
        self.expected.insert(pattern(&value));
        (uuid, frames)
    }

    /// Of each kind of notice one: two publications, an event that goes, an attribute that is deleted, one whose
    /// `to_ids` is switched off, a tag that is put on an event and one that is taken off.
    fn change(&mut self, misp: &Misp) -> Vec<Frame> {
        let (event, mut frames) = self.publish(misp);
        if let Some(event) = self.passing.replace(event) {
            let gone = misp.event(event).expect("it was added");
            frames.extend(misp.delete_event(event));
            self.expected.remove(&pattern(&gone.attributes[0].value));
        }
        let (deleted, switched_off) = (self.take_last(), self.take_last());
        frames.extend(misp.delete_attribute(self.lasting, deleted));
        frames.extend(misp.edit_attribute(self.lasting, switched_off, Edit::ToIds(false)));
        let tag = |round: usize| format!("round:{round}");
        frames.extend(misp.tag_event(self.lasting, &tag(self.rounds), false));
        frames.extend(misp.untag_event(self.lasting, &tag(self.rounds - 1)));
        misp.advance(1);
        frames.extend(misp.publish(self.lasting));
        frames
    }

    /// The last attribute of the lasting event, which is no longer expected.
    fn take_last(&mut self) -> Uuid {
        let last = self.attributes.pop().expect("fewer rounds, or more attributes");
        self.expected.remove(&pattern(&lasting(self.attributes.len())));
        last
    }
}

/// Whether Sentinel becomes equal to MISP, and the relay lives on and settles that.
async fn lives_to_see(stage: &mut Stage, shown: &Shown) -> bool {
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut equal_since = None;
    while stage.relay.runs() {
        match equal_since {
            None if stage.live() == shown.expected => equal_since = Some(Instant::now()),
            Some(since) if since.elapsed() > SETTLED => return true,
            Some(_) => {}
            None => assert!(Instant::now() < deadline, "{:?}", shown.expected),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

fn check_ledger(stage: &Stage, commit: usize) {
    let checked = stage.relay.command(&["ledger", "check"]);
    let told = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "after commit {commit}: {told}");
}

/// The ledger is sound after a crash, and the next start makes Sentinel equal to MISP.
async fn recovers(stage: &mut Stage, shown: &Shown, commit: usize) {
    check_ledger(stage, commit);
    stage.relay.restart(&stage.publisher).await;
    assert!(lives_to_see(stage, shown).await, "after commit {commit}");
    stage.relay.stop();
    check_ledger(stage, commit);
}

/// Crashes after the first commit of a relay that is at work, then after the second, and so on until all is settled
/// before the crash; returns how many crashes there were.
async fn crash_after_each_commit(attributes: usize) -> usize {
    let crasher = Crasher::build();
    let (misp, mut shown) = filled(attributes);
    let mut stage = Stage::set(misp, &SAFE).await;
    assert!(lives_to_see(&mut stage, &shown).await);
    stage.relay.stop();
    for commit in 1.. {
        crasher.arm(&mut stage.relay, commit);
        stage.relay.restart(&stage.publisher).await;
        crasher.count();
        stage.send(shown.change(&stage.misp)).await;
        let is_settled = lives_to_see(&mut stage, &shown).await;
        Crasher::disarm(&mut stage.relay);
        if is_settled {
            return commit - 1;
        }
        recovers(&mut stage, &shown, commit).await;
    }
    0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_commit_loses_nothing() {
    let crashes = crash_after_each_commit(200).await;
    assert!(crashes > 10, "{crashes}");
}

/// Snapshots of more than 5,000 claims are applied and ended in several steps, each with a commit of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: for whoever changes how the ledger is written"]
async fn a_crash_between_any_two_steps_of_a_large_event_loses_nothing() {
    let crashes = crash_after_each_commit(5_500).await;
    assert!(crashes > 10, "{crashes}");
}

/// From the first byte of a new file on, until the relay is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_ledger_is_made_is_over_with_the_next_start() {
    let crasher = Crasher::build();
    let (misp, mut shown) = filled(100);
    let mut stage = Stage::set(misp, &SAFE).await;
    assert!(lives_to_see(&mut stage, &shown).await);
    stage.relay.stop();
    for commit in 1.. {
        for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "relay.sock"] {
            std::fs::remove_file(stage.relay.folder().join(file)).ok();
        }
        // Nothing is taken back: what a lost ledger sent stays in Sentinel until it expires.
        let (_, published) = shown.publish(&stage.misp);
        stage.lose(published);
        crasher.arm(&mut stage.relay, commit);
        crasher.count();
        stage.relay.spawn();
        lives_to_see(&mut stage, &shown).await;
        Crasher::disarm(&mut stage.relay);
        let was_ready = stage.relay.folder().join("relay.sock").exists();
        stage.relay.kill();
        recovers(&mut stage, &shown, commit).await;
        if was_ready {
            assert!(commit > 5, "{commit}");
            return;
        }
    }
}
