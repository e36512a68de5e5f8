//! Tests certificate files: which are accepted, how faults are explained, and what Entra receives.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use misp_sentinel_relay::azure::{Certificate, CertificateError, statement};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

const PASSWORD: &str = "sandbox";

fn read(file: &str, password: &str) -> Result<Certificate, CertificateError> {
    Certificate::read(&std::fs::read(certificate_file(file)).unwrap(), password, Utc::now())
}

#[test]
fn pem_and_pkcs12_old_and_new_give_the_same_certificate() {
    // Made by `openssl x509 -outform DER | openssl dgst -sha256`.
    let expected = std::fs::read_to_string(certificate_file("one.thumbprint")).unwrap();
    for (file, password) in [
        ("one.pem", ""),
        ("one-pkcs1.pem", ""),
        ("chain.pem", ""),
        ("one-modern.p12", PASSWORD),
        ("one-legacy.p12", PASSWORD),
        ("one-chain.p12", ""),
    ] {
        let certificate = read(file, password).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(certificate.thumbprint, expected, "{file}");
    }
    assert_ne!(read("two.pem", "").unwrap().thumbprint, expected);
}

#[test]
fn what_cannot_sign_is_named_with_its_remedy() {
    for (file, password, words) in [
        ("mismatch.pem", "", "does not belong to any certificate"),
        ("ec.pem", "", "not RSA"),
        ("past.pem", "", "expired on 2021-01-01"),
        ("one-encrypted.pem", "", "openssl pkcs12 -export"),
        ("one.crt", "", "no private key"),
        ("no-key.p12", PASSWORD, "no private key"),
        ("one-modern.p12", "guess", "certificate_password"),
        ("one-modern.p12", "", "certificate_password"),
        ("one-legacy.p12", "guess", "certificate_password"),
        ("make.sh", "", "neither PEM nor PKCS#12"),
    ] {
        let error = read(file, password).unwrap_err();
        assert!(error.to_string().contains(words), "{file}: {error}");
    }
    let key = std::fs::read_to_string(certificate_file("one.pem")).unwrap();
    let key = key.split("-----BEGIN CERTIFICATE").next().unwrap();
    let error = Certificate::read(key.as_bytes(), "", Utc::now()).unwrap_err();
    assert_eq!(error, CertificateError::NoCertificate);
    let error = Certificate::read(b"\x30\x03\x02\x01\x03", "", Utc::now()).unwrap_err();
    assert!(matches!(error, CertificateError::Pkcs12(_)), "{error}");

    let pem = std::fs::read(certificate_file("one.pem")).unwrap();
    let error = Certificate::read(&pem, "", DateTime::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn statement_is_what_microsoft_documents_and_the_public_key_verifies_it() {
    let certificate = read("one.pem", "").unwrap();
    let (id, now) = (Uuid::new_v4(), Utc::now());
    let audience = "https://login.example/t/oauth2/v2.0/token";
    let text = statement(&certificate, "client", audience, id, now).unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{text}") };
    let json = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let thumbprint = std::fs::read_to_string(certificate_file("one.thumbprint")).unwrap();
    let expected = serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint});
    assert_eq!(json(header), expected);
    let now = now.timestamp();
    let expected = serde_json::json!({
        "aud": audience, "iss": "client", "sub": "client", "jti": id.to_string(),
        "nbf": now, "iat": now, "exp": now + 600,
    });
    assert_eq!(json(claims), expected);

    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let verifies = |file: &str| {
        let der = certificate_der(file);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let key = parsed.public_key().subject_public_key.data.to_vec();
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key);
        key.verify(signed.as_bytes(), &signature).is_ok()
    };
    assert!(verifies("one.crt"));
    assert!(!verifies("two.crt"));
}

fn by(sandbox: &Sandbox, file: PathBuf) -> TokenSource {
    let (tenant_id, client_id) = application(sandbox);
    let password = Secret::new(PASSWORD);
    source(
        sandbox,
        Credential { tenant_id, client_id, proof: Proof::Certificate { file, password } },
    )
}

