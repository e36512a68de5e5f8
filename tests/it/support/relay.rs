//! Runs the built binary between a publisher and a sandbox.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use misp_sentinel_relay::sandbox::{HeldObject, Sandbox};
use serde_json::Value;
use tempfile::TempDir;

use super::program::program;
use super::publisher::Publisher;

/// A relay process; killed when dropped.
pub(crate) struct Relay {
    child: Child,
    folder: TempDir,
    settings: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// The organisation that made the recorded events, some of which are for it alone.
pub(crate) const OWN: &str = "4028eff6-8b64-45f8-ac36-ff18b327dc76";

/// What every test wants: no quota, waits of milliseconds, indicators that never expire, and the
/// documentation addresses of the recordings.
pub(crate) const FAST: [(&str, &str); 25] = [
    ("MSR_MISP__PUBLIC_URL", "https://misp.example"),
    ("MSR_MISP__ZEROMQ__CONNECT_TIMEOUT", "500ms"),
    ("MSR_MISP__ZEROMQ__RECONNECT_MAX", "50ms"),
    ("MSR_MISP__REST__REQUESTS_PER_SECOND", "10000"),
    ("MSR_EXPIRY__DEFAULT_DAYS", "36500"),
    ("MSR_EXPIRY__DAYS__IPV4_ADDR", "36500"),
    ("MSR_EXPIRY__DAYS__IPV6_ADDR", "36500"),
    ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "36500"),
    ("MSR_EXPIRY__DAYS__URL", "36500"),
    ("MSR_INDICATOR__CONTEXT", ""),
    ("MSR_LEDGER__FSYNC", "false"),
    ("MSR_DELIVERY__QUOTA_REQUESTS", "0"),
    ("MSR_DELIVERY__LINGER", "0ms"),
    ("MSR_DELIVERY__REQUEST_TIMEOUT", "2s"),
    ("MSR_AZURE__SIGN_IN_PAUSE", "20ms"),
    ("MSR_AZURE__MANAGEMENT__REQUEST_PAUSE", "0ms"),
    ("MSR_DELIVERY__BACKOFF_MIN", "20ms"),
    ("MSR_DELIVERY__BACKOFF_MAX", "200ms"),
    ("MSR_DELIVERY__THROTTLED_DEFAULT", "200ms"),
    ("MSR_DELIVERY__DEGRADED_RETRY", "200ms"),
    ("MSR_DELIVERY__RESEND_AFTER", "500ms"),
    ("MSR_ADMIN__LISTEN", "127.0.0.1:0"),
    ("MSR_POLICY__ALLOW_NON_ROUTABLE", "true"),
    ("MSR_POLICY__ORG_WITHOUT_KEY", OWN),
    ("MSR_LOG__FORMAT", "json"),
];

/// Of these, what keeps recordings and fixed dates from expiring.
pub(crate) fn ageless() -> Vec<(&'static str, &'static str)> {
    FAST.into_iter().filter(|(key, _)| key.starts_with("MSR_EXPIRY__")).collect()
}

impl Relay {
    /// Starts a relay with its own empty ledger and waits until it hears the publisher.
    pub(crate) async fn start(
        sandbox: &Sandbox,
        publisher: &Publisher,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut all = owned(&FAST);
        all.push(("MSR_MISP__ZEROMQ__ENDPOINTS".into(), publisher.endpoint()));
        all.extend(owned(settings));
        let relay = Self::of(sandbox, all);
        publisher.wait_for_subscriptions(2).await;
        relay
    }

    /// The same with several sources: each name with its settings, whose keys are those of `[misp]`.
    pub(crate) fn of_sources(
        sandbox: &Sandbox,
        sources: &[(&str, Vec<(String, String)>)],
        settings: &[(&str, &str)],
    ) -> Self {
        let others = FAST.iter().filter(|(key, _)| !key.starts_with(MISP));
        let mut all: Vec<(String, String)> =
            others.chain(settings).map(|(key, value)| ((*key).into(), (*value).into())).collect();
        all.extend(sources.iter().flat_map(|(name, own)| of_source(name, own)));
        Self::of(sandbox, all)
    }

    fn of(sandbox: &Sandbox, own: Vec<(String, String)>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = environment(sandbox);
        settings.push(("MSR_LEDGER__DATA_DIR".into(), folder.path().display().to_string()));
        settings.extend(own);
        let child = spawn(&settings, &[], folder.path());
        Self { child, folder, settings, arguments: Vec::new() }
    }

