//! Makes the sandbox's own certificate authority anew at each start. The key of the authority is only in
//! memory.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempPath;

use super::Settings;

/// The names of the certificate that need not be set.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) ca_file: TempPath,
    pub(super) server: Arc<ServerConfig>,
}

impl Certificates {
    pub(super) fn make(settings: &Settings) -> anyhow::Result<Self> {
        let (ca_pem, server) =
            issue(&settings.names).context("the sandbox's certificate could not be made")?;
        let ca_file = write(&ca_pem, settings.ca_file.as_deref())?;
        Ok(Self { ca_pem, ca_file, server: Arc::new(server) })
    }
}

fn issue(names: &[String]) -> anyhow::Result<(String, ServerConfig)> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "misp-sentinel-relay sandbox CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let always = ALWAYS.map(str::to_owned);
    let mut leaf = CertificateParams::new([&always, names].concat())?;
    leaf.distinguished_name.push(DnType::CommonName, "misp-sentinel-relay sandbox");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &authority)?;

    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((authority.pem(), server))
}

/// Writes the certificate authority. Without `file`, into one that is removed with the sandbox.
fn write(pem: &str, file: Option<&Path>) -> anyhow::Result<TempPath> {
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
    written.with_context(|| {
        format!("the sandbox's certificate authority could not be written to {}", place.display())
    })
}
