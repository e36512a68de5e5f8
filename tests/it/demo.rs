//! Tests the commands `demo` and `sandbox` as a newcomer runs them: the built binary without any
//! configuration.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::support::program::program;
use super::support::sandbox::{METADATA, PATIENCE};

fn binary(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .args(arguments)
        .envs([("HOME", folder), ("TMPDIR", folder)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn the_demo_shows_each_kind_of_change_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut command = binary(folder.path(), &["demo", "--once"]);
    let output = command.env("HTTPS_PROXY", "http://127.0.0.1:1").output().unwrap();
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    for line in [
        "ok     published \"Kitchen sink\": 102 attributes, 13 of them claim nothing (13 context); \
         95 claims, 32 of them withheld (17 type_off + 14 to_ids_off + 1 tlp_too_strict); \
         63 claims left, of 61 observables; in the ledger +95; accepted 61 new",
        "ok     to_ids off \"Kitchen sink\": in the ledger -1; accepted 1 gone",
        "ok     published, unchanged \"Kitchen sink\"",
        "ok     tag tlp:red attached \"Tag holes\": accepted 3 gone",
        "ok     event deleted \"To be deleted\": in the ledger -3; accepted 3 gone",
        "accepted 250 new",
        "ok     feed restarted: accepted gap noted",
        "ok     published \"Local tag first\": 1 attribute; 1 claim; in the ledger +1; accepted 1 new",
        "ok     published \"Sharing group event\": 2 attributes; 2 claims, 2 of them withheld (2 view_unknown); \
         in the ledger +2; accepted nothing",
        "live in the sandbox: 311 observables",
        "duplicates: 0",
        "All 21 steps as expected.",
        "Run it",
    ] {
        assert!(told.contains(line), "no {line:?} in\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "colours in a pipe");
    assert!(output.stderr.is_empty(), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it cleans up behind itself");
}

#[test]
fn the_demo_goes_on_until_it_is_stopped_and_takes_no_notice_of_the_operators_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(folder.path(), &["demo"]);
    let command = command.env("MSR_LOG__FORMAT", "xml").env("MSR_CONFIG", "/nowhere.toml");
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("published \"Kitchen sink\"")));
    signal(&child, "INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("live in the sandbox: 61 ")), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_demo_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = binary(folder.path(), &["demo"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""));
}

#[test]
fn a_stopped_demo_has_not_shown_what_it_was_asked_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = binary(folder.path(), &["demo", "--once"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("heartbeat")));
    signal(&child, "TERM");
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("stopped before its end"), "{}", text(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing to look into");
}

#[tokio::test]
async fn the_sandbox_command_serves_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let ca = format!("--ca-file={}", ca_file.display());
    let arguments = ["sandbox", "--listen=127.0.0.1:0", "--names=sandbox", &ca];
    let mut child = binary(folder.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut value = |name: &str| {
        let prefix = format!("export {name}=");
        let found = lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(value("MSR_AZURE__CA_FILE"), ca_file.display().to_string());
    assert_eq!(value("MSR_TARGET__SANDBOX__CLIENT_SECRET"), "sandbox-secret");
    let address = value("MSR_TARGET__SANDBOX__ENDPOINT");

    let http = misp_sentinel_relay::azure::http::client(&azure(ca_file)).unwrap();
    let page = http.get(format!("{address}/")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("Sentinel sandbox"));

    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// As the tutorial has it: two commands, and the printed lines pasted into a third shell.
#[tokio::test]
async fn what_the_sandbox_prints_is_all_that_a_relay_needs() {
    // Another relay may run on this machine. Where one does, this fails, which is as good.
    let _other_relay = std::net::TcpListener::bind("127.0.0.1:9477");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| binary(folder.path(), arguments).spawn().unwrap();
    let mut sandbox = run(&["sandbox", "--listen=127.0.0.1:0"]);
    let lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines;
    let pasted: Vec<String> =
        lines.by_ref().take_while(|line| !line.contains("demo --feed")).collect();
    let order = "Stop that relay before this sandbox: its ledger goes with the sandbox.";
    assert_eq!(lines.next().as_deref(), Some(order));
    let exports = pasted.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let mut exports: Vec<(&str, &str)> = exports.collect();
    let checked = binary(folder.path(), &["check-config"]).envs(exports.clone()).output().unwrap();
    let value = |end: &str| exports.iter().find(|(name, _)| name.ends_with(end)).unwrap().1;
    let (url, ca) = (value("__ENDPOINT").to_owned(), value("__CA_FILE").into());

    // The port of the tutorial may be taken on this machine. The feed ends when nobody reads what it tells.
    let mut feed = run(&["demo", "--feed=127.0.0.1:0"]);
    let mut told = BufReader::new(feed.stdout.take().unwrap()).lines();
    let first = told.next().unwrap().unwrap();
    exports.push(("MSR_MISP__ZEROMQ__ENDPOINTS", first.rsplit_once(' ').unwrap().1));
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut relay = binary(folder.path(), &["run"]).envs(exports).stderr(log).spawn().unwrap();
    let arrived = arrives(&url, ca).await;
    for child in [&mut relay, &mut feed, &mut sandbox] {
        signal(child, "TERM");
        child.wait().unwrap();
    }
    assert_eq!(checked.status.code(), Some(0), "{pasted:#?}\n{}", text(&checked));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(arrived, "nothing arrives:\n{log}");
}

/// A relay that still runs keeps its ledger, and the sandbox says where that is.
#[tokio::test]
async fn the_ledger_of_a_relay_that_runs_outlives_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| binary(folder.path(), arguments).spawn().unwrap();
    let mut sandbox = run(&["sandbox", "--listen=127.0.0.1:0"]);
    let lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines;
    let pasted: Vec<String> =
        lines.by_ref().take_while(|line| !line.starts_with("Stop that relay")).collect();
    let exports = pasted.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let mut exports: Vec<(&str, &str)> = exports.collect();
    exports.push(("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://127.0.0.1:1"));
    let (_, ledger) = exports.iter().find(|(name, _)| *name == "MSR_LEDGER__DATA_DIR").unwrap();
    let ledger = std::path::PathBuf::from(ledger);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let relay = binary(folder.path(), &["run"]).envs(exports.clone()).stderr(log).spawn();
    let mut relay = relay.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ledger.join("relay.sock").exists() {
        assert!(Instant::now() < deadline, "the relay does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(&sandbox, "TERM");
    sandbox.wait().unwrap();
    let told: Vec<String> = lines.collect();
    let words = format!("The relay (process {}) still uses the ledger in", relay.id());
    assert!(told.iter().any(|line| line.starts_with(&words)), "{told:?}");
    assert!(ledger.join("ledger.db").exists());
    signal(&relay, "TERM");
    relay.wait().unwrap();
    std::fs::remove_dir_all(ledger).unwrap();
}

/// Whether an indicator arrives in a sandbox.
async fn arrives(url: &str, ca_file: std::path::PathBuf) -> bool {
    let http = misp_sentinel_relay::azure::http::client(&azure(ca_file)).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        let objects = http.get(format!("{url}/objects")).send().await.unwrap();
        if objects.text().await.unwrap().contains("indicator--") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

fn azure(ca_file: std::path::PathBuf) -> misp_sentinel_relay::config::Azure {
    misp_sentinel_relay::config::Azure {
        ca_file: Some(ca_file),
        proxy: Some("none".to_owned()),
        connect_timeout: PATIENCE,
        token_timeout: PATIENCE,
        sign_in_pause: Duration::from_millis(20),
        metadata_endpoint: METADATA.to_owned(),
    }
}
