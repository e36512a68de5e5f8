//! Tests the command `ledger backup`, and that a relay goes on from such a copy.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use tempfile::TempDir;

use super::support::event::{publication, then};
use super::support::program::program;
use super::support::publisher::Publisher;
use super::support::relay::{Relay, held};
use super::support::sandbox::eventually;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The frame of an event of its own with 200 domains.
fn event(at: i64, number: usize) -> Vec<u8> {
    let names: Vec<String> =
        (0..200).map(|index| format!("host-{index}.event-{number}.example")).collect();
    let attributes: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (number * 1_000 + index, name.as_str(), &[][..]))
        .collect();
    let frame = String::from_utf8(publication(at, &attributes)).unwrap();
    let uuid = format!("{number:08x}-0000-4000-8000-000000000007");
    frame
        .replace("00000001-0000-4000-8000-000000000007", &uuid)
        .replace(r#""id":"7""#, &format!(r#""id":"{number}""#))
        .replace(r#"event_id":"7""#, &format!(r#"event_id":"{number}""#))
        .into_bytes()
}

/// How often each domain was accepted.
fn writes(sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let held = held(sandbox).into_iter();
    held.map(|held| (held.json["pattern"].as_str().unwrap().to_owned(), held.writes)).collect()
}

/// How many objects the ledger knows as accepted.
fn delivered(relay: &Relay) -> usize {
    let status = relay.command(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    status["ledger"]["targets"][0]["delivered"].as_u64().unwrap() as usize
}

fn back_up(data_dir: &Path, to: &Path) -> std::process::Output {
    let mut command = program();
    command.args(["ledger", "backup", to.to_str().unwrap()]).env("MSR_LEDGER__DATA_DIR", data_dir);
    command.output().unwrap()
}

fn restore(data_dir: &Path, from: &Path, options: &[&str]) -> std::process::Output {
    let mut command = program();
    command.args(["ledger", "restore", from.to_str().unwrap()]).args(options);
    command.env("MSR_LEDGER__DATA_DIR", data_dir).output().unwrap()
}

/// What a refused restore says. It leaves nothing in the folder but the lock.
fn refused(folder: &Path, from: &Path) -> String {
    let output = restore(folder, from, &[]);
    assert_eq!(output.status.code(), Some(1));
    for file in std::fs::read_dir(folder).unwrap() {
        assert_eq!(file.unwrap().file_name(), "relay.lock");
    }
    text(&output.stderr)
}

/// As docs/how-to/upgrade-and-backup.md has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_goes_on_from_a_copy_that_was_made_under_load() {
    const BEFORE: usize = 3;
    const ALL: usize = 12;
    // The same for what is published again: else it would be a change.
    let at = then();
    let settings = Settings { quota_requests: 0, ..Settings::default() };
    let sandbox = Sandbox::start(settings).await.unwrap();
    let publisher = Publisher::bind();
    // A slow machine must not cause a repeat: each is counted below.
    let patient = ("MSR_DELIVERY__REQUEST_TIMEOUT", "60s");
    let mut relay = Relay::start(&sandbox, &publisher, &[patient]).await;
    for number in 1..=BEFORE {
        publisher.send(&event(at, number)).await;
    }
    eventually(&sandbox, |sandbox| held(sandbox).len() == BEFORE * 200).await;
    // The relay notes an answer only after Sentinel has given it.
    while delivered(&relay) < BEFORE * 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("ledger.db");
    let sent = AtomicUsize::new(BEFORE);
    let (data_dir, to) = (relay.folder().to_owned(), copy.clone());
    let copying = tokio::task::spawn_blocking(move || back_up(&data_dir, &to));
    let load = async {
        for number in BEFORE + 1..=ALL {
            publisher.send(&event(at, number)).await;
            sent.store(number, Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    };
    let (copied, ()) = tokio::join!(copying, load);
    let copied = copied.unwrap();
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    assert!(text(&copied.stdout).contains("holds the ledger of this moment"));
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let files: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    eventually(&sandbox, |sandbox| held(sandbox).len() == ALL * 200).await;
    relay.stop();
    assert!(writes(&sandbox).values().all(|writes| *writes == 1), "{:?}", writes(&sandbox));

    // All that came after the copy is lost.
    let kept = restore(relay.folder(), &copy, &[]);
    assert_eq!(kept.status.code(), Some(1));
    assert!(text(&kept.stderr).contains("--replace"), "{}", text(&kept.stderr));
    let restored = restore(relay.folder(), &copy, &["--replace"]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let place =
        format!("in {} now, the folder that MSR_LEDGER__DATA_DIR names", relay.folder().display());
    assert!(text(&restored.stdout).contains(&place), "{}", text(&restored.stdout));
    let checked = relay.command(&["ledger", "check"]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    relay.restart(&publisher).await;
    for number in 1..=ALL {
        publisher.send(&event(at, number)).await;
    }
    publisher.send(&event(at, ALL + 1)).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == (ALL + 1) * 200).await;
    relay.stop();
    let checked = relay.command(&["ledger", "check"]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    only_what_came_later_is_sent_twice(&sandbox, BEFORE);
}

/// At most: what the copy held of the later events is not sent again either.
fn only_what_came_later_is_sent_twice(sandbox: &Sandbox, before: usize) {
    for (pattern, writes) in writes(sandbox) {
        let is_known = (1..=before).any(|number| pattern.contains(&format!(".event-{number}.")));
        let most = if is_known { 1 } else { 2 };
        assert!(writes <= most, "{pattern} was sent {writes} times");
    }
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_needs_no_relay() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&event(then(), 1)).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 200).await;
    relay.stop();
    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("copy.db");
    let copied = back_up(relay.folder(), &copy);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    let before = std::fs::read(&copy).unwrap();
    let again = back_up(relay.folder(), &copy);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("exists, and is left as it is"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(std::fs::read(&copy).unwrap(), before);

    let nothing = TempDir::new().unwrap();
    let other = elsewhere.path().join("other.db");
    let empty = back_up(nothing.path(), &other);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("there is no ledger"), "{}", text(&empty.stderr));
    let nowhere = back_up(relay.folder(), &elsewhere.path().join("absent/copy.db"));
    assert!(text(&nowhere.stderr).contains("write beside"), "{}", text(&nowhere.stderr));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing is left over");
}

#[tokio::test]
async fn a_restore_takes_a_sound_copy_of_this_release_and_no_relay_runs_meanwhile() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&event(then(), 1)).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 200).await;
    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("copy.db");
    let copied = back_up(relay.folder(), &copy);
    assert!(copied.status.success(), "{}", text(&copied.stderr));

    let held_by_a_relay = restore(relay.folder(), &copy, &["--replace"]);
    assert_eq!(held_by_a_relay.status.code(), Some(1));
    let words = text(&held_by_a_relay.stderr);
    assert!(words.contains("another relay") && words.contains("stop it first"), "{words}");
    relay.stop();

    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    assert!(refused(folder, &elsewhere.path().join("absent.db")).contains("there is no file"));
    let letter = elsewhere.path().join("letter.txt");
    std::fs::write(&letter, "a letter".repeat(200)).unwrap();
    assert!(refused(folder, &letter).contains("is no copy of a ledger"));

    let newer = elsewhere.path().join("newer.db");
    std::fs::copy(&copy, &newer).unwrap();
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refused(folder, &newer).contains("newer release (schema 99"));

    let restored = restore(folder, &copy, &[]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let mode = std::fs::metadata(folder.join("ledger.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(copy.exists());

    let file = elsewhere.path().join("relay.toml");
    std::fs::write(&file, format!("[ledger]\ndata_dir = {folder:?}\n")).unwrap();
    let mut command = program();
    command.args(["ledger", "restore", "--replace", "--config"]).args([&file, &copy]);
    let restored = command.output().unwrap();
    let place = format!("in {} now, the folder that {} names.", folder.display(), file.display());
    assert!(text(&restored.stdout).contains(&place), "{}", text(&restored.stderr));
}

/// A copy of a relay that ran carries the mark of a run, but no run broke off.
#[tokio::test]
async fn a_restored_ledger_is_told_as_one_at_its_first_start() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&event(then(), 1)).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 200).await;
    let elsewhere = TempDir::new().unwrap();
    let [running, resting] = ["running.db", "resting.db"].map(|name| elsewhere.path().join(name));
    assert!(back_up(relay.folder(), &running).status.success());
    relay.stop();
    assert!(back_up(relay.folder(), &resting).status.success());
    for (restored, copy) in [(1, running), (2, resting)] {
        assert!(restore(relay.folder(), &copy, &["--replace"]).status.success());
        relay.restart(&publisher).await;
        let status = relay.command(&["status", "--json"]);
        assert!(text(&status.stdout).contains("\"interrupted\""), "no gap is noted");
        relay.stop();
        relay.restart(&publisher).await;
        relay.stop();
        let log = relay.log();
        assert_eq!(log.matches("\"ledger_restored\"").count(), restored, "{log}");
        assert!(!log.contains("last_run_broken"), "{log}");
    }
}
