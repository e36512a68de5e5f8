//! Tests how commands reach the ledger: over the running relay, or directly if none runs.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use misp_sentinel_relay::admin::control::SOCKET;
use misp_sentinel_relay::commands::{ConfigSource, status};
use misp_sentinel_relay::ledger::Ledger;
use misp_sentinel_relay::sandbox::{Sandbox, Settings as SandboxSettings};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::event::{Attribute, EVENT, publication, then};
use crate::support::ledger::config;
use crate::support::program::program;
use crate::support::publisher::Publisher;
use crate::support::relay::{Relay, held};
use crate::support::sandbox::eventually;

/// Runs a command that knows nothing but the data folder.
fn command(data_dir: &Path, arguments: &[&str]) -> Output {
    program().args(arguments).env("MSR_LEDGER__DATA_DIR", data_dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The secrets of the relay's service are not those of the operator's shell.
#[tokio::test]
async fn beside_a_running_relay_the_data_folder_is_enough() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    for (arguments, words) in [
        (&["status"][..], "relay"),
        (&["status", "--json"], "\"version\""),
        (&["held"], "Nothing is held."),
        (&["suppress", "evil.example"], "evil.example is withheld until `unsuppress`"),
        (&["suppressed"], "evil.example since"),
        (&["unsuppress", "evil.example"], "is withheld no more"),
        (&["retry-rejected"], "0 rejected objects are pending again."),
        (&["release"], "Ended: 0 held claims"),
        (&["ledger", "check"], "holds "),
        (&["ledger", "export"], "\"table\":"),
        (&["ledger", "vacuum"], "The ledger had"),
    ] {
        let done = command(relay.folder(), arguments);
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "{arguments:?}: {err}");
        assert!(out.contains(words), "{arguments:?}: {out}{err}");
    }
    // What cannot be done is told by the relay, in the words of the command.
    for (arguments, words) in [
        (&["explain", "nobody.example"][..], "nothing is known of \"nobody.example\""),
        (&["resync", "--detach"], "set misp.key"),
        (&["forget", "nobody"], "the ledger knows no target \"nobody\""),
        (&["verify", "--target", "nobody"], "target \"nobody\" cannot be read back"),
        (&["cleanup", "--sourcesystem", "misp-sentinel-relay"], "is a target's own sourcesystem"),
    ] {
        let done = command(relay.folder(), arguments);
        let err = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
    relay.stop();
    // Without a relay the command answers itself, and needs to know the targets for that.
    let alone = command(relay.folder(), &["status"]);
    let err = text(&alone.stderr);
    assert_eq!(alone.status.code(), Some(2), "{err}");
    assert!(err.contains("no relay answers on") && err.contains("--config"), "{err}");
    assert_eq!(relay.command(&["status"]).status.code(), Some(3));
}

/// Quotes and backslashes take two bytes each in JSON, control characters six.
#[tokio::test]
async fn a_request_of_any_size_that_a_command_allows_passes() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[]).await;
    let long = "\"\\\u{1}".repeat(500);
    let done = command(relay.folder(), &["suppress", &long, "--reason", &long]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let listed = command(relay.folder(), &["suppressed", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["reason"], long.as_str());
    // Nearly the longest argument of a Linux program.
    let what = "\u{1}".repeat(130_000);
    let done = command(relay.folder(), &["explain", &what]);
    assert!(text(&done.stderr).contains("nothing is known of"), "{}", text(&done.stderr));
}

/// It listens, and accepts nobody.
#[tokio::test]
async fn a_relay_that_does_not_answer_is_given_up_on() {
    let folder = TempDir::new().unwrap();
    let _hung = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
    let began = Instant::now();
    let told = status::status(&settings(folder.path()), options()).await.unwrap_err();
    let (told, after) = (format!("{told:#}"), began.elapsed());
    assert!(told.contains("did not answer in time") && told.contains(SOCKET), "{told}");
    assert!(after >= Duration::from_secs(29) && after < Duration::from_secs(40), "{after:?}");
}

fn settings(data_dir: &Path) -> ConfigSource {
    let file = data_dir.join("config.toml");
    std::fs::write(&file, "").unwrap();
    let environment = vec![("MSR_LEDGER__DATA_DIR".to_owned(), data_dir.display().to_string())];
    ConfigSource { file: Some(file), environment }
}

fn options() -> status::StatusOptions {
    status::StatusOptions { json: false, watch: None }
}

#[tokio::test]
async fn without_a_relay_the_commands_open_the_ledger() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    relay.stop();
    let retried = relay.command(&["retry-rejected", "--target", "sco"]);
    let err = text(&retried.stderr);
    assert!(err.contains("\"sco\"") && err.contains("there is: sandbox"), "{err}");
    let retried = relay.command(&["retry-rejected"]);
    assert!(text(&retried.stdout).contains("No relay is running"), "{}", text(&retried.stdout));

    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let opened = Ledger::open(&config.ledger).await.unwrap();
    relay.set("MSR_LEDGER__DATA_DIR", &folder.path().display().to_string());
    for arguments in [&["status"][..], &["retry-rejected"]] {
        let err = text(&relay.command(arguments).stderr);
        let holder = format!("a relay (process {})", std::process::id());
        assert!(err.contains(&holder) && err.contains(SOCKET), "{err}");
    }
    opened.close().await;
    drop(opened);
    // A process that another test is just starting may hold a copy of the lock for a moment.
    let deadline = Instant::now() + Duration::from_secs(5);
    while relay.command(&["status"]).status.code() != Some(3) {
        assert!(Instant::now() < deadline, "{}", text(&relay.command(&["status"]).stderr));
    }
}

/// A full disk behind standard output ends a command; it does not wait for ever.
#[tokio::test]
async fn a_command_that_cannot_print_ends() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    let names: Vec<String> = (0..20).map(|number| format!("host-{number}.example")).collect();
    let attributes: Vec<Attribute<'_>> =
        names.iter().enumerate().map(|(number, name)| (number, name.as_str(), &[][..])).collect();
    publisher.send(&publication(then(), &attributes)).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() >= 20).await;
    for is_running in [true, false] {
        for arguments in
            [&["explain", EVENT][..], &["ledger", "export"], &["ledger", "check"], &["status"]]
        {
            let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
            let mut child = relay.start_command(arguments, full.into());
            let ended = timeout(Duration::from_secs(20), async {
                while child.try_wait().unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            assert!(ended.await.is_ok(), "{arguments:?} hangs, relay running: {is_running}");
            assert_eq!(child.wait().unwrap().code(), Some(1), "{arguments:?}");
        }
        if is_running {
            relay.stop();
        }
    }
}

#[tokio::test]
async fn asking_makes_no_ledger() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    relay.stop();
    let folder = TempDir::new().unwrap();
    relay.set("MSR_LEDGER__DATA_DIR", &folder.path().display().to_string());
    for arguments in [&["status"][..], &["held"], &["retry-rejected"], &["ledger", "check"]] {
        let done = relay.command(arguments);
        let err = text(&done.stderr);
        let code = if arguments == ["status"] { 3 } else { 1 };
        assert_eq!(done.status.code(), Some(code), "{err}");
        assert!(err.contains("there is no ledger") && err.contains("hint"), "{err}");
    }
    assert!(!folder.path().join("ledger.db").exists());
}
