//! Checks whether the relay reaches each server: it resolves the name, connects (over the proxy if one is
//! set), verifies the certificate and reads the server's clock. Nothing secret is sent.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use reqwest::header::DATE;
use reqwest::{Response, Url};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::diagnosis::{Diagnosis, Severity, Subject};
use crate::http::{ClientOptions, Trust, certificate_error, chain, speaks_no_tls};

/// How long each of name, connection and answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, and how the relay reaches it.
#[derive(Debug)]
pub(super) struct Host<'c> {
    /// Its role for the relay, e.g. `MISP`.
    pub part: &'static str,
    pub url: Url,
    /// The setting that holds its address, e.g. `misp.url`.
    pub key: String,
    pub way: ClientOptions<'c>,
}

/// What was seen of a host.
#[derive(Debug)]
pub(super) struct HostSeen {
    pub diagnosis: Diagnosis,
    pub part: &'static str,
    /// The URL without its path, to compare hosts by.
    pub origin: String,
    /// By how many seconds its clock is ahead of ours; `None` if its answer had no date.
    pub ahead: Option<i64>,
    pub is_reached: bool,
}

impl Host<'_> {
    /// Asks for the host's page. Any answer counts as reached, whatever its status.
    pub(super) async fn look(self) -> HostSeen {
        // e.g. `MISP misp.example.org:443`
        let name = format!("{} {}", self.part, self.address());
        let (subject, asked) = (Subject("host", &name), SystemTime::now());
        let (diagnosis, ahead) = match self.way.client() {
            Err(error) => (subject.error(error, ""), None),
            Ok(client) => match client.get(self.url.clone()).timeout(PATIENCE).send().await {
                Ok(answer) => {
                    let took = asked.elapsed().unwrap_or_default();
                    // The Date was written about halfway between request and answer.
                    (subject.ok(self.reached(&answer, took)), ahead(&answer, asked + took / 2))
                }
                Err(error) => {
                    let (seen, remedy) = self.explain(&error).await;
                    (subject.error(seen, remedy), None)
                }
            },
        };
        let origin = self.url.origin().ascii_serialization();
        let is_reached = diagnosis.severity == Severity::Ok;
        HostSeen { diagnosis, part: self.part, origin, ahead, is_reached }
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
        let way = match (self.way.proxy_to(&self.url), answer.remote_addr()) {
            (Some(proxy), _) => format!(" through the proxy {proxy}"),
            (None, Some(address)) => format!(" at {}", address.ip()),
            (None, None) => String::new(),
        };
        let (status, took) = (answer.status().as_u16(), took.as_millis());
        format!("reached{way}: {tls}, HTTP {status} after {took} ms")
    }

    /// Returns what is wrong, and what to do about it.
    async fn explain(&self, error: &reqwest::Error) -> (String, String) {
        let Self { url, key, way, .. } = self;
        if let Some(why) = certificate_error(error) {
            return certificate::explain(why, url, key, way, PATIENCE).await;
        }
        if speaks_no_tls(error) {
            let remedy = format!(
                "write http:// in place of https:// into {key}, or the port that the server speaks TLS at"
            );
            return ("the server there speaks no TLS".to_owned(), remedy);
        }
        let address = self.address();
        // With a proxy, this machine never resolves the host's name itself: only the proxy can be tried.
        if let Some(proxy) = self.way.proxy_to(&self.url) {
            // If the proxy itself is reached, the request's own error says what it refused.
            let why = connect(&proxy).await.err().unwrap_or_else(|| chain(error));
            let keys = match way.proxy {
                Some(_) => format!("{}.proxy", way.section),
                None => "HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment".to_owned(),
            };
            let remedy = format!("check {keys}, and that the proxy lets {address} through");
            return (format!("the proxy {proxy} does not lead there: {why}"), remedy);
        }
        if let Err(why) = connect(&address).await {
            let section = way.section;
            let remedy = format!(
                "check {key}, the DNS of this machine (in a container, its network), and firewalls; HTTPS_PROXY or {section}.proxy if a proxy leads out"
            );
            return (why, remedy);
        }
        let remedy =
            format!("check that {key} leads to it and that nothing in between breaks connections");
        (chain(error), remedy)
    }
}

/// Resolves the name and connects. The error says in words which of the two failed.
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
    // A Date has whole seconds, cut off, so half a second is added.
    let ahead = theirs.timestamp_millis() + 500 - ours.timestamp_millis();
    Some(ahead / 1_000)
}
