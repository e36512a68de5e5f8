//! Reads the settings of a source, which is a MISP instance: its address, the ZeroMQ feed and the webhook. The file
//! `rest` reads those of the REST API. The keys are those of `[misp]`. With several sources the reader looks for them
//! in `[source.NAME]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::address::{WEB_ADDRESS, trimmed, web_address};
use super::layers::SOURCE;
use super::mistake::Problem;
use super::reader::Reader;
use super::rest::{self, Rest};
use super::section::section;
use super::sightings::{self, Telling};
use super::values::{GIB, KIB, fitting};
use super::{Schedule, Secret};

const PUBLIC_URL: &str = "misp.public_url";

const SCHEDULE: &str = "minute, hour, day of month, month, day of week; UTC";

section! {
    /// A MISP instance that is relayed.
    #[derive(Debug, Clone)]
    pub struct Source at "misp" {
        /// The name of the source in the ledger, in metrics and in logs.
        name: String = name,
        /// The section of the configuration: `misp`, or `source.NAME`.
        section: String = |reader, _| reader.source_section().to_owned(),
        /// Whether anything is read from it. Its claims stay either way.
        enabled: bool = Reader::flag,
        /// The beginning of links to this MISP, without a slash at the end.
        public_url: String = public_url,
        zeromq: ZeroMq = |reader, _| ZeroMq::read(reader),
        /// `None` when `misp.webhook.listen` is empty.
        webhook: Option<Webhook> = webhook,
        /// `None` without `misp.key`.
        rest: Option<Rest> = |reader, _| rest::read(reader),
        on_unpublish: OnUnpublish = |reader, key| reader.word(key, OnUnpublish::Keep),
        /// The greatest age of `publish_timestamp` in what is fetched. `None`: any.
        window: Option<Duration> = |reader, key| {
            reader.optional_duration(key, Duration::from_secs(1))
        },
        /// `misp.search`: parameters of restSearch that an event must also match. Empty: none.
        search: Map<String, Value> = rest::search,
        /// When a full resync starts by itself. `None`: never.
        resync at "misp.resync.schedule": Option<Schedule> = schedule,
        /// How it is told of hits. `None` without `misp.sightings.key`.
        telling: Option<Telling> = |reader, _| sightings::read(reader),
        warninglists: WarninglistRules = |reader, _| WarninglistRules::read(reader),
    }
}

section! {
    /// How MISP's warninglists are read.
    #[derive(Debug, Clone, Copy)]
    pub struct WarninglistRules at "misp.warninglists" {
        refresh_every: Duration = Reader::time,
        /// The largest answer of MISP for a list, in bytes. A larger one is an error.
        max_list: usize = |reader, key| reader.bytes(key, KIB..=GIB),
    }
}

/// What happens to an event that is no longer published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum OnUnpublish {
    /// Its last published attributes stay, as far as MISP still shows them.
    Keep,
    Withdraw,
}

section! {
    /// MISP's ZeroMQ publishers and how closely they are watched.
    #[derive(Debug, Clone)]
    pub struct ZeroMq at "misp.zeromq" {
        /// The publishers of this MISP, each as `tcp://host:port`.
        endpoints: Vec<String> = endpoints,
        /// `Plugin.ZeroMQ_username` and `_password`, for ZMTP PLAIN. `None`: the feed needs none.
        credentials: Option<Plain> = |reader, _| plain(reader),
        /// The time-out for connect and handshake together.
        connect_timeout: Duration = Reader::time,
        /// The longest pause between two attempts to connect.
        reconnect_max: Duration = Reader::time,
        /// The longest silence of an endpoint, on both its sockets, before it is reconnected.
        silence: Duration = Reader::time,
        /// The largest frame, in bytes. A larger one is dropped and recorded as a gap.
        max_frame: usize = |reader, key| reader.bytes(key, KIB..=GIB),
        /// The most publications in memory before the ledger takes them, in bytes.
        max_waiting: usize = |reader, key| reader.bytes(key, KIB..=2 * GIB),
    }
}

/// ZMTP PLAIN credentials.
#[derive(Debug, Clone)]
pub struct Plain {
    pub username: String,
    pub password: Secret,
}

section! {
    /// The listener for MISP's workflow webhook module.
    #[derive(Debug, Clone)]
    pub struct Webhook at "misp.webhook" {
        /// The section of the configuration: `misp.webhook`, or `source.NAME.webhook`.
        section: String = |reader, _| format!("{}.webhook", reader.source_section()),
        listen: SocketAddr = |reader, key| {
            reader.address(key).unwrap_or(([127, 0, 0, 1], 0).into())
        },
        /// The path that MISP posts to, e.g. `/misp`.
        path: String = |reader, key| reader.parsed(key, "a path, e.g. /misp", url_path),
        /// The name of the header with the shared secret.
        secret_header: String = |reader, key| {
            reader.parsed(key, "the name of an HTTP header", header_name)
        },
        secret: Secret = Reader::secret,
        /// The largest body, in bytes. A larger one is answered with 413.
        max_body: usize = |reader, key| reader.bytes(key, KIB..=GIB),
        /// The most bytes of all bodies in progress. Beyond it the answer is 503.
        max_total: usize = |reader, key| reader.bytes(key, KIB..=2 * GIB),
        /// The time within which MISP is answered in any case.
        answer_within: Duration = Reader::time,
        /// The time that a stored publication waits for its confirmation before it is dropped.
        confirm_within: Duration = Reader::time,
        /// The certificate chain and key, PEM. `None`: the listener uses no TLS.
        tls: Option<TlsFiles> = |reader, _| tls_files(reader),
    }
}

