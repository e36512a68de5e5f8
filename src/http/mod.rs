//! Makes the HTTP clients for Azure and MISP, with the same handling of proxies, time-outs and certificate
//! authorities.

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, NoProxy, Proxy, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

pub mod fields;
mod trust;

/// The reason why no client could be made. Each is a mistake in the configuration or the image.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(
        "no usable certificate authority was found, so certificates cannot be verified: {why}. \
         Install the package ca-certificates, or point SSL_CERT_FILE (a PEM file) or SSL_CERT_DIR \
         at them, or set {section}.ca_file"
    )]
    NoAuthorities { section: &'static str, why: String },
    #[error("{section}.ca_file {}: {why}; it must hold certificates in PEM form", file.display())]
    CaFile { section: &'static str, file: PathBuf, why: String },
    #[error("{section}.proxy: {why}; expected http://host:port or https://host:port")]
    Proxy { section: &'static str, why: &'static str },
    #[error("{section}: TLS could not be set up: {why}")]
    Tls { section: &'static str, why: String },
    #[error("{section}.key cannot be sent: it holds characters that an HTTP header must not hold")]
    Key { section: &'static str },
}

/// Which certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Certificates that an authority signed for the host's name.
    Authorities,
    /// These, and the very certificates in `ca_file`, under any name and at any time. So a server may sign its
    /// own certificate.
    Own,
    /// Any certificate.
    Anything,
}

/// How a client reaches the other side.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions<'a> {
    /// The section of the configuration that errors name.
    pub section: &'static str,
    pub https_only: bool,
    pub trust: Trust,
    /// A PEM file of further certificate authorities. Those of the system are always used.
    pub ca_file: Option<&'a Path>,
    /// As [`crate::config::Azure::proxy`].
    pub proxy: Option<&'a str>,
    pub connect_timeout: Duration,
}

/// How a command asks the relay on this machine: without a proxy, and without TLS. So no authority is loaded.
pub const LOCAL: ClientOptions<'static> = ClientOptions {
    section: "admin",
    https_only: false,
    trust: Trust::Anything,
    ca_file: None,
    proxy: Some("none"),
    connect_timeout: Duration::from_secs(5),
};

impl ClientOptions<'_> {
    /// Returns `host:port` of the proxy that the configuration or the environment names for an address; `None`
    /// for a direct connection.
    pub fn proxy_to(&self, url: &Url) -> Option<String> {
        let matcher = match self.proxy {
            Some("none") => return None,
            Some(address) => {
                // NO_PROXY counts for a configured proxy as well.
                let no = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
                Matcher::builder().all(address).no(no.unwrap_or_default()).build()
            }
            None => Matcher::from_env(),
        };
        let proxy = matcher.intercept(&url.as_str().parse().ok()?)?;
        let uri = proxy.uri();
        let port =
            uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some(format!("{}:{port}", uri.host()?))
    }

    /// Makes a client that follows no redirect.
    ///
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn client(&self) -> Result<reqwest::Client, HttpError> {
        self.client_with(|builder| builder)
    }

    /// Makes a client that follows no redirect, with the settings that `more` adds.
    ///
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn client_with(
        &self,
        more: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<reqwest::Client, HttpError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .https_only(self.https_only)
            .redirect(Policy::none())
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
        let builder = match self.proxy {
            None => builder,
            Some("none") => builder.no_proxy(),
            Some(address) => builder.proxy(self.proxy(address)?),
        };
        more(builder).build().map_err(|error| self.broken(&error))
    }

    fn proxy(&self, address: &str) -> Result<Proxy, HttpError> {
        // The address may hold a password, so errors do not repeat it.
        let wrong = |why| HttpError::Proxy { section: self.section, why };
        if !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
            return Err(wrong("unknown kind of proxy"));
        }
        let proxy = Proxy::all(address).map_err(|_| wrong("not an address"))?;
        Ok(proxy.no_proxy(NoProxy::from_env()))
    }

    fn tls(&self) -> Result<ClientConfig, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.broken(&error))?;
        let verifier = if self.trust == Trust::Anything {
            trust::Verifier::of_anything(provider)
        } else {
            let own = self.own_certificates()?;
            let authorities = self.authorities(&own)?;
            if self.trust == Trust::Authorities || own.is_empty() || authorities.is_empty() {
                return Ok(builder.with_root_certificates(authorities).with_no_client_auth());
            }
            trust::Verifier::of_authorities(authorities, own, provider)
                .map_err(|error| self.broken(&error))?
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(builder.with_no_client_auth())
    }

    fn broken(&self, error: &(dyn Error + 'static)) -> HttpError {
        HttpError::Tls { section: self.section, why: chain(error) }
    }

    /// Loads the authorities of the system and of `ca_file`. Those of the system lie where `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` say, or else in the usual places.
    fn authorities(&self, own: &[CertificateDer<'static>]) -> Result<RootCertStore, HttpError> {
        let mut store = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        let (_, refused) = store.add_parsable_certificates(system.certs);
        for certificate in own {
            store.add(certificate.clone()).map_err(|error| self.unusable(&error))?;
        }
        if !store.is_empty() || !self.https_only {
            return Ok(store);
        }
        let mut reasons: Vec<String> = system.errors.iter().map(ToString::to_string).collect();
        if refused > 0 {
            reasons.push(format!("{refused} certificates could not be read"));
        }
        if reasons.is_empty() {
            reasons.push("the system has none".to_owned());
        }
        Err(HttpError::NoAuthorities { section: self.section, why: reasons.join("; ") })
    }

    /// Reads the certificates of `ca_file`.
    fn own_certificates(&self) -> Result<Vec<CertificateDer<'static>>, HttpError> {
        let Some(file) = self.ca_file else { return Ok(Vec::new()) };
        let pem = std::fs::read(file).map_err(|error| self.unusable(&error))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(none) if none.is_empty() => Err(self.unusable(&"no certificate in it")),
            read => read.map_err(|error| self.unusable(&error)),
        }
    }

    fn unusable(&self, why: &dyn Display) -> HttpError {
        let file = self.ca_file.unwrap_or(Path::new("")).to_owned();
        HttpError::CaFile { section: self.section, file, why: why.to_string() }
    }
}

/// Returns what is wrong with the other side's certificate. `None`: that is not the cause.
pub fn certificate_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    })
}

/// Whether the other side answered a handshake with something that is no TLS, as a port of plain HTTP does.
pub fn speaks_no_tls(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

/// Returns an error and its causes. The error inside an I/O error is one of them, although it is no source.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        }
    })
}

/// Prints an error and its causes, without repetitions and without the address.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in causes(error) {
        let words = match error.downcast_ref::<reqwest::Error>() {
            Some(error) => without_address(error).to_owned(),
            None => error.to_string(),
        };
        if !text.contains(&words) {
            let joint = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{joint}{words}");
        }
    }
    text
}

fn without_address(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "timed out"
    } else if error.is_body() || error.is_decode() {
        "answer broke off"
    } else {
        "request failed"
    }
}
