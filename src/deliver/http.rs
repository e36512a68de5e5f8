//! The one way to Azure: every request, sign-in or upload, leaves through this client, so that
//! certificate authorities, proxy and time-outs are the same everywhere. TLS is always verified.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::Azure;

/// Why no client could be made. All are mistakes of the configuration or the image.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(
        "no usable certificate authority was found, so Azure's certificates cannot be verified: \
         {0}. Install the package ca-certificates, or point SSL_CERT_FILE (a PEM file) or \
         SSL_CERT_DIR at them, or set azure.ca_file"
    )]
    NoAuthorities(String),
    #[error("azure.ca_file {}: {why}; it must hold certificates in PEM form", file.display())]
    CaFile { file: PathBuf, why: String },
    #[error("azure.proxy: {0}; expected http://host:port or https://host:port")]
    Proxy(String),
    #[error("TLS could not be set up: {0}")]
    Tls(String),
}

/// Makes the client.
///
/// # Errors
/// [`HttpError`], each with its remedy.
pub fn client(azure: &Azure) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(azure.ca_file.as_deref())?)
        .https_only(true)
        .redirect(Policy::none())
        .connect_timeout(azure.connect_timeout)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    builder = match azure.proxy.as_deref() {
        None => builder,
        Some("none") => builder.no_proxy(),
        Some(address) => builder.proxy(proxy(address)?),
    };
    builder.build().map_err(|error| HttpError::Tls(chain(&error)))
}

fn proxy(address: &str) -> Result<Proxy, HttpError> {
    // The address may hold a password, so errors do not repeat it.
    let known = ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme));
    if !known {
        return Err(HttpError::Proxy("unknown kind of proxy".to_owned()));
    }
    let proxy = Proxy::all(address).map_err(|_| HttpError::Proxy("not an address".to_owned()))?;
    Ok(proxy.no_proxy(NoProxy::from_env()))
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| HttpError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(authorities(ca_file)?).with_no_client_auth())
}

/// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where, else the usual places),
/// and those of `ca_file`.
fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (_, refused) = store.add_parsable_certificates(system.certs);
    if let Some(file) = ca_file {
        add_file(&mut store, file)?;
    }
    if !store.is_empty() {
        return Ok(store);
    }
    let mut reasons: Vec<String> = system.errors.iter().map(ToString::to_string).collect();
    if refused > 0 {
        reasons.push(format!("{refused} certificates could not be read"));
    }
    if reasons.is_empty() {
        reasons.push("the system has none".to_owned());
    }
    Err(HttpError::NoAuthorities(reasons.join("; ")))
}

fn add_file(store: &mut RootCertStore, file: &Path) -> Result<(), HttpError> {
    let wrong = |why: String| HttpError::CaFile { file: file.to_owned(), why };
    let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let before = store.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.len() == before { Err(wrong("no certificate in it".to_owned())) } else { Ok(()) }
}

/// A transport error in one line, with the remedy where the certificate is the cause.
#[must_use]
pub fn explain(error: &reqwest::Error) -> String {
    let text = chain(error);
    if text.contains("invalid peer certificate") {
        return format!(
            "{text}; the other side's certificate is not trusted here: if a proxy or a private \
             cloud signs with its own authority, set azure.ca_file (or SSL_CERT_FILE) to it"
        );
    }
    text
}

/// An error and its causes, without repeating what is contained already, and without the address.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = match error.downcast_ref::<reqwest::Error>() {
            Some(error) => without_address(error),
            None => error.to_string(),
        };
        if !text.contains(&words) {
            let joint = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{joint}{words}");
        }
        next = error.source();
    }
    text
}

fn without_address(error: &reqwest::Error) -> String {
    let kind = if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "timed out"
    } else if error.is_body() || error.is_decode() {
        "answer broke off"
    } else {
        "request failed"
    };
    kind.to_owned()
}