/// Certificate chain and private key, PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Source {
    /// Returns the name of `[source.NAME]`. `None`: it is the source of `[misp]`.
    pub(super) fn own_name(&self) -> Option<&str> {
        self.section.starts_with(SOURCE).then_some(&self.name)
    }

    /// Returns the path of a key of this source, as the operator writes it: `misp.key`, or `source.NAME.key`.
    pub fn key_of(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.section)
    }
}

impl Webhook {
    /// Returns the path of a key of this webhook, as the operator writes it, e.g. `misp.webhook.secret`.
    pub fn key_of(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.section)
    }

    /// Returns the address and the path, e.g. `0.0.0.0:8443/misp`.
    pub fn place(&self) -> String {
        format!("{}{}", self.listen, self.path)
    }
}

impl ZeroMq {
    /// Returns the same settings with another password, if there are credentials.
    pub fn with_password(&self, password: Secret) -> Self {
        let credentials = self.credentials.clone();
        let credentials = credentials.map(|plain| Plain { password, ..plain });
        Self { credentials, ..self.clone() }
    }
}

/// The letters of a name that an operator writes into `[source.NAME]`.
const NAME: &str = "a to z, 0 to 9 and -";

fn name(reader: &mut Reader, key: &str) -> String {
    let Some(name) = reader.source_name().map(str::to_owned) else {
        return reader.required(key, "the source needs a name");
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(allowed) {
        let problem = Problem::new("not a name for a source").allowed(NAME);
        reader.fault(&format!("source.{name}"), problem);
    }
    name
}

/// Returns `misp.public_url`, or else `misp.url` if its host has a dot: a browser probably reaches that.
pub(super) fn known_public_url(reader: &mut Reader) -> Option<String> {
    let public = reader.optional(PUBLIC_URL, WEB_ADDRESS, web_address);
    let own = reader.optional("misp.url", WEB_ADDRESS, web_address);
    let derived = own.filter(|url| url.host_str().is_some_and(|host| host.contains('.')));
    public.or(derived).as_ref().map(trimmed)
}

fn public_url(reader: &mut Reader, _key: &str) -> String {
    let url = known_public_url(reader);
    if url.is_none() && reader.sound("misp.url") {
        reader.missing(PUBLIC_URL, "links back to MISP need an address that browsers reach");
    }
    url.unwrap_or_default()
}

fn schedule(reader: &mut Reader, key: &str) -> Option<Schedule> {
    reader.optional(key, SCHEDULE, |text| {
        Schedule::parse(text).map_err(|why| format!("no schedule: {why}").into())
    })
}

fn endpoints(reader: &mut Reader, key: &str) -> Vec<String> {
    let endpoints = reader.texts(key);
    for endpoint in &endpoints {
        if !is_endpoint(endpoint) {
            let allowed = "tcp://host:port, e.g. tcp://misp-core:50000";
            reader.refuse(key, endpoint, allowed, "not the address of a ZeroMQ publisher");
        }
    }
    endpoints
}

fn is_endpoint(text: &str) -> bool {
    let parts = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
    parts.is_some_and(|(host, port)| {
        let plain = !host.is_empty() && !host.contains(['/', '@', '*', ' ']);
        plain && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn plain(reader: &mut Reader) -> Option<Plain> {
    const USERNAME: &str = "misp.zeromq.username";
    const PASSWORD: &str = "misp.zeromq.password";
    let username = reader.text(USERNAME);
    let password = reader.secret(PASSWORD);
    match (username.is_empty(), password.is_given()) {
        (true, false) => return None,
        (false, false) => reader.missing(PASSWORD, "misp.zeromq.username is set"),
        (true, true) => reader.missing(USERNAME, "misp.zeromq.password is set"),
        (false, true) => {}
    }
    Some(Plain { username, password })
}

fn webhook(reader: &mut Reader, section: &str) -> Option<Webhook> {
    let webhook = Webhook::read(reader);
    reader.address(&format!("{section}.listen")).map(|_| webhook)
}

fn tls_files(reader: &mut Reader) -> Option<TlsFiles> {
    const CERTIFICATE: &str = "misp.webhook.tls_certificate";
    const KEY: &str = "misp.webhook.tls_key";
    match (reader.path(CERTIFICATE), reader.path(KEY)) {
        (Some(certificate), Some(key)) => return Some(TlsFiles { certificate, key }),
        (Some(_), None) => reader.missing(KEY, "tls_certificate is set"),
        (None, Some(_)) => reader.missing(CERTIFICATE, "tls_key is set"),
        (None, None) => {}
    }
    None
}

fn url_path(text: &str) -> Result<String, Problem> {
    let fits = text.starts_with('/') && !text.contains(['?', '#', '{', '*', ' ']);
    fitting(text, fits, "no plain path that begins with /")
}

fn header_name(text: &str) -> Result<String, Problem> {
    let fits = axum::http::HeaderName::try_from(text).is_ok();
    fitting(text, fits, "no name of a header")
}
