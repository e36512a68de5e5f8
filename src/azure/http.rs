//! The one way to Azure: every request, sign-in or upload, leaves through this client, so that
//! certificate authorities, proxy and time-outs are the same everywhere. TLS is always verified.

use crate::config::Azure;
pub use crate::http::HttpError;
use crate::http::{ClientOptions, Trust, certificate_error, chain};

const SECTION: &str = "azure";

/// Makes the client.
///
/// # Errors
/// [`HttpError`], each with its remedy.
pub fn client(azure: &Azure) -> Result<reqwest::Client, HttpError> {
    let client = way(azure).builder()?.build();
    client.map_err(|error| HttpError::Tls { section: SECTION, why: chain(&error) })
}

/// How Azure is reached.
#[must_use]
pub fn way(azure: &Azure) -> ClientOptions<'_> {
    ClientOptions {
        section: SECTION,
        https_only: true,
        trust: Trust::Authorities,
        ca_file: azure.ca_file.as_deref(),
        proxy: azure.proxy.as_deref(),
        connect_timeout: azure.connect_timeout,
    }
}

/// The client for the machine's own metadata service: never through a proxy, and without TLS where
/// the address says so.
///
/// # Errors
/// [`HttpError`]
pub(super) fn metadata_client(azure: &Azure) -> Result<reqwest::Client, HttpError> {
    let way = ClientOptions {
        section: SECTION,
        https_only: false,
        trust: Trust::Authorities,
        ca_file: azure.ca_file.as_deref(),
        proxy: Some("none"),
        connect_timeout: azure.connect_timeout,
    };
    let client = way.builder()?.build();
    client.map_err(|error| HttpError::Tls { section: SECTION, why: chain(&error) })
}

/// A transport error in one line, with the remedy where the certificate is the cause.
#[must_use]
pub fn explain(error: &reqwest::Error) -> String {
    let text = chain(error);
    if certificate_error(error).is_some() {
        return format!(
            "{text}; the other side's certificate is not trusted here: if a proxy or a private \
             cloud signs with its own authority, set azure.ca_file (or SSL_CERT_FILE) to it"
        );
    }
    text
}
