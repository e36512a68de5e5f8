//! Reads the settings of the MISP instance: its address, the ZeroMQ feed and the webhook. The file `rest`
//! reads those of the REST API.

use std::time::Duration;

use reqwest::Url;

use super::address::{WEB_ADDRESS, web_address};
use super::mistake::Problem;
use super::reader::Reader;
use super::values::{GIB, KIB, MILLISECOND, fitting};
use super::{
    Misp, OnUnpublish, Plain, Schedule, Secret, TlsFiles, WarninglistRules, Webhook, ZeroMq, rest,
};

const SCHEDULE: &str = "minute, hour, day of month, month, day of week; UTC";

/// `misp.url`: where REST is, and the default of `misp.public_url`.
pub(super) fn url(reader: &mut Reader) -> Option<Url> {
    reader.optional("misp.url", WEB_ADDRESS, web_address)
}

pub(super) fn read(reader: &mut Reader, url: Option<&Url>, decay: bool) -> Misp {
    Misp {
        name: reader.required("misp.name", "the source needs a name"),
        zeromq: zeromq(reader),
        webhook: webhook(reader),
        rest: rest::read(reader, url, decay),
        on_unpublish: reader.word("misp.on_unpublish", OnUnpublish::Keep),
        window: reader.optional_duration("misp.window", Duration::from_secs(1)),
        search: rest::search(reader),
        resync: reader.optional("misp.resync.schedule", SCHEDULE, |text| {
            Schedule::parse(text).map_err(|why| format!("no schedule: {why}").into())
        }),
        warninglists: WarninglistRules {
            refresh_every: reader.duration("misp.warninglists.refresh_every", MILLISECOND),
            max_list: reader.bytes("misp.warninglists.max_list", KIB..=GIB),
        },
    }
}

fn zeromq(reader: &mut Reader) -> ZeroMq {
    ZeroMq {
        endpoints: endpoints(reader),
        credentials: plain(reader),
        connect_timeout: reader.duration("misp.zeromq.connect_timeout", MILLISECOND),
        reconnect_max: reader.duration("misp.zeromq.reconnect_max", MILLISECOND),
        silence: reader.duration("misp.zeromq.silence", MILLISECOND),
        max_frame: reader.bytes("misp.zeromq.max_frame", KIB..=GIB),
        max_waiting: reader.bytes("misp.zeromq.max_waiting", KIB..=2 * GIB),
    }
}

impl ZeroMq {
    /// The same with another password, where there are credentials.
    #[must_use]
    pub fn with_password(&self, password: Secret) -> Self {
        let credentials = self.credentials.clone();
        let credentials = credentials.map(|plain| Plain { password, ..plain });
        Self { credentials, ..self.clone() }
    }
}

fn endpoints(reader: &mut Reader) -> Vec<String> {
    const KEY: &str = "misp.zeromq.endpoints";
    let endpoints = reader.texts(KEY);
    for endpoint in &endpoints {
        if !is_endpoint(endpoint) {
            let allowed = "tcp://host:port, e.g. tcp://misp-core:50000";
            reader.refuse(KEY, endpoint, allowed, "not the address of a ZeroMQ publisher");
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
    match (username.is_empty(), !password.is_given()) {
        (true, true) => return None,
        (false, true) if reader.sound(PASSWORD) => {
            reader.missing(PASSWORD, "misp.zeromq.username is set");
        }
        (true, false) => reader.missing(USERNAME, "misp.zeromq.password is set"),
        _ => {}
    }
    Some(Plain { username, password })
}

fn webhook(reader: &mut Reader) -> Option<Webhook> {
    let listen = reader.address("misp.webhook.listen");
    let webhook = Webhook {
        listen: listen.unwrap_or(([127, 0, 0, 1], 0).into()),
        path: reader.parsed("misp.webhook.path", "a path, e.g. /misp", url_path),
        secret_header: reader.parsed(
            "misp.webhook.secret_header",
            "the name of an HTTP header",
            header_name,
        ),
        secret: reader.secret("misp.webhook.secret"),
        max_body: reader.bytes("misp.webhook.max_body", KIB..=GIB),
        max_total: reader.bytes("misp.webhook.max_total", KIB..=2 * GIB),
        answer_within: reader.duration("misp.webhook.answer_within", MILLISECOND),
        confirm_within: reader.duration("misp.webhook.confirm_within", MILLISECOND),
        tls: tls_files(reader),
    };
    listen.map(|_| webhook)
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
