//! Tests the command `init` against MISP over REST and ZeroMQ, and Azure over TLS: by its options, and as a
//! dialogue on a terminal.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use misp_sentinel_relay::sandbox::Sandbox;
use misp_stand_in::{Key, Misp, MispServer, MispSettings};
use tempfile::TempDir;

use super::support::program::program;
use super::support::publisher::Publisher;
use super::support::sandbox::start;
use super::support::terminal::Terminal;

const READER: &str = "AReadOnlyKeyOfTheMispStandIn000000000000";
const SECRET: &str = "sandbox-secret";

/// All that the answers are about.
struct Surroundings {
    rest: MispServer,
    publisher: Arc<Publisher>,
    heart: tokio::task::AbortHandle,
    sandbox: Sandbox,
    folder: TempDir,
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Surroundings {
    async fn start() -> Self {
        let misp = Misp::new(chrono::Utc::now().timestamp());
        let serving =
            MispSettings { keys: vec![Key::read_only(READER)], ..MispSettings::default() };
        let rest = MispServer::start(misp, serving).await.unwrap();
        let publisher = Arc::new(Publisher::bind());
        let beating = Arc::clone(&publisher);
        let heart = tokio::spawn(async move {
            loop {
                beating.send_heartbeat(7).await;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        let (heart, sandbox) = (heart.abort_handle(), start().await);
        Self { rest, publisher, heart, sandbox, folder: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `init`, where the sandbox is Azure.
    fn init(&self) -> Command {
        let mut command = program();
        command.args(["init", "--config", self.file("relay.toml").to_str().unwrap()]);
        command.envs([
            ("MSR_AZURE__CA_FILE", self.sandbox.ca_file().display().to_string()),
            ("MSR_TARGET__SENTINEL__AUTHORITY", self.sandbox.base_url()),
            ("MSR_TARGET__SENTINEL__ENDPOINT", self.sandbox.base_url()),
        ]);
        command
    }

    /// An option for each question.
    fn answers(&self) -> Vec<String> {
        let account = &self.sandbox.settings().accounts[0];
        let (key, secret) = (self.file("key"), self.file("secret"));
        std::fs::write(&key, READER).unwrap();
        std::fs::write(&secret, SECRET).unwrap();
        vec![
            format!("--misp-url={}", self.rest.base_url()),
            format!("--misp-key-file={}", key.display()),
            format!("--zeromq={}", self.publisher.endpoint()),
            format!("--workspace-id={}", self.sandbox.settings().workspaces[0]),
            format!("--tenant-id={}", account.tenant_id),
            format!("--client-id={}", account.client_id),
            format!("--client-secret-file={}", secret.display()),
            format!("--data-dir={}", self.file("ledger").display()),
        ]
    }

    fn answered(&self) -> Command {
        let mut command = self.init();
        command.args(self.answers());
        command
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.file("relay.toml")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn told(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// The relay itself takes the file, without any variable.
fn is_valid(file: &Path) {
    let checked = program().args(["check-config", "--config"]).arg(file).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", told(&checked));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_answer_every_question() {
    let around = Surroundings::start().await;
    let done = around.answered().arg("--mode=dry-run").output().unwrap();
    let out = told(&done);
    assert_eq!(done.status.code(), Some(0), "{out}");
    for line in [
        "ok       host MISP",
        "ok       misp key:",
        "ok       zeromq tcp://",
        "ok       token sentinel: given for the client-secret",
        "ok       workspace sentinel: an empty request is let in",
        "not there yet; the first `run` makes it",
        "_notifications_enable true",
        "Plugin.ZeroMQ_enable true",
        "misp-sentinel-relay check --config",
        "misp-sentinel-relay run --config",
    ] {
        assert!(out.contains(line), "no {line:?} in\n{out}");
    }
    let file = around.file("relay.toml");
    assert_eq!(mode(&file), 0o600);
    let written = around.written();
    let table: toml::Table = written.parse().unwrap();
    assert_eq!(table["misp"]["url"].as_str(), Some(around.rest.base_url().as_str()));
    assert_eq!(table["misp"]["key_file"].as_str(), around.file("key").to_str());
    let target = &table["target"]["sentinel"];
    assert_eq!(target["mode"].as_str(), Some("dry-run"));
    assert_eq!(target["client_secret_file"].as_str(), around.file("secret").to_str());
    assert!(!written.contains(READER) && !written.contains(SECRET) && !out.contains(SECRET));
    is_valid(&file);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten() {
    let around = Surroundings::start().await;
    std::fs::write(around.file("relay.toml"), "mine").unwrap();
    let done = around.answered().output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(told(&done).contains("exists, and is left as it is"), "{}", told(&done));
    assert_eq!(around.written(), "mine");

    // A secret's file is not overwritten either, and half of a configuration is not written.
    std::fs::remove_file(around.file("relay.toml")).unwrap();
    std::fs::write(around.file("sentinel.secret"), "mine").unwrap();
    let mut answers = around.answers();
    answers.retain(|answer| !answer.starts_with("--client-secret-file"));
    let mut command = around.init();
    command.args(answers).args(["--no-test", "--zeromq-username=relay"]);
    command
        .env("MSR_MISP__ZEROMQ__PASSWORD", "p")
        .env("MSR_TARGET__SENTINEL__CLIENT_SECRET", SECRET);
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", told(&done));
    assert!(told(&done).contains("sentinel.secret exists"), "{}", told(&done));
    assert!(!around.file("relay.toml").exists() && !around.file("zeromq.secret").exists());
    assert!(!text(&done.stdout).contains("MISP"), "it is told before anything is tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_told_before_the_first_question() {
    let around = Surroundings::start().await;
    std::fs::write(around.file("misp.secret"), "mine").unwrap();
    let (code, shown) = Terminal::start(80, around.init()).end().await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("misp.secret exists") && !shown.contains("Address of MISP"), "{shown}");

    // Not so if its content is not to be typed.
    let mut command = around.init();
    command.arg("--misp-key-file").arg(around.file("misp.secret"));
    let mut terminal = Terminal::start(80, command);
    terminal.wait_for("Address of MISP").await;
    terminal.type_end();
    terminal.end().await;

    // /dev/null is no folder, and nobody can make one in /proc.
    for file in ["/dev/null/relay.toml", "/proc/none/relay.toml"] {
        let mut command = program();
        command.args(["init", "--config", file]);
        let (code, shown) = Terminal::start(80, command).end().await;
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains(&format!("{file} cannot be made")), "{shown}");
        assert!(shown.contains("name a file with --config"), "{shown}");
        assert!(!shown.contains("Address of MISP"), "{shown}");
    }
}

/// The relay may start in another folder.
#[tokio::test(flavor = "multi_thread")]
async fn paths_are_written_from_the_root() {
    let around = Surroundings::start().await;
    let mut answers = around.answers();
    answers.retain(|answer| !answer.starts_with("--data-dir"));
    let mut command = around.init();
    command.args(answers).arg("--no-test").current_dir(around.folder.path());
    let done = command.env("MSR_LEDGER__DATA_DIR", "sandbox-ledger").output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    let written: toml::Table = around.written().parse().unwrap();
    let folder = written["ledger"]["data_dir"].as_str();
    assert_eq!(folder, around.file("sandbox-ledger").to_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_configuration_write_nothing() {
    let around = Surroundings::start().await;
    let done = around.init().args(["--yes", "--no-test", "--workspace-id=soc"]).output().unwrap();
    let out = told(&done);
    assert_eq!(done.status.code(), Some(2), "{out}");
    for key in
        ["misp.public_url", "misp.zeromq.endpoints", "target.sentinel.workspace_id", "tenant_id"]
    {
        assert!(out.contains(key), "no {key} in\n{out}");
    }
    assert_eq!(std::fs::read_dir(around.folder.path()).unwrap().count(), 0);
}

/// The answers are tried as variables, which nobody has set.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_names_the_option_the_answer_or_the_variable_that_it_is_in() {
    let around = Surroundings::start().await;
    let own = "MSR_TARGET__SENTINEL__MODE";
    let given = ["--yes", "--misp-url=ftp://misp.example.org", "--workspace-id=soc"];
    for tried in ["--secrets-inside", "--no-test"] {
        let done = around.init().args(given).arg(tried).env(own, "maybe").output().unwrap();
        let out = told(&done);
        assert!(out.contains("(option --misp-url)"), "{out}");
        assert!(out.contains("(option --workspace-id)"), "{out}");
        let mut variables = out.split("environment variable ").skip(1).peekable();
        assert!(variables.peek().is_some() && variables.all(|name| name.starts_with(own)), "{out}");
        assert!(out.contains("answer it by --tenant-id; "), "{out}");
        assert!(out.contains("answer it by --client-secret-file; "), "{out}");
    }
    let mut answers = around.answers();
    answers.retain(|answer| !answer.starts_with("--workspace-id"));
    let mut command = around.init();
    command.args(answers);
    let mut terminal = Terminal::start(80, command);
    answer(&mut terminal, "Plugin.ZeroMQ_username: ", "").await;
    answer(&mut terminal, "Workspace ID: ", "soc").await;
    answer(&mut terminal, "Sign in by", "").await;
    answer(&mut terminal, "[live]: ", "").await;
    let shown = terminal.wait_for("[Y/n]: ").await;
    assert!(shown.contains("(your answer)"), "{shown}");
    terminal.type_end();
    terminal.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_is_told_and_written_all_the_same() {
    let around = Surroundings::start().await;
    let mut command = around.answered();
    std::fs::write(around.file("secret"), "another").unwrap();
    let done = command.arg("--secrets-inside").output().unwrap();
    let out = told(&done);
    assert_eq!(done.status.code(), Some(1), "{out}");
    assert!(out.contains("ERROR    token sentinel:") && out.contains("AADSTS7000215"), "{out}");
    is_valid(&around.file("relay.toml"));
}

/// The configuration names the place, as for a Key Vault, and no file of its own is made of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_lies_elsewhere_stays_there() {
    let around = Surroundings::start().await;
    let mut answers = around.answers();
    answers.retain(|answer| !answer.starts_with("--client-secret-file"));
    let place = format!("file:{}", around.file("secret").display());
    let mut command = around.init();
    let done = command.args(answers).env("MSR_TARGET__SENTINEL__CLIENT_SECRET", &place).output();
    let done = done.unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    assert!(told(&done).contains("given for the client-secret"), "{}", told(&done));
    assert!(around.written().contains(&format!("client_secret = {place:?}")));
    assert!(!around.file("sentinel.secret").exists());
    is_valid(&around.file("relay.toml"));
}

/// Waits for a question and answers it; returns what was shown before.
async fn answer(terminal: &mut Terminal, question: &str, line: &str) -> String {
    let told = terminal.wait_for(question).await;
    terminal.type_line(line);
    told
}

/// The same for a secret.
async fn whisper(terminal: &mut Terminal, question: &str, line: &str) -> String {
    let told = terminal.wait_for(question).await;
    terminal.type_hidden(line).await;
    told
}

/// Secrets that are typed, wrong answers that are corrected, and one that is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_dialogue_tries_each_answer() {
    let around = Surroundings::start().await;
    let account = around.sandbox.settings().accounts[0].clone();
    let workspace = around.sandbox.settings().workspaces[0].to_string();
    let (url, endpoint) = (around.rest.base_url(), around.publisher.endpoint());
    let mut shown = Terminal::start(80, around.init());
    let terminal = &mut shown;

    answer(terminal, "Address of MISP: ", &url).await;
    whisper(terminal, "(none: the feed alone): ", "NotTheKey").await;
    let told = answer(terminal, "Answer again? n keeps these answers [Y/n]: ", "").await;
    assert!(told.contains("ERROR    misp key:"), "{told}");
    // An empty line repeats the answer.
    answer(terminal, &format!("Address of MISP [{url}]: "), "").await;
    whisper(terminal, "[as before]: ", READER).await;
    let usual = "Publisher (none: no feed) [tcp://127.0.0.1:50000]: ";
    let told = answer(terminal, usual, "tcp://127.0.0.1:1").await;
    assert!(told.contains("ok       misp key:") && !told.contains("ERROR"), "{told}");

    answer(terminal, "Plugin.ZeroMQ_username: ", "").await;
    let told = answer(terminal, "[Y/n]: ", "y").await;
    assert!(told.contains("ERROR    zeromq tcp://127.0.0.1:1:"), "{told}");
    answer(terminal, "[tcp://127.0.0.1:1]: ", &endpoint).await;
    answer(terminal, "Plugin.ZeroMQ_username: ", "").await;

    answer(terminal, "Workspace ID: ", &workspace).await;
    answer(terminal, "[client-secret]: ", "").await;
    answer(terminal, "Directory (tenant) ID: ", &account.tenant_id).await;
    answer(terminal, "Application (client) ID: ", &account.client_id).await;
    whisper(terminal, "Value of the client secret: ", "NotTheSecret").await;
    answer(terminal, "[live]: ", "").await;
    let told = answer(terminal, "[Y/n]: ", "n").await;
    assert!(told.contains("AADSTS7000215"), "{told}");
    answer(terminal, "Folder of the ledger, on a local disk [", "").await;
    let (code, shown) = shown.end().await;
    assert_eq!(code, Some(1), "one answer is wrong still: {shown}");
    for secret in [READER, "NotTheKey", "NotTheSecret"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    for (name, secret) in [("misp.secret", READER), ("sentinel.secret", "NotTheSecret")] {
        let file = around.file(name);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
        assert_eq!(mode(&file), 0o600);
    }
    let written = around.written();
    let table: toml::Table = written.parse().unwrap();
    assert_eq!(table["misp"]["key_file"].as_str(), around.file("misp.secret").to_str());
    assert_eq!(table["ledger"]["data_dir"].as_str(), around.file("ledger").to_str());
    assert!(!written.contains(READER) && !written.contains("NotTheSecret"), "{written}");
    is_valid(&around.file("relay.toml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialogue_that_is_ended_early_writes_nothing() {
    let around = Surroundings::start().await;
    let mut terminal = Terminal::start(80, around.init());
    answer(&mut terminal, "Address of MISP: ", "https://misp.example.org").await;
    whisper(&mut terminal, "(none: the feed alone): ", "").await;
    terminal.wait_for("Publisher").await;
    terminal.type_end();
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("nothing is written"), "{shown}");
    assert_eq!(std::fs::read_dir(around.folder.path()).unwrap().count(), 0);
}

/// What the tutorial does: the sandbox's variables are the answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandboxs_variables_are_answers() {
    let around = Surroundings::start().await;
    let file = around.file("relay.toml");
    let mut command = program();
    command
        .args(["init", "--yes", "--target=sandbox", "--config", file.to_str().unwrap()])
        .args(["--misp-url=https://misp.example.org", "--zeromq", &around.publisher.endpoint()])
        .arg(format!("--data-dir={}", around.file("ledger").display()))
        .envs(around.sandbox.relay_environment())
        .env("MSR_POLICY__ALLOW_NON_ROUTABLE", "true")
        .env("MSR_MISP__WINDOW", "");
    let done = command.output().unwrap();
    let out = told(&done);
    assert_eq!(done.status.code(), Some(0), "{out}");
    let (_, left) = out.split_once("still needed in the environment").unwrap();
    let left = left.lines().skip(1).map_while(|line| line.strip_prefix("  "));
    assert_eq!(
        left.collect::<Vec<_>>(),
        [
            "MSR_POLICY__ALLOW_NON_ROUTABLE",
            "MSR_TARGET__SANDBOX__LOGS",
            "MSR_TARGET__SANDBOX__MANAGEMENT",
            "MSR_TARGET__SANDBOX__RESOURCE_GROUP",
            "MSR_TARGET__SANDBOX__SUBSCRIPTION_ID",
            "MSR_TARGET__SANDBOX__WORKSPACE_NAME",
        ]
    );
    let secret = around.file("sandbox.secret");
    assert_eq!(
        (std::fs::read_to_string(&secret).unwrap().as_str(), mode(&secret)),
        (SECRET, 0o600)
    );
    is_valid(&file);
    // Also in the same shell, where the secret is in a variable and in a file.
    let mut again = program();
    again.args(["check-config", "--config"]).arg(&file).envs(around.sandbox.relay_environment());
    let again = again.output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", told(&again));
    let written: toml::Table = around.written().parse().unwrap();
    let endpoint = written["target"]["sandbox"]["endpoint"].as_str();
    assert_eq!(endpoint, Some(around.sandbox.base_url().as_str()));
}
