//! Reads the webhook's certificate and key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::TlsFiles;

/// The reason why the webhook cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "the webhook's certificate {} cannot be used: {words}\n  hint: tls_certificate, in [misp.webhook] or [source.NAME.webhook], names a PEM file, the server's own certificate first, then its issuers", file.display()
    )]
    Certificate { file: PathBuf, words: String },
    #[error(
        "the webhook's key {} cannot be used: {words}\n  hint: tls_key, in [misp.webhook] or [source.NAME.webhook], names a PEM file with an unencrypted private key that this user may read", file.display()
    )]
    Key { file: PathBuf, words: String },
    #[error(
        "the webhook's certificate {} and key {} do not go together: {words}\n  hint: the key must be the one that the certificate was issued for", certificate.display(), key.display()
    )]
    Pair { certificate: PathBuf, key: PathBuf, words: String },
}

/// Reads the certificate chain and the key, for TLS 1.2 and 1.3 by ring.
///
/// # Errors
/// [`TlsError`] names the file and the remedy.
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Key { file: files.key.clone(), words: words(&error) })?;
    let unfit = |error: rustls::Error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        words: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    // The server speaks HTTP/1.1 only, so it must not agree on another protocol.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Returns when the server's own certificate ends. `None`: it cannot be read as one.
pub(super) fn ends(files: &TlsFiles) -> Option<SystemTime> {
    let chain = chain(&files.certificate).ok()?;
    let (_, own) = X509Certificate::from_der(chain.first()?).ok()?;
    let ends = u64::try_from(own.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(ends))
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |words| TlsError::Certificate { file: file.to_owned(), words };
    let chain: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match chain {
        // A file without any certificate is no error to the parser.
        Ok(chain) if chain.is_empty() => Err(unusable("it holds no certificate".to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(words(&error))),
    }
}

fn words(error: &pem::Error) -> String {
    if let pem::Error::Io(error) = error { error.to_string() } else { error.to_string() }
}
