//! Tests what a running relay does at SIGHUP, what its log says first and last, and that it outlives its
//! terminal.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use serde_json::Value;
use tempfile::TempDir;

use super::support::event::{publication, then};
use super::support::program::{BINARY, bare, program};
use super::support::publisher::Publisher;
use super::support::relay::{FAST, Relay, environment, held};
use super::support::sandbox::eventually;
use super::support::terminal::Terminal;

/// Waits until the log has a line for which `is_it`; returns it.
async fn line(relay: &Relay, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines: Vec<Value> = lines(relay);
        if let Some(line) = lines.into_iter().rev().find(&is_it) {
            return line;
        }
        assert!(Instant::now() < deadline, "{}", relay.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn lines(relay: &Relay) -> Vec<Value> {
    let log = relay.log();
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is(event: &str) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == event
}

#[tokio::test]
async fn the_log_tells_what_began_and_why_it_ended() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    let first = lines(&relay).remove(0);
    assert_eq!(first["event"], "relay_starts", "{first}");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["data_dir"], relay.folder().to_str().unwrap());
    assert_eq!(first["config_file"], "none");
    let variables = first["variables"].as_array().unwrap();
    assert!(variables.contains(&"MSR_TARGET__SANDBOX__CLIENT_SECRET".into()), "{variables:?}");
    let log = relay.log();
    assert!(!log.contains("sandbox-secret"), "{log}");
    let source = line(&relay, is("source_configured")).await;
    assert_eq!(source["endpoints"], serde_json::json!([publisher.endpoint()]));
    assert_eq!(source["rest"], "none");
    let target = line(&relay, is("target_configured")).await;
    assert_eq!(target["endpoint"], sandbox.base_url());
    relay.stop();
    let last = lines(&relay).pop().unwrap();
    assert_eq!(last["event"], "relay_stopped", "{last}");
    assert_eq!(last["why"], "SIGTERM");
    assert!(last["ran_ms"].as_u64().unwrap() < 120_000, "{last}");
}

#[tokio::test]
async fn sighup_reads_the_level_of_the_log_again() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    let write = |level: &str| std::fs::write(&file, format!("[log]\nlevel = {level:?}\n")).unwrap();
    write("info");
    let named = ("MSR_CONFIG", file.to_str().unwrap());
    let mut relay = Relay::start(&sandbox, &publisher, &[named]).await;
    let is_debug = |line: &Value| line["level"] == "DEBUG";

    write("debug");
    relay.signal("HUP");
    let told = line(&relay, is("log_level_set")).await;
    assert_eq!((&told["level"], &told["log_level"]), (&"INFO".into(), &"debug".into()));
    assert!(!lines(&relay).iter().any(is_debug), "{}", relay.log());
    publisher.send(&publication(then(), &[(1, "evil.example", &[][..])])).await;
    line(&relay, is_debug).await;

    // A mistake changes nothing, and is told.
    write("loud");
    relay.signal("HUP");
    let told = line(&relay, is("log_level_refused")).await;
    assert!(told["why"].as_str().unwrap().contains("\"loud\" names no level"), "{told}");
    write("warn");
    relay.signal("HUP");
    publisher.send(&publication(then() + 1, &[(2, "bad.example", &[][..])])).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 2).await;
    assert_eq!(relay.stop().0, Some(0));
    assert_ne!(lines(&relay).pop().unwrap()["event"], "relay_stopped");
}

/// Runs a relay whose setting names a port that is in use. Returns the port, and what the relay wrote.
fn run_into(taken: &std::net::TcpListener, setting: &str, format: &str) -> (String, String) {
    let (folder, address) = (TempDir::new().unwrap(), taken.local_addr().unwrap());
    let ended = program()
        .arg("run")
        .envs(FAST)
        .envs([
            ("MSR_LEDGER__DATA_DIR", folder.path().to_str().unwrap()),
            ("MSR_LOG__FORMAT", format),
            ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://127.0.0.1:1"),
            ("MSR_MISP__WEBHOOK__SECRET", "0123456789abcdef"),
            ("MSR_TARGET__SOC__MODE", "dry-run"),
            ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
        ])
        .env(setting, address.to_string())
        .output()
        .unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    (address.port().to_string(), told)
}

#[test]
fn a_port_in_use_is_told_once_with_its_setting_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (key, setting) in [
        ("admin.listen", "MSR_ADMIN__LISTEN"),
        ("misp.webhook.listen", "MSR_MISP__WEBHOOK__LISTEN"),
    ] {
        let (port, told) = run_into(&taken, setting, "pretty");
        let why =
            format!("cannot listen on {key} = 127.0.0.1:{port}: another program listens there");
        assert_eq!(told.matches("another program listens").count(), 1, "{told}");
        assert!(told.contains(&format!("\nerror: {why}\n  hint: ")), "{told}");
        let remedies =
            [format!("sport = :{port}"), format!("set {key} ({setting}) to another port")];
        assert!(remedies.iter().all(|remedy| told.contains(remedy)), "{told}");

        // A log for machines has no line of another kind.
        let (_, told) = run_into(&taken, setting, "json");
        let line = |line| serde_json::from_str::<Value>(line).expect(line);
        let last = told.lines().map(line).next_back().unwrap();
        assert_eq!((&last["event"], &last["why"]), (&"relay_stopped".into(), &why.into()));
        let hint = last["hint"].as_str().unwrap();
        assert!(remedies.iter().all(|remedy| hint.contains(remedy)), "{hint}");
        assert_eq!(told.matches("another program listens").count(), 1, "{told}");
    }
}

/// As a relay that somebody started in an ssh session whose connection breaks.
#[tokio::test]
async fn a_relay_outlives_its_terminal() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let folder = TempDir::new().unwrap();
    // The terminal controls the session, so that its end sends SIGHUP to the relay.
    let mut command = bare("setsid");
    command.args(["--ctty", "--wait", BINARY, "run"]).envs(FAST).envs(environment(&sandbox)).envs(
        [
            ("MSR_MISP__ZEROMQ__ENDPOINTS", publisher.endpoint()),
            ("MSR_LEDGER__DATA_DIR", folder.path().display().to_string()),
        ],
    );
    let mut terminal = Terminal::start(80, command);
    terminal.wait_for("relay_ready").await;
    publisher.wait_for_subscriptions(2).await;
    let session = terminal.close();
    // Whatever it logs from now on goes nowhere.
    for number in 0..20 {
        let name = format!("host-{number}.example");
        publisher.send(&publication(then() + number, &[(1, &name, &[][..])])).await;
    }
    eventually(&sandbox, |sandbox| {
        held(sandbox).iter().any(|held| held.json.to_string().contains("host-19.example"))
    })
    .await;
    let process = process_of(folder.path());
    let asked =
        program().arg("status").env("MSR_LEDGER__DATA_DIR", folder.path()).output().unwrap();
    assert_eq!(asked.status.code(), Some(0), "{}", String::from_utf8_lossy(&asked.stderr));
    let ended = Command::new("kill").args(["-s", "TERM", &process]).status().unwrap();
    assert!(ended.success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while folder.path().join("relay.sock").exists() {
        assert!(Instant::now() < deadline, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(session);
}

/// The process that holds the ledger.
fn process_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("relay.lock")).unwrap()
}
