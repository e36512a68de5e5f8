//! Tests which TLS certificates of MISP are accepted, and how a refused one is explained.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use misp_sentinel_relay::config::Rest;
use misp_sentinel_relay::misp_api::{MispClient, RestError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;

use crate::support::rest::settings;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: NamedTempFile,
}

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = pem(&issuer.pem());
    Authority { issuer, file }
}

fn pem(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// MISP behind TLS, on every name of this machine.
pub(crate) fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let version = || async { r#"{"version":"2.5.1"}"# };
    let router = Router::new().route("/servers/getVersion", get(version));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    address
}

pub(crate) fn signed(authority: &Authority, names: &[&str]) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = params(names).signed_by(&key, &authority.issuer).unwrap();
    serve(certificate.der().clone(), &key)
}

/// What `client` gets from `https://localhost:port`.
async fn version(address: SocketAddr, change: impl FnOnce(&mut Rest)) -> Result<String, RestError> {
    let mut settings = settings(&format!("https://localhost:{}", address.port()));
    change(&mut settings);
    MispClient::new(&settings).unwrap().version().await
}

#[tokio::test]
async fn an_authority_of_ca_file_is_trusted_for_the_names_it_signed() {
    let own = authority("of the operator");
    let address = signed(&own, &["localhost"]);
    let trusting = |rest: &mut Rest| rest.ca_file = Some(own.file.path().to_owned());
    assert_eq!(version(address, trusting).await.unwrap(), "2.5.1");

    let elsewhere = signed(&own, &["misp.example.org"]);
    let error = version(elsewhere, trusting).await.unwrap_err();
    let RestError::Untrusted { .. } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("the name that it was issued for"), "{error}");
}

#[tokio::test]
async fn a_foreign_authority_is_refused_with_the_remedy() {
    let address = signed(&authority("of somebody"), &["localhost"]);
    let other = authority("of the operator");
    for file in [None, Some(other.file.path().to_owned())] {
        let error = version(address, |rest| rest.ca_file = file).await.unwrap_err();
        let RestError::Untrusted { .. } = &error else { panic!("{error:?}") };
        assert!(!error.may_pass());
        assert!(error.to_string().contains("into misp.ca_file (PEM)"), "{error}");
    }
}

/// As misp-docker makes it: self-signed, an authority by its own word, for the name localhost.
#[tokio::test]
async fn a_self_signed_certificate_in_ca_file_is_trusted_as_it_stands() {
    let self_signed = |names: &[&str], is_ca| {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names);
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), certificate.der().clone(), key)
    };
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    for (name, is_ca) in
        [("localhost", authority), ("misp-core", authority), ("misp-core", IsCa::NoCa)]
    {
        let (text, der, key) = self_signed(&[name], is_ca);
        let address = serve(der, &key);
        let file = pem(&text);
        let own = |rest: &mut Rest| rest.ca_file = Some(file.path().to_owned());
        assert_eq!(version(address, own).await.unwrap(), "2.5.1", "{name}");
        let error = version(address, |_| {}).await.unwrap_err();
        assert!(matches!(error, RestError::Untrusted { .. }), "{error:?}");
        // Another certificate of the same name is another.
        let (_, other, key) = self_signed(&[name], IsCa::NoCa);
        let address = serve(other, &key);
        let error = version(address, own).await.unwrap_err();
        assert!(matches!(error, RestError::Untrusted { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn nothing_is_verified_only_where_that_is_configured() {
    let address = signed(&authority("of somebody"), &["misp.example.org"]);
    assert!(version(address, |_| {}).await.is_err());
    assert_eq!(version(address, |rest| rest.verify_tls = false).await.unwrap(), "2.5.1");
}

#[tokio::test]
async fn an_expired_certificate_is_told_as_such() {
    let own = authority("of the operator");
    let key = KeyPair::generate().unwrap();
    let mut params = params(&["localhost"]);
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let certificate = params.signed_by(&key, &own.issuer).unwrap();
    let address = serve(certificate.der().clone(), &key);
    let trusting = |rest: &mut Rest| rest.ca_file = Some(own.file.path().to_owned());
    let error = version(address, trusting).await.unwrap_err();
    assert!(error.to_string().contains("look at the clocks"), "{error}");
}

#[test]
fn what_cannot_work_is_told_before_any_request() {
    let mut rest = settings("https://localhost");
    rest.ca_file = Some("/no/file".into());
    let error = MispClient::new(&rest).unwrap_err().to_string();
    assert!(error.starts_with("misp.ca_file /no/file"), "{error}");
    let mut rest = settings("https://localhost");
    rest.proxy = Some("socks://user:secret@proxy".to_owned());
    let error = MispClient::new(&rest).unwrap_err().to_string();
    assert!(error.starts_with("misp.proxy") && !error.contains("secret"), "{error}");
}
