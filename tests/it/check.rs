//! Tests the command `check` against a correct set-up, and against set-ups with one fault each. It uses the
//! built binary, MISP over REST and ZeroMQ, and Azure over TLS.

use std::sync::Arc;
use std::time::Duration;

use misp_sentinel_relay::config::Secret;
use misp_sentinel_relay::misp_api::{MispClient, RestError};
use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings, SignInFault};
use misp_stand_in::{Key, Misp, MispServer, MispSettings, NewAttribute, NewEvent, Warninglist};
use serde_json::Value;
use tempfile::TempDir;

use crate::rest_tls::{authority, params, serve, signed};
use crate::support::port::free_address;
use crate::support::program::program;
use crate::support::publisher::Publisher;
use crate::support::relay::{FAST, Relay, environment};
use crate::support::rest::{FakeRest, settings};
use crate::support::sandbox::{start, start_with};

const ADMIN: &str = "SiteAdministratorsKeyOfTheMispStandIn000";
const READER: &str = "AReadOnlyKeyOfTheMispStandIn000000000000";
const UNKNOWN: &str = "11111111-1111-4111-8111-111111111111";

/// All that a relay has around it, in good health.
struct Setup {
    misp: Misp,
    rest: MispServer,
    publisher: Arc<Publisher>,
    heart: tokio::task::AbortHandle,
    sandbox: Sandbox,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Setup {
    async fn well() -> Self {
        Self::with(Publisher::bind(), start().await).await
    }

    async fn with(publisher: Publisher, sandbox: Sandbox) -> Self {
        let misp = Misp::new(chrono::Utc::now().timestamp());
        let event = NewEvent {
            attributes: vec![
                NewAttribute::new("domain", "evil.example"),
                NewAttribute { to_ids: false, ..NewAttribute::new("domain", "seen.example") },
            ],
            ..NewEvent::default()
        };
        let uuid = event.uuid;
        misp.add_event(event);
        misp.publish(uuid);
        misp.set_warninglist(Warninglist::new(1, "string", &["domain"], &["good.example"]));
        let keys = vec![Key::site_admin(ADMIN), Key::read_only(READER)];
        let serving = MispSettings { keys, ..MispSettings::default() };
        let rest = MispServer::start(misp.clone(), serving).await.unwrap();
        let publisher = Arc::new(publisher);
        let heart = tokio::spawn(beat(Arc::clone(&publisher))).abort_handle();
        let folder = TempDir::new().unwrap();
        let mut settings: Vec<(String, String)> =
            FAST.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        settings.extend(environment(&sandbox));
        let own = [
            ("MSR_MISP__ZEROMQ__ENDPOINTS", publisher.endpoint()),
            ("MSR_MISP__URL", rest.base_url()),
            ("MSR_MISP__KEY", READER.to_owned()),
            ("MSR_LEDGER__DATA_DIR", folder.path().display().to_string()),
            ("MSR_DELIVERY__QUOTA_REQUESTS", "99".to_owned()),
            ("MSR_DELIVERY__QUOTA_WINDOW", "60s".to_owned()),
        ];
        settings.extend(own.map(|(key, value)| (key.to_owned(), value)));
        Self { misp, rest, publisher, heart, sandbox, folder, settings }
    }

    fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    fn check(&self, options: &[&str]) -> Told {
        let output = program()
            .args(["check", "--json", "--wait", "2s"])
            .args(options)
            .envs(self.settings.iter().cloned())
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        for secret in [ADMIN, READER, "sandbox-secret"] {
            assert!(!out.contains(secret), "{out}");
        }
        let findings = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Told { code: output.status.code(), findings }
    }
}

/// As MISP's publisher does while nothing happens.
async fn beat(publisher: Arc<Publisher>) {
    loop {
        if publisher.runs() {
            publisher.send_heartbeat(7).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Told {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Told {
    /// The only error is of this step and subject; both texts hold these words.
    fn one_error(&self, step: &str, subject: &str, evidence: &[&str], remedy: &[&str]) {
        let errors = self.of("error");
        assert_eq!(errors.len(), 1, "{:#?}", self.findings);
        matches(errors[0], (step, subject), evidence, remedy);
        assert_eq!(self.code, Some(2));
    }

    /// No error, and the only warning is this one.
    fn one_warning(&self, step: &str, subject: &str, evidence: &[&str], remedy: &[&str]) {
        assert!(self.of("error").is_empty(), "{:#?}", self.findings);
        let warnings = self.of("warning");
        assert_eq!(warnings.len(), 1, "{:#?}", self.findings);
        matches(warnings[0], (step, subject), evidence, remedy);
        assert_eq!(self.code, Some(1));
    }

    fn of(&self, severity: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["severity"] == severity).collect()
    }

    fn find(&self, step: &str, subject: &str) -> &Value {
        let found =
            self.findings.iter().find(|one| one["step"] == step && has(one, "subject", subject));
        found.unwrap_or_else(|| panic!("no {step} {subject} in {:#?}", self.findings))
    }
}

fn matches(finding: &Value, (step, subject): (&str, &str), evidence: &[&str], remedy: &[&str]) {
    assert_eq!(finding["step"], step, "{finding:#}");
    assert!(has(finding, "subject", subject), "{finding:#}");
    for (member, words) in [("evidence", evidence), ("remedy", remedy)] {
        for word in words {
            assert!(has(finding, member, word), "no {word:?} in the {member} of {finding:#}");
        }
    }
}

fn has(finding: &Value, member: &str, words: &str) -> bool {
    finding[member].as_str().unwrap_or_default().contains(words)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up_is_well_in_every_step() {
    let setup = Setup::well().await;
    let told = setup.check(&[]);
    assert_eq!(told.code, Some(0), "{:#?}", told.findings);
    let steps: Vec<&str> =
        told.findings.iter().map(|finding| finding["step"].as_str().unwrap()).collect();
    let mut order = steps.clone();
    order.dedup();
    let expected = [
        "config",
        "clock",
        "host",
        "misp",
        "policy",
        "zeromq",
        "warninglists",
        "ledger",
        "admin",
        "token",
        "workspace",
        "read-back",
        "quota",
    ];
    assert_eq!(order, expected);
    assert!(has(told.find("misp", "key"), "evidence", "role Read Only"));
    assert!(has(told.find("misp", "version"), "evidence", "2.5.1"));
    let policy = told.find("policy", "sandbox");
    assert!(has(policy, "evidence", "1 published events"), "{policy}");
    assert!(
        has(policy, "evidence", "1 attributes are for Sentinel and 1 are not (1 to_ids_off)"),
        "{policy}"
    );
    assert!(has(told.find("zeromq", "tcp://"), "evidence", "heard misp_json_self"));
    assert!(has(
        told.find("zeromq", "topics"),
        "evidence",
        "ZeroMQ_attribute_notifications_enable"
    ));
    assert!(has(told.find("warninglists", ""), "evidence", "1 enabled in MISP"));
    assert!(has(told.find("ledger", ""), "evidence", "the first `run` makes it"));
    assert!(!setup.folder.path().join("ledger.db").exists(), "it changes nothing");
    assert!(setup.sandbox.objects(setup.sandbox.settings().workspaces[0]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_for_people() {
    let setup = Setup::well().await;
    let output = program()
        .args(["check", "--wait", "2s"])
        .envs(setup.settings.iter().cloned())
        .env("MSR_MISP__KEY", "0000000000000000000000000000000000000000")
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let refused = format!("MISP refuses {}/users/view/me (403)", setup.rest.base_url());
    assert!(out.contains(&format!("\nERROR    misp key: {refused}")), "{out}");
    assert!(out.contains("\n           -> set misp.key to a valid authentication key"), "{out}");
    assert!(out.ends_with("\n1 error, 0 warnings.\n"), "{out}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_probe_is_withdrawn_at_once() {
    let setup = Setup::well().await;
    let told = setup.check(&["--upload-probe"]);
    assert_eq!(told.code, Some(0), "{:#?}", told.findings);
    assert!(has(told.find("workspace", "sandbox"), "evidence", "and its withdrawal"));
    let held = setup.sandbox.objects(setup.sandbox.settings().workspaces[0]);
    assert_eq!((held.len(), held[0].writes), (1, 2));
    let until: chrono::DateTime<chrono::Utc> =
        held[0].json["valid_until"].as_str().unwrap().parse().unwrap();
    assert!(until < chrono::Utc::now() + chrono::TimeDelta::seconds(2), "{until}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_of_the_upload_probe_shows_whether_deletions_have_an_effect() {
    let mut setup = Setup::well().await;
    setup.set("MSR_INDICATOR__WITHDRAW", "delete");
    setup.set("MSR_AZURE__MANAGEMENT__INGESTION", "3s");
    let workspace = setup.sandbox.settings().workspaces[0];
    let told = setup.check(&[]);
    assert!(has(told.find("deletion", "sandbox"), "evidence", "--upload-probe"));
    assert!(setup.sandbox.managed().iter().all(|asked| asked.method != "DELETE"), "not asked for");

    let told = setup.check(&["--upload-probe"]);
    assert_eq!(told.code, Some(0), "{:#?}", told.findings);
    assert!(has(told.find("deletion", "sandbox"), "evidence", "it is gone"));
    assert_eq!(setup.sandbox.count(workspace), 0);

    setup.sandbox.delete_nothing(true);
    let told = setup.check(&["--upload-probe"]);
    told.one_warning("deletion", "sandbox", &["still shows it"], &["withdraw = \"expire\""]);
    assert_eq!(setup.sandbox.count(workspace), 1, "withdrawn, as without a deletion");
    let until = setup.sandbox.objects(workspace)[0].json["valid_until"].clone();
    let until: chrono::DateTime<chrono::Utc> = until.as_str().unwrap().parse().unwrap();
    assert!(until <= chrono::Utc::now(), "{until}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_relay_its_ledger_and_troubles_are_told() {
    let setup = Setup::well().await;
    let keep: Vec<(&str, &str)> =
        setup.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let relay = Relay::start(&setup.sandbox, &setup.publisher, &keep[FAST.len()..keep.len()]).await;
    let told = setup.check(&[]);
    assert!(
        has(told.find("ledger", ""), "evidence", "held by the running relay"),
        "{:#?}",
        told.findings
    );
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_key() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", "0000000000000000000000000000000000000000");
    setup.check(&[]).one_error("misp", "key", &["refuses", "403"], &["set misp.key to a valid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_in_misp() {
    let setup = Setup::well().await;
    setup.rest.set_keys(vec![Key { may_search: false, ..Key::read_only(READER) }]);
    let told = setup.check(&[]);
    let refused = format!("refuses {}/users/view/me", setup.rest.base_url());
    told.one_error("misp", "key", &[&refused], &["misp.key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_in_sentinel() {
    let setup = Setup::well().await;
    setup.sandbox.always(Some(Fault::Forbidden));
    let workspace = setup.sandbox.settings().workspaces[0].to_string();
    // The sandbox's tokens say whose they are, as Entra's do.
    let account = &setup.sandbox.settings().accounts[0].client_id;
    let object = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, account.as_bytes());
    let whom = format!("object id {object}");
    let remedy = ["Microsoft Sentinel Contributor", &workspace, &whom, "Access control (IAM)"];
    setup.check(&[]).one_error(
        "workspace",
        "sandbox",
        &["does not have required permission"],
        &remedy,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zeromq_off() {
    let setup = Setup::with(Publisher::absent(), start().await).await;
    let remedy = ["Plugin.ZeroMQ_enable", "cake Admin setSetting Plugin.ZeroMQ_host 0.0.0.0"];
    setup.check(&[]).one_error(
        "zeromq",
        "tcp://127.0.0.1:",
        &["cannot reach MISP's ZeroMQ"],
        &remedy,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_zeromq() {
    let setup = Setup::well().await;
    setup.heart.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    setup.check(&[]).one_error(
        "zeromq",
        "tcp://",
        &["nothing was heard for 2s"],
        &["mispzmq.error.log"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_plain_password() {
    let publisher = Publisher::bind_plain("relay", "right");
    let mut setup = Setup::with(publisher, start().await).await;
    setup.set("MSR_MISP__ZEROMQ__USERNAME", "relay").set("MSR_MISP__ZEROMQ__PASSWORD", "wrong");
    let remedy = ["Plugin.ZeroMQ_username/password"];
    setup.check(&[]).one_error(
        "zeromq",
        "tcp://",
        &["refused the ZeroMQ username or password"],
        &remedy,
    );
    setup.set("MSR_MISP__ZEROMQ__PASSWORD", "right");
    assert_eq!(setup.check(&[]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_off() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", ADMIN);
    setup.misp.switch("Plugin.ZeroMQ_attribute_notifications_enable", false);
    let told = setup.check(&[]);
    let topics = told.find("zeromq", "topics");
    assert_eq!(topics["severity"], "warning");
    assert!(
        has(topics, "evidence", "off in MISP: Plugin.ZeroMQ_attribute_notifications_enable;"),
        "{topics}"
    );
    assert!(
        has(topics, "remedy", "setSetting Plugin.ZeroMQ_attribute_notifications_enable true"),
        "{topics}"
    );
    assert_eq!(
        told.find("misp", "key")["severity"],
        "warning",
        "a site administrator's key sees too much"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_off() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", ADMIN);
    setup.misp.switch("Plugin.ZeroMQ_enable", false);
    let remedy = ["setSetting Plugin.ZeroMQ_enable true"];
    let evidence = ["Plugin.ZeroMQ_enable is off", "publishes nothing"];
    setup.check(&[]).one_error("zeromq", "topics", &evidence, &remedy);
}

/// As after its Redis went away: MISP's settings say that the feed is on.
#[tokio::test(flavor = "multi_thread")]
async fn publisher_gone() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", ADMIN);
    let nobody = free_address();
    setup.set("MSR_MISP__ZEROMQ__ENDPOINTS", format!("tcp://{nobody}"));
    let told = setup.check(&[]);
    let remedy = ["start MISP's publisher", "mispzmq.error.log"];
    told.one_error("zeromq", "tcp://", &["cannot reach MISP's ZeroMQ"], &remedy);
    let error = told.of("error")[0];
    assert!(!has(error, "remedy", "setSetting Plugin.ZeroMQ_enable"), "it is on: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_to_a_port_of_plain_http() {
    let mut setup = Setup::well().await;
    let url = setup.rest.base_url().replace("http://", "https://");
    setup.set("MSR_MISP__URL", url);
    let told = setup.check(&[]);
    told.one_error("host", "MISP ", &["speaks no TLS"], &["http:// in place of https://"]);
}

/// The address of a page of MISP, as a browser shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_the_url() {
    let mut setup = Setup::well().await;
    let root = setup.rest.base_url();
    setup.set("MSR_MISP__URL", format!("{root}/events/index"));
    let told = setup.check(&[]);
    let remedy = ["misp.url has the path /events/index", &*root];
    told.one_error("misp", "key", &[], &remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workflows_need() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", ADMIN);
    setup.set("MSR_MISP__WEBHOOK__LISTEN", "127.0.0.1:0");
    setup.set("MSR_MISP__WEBHOOK__SECRET", "0123456789abcdef");
    for setting in ["MISP.background_jobs", "Plugin.Enrichment_services_enable"] {
        setup.misp.switch(setting, false);
        let told = setup.check(&[]);
        let finding = told.find("webhook", "MISP");
        assert_eq!(finding["severity"], "warning");
        assert!(has(finding, "evidence", setting), "{finding}");
        setup.misp.switch(setting, true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_workspace() {
    let mut setup = Setup::well().await;
    setup.set("MSR_TARGET__SANDBOX__WORKSPACE_ID", UNKNOWN);
    let told = setup.check(&[]);
    let [upload, read_back] = told.of("error")[..] else { panic!("{:#?}", told.findings) };
    let remedy = ["check workspace_id", UNKNOWN];
    matches(upload, ("workspace", "sandbox"), &["could not be found"], &remedy);
    let right = setup.sandbox.settings().workspaces[0].to_string();
    let evidence = ["/workspaces/workspace-1 has the workspace ID", &right, UNKNOWN];
    let remedy = [&*format!("set target.sandbox.workspace_id to {right}")];
    matches(read_back, ("read-back", "sandbox"), &evidence, &remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_secret() {
    let setup = Setup::well().await;
    let body = r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app 'a' are expired.\r\nTrace ID: t","error_codes":[7000222]}"#;
    setup.sandbox.script_sign_ins([SignInFault::Answer { status: 401, body: body.to_owned() }]);
    setup.check(&[]).one_error(
        "token",
        "sandbox",
        &["AADSTS7000222"],
        &["has expired", "make a new one"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_id_for_value() {
    let mut setup = Setup::well().await;
    setup.set("MSR_TARGET__SANDBOX__CLIENT_SECRET", UNKNOWN);
    let told = setup.check(&[]);
    told.one_error("token", "sandbox", &["AADSTS7000215"], &["not its secret ID"]);
    assert!(
        has(told.of("warning")[0], "evidence", "looks like a Secret ID"),
        "{:#?}",
        told.findings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_ten_minutes_off() {
    let setup = Setup::well().await;
    setup.misp.advance(605);
    let told = setup.check(&[]);
    told.one_error("clock", "MISP", &["its clock is 10m", "ahead of"], &["of MISP", "NTP"]);

    setup.sandbox.set_clock_ahead(605);
    let told = setup.check(&[]);
    let evidence = ["this machine's clock is", "behind Microsoft's"];
    told.one_error("clock", "", &evidence, &["of this machine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn self_signed_tls() {
    let mut setup = Setup::well().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params(&["localhost"]).self_signed(&key).unwrap();
    let address = serve(certificate.der().clone(), &key);
    setup.set("MSR_MISP__URL", format!("https://localhost:{}", address.port()));
    let told = setup.check(&[]);
    told.one_error(
        "host",
        "MISP localhost:",
        &["self-signed"],
        &["misp.ca_file", "this certificate itself"],
    );
    assert!(has(told.find("misp", ""), "evidence", "not looked at"), "{:#?}", told.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_authority() {
    let mut setup = Setup::well().await;
    let other = start().await;
    setup.set("MSR_AZURE__CA_FILE", other.ca_file().display().to_string());
    let told = setup.check(&[]);
    let errors = told.of("error");
    let parts = ["Entra", "Sentinel", "management"].map(|part| ("host", part));
    assert_eq!(errors.len(), parts.len(), "{:#?}", told.findings);
    for (error, part) in errors.into_iter().zip(parts) {
        let evidence = ["signed by CN=misp-sentinel-relay sandbox CA", "does not know"];
        matches(error, part, &evidence, &["azure.ca_file", "company's proxy"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_mismatch() {
    let mut setup = Setup::well().await;
    let own = authority("of the operator");
    let address = signed(&own, &["misp.example.org"]);
    setup.set("MSR_MISP__URL", format!("https://localhost:{}", address.port()));
    setup.set("MSR_MISP__CA_FILE", own.file.path().display().to_string());
    let evidence = ["is for", "misp.example.org", "not for localhost"];
    setup.check(&[]).one_error("host", "MISP localhost:", &evidence, &["misp.url", "localhost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_name() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__URL", "http://misp.invalid:8080");
    let evidence = ["the name misp.invalid is not resolved"];
    setup.check(&[]).one_error("host", "MISP misp.invalid:8080", &evidence, &["misp.url", "DNS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_refused() {
    let mut setup = Setup::well().await;
    let nobody = free_address();
    setup.set("MSR_MISP__PROXY", format!("http://{nobody}"));
    setup.set("MSR_MISP__URL", "http://misp.example:8080");
    let evidence = [&*format!("the proxy {nobody} does not lead there"), "refused"];
    setup.check(&[]).one_error("host", "MISP misp.example:8080", &evidence, &["check misp.proxy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_secret_missing() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__WEBHOOK__LISTEN", "127.0.0.1:0");
    let told = setup.check(&[]);
    let remedy = ["whoever reaches the webhook could publish", "MSR_MISP__WEBHOOK__SECRET"];
    told.one_error("config", "misp.webhook.secret", &["required, and not set"], &remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_port_taken() {
    let mut setup = Setup::well().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.set("MSR_MISP__WEBHOOK__LISTEN", taken.local_addr().unwrap().to_string());
    setup.set("MSR_MISP__WEBHOOK__SECRET", "0123456789abcdef");
    let evidence = ["another program listens"];
    setup.check(&[]).one_error("webhook", "127.0.0.1:", &evidence, &["misp.webhook.listen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_read_only() {
    let mut setup = Setup::well().await;
    // Not even root may write there.
    setup.set("MSR_LEDGER__DATA_DIR", "/sys/kernel/misp-sentinel-relay");
    let told = setup.check(&[]);
    told.one_error(
        "ledger",
        "/sys/kernel/",
        &["cannot be made"],
        &["ledger.data_dir", "may write"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_damaged() {
    let setup = Setup::well().await;
    std::fs::write(
        setup.folder.path().join("ledger.db"),
        "no database at all, by no means".repeat(40),
    )
    .unwrap();
    setup.check(&[]).one_error("ledger", "ledger.db", &["damaged"], &["restore it from a backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_that_selects_nothing() {
    let mut setup = Setup::well().await;
    setup.set("MSR_POLICY__TAGS_INCLUDE", "workflow:state=\"complete\"");
    let evidence = ["it selects nothing", "1 tag_missing"];
    setup.check(&[]).one_warning("policy", "sandbox", &evidence, &["explain EVENT-UUID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__SEARCH", r#"{"tags": ["nobody-has-this"]}"#);
    let evidence = ["no published event"];
    setup.check(&[]).one_warning("policy", "", &evidence, &["misp.search"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_config_key() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__ZEROMQ__SILENSE", "60s");
    let told = setup.check(&[]);
    let remedy = ["did you mean misp.zeromq.silence?"];
    told.one_error(
        "config",
        "misp.zeromq.silense",
        &["unknown key", "MSR_MISP__ZEROMQ__SILENSE"],
        &remedy,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_warninglist_is_enabled() {
    let setup = Setup::well().await;
    setup.misp.set_warninglist(Warninglist {
        enabled: false,
        ..Warninglist::new(1, "string", &["domain"], &[])
    });
    setup.check(&[]).one_warning(
        "warninglists",
        "",
        &["none is enabled"],
        &["enable some in MISP"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_shared_hosts_is_enabled_or_is_named() {
    let mut setup = Setup::well().await;
    setup.misp.set_warninglist(Warninglist::new(2, "cidr", &["ip-dst"], &["192.0.2.0/24"]));
    setup.misp.set_warninglist(Warninglist {
        enabled: false,
        ..Warninglist::new(3, "hostname", &["domain"], &["good.example"])
    });
    setup.set("MSR_POLICY__SHARED_HOST_LISTS", "list 1, List 2, List 3");
    setup.set("MSR_POLICY__WARNINGLISTS", "off");
    let told = setup.check(&[]);
    assert!(has(told.find("warninglists", "\"list 1\""), "evidence", "enabled in MISP"));
    let warnings = told.of("warning");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    let of = |list: &str| told.find("warninglists", list);
    assert!(has(of("\"List 2\""), "evidence", "no entries that are hosts"));
    assert!(has(of("\"List 3\""), "evidence", "no warninglist of this name is enabled"));
    assert!(has(of("\"List 3\""), "remedy", "enable it in MISP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_only_the_feed_is_said_first() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__KEY", "");
    let told = setup.check(&[]);
    let first = &told.findings[0];
    assert_eq!((&first["step"], &first["severity"]), (&"config".into(), &"note".into()));
    assert!(has(first, "evidence", "only what is of distribution 1 to 3"), "{first}");
    assert!(has(first, "evidence", "policy.org_without_key"), "{first}");
}

/// As MISP 2.5.1 answered a site administrator and a read-only user, and as the stand-in does.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_misp_are_read_as_recorded() {
    const NAME: &str = "Plugin.ZeroMQ_enable";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/lists-and-settings");
    let setup = Setup::well().await;
    for (suffix, key) in [("", ADMIN), ("_as_readonly", READER)] {
        let recorded =
            std::fs::read(format!("{folder}/getSetting_{NAME}{suffix}.response.http")).unwrap();
        let real = FakeRest::saying(recorded).await;
        // They differ in their addresses alone.
        let told = |error: RestError, url: &str| error.to_string().replace(url, "");
        let said = real.client().setting(NAME).await.map_err(|error| told(error, &real.url));
        let mut rest = settings(&setup.rest.base_url());
        rest.key = Secret::new(key);
        let stand_in = MispClient::new(&rest).unwrap().setting(NAME).await;
        let url = setup.rest.base_url();
        assert_eq!(said, stand_in.map_err(|error| told(error, &url)));
        assert_eq!(said.is_ok(), suffix.is_empty(), "{said:?}");
    }
    assert_eq!(setup.rest.requests()[0].path, format!("/servers/getSetting/{NAME}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_name_of_the_feed() {
    let mut setup = Setup::well().await;
    setup.set("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core.invalid:50000");
    let evidence = ["cannot reach MISP's ZeroMQ", "lookup"];
    let remedy = ["misp.zeromq.endpoints", "DNS"];
    setup.check(&[]).one_error("zeromq", "tcp://misp-core.invalid", &evidence, &remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_on_the_workspace() {
    let account = Settings::default().accounts[0].client_id.clone();
    let sandbox = start_with(Settings { unprivileged: vec![account], ..Settings::default() }).await;
    let setup = Setup::with(Publisher::bind(), sandbox).await;
    let told = setup.check(&[]);
    let read_back = told.find("read-back", "sandbox");
    let remedy =
        ["Microsoft Sentinel Reader", "object id ", "/resourceGroups/", "/workspaces/workspace-1"];
    matches(read_back, ("read-back", "sandbox"), &["does not have authorization"], &remedy);
    assert_eq!(told.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_port_taken() {
    let mut setup = Setup::well().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.set("MSR_ADMIN__LISTEN", taken.local_addr().unwrap().to_string());
    let evidence = ["another program listens"];
    setup.check(&[]).one_error("admin", "127.0.0.1:", &evidence, &["admin.listen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_ledger_that_would_not_know_used_up_ids() {
    let mut setup = Setup::well().await;
    setup.set("MSR_TARGET__SANDBOX__WITHDRAW", "revoke");
    assert_eq!(setup.check(&[]).code, Some(0), "they are read back");
    for key in ["SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"] {
        setup.set(&format!("MSR_TARGET__SANDBOX__{key}"), "");
    }
    let evidence = ["`run` will not start for sandbox", "the ledger is empty"];
    setup.check(&[]).one_error("ledger", "ledger.db", &evidence, &["--accept-duplicates"]);
}
