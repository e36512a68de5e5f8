//! Makes the sandbox's own certificate authority anew at each start. The key of the authority is only in
//! memory.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempPath;

use super::{SandboxError, Settings};

const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) ca_file: TempPath,
    pub(super) server: Arc<ServerConfig>,
}

impl Certificates {
    pub(super) fn make(settings: &Settings) -> Result<Self, SandboxError> {
        let (ca_pem, server) = issue(&settings.names).map_err(SandboxError::Certificate)?;
        let ca_file = write(&ca_pem, settings.ca_file.as_deref())?;
        Ok(Self { ca_pem, ca_file, server: Arc::new(server) })
    }
}

fn issue(names: &[String]) -> Result<(String, ServerConfig), String> {
    let words = |error: rcgen::Error| error.to_string();
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "misp-sentinel-relay sandbox CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(words)?;
    let authority = CertifiedIssuer::self_signed(authority, key).map_err(words)?;

    let all: Vec<String> =
        ALWAYS.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned()).collect();
    let mut leaf = CertificateParams::new(all).map_err(words)?;
    leaf.distinguished_name.push(DnType::CommonName, "misp-sentinel-relay sandbox");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(words)?;
    let certificate = leaf.signed_by(&key, &authority).map_err(words)?;

    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let server = builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(|error| error.to_string())?;
    Ok((authority.pem(), server))
}

/// Without a `file`, into one that goes with the sandbox.
fn write(pem: &str, file: Option<&Path>) -> Result<TempPath, SandboxError> {
    let place = file.map_or_else(std::env::temp_dir, Path::to_owned);
    let written = match file {
        Some(file) => std::fs::write(file, pem).and_then(|()| {
            let mut kept = TempPath::try_from_path(file)?;
            kept.disable_cleanup(true);
            Ok(kept)
        }),
        None => {
            let made = tempfile::Builder::new().prefix("sandbox-ca-").suffix(".pem").tempfile();
            made.and_then(|mut file| file.write_all(pem.as_bytes()).map(|()| file.into_temp_path()))
        }
    };
    written.map_err(|source| SandboxError::CaFile { file: place, source })
}
