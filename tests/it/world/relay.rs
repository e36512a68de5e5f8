//! Runs the real relay on a ledger of its own, in this process or as the built binary.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use misp_sentinel_relay::app;
use misp_sentinel_relay::app::RunOptions;
use misp_sentinel_relay::commands;
use misp_sentinel_relay::config::{self, Config};
use misp_sentinel_relay::ledger::Ledger;
use misp_sentinel_relay::sandbox::Sandbox;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::witness::{self, Wanted};
use super::{audience, sent, told};
use crate::support::clock;
use crate::support::program::program;
use crate::support::relay::{FAST, environment, of_source, owned};

/// How often the relay looks after MISP; what the world waits for is measured in it.
pub(super) const CATCH_UP: Duration = Duration::from_millis(400);

/// How long a command may take.
const ANSWER: Duration = Duration::from_secs(20);

/// With which the relay asks MISP.
pub(super) const KEY: &str = "TheRelaysOwnKeyInTheConvergenceTest00000";

/// The beginning of the settings of the only MISP.
const MISP: &str = "MSR_MISP__";

/// Besides [`FAST`].
const SETTINGS: [(&str, &str); 4] = [
    ("MSR_DELIVERY__REQUEST_TIMEOUT", "2s"),
    ("MSR_DELIVERY__RESEND_AFTER", "300ms"),
    ("MSR_DELIVERY__THROTTLED_DEFAULT", "100ms"),
    // Convergence is the question here, the guard has tests of its own.
    ("MSR_GUARD__MAX", "1000000"),
];

/// For the way to MISP: the ratios of the defaults, in milliseconds.
const REST: [(&str, &str); 11] = [
    ("MSR_MISP__KEY", KEY),
    ("MSR_MISP__REST__REQUEST_TIMEOUT", "400ms"),
    ("MSR_MISP__REST__READ_BACK_AFTER", "50ms"),
    ("MSR_MISP__REST__READ_BACK_WITHIN", "300ms"),
    ("MSR_MISP__REST__CATCH_UP_EVERY", "400ms"),
    ("MSR_MISP__REST__EXISTENCE_EVERY", "400ms"),
    ("MSR_MISP__REST__GAP_SETTLE", "20ms"),
    ("MSR_MISP__REST__GAP_GRACE", "300ms"),
    ("MSR_MISP__REST__CONFIRM_AFTER", "20ms,60ms,200ms,500ms"),
    ("MSR_MISP__REST__BACKOFF_MIN", "10ms"),
    ("MSR_MISP__REST__BACKOFF_MAX", "100ms"),
];

/// How a relay reaches a MISP.
pub(super) struct Reached {
    pub(super) name: &'static str,
    pub(super) endpoint: String,
    pub(super) url: String,
}

impl Reached {
    /// The settings of `[misp]`.
    fn settings(&self, plan: &Plan) -> Vec<(String, String)> {
        let mut settings = vec![("MSR_MISP__ZEROMQ__ENDPOINTS".to_owned(), self.endpoint.clone())];
        if plan.rest {
            settings.extend(owned(&REST));
            settings.push(("MSR_MISP__URL".to_owned(), self.url.clone()));
        }
        settings
    }
}

/// Of `[misp]` where there is one MISP, else of a `[source.NAME]` for each.
fn sources(plan: &Plan, reached: &[Reached]) -> Vec<(String, String)> {
    if let [only] = reached {
        let fast = owned(&FAST).into_iter().filter(|(key, _)| key.starts_with(MISP));
        return fast.chain(only.settings(plan)).collect();
    }
    reached.iter().flat_map(|one| of_source(one.name, &one.settings(plan))).collect()
}

pub(super) struct Relay {
    settings: Vec<(String, String)>,
    folder: TempDir,
    binary: bool,
    /// By how many seconds the clock of the next process is wrong.
    skew: i64,
    running: Option<Running>,
}

enum Running {
    Here { stop: CancellationToken, task: JoinHandle<anyhow::Result<()>> },
    Process(Child),
}

impl Relay {
    /// Not started yet.
    pub(super) fn new(plan: &Plan, reached: &[Reached], sandbox: &Sandbox) -> Self {
        let folder = TempDir::with_prefix("convergence-").unwrap();
        let fast = owned(&FAST).into_iter().filter(|(key, _)| !key.starts_with(MISP));
        let mut settings: Vec<_> = fast.chain(owned(&SETTINGS)).collect();
        settings.extend(sources(plan, reached));
        settings.extend(environment(sandbox));
        settings.extend(audience::settings(plan));
        if plan.relay_clock {
            // So that what a clock is ahead by is longer.
            let keys = settings.iter_mut().filter(|(key, _)| key.starts_with("MSR_EXPIRY__"));
            keys.for_each(|(_, days)| "150".clone_into(days));
        }
        settings.push(("MSR_LEDGER__DATA_DIR".to_owned(), folder.path().display().to_string()));
        Self { settings, folder, binary: plan.binary, skew: 0, running: None }
    }