    /// Starts again on the same ledger, after [`Relay::kill`] or [`Relay::stop`].
    pub(crate) async fn restart(&mut self, publisher: &Publisher) {
        self.child = spawn(&self.settings, &self.arguments, self.folder.path());
        publisher.wait_for_subscriptions(2).await;
    }

    /// The same, waiting for nothing: it may end by itself.
    pub(crate) fn spawn(&mut self) {
        self.child = spawn(&self.settings, &self.arguments, self.folder.path());
    }

    /// The same where nobody publishes any more; ready when it answers commands.
    pub(crate) async fn restart_alone(&mut self) {
        self.child = spawn(&self.settings, &self.arguments, self.folder.path());
        let began = Instant::now();
        while !self.folder.path().join("relay.sock").exists() {
            assert!(began.elapsed() < Duration::from_secs(5), "not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Adds settings for the next start.
    pub(crate) fn set_all(&mut self, settings: Vec<(String, String)>) {
        self.settings.extend(settings);
    }

    /// Takes settings away, those whose key begins so, for the next start; returns them.
    pub(crate) fn unset(&mut self, beginning: &str) -> Vec<(String, String)> {
        self.settings.extract_if(.., |(key, _)| key.starts_with(beginning)).collect()
    }

    /// Options of the command `run` for the next start.
    pub(crate) fn options(&mut self, options: &[&str]) {
        self.arguments = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// The folder of ledger, control socket and log.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.folder.path())).unwrap()
    }

    /// Waits until the log tells the address of the admin listener for so many starts; returns the last one.
    pub(crate) async fn page_address(&self, starts: usize) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let log = self.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let told = lines.filter(|line| line["event"] == "admin_listening");
            if let Some(line) = told.skip(starts - 1).last() {
                return format!("http://{}", line["address"].as_str().unwrap());
            }
            assert!(Instant::now() < deadline, "{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs another command of the binary with the same settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Output {
        program().args(arguments).envs(self.settings.iter().cloned()).output().unwrap()
    }

    /// The settings of all commands.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (String, String)> {
        self.settings.iter().cloned()
    }

    /// The same from the relay's folder, with a relative `ledger.data_dir`.
    pub(crate) fn command_in_folder(&self, arguments: &[&str]) -> std::process::Output {
        let settings = self.settings.iter().cloned();
        let mut program = program();
        program.args(arguments).envs(settings).env("MSR_LEDGER__DATA_DIR", ".");
        program.current_dir(self.folder.path()).output().unwrap()
    }

    /// The same, not waited for, with this as its standard output.
    pub(crate) fn start_command(&self, arguments: &[&str], out: Stdio) -> Child {
        let settings = self.settings.iter().cloned();
        program().args(arguments).envs(settings).stdout(out).stderr(Stdio::null()).spawn().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name, e.g. `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM; returns the exit code and how long it took.
    pub(crate) fn stop(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        (status.code(), started.elapsed())
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The beginning of the variables of the only source.
const MISP: &str = "MSR_MISP__";

/// What a source wants of [`FAST`] and these settings, under the name that it has beside others.
pub(crate) fn of_source(name: &str, own: &[(String, String)]) -> Vec<(String, String)> {
    let fast = owned(&FAST).into_iter().filter(|(key, _)| key.starts_with(MISP));
    let name = name.to_uppercase().replace('-', "_");
    let renamed = |(key, value): (String, String)| {
        (key.replacen(MISP, &format!("MSR_SOURCE__{name}__"), 1), value)
    };
    fast.chain(own.iter().cloned()).map(renamed).collect()
}

pub(crate) fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

pub(crate) fn environment(sandbox: &Sandbox) -> Vec<(String, String)> {
    sandbox.relay_environment()
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("relay.log")
}

fn spawn(settings: &[(String, String)], arguments: &[String], folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log_file(folder)).unwrap();
    program()
        .arg("run")
        .args(arguments)
        .envs(settings.iter().cloned())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Everything that the sandbox holds in its first workspace.
pub(crate) fn held(sandbox: &Sandbox) -> Vec<HeldObject> {
    sandbox.objects(sandbox.settings().workspaces[0])
}
