//! Turns a failed connection or a bad answer into a `RestError` that tells the operator what went wrong and
//! what to change. The auth key never appears in it.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderMap;

use super::refusal::{self, RestError};
use crate::config::Secret;
use crate::http::{certificate_error, chain, speaks_no_tls};

/// The context of a request, from which its errors are made.
#[derive(Debug, Clone)]
pub(super) struct AnswerFaults {
    /// The name of the source.
    pub(super) source: String,
    /// The URL, so that an error names the host.
    pub(super) url: String,
    /// `host:port` of the proxy on the way, if there is one.
    pub(super) proxy: Option<String>,
    /// The auth key. It is removed from all texts, because an answer may repeat the request.
    pub(super) key: Secret,
    /// The longest time without any data.
    pub(super) silence: Duration,
    /// The longest time of a whole answer.
    pub(super) whole: Duration,
}

impl AnswerFaults {
    /// Makes the error for an answer with another status than 200.
    pub(super) fn refused(
        &self,
        status: u16,
        location: Option<&[u8]>,
        wait: Duration,
        body: &[u8],
    ) -> RestError {
        let body = self.without_key(body);
        let location = location.map(|location| self.without_key(location));
        refusal::refusal(&self.url, status, location.as_deref(), wait, body.as_bytes())
    }

    /// Makes the error for a request without any answer.
    pub(super) fn unanswered(&self, error: &reqwest::Error) -> RestError {
        let url = self.url.clone();
        let why = if speaks_no_tls(error) {
            "what answers there speaks no TLS: write http:// in place of https://, or the \
                     port of https"
                .to_owned()
        } else {
            chain(error)
        };
        if let Some(certificate) = certificate_error(error) {
            return RestError::Untrusted { url, why, advice: remedy(certificate) };
        }
        if error.is_timeout() && !error.is_connect() {
            RestError::Silent { url, waited: self.silence }
        } else {
            let way = self.proxy.as_ref().map(|proxy| format!("through the proxy {proxy}: "));
            RestError::Unreachable { url, why: way.unwrap_or_default() + &why }
        }
    }

    /// Makes the error for an answer that broke off.
    pub(super) fn broken(&self, error: &reqwest::Error) -> RestError {
        let url = self.url.clone();
        if error.is_timeout() {
            RestError::Silent { url, waited: self.silence }
        } else {
            RestError::BrokeOff { url, why: chain(error) }
        }
    }

    /// Makes the error for an answer that did not end in time.
    pub(super) fn dripping(&self) -> RestError {
        RestError::Dripping { url: self.url.clone(), waited: self.whole }
    }

    /// Makes the error for a 200 with a wrong body. `body` is its first part, by which a web page or a
    /// warning of PHP is recognised.
    pub(super) fn malformed(&self, why: &str, body: &[u8]) -> RestError {
        let url = self.url.clone();
        let body = self.without_key(body);
        if let Some(words) = refusal::php_warning(body.as_bytes()) {
            return RestError::PhpWarning { url, words };
        }
        if refusal::is_html(body.as_bytes()) {
            let title = refusal::title(body.as_bytes());
            return RestError::Html { url, status: 200, title };
        }
        let why = match refusal::words(body.as_bytes()) {
            Some(words) => format!("{why}: {words}"),
            // JSON may be of an event that not everybody who reads a log may see.
            None if body.is_empty() || body.trim_start().starts_with(['{', '[']) => why.to_owned(),
            None => format!("{why}, it begins {:?}", refusal::shortened(&body)),
        };
        RestError::Malformed { url, why }
    }

    /// Reads the first part of the body of a refusal, as far as it arrives in time.
    pub(super) async fn beginning(&self, mut response: Response) -> Vec<u8> {
        const MOST: usize = 16 << 10;
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(piece)) = response.chunk().await {
                body.extend_from_slice(&piece);
                if body.len() >= MOST {
                    return;
                }
            }
        };
        // After a time-out the part that has arrived is still shown.
        tokio::time::timeout(self.silence, reading).await.ok();
        body
    }

    /// Returns the text without the key. Some proxies repeat the request in their error pages.
    fn without_key(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(text).replace(self.key.expose(), "[redacted]")
    }
}

/// Returns a number from a header.
pub(super) fn header<N: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<N> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Returns the wait that a 429 asks for. MISP sends no `Retry-After`, but a proxy may.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds: Option<u64> =
        header(headers, "X-Rate-Limit-Reset").or_else(|| header(headers, "Retry-After"));
    seconds.map(Duration::from_secs)
}

fn remedy(certificate: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Cause;
    if matches!(certificate, Cause::NotValidForName | Cause::NotValidForNameContext { .. }) {
        return "write the name that it was issued for into misp.url, or put the certificate itself \
                into misp.ca_file";
    }
    if matches!(certificate, Cause::Expired | Cause::ExpiredContext { .. }) {
        return "renew it, and look at the clocks";
    }
    "put the authority that signed it, or the certificate itself, into misp.ca_file (PEM)"
}