    /// One in this process that only writes down what it would send.
    pub(super) fn witness(plan: &Plan, reached: &[Reached], sandbox: &Sandbox) -> Self {
        let mut relay = Self::new(&Plan { binary: false, ..*plan }, reached, sandbox);
        relay.settings.push(("MSR_TARGET__SANDBOX__MODE".to_owned(), "dry-run".to_owned()));
        relay
    }

    /// By how many seconds the clock of the next process is wrong.
    pub(super) fn set_skew(&mut self, seconds: i64) {
        self.skew = seconds;
    }

    pub(super) fn skew(&self) -> i64 {
        self.skew
    }

    /// Starts on the same ledger as before.
    pub(super) async fn start(&mut self) {
        assert!(self.running.is_none());
        self.running = Some(if self.binary { self.process() } else { self.here().await });
    }

    fn config(&self) -> Config {
        let file = self.folder.path().join("config.toml");
        std::fs::write(&file, "").unwrap();
        config::load(Some(&file), self.settings.iter().cloned()).unwrap()
    }

    async fn here(&self) -> Running {
        let relay = app::Relay::build(self.config(), RunOptions::default()).await.unwrap();
        let stop = CancellationToken::new();
        let recorded = PrometheusBuilder::new().build_recorder().handle();
        let task = tokio::spawn(relay.run(recorded, commands::answered_by_relay(), stop.clone()));
        Running::Here { stop, task }
    }

    fn process(&self) -> Running {
        let log = self.folder.path().join("relay.log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let library = clock::library().filter(|_| self.skew != 0);
        let clock = library.map(|library| clock::ahead(&library, self.skew));
        let child = self
            .command()
            .arg("run")
            .envs(clock.into_iter().flatten())
            .env("MSR_LOG__LEVEL", "info,misp_sentinel_relay=debug")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Running::Process(child)
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.envs(self.settings.iter().cloned());
        command
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        let Some(Running::Process(mut child)) = self.running.take() else {
            panic!("no process to kill");
        };
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Stops it as asked, and says what went wrong in its life.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        match self.running.take() {
            None => Ok(()),
            Some(Running::Here { stop, task }) => {
                let ended_before = task.is_finished();
                stop.cancel();
                match task.await {
                    Ok(Ok(())) if !ended_before => Ok(()),
                    ended => Err(format!("the relay ended with {ended:?}")),
                }
            }
            Some(Running::Process(mut child)) => {
                let ended = child.try_wait().unwrap();
                let sent =
                    Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
                let told = sent.unwrap().success();
                let status =
                    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
                let clean = ended.is_none() && told && status.code() == Some(0);
                clean.then_some(()).ok_or_else(|| format!("the relay ended with {status}"))
            }
        }
    }

    /// What Sentinel rejected is pending again, as an operator would ask for.
    pub(super) async fn retry_rejected(&self) {
        self.ask(&["retry-rejected"]).await.unwrap();
    }

    /// Has everything read anew, and returns when it was.
    pub(super) async fn resync(&self) -> Result<(), String> {
        self.ask(&["resync"]).await.map(drop)
    }

    /// What it wants live.
    pub(super) async fn wanted(&self) -> Result<Wanted, String> {
        Ok(witness::wanted(&self.export().await?))
    }

    /// What it takes for accepted and Sentinel holds otherwise.
    pub(super) async fn mistaken(&self, sandbox: &Sandbox) -> Result<Vec<String>, String> {
        Ok(sent::mistaken(&self.export().await?, sandbox))
    }

    async fn export(&self) -> Result<Vec<Value>, String> {
        let lines = self.ask(&["ledger", "export"]).await?;
        lines.lines().map(|line| serde_json::from_str(line).map_err(|e| e.to_string())).collect()
    }

    /// The ledger's invariants, once the relay has stopped.
    pub(super) async fn check_ledger(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let told = self.ask(&["ledger", "check"]).await.map(drop);
            // A relay in this process lets go of its ledger a moment after its end.
            let held = told.as_ref().is_err_and(|words| words.contains("holds the ledger"));
            if !held || begun.elapsed() > Duration::from_secs(10) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What `explain` tells of all that it knows, once it has stopped.
    pub(super) async fn told(&self) -> Result<told::Told, String> {
        let (config, rows) = (self.config(), self.export().await?);
        let ledger = Ledger::open(&config.ledger).await.map_err(|error| error.to_string())?;
        let told = told::compare(&ledger, &app::views(&config), &rows).await;
        ledger.close().await;
        told
    }

    /// Runs another command of the binary against the running relay.
    async fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = tokio::process::Command::from(self.command());
        let asked = command.args(arguments).kill_on_drop(true).output();
        let Ok(output) = tokio::time::timeout(ANSWER, asked).await else {
            return Err(format!("{arguments:?} does not end"));
        };
        let output = output.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr)))
        }
    }

    /// The last lines of its log; nothing where it runs in this process.
    pub(super) fn log(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("relay.log")).unwrap_or_default();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Leaves ledger and log behind.
    pub(super) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        match self.running.take() {
            Some(Running::Here { stop, task }) => {
                stop.cancel();
                task.abort();
            }
            Some(Running::Process(mut child)) => {
                child.kill().ok();
                child.wait().ok();
            }
            None => {}
        }
    }
}
