//! Servers that must be reached: name, way, certificate, and their clocks. Nothing secret is sent.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::DATE;
use reqwest::{Response, Url};
use rustls::CertificateError;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::finding::Finding;
use crate::http::{ClientOptions, HttpError, Trust, certificate_error, chain, speaks_no_tls};

const STEP: &str = "host";

/// For each of name, connection and answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, and how the relay reaches it.
#[derive(Debug)]
pub(super) struct Host<'c> {
    /// What it is to the relay, e.g. `MISP`.
    pub part: &'static str,
    pub url: Url,
    /// The key that its address stands in, e.g. `misp.url`.
    pub key: String,
    pub way: ClientOptions<'c>,
}

/// What was seen of a host.
#[derive(Debug)]
pub(super) struct Seen {
    pub finding: Finding,
    pub part: &'static str,
    /// Without the path; to compare by.
    pub origin: String,
    /// By how many seconds its clock is ahead of ours; `None`: it did not say.
    pub ahead: Option<i64>,
    pub is_reached: bool,
}

impl Host<'_> {
    /// Asks for its first page, whatever the answer is.
    pub(super) async fn look(self) -> Seen {
        let asked = SystemTime::now();
        let answer = match self.way.builder().and_then(|builder| self.built(builder)) {
            Ok(client) => client.get(self.url.clone()).timeout(PATIENCE).send().await,
            Err(error) => {
                return self.seen(Finding::error(STEP, &self.name(), error.to_string(), ""), None);
            }
        };
        match answer {
            Ok(answer) => {
                let took = asked.elapsed().unwrap_or_default();
                let ahead = ahead(&answer, asked + took / 2);
                let finding = Finding::ok(STEP, &self.name(), self.reached(&answer, took));
                Seen { is_reached: true, ..self.seen(finding, ahead) }
            }
            Err(error) => {
                let finding = self.explain(&error).await;
                self.seen(finding, None)
            }
        }
    }

    fn seen(&self, finding: Finding, ahead: Option<i64>) -> Seen {
        let origin = self.url.origin().ascii_serialization();
        Seen { finding, part: self.part, origin, ahead, is_reached: false }
    }

    fn built(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, HttpError> {
        let section = self.way.section;
        builder.build().map_err(|error| HttpError::Tls { section, why: chain(&error) })
    }

    /// e.g. `MISP misp.example.org:443`.
    fn name(&self) -> String {
        format!("{} {}", self.part, self.address())
    }

    fn address(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }

    fn reached(&self, answer: &Response, took: Duration) -> String {
        let tls = match (self.url.scheme(), self.way.trust) {
            ("https", Trust::Anything) => "certificate not looked at",
            ("https", _) => "TLS is good",
            _ => "no TLS",
        };
        let way = match (self.proxy(), answer.remote_addr()) {
            (Some(proxy), _) => format!(" through the proxy {proxy}"),
            (None, Some(address)) => format!(" at {}", address.ip()),
            (None, None) => String::new(),
        };
        let (status, took) = (answer.status().as_u16(), took.as_millis());
        format!("reached{way}: {tls}, HTTP {status} after {took} ms")
    }

    async fn explain(&self, error: &reqwest::Error) -> Finding {
        let name = self.name();
        if let Some(why) = certificate_error(error) {
            return self.untrusted(&name, why).await;
        }
        if speaks_no_tls(error) {
            let remedy = format!(
                "write http:// in place of https:// into {}, or the port that the server speaks TLS at",
                self.key
            );
            return Finding::error(STEP, &name, "what answers there speaks no TLS", remedy);
        }
        if let Some(proxy) = self.proxy() {
            let remedy = format!(
                "check {}, and that the proxy lets {} through",
                self.proxy_keys(),
                self.address()
            );
            let why = connect(&proxy).await.err().unwrap_or_else(|| chain(error));
            return Finding::error(
                STEP,
                &name,
                format!("the proxy {proxy} does not lead there: {why}"),
                remedy,
            );
        }
        if let Err(why) = connect(&self.address()).await {
            let remedy = format!(
                "check {}, the DNS of this machine (in a container, its network), and firewalls; HTTPS_PROXY or {}.proxy if a proxy leads out",
                self.key, self.way.section
            );
            return Finding::error(STEP, &name, why, remedy);
        }
        let remedy = format!(
            "check that {} leads to it and that nothing in between breaks connections",
            self.key
        );
        Finding::error(STEP, &name, chain(error), remedy)
    }

    async fn untrusted(&self, name: &str, why: &CertificateError) -> Finding {
        let host = self.url.host_str().unwrap_or_default();
        let shown = certificate::shown(&self.url, &self.way, PATIENCE).await;
        let (evidence, remedy) = certificate::problem(why, shown.as_ref(), host);
        let remedy = match remedy {
            certificate::Remedy::Name => format!(
                "write the name that it was issued for into {}, or give the server a certificate for {host}",
                self.key
            ),
            certificate::Remedy::Time => {
                "renew it; if it is good, this machine's clock is wrong".to_owned()
            }
            certificate::Remedy::Authority => format!(
                "put the authority that signed it into {}.ca_file (PEM){}",
                self.way.section,
                self.own()
            ),
        };
        Finding::error(STEP, name, evidence, remedy)
    }

    fn own(&self) -> &'static str {
        match self.way.trust {
            Trust::Own => ", or this certificate itself",
            Trust::Authorities => {
                "; if it is a company's proxy that looks into TLS, the proxy's authority"
            }
            Trust::Anything => "",
        }
    }

    /// `host:port` of the proxy that is used, by the configuration or the environment.
    fn proxy(&self) -> Option<String> {
        let matcher = match self.way.proxy {
            Some("none") => return None,
            Some(address) => {
                let no = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
                Matcher::builder().all(address).no(no.unwrap_or_default()).build()
            }
            None => Matcher::from_env(),
        };
        let proxy = matcher.intercept(&self.url.as_str().parse().ok()?)?;
        let uri = proxy.uri();
        let port =
            uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some(format!("{}:{port}", uri.host()?))
    }

    fn proxy_keys(&self) -> String {
        match self.way.proxy {
            Some(_) => format!("{}.proxy", self.way.section),
            None => "HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment".to_owned(),
        }
    }
}

/// Resolves and connects, for the words of what fails.
async fn connect(address: &str) -> Result<(), String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let found = timeout(PATIENCE, lookup_host(address)).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(format!("the name {host} is not resolved: {error}")),
        Err(_) => return Err(format!("the name {host} is not resolved within {PATIENCE:?}")),
    };
    match timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("no connection to {address}: {error}")),
        Err(_) => {
            Err(format!("no connection to {address} within {PATIENCE:?}: dropped by a firewall?"))
        }
    }
}

fn ahead(answer: &Response, ours: SystemTime) -> Option<i64> {
    let theirs = DateTime::parse_from_rfc2822(answer.headers().get(DATE)?.to_str().ok()?).ok()?;
    let ours: DateTime<chrono::Utc> = ours.into();
    // A Date tells whole seconds, so half of one is added.
    let ahead = theirs.timestamp_millis() + 500 - ours.timestamp_millis();
    Some(ahead / 1_000)
}
