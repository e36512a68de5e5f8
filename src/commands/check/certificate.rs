//! Explains in words why the certificate of a server is refused, and what the operator can do about it.

use std::time::Duration;

use chrono::DateTime;
use reqwest::Url;
use reqwest::tls::TlsInfo;
use rustls::CertificateError;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::http::{ClientOptions, Trust};

/// Returns what is wrong with the certificate of the server at `url`, and how to mend it. `key` is the
/// setting that holds the address.
pub(super) async fn explain(
    why: &CertificateError,
    url: &Url,
    key: &str,
    way: &ClientOptions<'_>,
    patience: Duration,
) -> (String, String) {
    use CertificateError as Cause;
    // The TLS error only says why the certificate was refused. It is fetched again for its names and dates.
    let (der, host) = (shown(url, way, patience).await, url.host_str().unwrap_or_default());
    let shown = der.as_deref().and_then(|der| Some(parse_x509_certificate(der).ok()?.1));
    let whose = shown.as_ref().map_or_else(String::new, |shown| format!(" ({})", shown.subject()));
    if matches!(why, Cause::NotValidForName | Cause::NotValidForNameContext { .. }) {
        let seen = format!("its certificate{whose} is for {}, not for {host}", names(why));
        let remedy = format!(
            "write the name that it was issued for into {key}, or give the server a certificate for {host}"
        );
        return (seen, remedy);
    }
    let validity = shown.as_ref().map(|shown| shown.validity());
    let renew = "renew it; if it is good, this machine's clock is wrong".to_owned();
    if matches!(why, Cause::Expired | Cause::ExpiredContext { .. }) {
        let when =
            validity.map_or_else(String::new, |dates| format!(" on {}", day(dates.not_after)));
        return (format!("its certificate{whose} ended{when}"), renew);
    }
    if matches!(why, Cause::NotValidYet | Cause::NotValidYetContext { .. }) {
        let from = validity.map_or_else(|| "later".to_owned(), |dates| day(dates.not_before));
        return (format!("its certificate{whose} is valid from {from}"), renew);
    }
    let own = match way.trust {
        Trust::Own => ", or this certificate itself",
        Trust::Authorities => {
            "; if it is a company's proxy that looks into TLS, the proxy's authority"
        }
        Trust::Anything => "",
    };
    let section = way.section;
    let remedy = format!("put the authority that signed it into {section}.ca_file (PEM){own}");
    (unknown(why, shown.as_ref()), remedy)
}

/// Fetches the certificate (DER) that the server shows to any client. Nothing is checked, since only a
/// request for the first page is sent.
async fn shown(url: &Url, way: &ClientOptions<'_>, patience: Duration) -> Option<Vec<u8>> {
    let way = ClientOptions { trust: Trust::Anything, ca_file: None, ..*way };
    let client = way.client_with(|builder| builder.tls_info(true)).ok()?;
    let answer = client.get(url.clone()).timeout(patience).send().await.ok()?;
    Some(answer.extensions().get::<TlsInfo>()?.peer_certificate()?.to_owned())
}

fn names(why: &CertificateError) -> String {
    if let CertificateError::NotValidForNameContext { presented, .. } = why
        && !presented.is_empty()
    {
        return presented.join(", ");
    }
    "another name".to_owned()
}

fn unknown(why: &CertificateError, shown: Option<&X509Certificate<'_>>) -> String {
    match shown.map(|shown| (shown.subject().to_string(), shown.issuer().to_string())) {
        Some((subject, issuer)) if subject == issuer => format!(
            "its certificate ({subject}) is self-signed, and this machine does not trust it"
        ),
        Some((subject, issuer)) => format!(
            "its certificate ({subject}) is signed by {issuer}, which this machine does not know ({why})"
        ),
        None => format!("its certificate is not trusted: {why}"),
    }
}

fn day(time: ASN1Time) -> String {
    let time = DateTime::from_timestamp(time.timestamp(), 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