#[tokio::test]
async fn each_kind_of_file_signs_in() {
    let sandbox = start().await;
    sandbox.register_certificate(&application(&sandbox).1, certificate_der("one.crt"));
    for file in ["one.pem", "one-pkcs1.pem", "one-modern.p12", "one-legacy.p12"] {
        by(&sandbox, certificate_file(file)).token().await.unwrap();
    }
}

#[tokio::test]
async fn certificate_that_the_application_does_not_know_is_named() {
    let sandbox = start().await;
    let client_id = application(&sandbox).1;
    sandbox.register_certificate(&client_id, certificate_der("two.crt"));
    let source = by(&sandbox, certificate_file("one.pem"));
    let stranger = refusal(&source).await;
    assert_eq!(stranger.code, "AADSTS700027");
    assert!(stranger.remedy.contains("one.pem"), "{stranger}");
    sandbox.register_certificate(&client_id, certificate_der("one.crt"));
    source.token().await.unwrap();
}

#[tokio::test]
async fn file_is_read_anew_for_each_sign_in() {
    let sandbox = start().await;
    let client_id = application(&sandbox).1;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    let source = by(&sandbox, file.clone());
    let error = source.token().await.unwrap_err();
    assert!(matches!(error, SignInError::Settings(_)), "{error}");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");

    std::fs::copy(certificate_file("one.pem"), &file).unwrap();
    sandbox.register_certificate(&client_id, certificate_der("one.crt"));
    source.token().await.unwrap();
    sandbox.forget_certificates(&client_id);
    sandbox.register_certificate(&client_id, certificate_der("two.crt"));
    std::fs::copy(certificate_file("two.pem"), &file).unwrap();
    source.renew().unwrap();
    source.token().await.unwrap();
}

/// The sandbox is as strict as it has to be for the tests above to mean something.
#[tokio::test]
async fn sandbox_looks_at_signature_audience_time_and_repetition() {
    let sandbox = start().await;
    let (tenant, client_id) = application(&sandbox);
    sandbox.register_certificate(&client_id, certificate_der("one.crt"));
    let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", sandbox.base_url());
    let (one, now) = (read("one.pem", "").unwrap(), Utc::now());
    let http = http::client(&azure(&sandbox)).unwrap();
    let post = async |assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("scope", "https://management.azure.com/.default"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ];
        let mut body = reqwest::Url::parse("https://x.invalid").unwrap();
        body.query_pairs_mut().extend_pairs(form);
        let body = body.query().unwrap().to_owned();
        let answer = http.post(&endpoint).body(body).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["error_codes"][0].as_u64()
    };
    let state = |audience: &str, id, now| statement(&one, &client_id, audience, id, now).unwrap();
    let good = state(&endpoint, Uuid::new_v4(), now);
    assert_eq!(post(&good).await, None);
    assert_eq!(post(&good).await, Some(50_013), "the same again");
    let elsewhere = state("https://login.example/token", Uuid::new_v4(), now);
    assert_eq!(post(&elsewhere).await, Some(700_023));
    for ahead in [TimeDelta::minutes(-11), TimeDelta::minutes(2)] {
        let wrong = state(&endpoint, Uuid::new_v4(), now + ahead);
        assert_eq!(post(&wrong).await, Some(700_024), "{ahead}");
    }
    let fresh = state(&endpoint, Uuid::new_v4(), now);
    let (signed, signature) = fresh.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    signature[0] ^= 1;
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(post(&forged).await, Some(700_027));
    let two = read("two.pem", "").unwrap();
    let stranger = statement(&two, &client_id, &endpoint, Uuid::new_v4(), now).unwrap();
    assert_eq!(post(&stranger).await, Some(700_027));
}

#[tokio::test]
async fn clock_that_is_wrong_is_named() {
    let sandbox = start().await;
    sandbox.register_certificate(&application(&sandbox).1, certificate_der("one.crt"));
    let source = by(&sandbox, certificate_file("one.pem"));
    sandbox.set_clock_ahead(660);
    let late = refusal(&source).await;
    assert_eq!(late.code, "AADSTS700024");
    assert!(late.remedy.contains("clock is wrong"), "{late}");
    sandbox.set_clock_ahead(0);
    source.token().await.unwrap();
}
