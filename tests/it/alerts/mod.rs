//! Tests that the alerts of `monitoring/prometheus/rules.yml` fire by the metrics of the built binary, in each state
//! that `status` calls degraded. promtool evaluates the rules on what was scraped.

mod misp;
mod sentinel;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::libraries::skipped;
use crate::support::program::bare;
use crate::support::relay::Relay;
use crate::support::webhook::Client;

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> PathBuf {
    root().join("monitoring/prometheus/rules.yml")
}

/// Waits until the metrics and the status of a relay tell of a degraded state, and asserts that its alert fires.
async fn fires(relay: &Relay, part: &str, reason: &str) {
    fires_at(admin_of(relay.pid()).await, part, reason).await;
}

/// The same for a relay whose admin listener has this address.
pub(crate) async fn fires_at(admin: SocketAddr, part: &str, reason: &str) {
    let series = format!("misp_sentinel_relay_degraded{{part=\"{part}\",");
    let state = format!("reason=\"{reason}\"}} 1");
    let is_told = |line: &str| line.starts_with(&series) && line.ends_with(&state);
    let began = Instant::now();
    loop {
        let (metrics, status) = (get(admin, "/metrics").await, get(admin, "/status").await);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let parts = status["degraded_parts"].as_array().unwrap();
        let in_status = parts.iter().any(|one| one["part"] == part && one["reason"] == reason);
        if in_status && metrics.lines().any(is_told) {
            return assert_fires(&metrics, &alert_of(part, reason));
        }
        assert!(began.elapsed() < PATIENCE, "never {part} {reason}: {status:#}\n{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(admin: SocketAddr, path: &str) -> String {
    let mut client = Client::connect(admin).await;
    client.write(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).await;
    client.reply().await.text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The address on which a process listens. The port is one that the kernel chose, so only the kernel can tell it.
async fn admin_of(process: u32) -> SocketAddr {
    let began = Instant::now();
    loop {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
        let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        let sockets: BTreeSet<String> = links.map(|link| link.display().to_string()).collect();
        let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
        let port = table.lines().find_map(|line| {
            // Number, address, peer, state (0A: listens), four more, and the inode.
            let columns: Vec<&str> = line.split_whitespace().collect();
            let inode = format!("socket:[{}]", columns.get(9)?);
            let is_ours = columns.get(3) == Some(&"0A") && sockets.contains(&inode);
            let port = columns.get(1)?.rsplit_once(':')?.1;
            is_ours.then(|| u16::from_str_radix(port, 16).unwrap())
        });
        if let Some(port) = port {
            return (Ipv4Addr::LOCALHOST, port).into();
        }
        assert!(began.elapsed() < PATIENCE, "it listens nowhere");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The pairs of part and reason that rules ask for, each with the name of its alert.
fn alerts() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(rules()).unwrap();
    let rules = text.split("- alert: ").skip(1);
    let pair = |rule: &str| {
        let (name, _) = rule.split_once('\n')?;
        let (_, labels) = rule.split_once("misp_sentinel_relay_degraded{part=\"")?;
        let mut words = labels.split('"');
        Some((words.next()?.to_owned(), words.nth(1)?.to_owned(), name.to_owned()))
    };
    rules.filter_map(pair).collect()
}

fn alert_of(part: &str, reason: &str) -> String {
    let found = alerts().into_iter().find(|(p, r, _)| p == part && r == reason);
    found.unwrap_or_else(|| panic!("no alert for {part} {reason}")).2
}

/// Asserts that an alert fires where these metrics stand for some time.
fn assert_fires(metrics: &str, alert: &str) {
    let mut test =
        format!("rule_files: [{}]\nevaluation_interval: 1m\ntests:\n", rules().display());
    test.push_str("  - interval: 1m\n    input_series:\n");
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let series = series.replace('\'', "''");
        writeln!(test, "      - {{series: '{series}', values: '{value}+0x120'}}").unwrap();
    }
    let expression = format!(
        "(count(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}) or vector(0)) > bool 0"
    );
    writeln!(test, "    promql_expr_test:\n      - expr: {expression}").unwrap();
    test.push_str("        eval_time: 90m\n        exp_samples: [{labels: '{}', value: 1}]\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.yml");
    std::fs::write(&file, &test).unwrap();
    promtool(&["test", "rules"], &file);
}

fn promtool(arguments: &[&str], file: &Path) {
    let mut promtool = bare("promtool");
    let path = std::env::var_os("PATH").unwrap_or_default();
    match promtool.args(arguments).arg(file).env("PATH", path).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{output:?}\n{}", std::fs::read_to_string(file).unwrap()),
        Err(error) => skipped("an alert", &format!("promtool (Debian's prometheus): {error}")),
    }
}

/// `check metrics` reads standard input.
#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    use std::io::Write as _;
    use std::process::Stdio;

    let scene = crate::support::scene::Scene::set(&[]).await;
    scene.settle().await;
    let metrics = get(admin_of(scene.relay.pid()).await, "/metrics").await;
    let mut promtool = bare("promtool");
    let path = std::env::var_os("PATH").unwrap_or_default();
    promtool.args(["check", "metrics"]).env("PATH", path).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = match promtool.spawn() {
        Ok(checking) => checking,
        Err(error) => return skipped("the metrics", &format!("promtool: {error}")),
    };
    checking.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = checking.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.trim().is_empty(), "{told}");
}

/// What `fires` is called with in this folder, and in the test of a full disk.
#[test]
fn every_alert_of_a_degraded_state_is_fired_by_the_binary() {
    let files = ["alerts/misp.rs", "alerts/sentinel.rs", "ledger.rs"];
    let texts =
        files.map(|file| std::fs::read_to_string(root().join("tests/it").join(file)).unwrap());
    let calls = texts.iter().flat_map(|text| text.split("fires").skip(1));
    let calls = calls.filter(|call| call.starts_with('(') || call.starts_with("_at("));
    let fired: BTreeSet<(String, String)> = calls
        .filter_map(|call| {
            let (arguments, _) = call.split_once(").await")?;
            let mut words = arguments.split('"').skip(1).step_by(2).map(str::to_owned);
            Some((words.next()?, words.next()?))
        })
        .collect();
    let named = alerts().into_iter().map(|(part, reason, _)| (part, reason));
    assert_eq!(fired, named.collect());
    assert!(fired.len() > 15, "{fired:?}");
}
