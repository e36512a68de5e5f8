//! Makes the HTTP clients for Azure and MISP, with the same handling of proxies, time-outs and certificate
//! authorities.

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, NoProxy, Proxy};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

mod trust;

/// Why no client could be made. All are mistakes of the configuration or the image.
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
    #[error("{section}.key cannot be sent: it holds characters that no header may")]
    Key { section: &'static str },
}

/// Whose certificates are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Those that an authority signed for the host's name.
    Authorities,
    /// Besides, exactly those that stand in `ca_file`, under any name and at any time: a server's
    /// own self-signed certificate.
    Own,
    /// Any at all.
    Anything,
}

/// How the other side is reached.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions<'a> {
    /// Of the configuration, for errors.
    pub section: &'static str,
    pub https_only: bool,
    pub trust: Trust,
    /// Extra certificate authorities, PEM; the system's are always used.
    pub ca_file: Option<&'a Path>,
    /// As [`crate::config::Azure::proxy`].
    pub proxy: Option<&'a str>,
    pub connect_timeout: Duration,
}

/// A client to be that asks the relay on this machine, in the clear and without a proxy.
///
/// # Errors
/// TLS, which it never uses, could not be set up.
pub fn local() -> Result<ClientBuilder, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = tls_builder(&provider)
        .map_err(|error| HttpError::Tls { section: "admin", why: error.to_string() })?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy())
}

fn tls_builder(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()
}

impl ClientOptions<'_> {
    /// A client that follows no redirect.
    ///
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn client(&self) -> Result<reqwest::Client, HttpError> {
        self.client_with(|builder| builder)
    }

    /// The same with what `more` sets besides.
    ///
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn client_with(
        &self,
        more: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<reqwest::Client, HttpError> {
        more(self.builder()?).build().map_err(|error| self.broken(&error))
    }

    fn builder(&self) -> Result<ClientBuilder, HttpError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .https_only(self.https_only)
            .redirect(Policy::none())
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
        Ok(match self.proxy {
            None => builder,
            Some("none") => builder.no_proxy(),
            Some(address) => builder.proxy(self.proxy(address)?),
        })
    }

    fn proxy(&self, address: &str) -> Result<Proxy, HttpError> {
        // The address may hold a password, so errors do not repeat it.
        let wrong = |why| HttpError::Proxy { section: self.section, why };
        let known = ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme));
        if !known {
            return Err(wrong("unknown kind of proxy"));
        }
        let proxy = Proxy::all(address).map_err(|_| wrong("not an address"))?;
        Ok(proxy.no_proxy(NoProxy::from_env()))
    }

    fn tls(&self) -> Result<ClientConfig, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = tls_builder(&provider).map_err(|error| self.broken(&error))?;
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

    /// The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where, else the usual
    /// places), and those of `ca_file`.
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

    /// The certificates of `ca_file`.
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

/// What is wrong with the other side's certificate, if that is the cause.
pub fn certificate_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    })
}

/// Whether the other side answered a handshake with something that is no TLS: a port of plain HTTP.
pub fn speaks_no_tls(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

/// An error and all that caused it, also what an I/O error holds, which is not among its sources.
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

/// An error and its causes, without repeating what is contained already, and without the address.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
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
