//! What is wrong with a server's certificate, in words.

use std::time::Duration;

use chrono::DateTime;
use reqwest::Url;
use reqwest::tls::TlsInfo;
use rustls::CertificateError;
use x509_parser::parse_x509_certificate;

use crate::http::{ClientOptions, Trust};

/// A certificate, as far as it explains a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    subject: String,
    issuer: String,
    /// Unix seconds.
    not_before: i64,
    not_after: i64,
}

/// What mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Name,
    Time,
    Authority,
}

/// The certificate that the server shows to whoever comes; nothing but a request for its first page
/// is sent.
pub(super) async fn shown(url: &Url, way: &ClientOptions<'_>, patience: Duration) -> Option<Shown> {
    let way = ClientOptions { trust: Trust::Anything, ca_file: None, ..*way };
    let client = way.builder().ok()?.tls_info(true).build().ok()?;
    let answer = client.get(url.clone()).timeout(patience).send().await.ok()?;
    read(answer.extensions().get::<TlsInfo>()?.peer_certificate()?)
}

fn read(der: &[u8]) -> Option<Shown> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    Some(Shown {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// What is wrong, and what kind of remedy helps.
pub(super) fn problem(
    why: &CertificateError,
    shown: Option<&Shown>,
    host: &str,
) -> (String, Remedy) {
    use CertificateError as Cause;
    let whose = shown.map_or_else(String::new, |shown| format!(" ({})", shown.subject));
    if matches!(why, Cause::NotValidForName | Cause::NotValidForNameContext { .. }) {
        return (
            format!("its certificate{whose} is for {}, not for {host}", names(why)),
            Remedy::Name,
        );
    }
    if matches!(why, Cause::Expired | Cause::ExpiredContext { .. }) {
        let when = shown.map_or_else(String::new, |shown| format!(" on {}", day(shown.not_after)));
        return (format!("its certificate{whose} ended{when}"), Remedy::Time);
    }
    if matches!(why, Cause::NotValidYet | Cause::NotValidYetContext { .. }) {
        let from = shown.map_or_else(|| "later".to_owned(), |shown| day(shown.not_before));
        return (format!("its certificate{whose} is valid from {from}"), Remedy::Time);
    }
    (unknown(why, shown), Remedy::Authority)
}

fn names(why: &CertificateError) -> String {
    if let CertificateError::NotValidForNameContext { presented, .. } = why
        && !presented.is_empty()
    {
        return presented.join(", ");
    }
    "another name".to_owned()
}

fn unknown(why: &CertificateError, shown: Option<&Shown>) -> String {
    match shown {
        Some(Shown { subject, issuer, .. }) if subject == issuer => {
            format!(
                "its certificate ({subject}) is self-signed: nobody whom this machine trusts vouches for it"
            )
        }
        Some(Shown { subject, issuer, .. }) => format!(
            "its certificate ({subject}) is signed by {issuer}, whom this machine does not know ({why})"
        ),
        None => format!("its certificate is not trusted: {why}"),
    }
}

fn day(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
