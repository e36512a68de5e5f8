//! Reads the certificate of an application and its RSA key. The file is PEM with both, or PKCS#12.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use p12_keystore::{Pkcs12Archive, error::Error as Pkcs12Error};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The reason why a file cannot be used to sign in. Each message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error(
        "it is neither PEM nor PKCS#12: expected a PEM file with the certificate and its private \
         key, or a .pfx or .p12 file"
    )]
    Unknown,
    #[error("it holds no certificate: append the certificate's PEM block to the key's")]
    NoCertificate,
    #[error("it holds no private key: append the key's PEM block, or export both into one .pfx")]
    NoKey,
    #[error(
        "its private key is encrypted: write it in the clear (openssl pkey -in FILE), or export \
         key and certificate into a .pfx (openssl pkcs12 -export) and set certificate_password"
    )]
    EncryptedPem,
    #[error("certificate_password is not the password of this PKCS#12 file")]
    WrongPassword,
    #[error("it is a PKCS#12 file that cannot be read: {0}; export it anew")]
    Pkcs12(String),
    #[error("its private key is not RSA, which Entra asks for: make a certificate with an RSA key")]
    NotRsa,
    #[error("its RSA key cannot be used: {0}; expected 2048 to 4096 bits")]
    Key(String),
    #[error(
        "its private key does not belong to any certificate in it: put the right pair together"
    )]
    Mismatch,
    #[error(
        "its certificate expired on {0}: make a new one, upload it to the application under \
         Certificates & secrets, and put it in the file's place"
    )]
    Expired(DateTime<Utc>),
    #[error("its certificate is valid only from {0} on: is this machine's clock right?")]
    NotYet(DateTime<Utc>),
}

/// A certificate and its private key, which signs.
#[derive(Debug)]
pub struct Certificate {
    key: RsaKeyPair,
    /// The SHA-256 of the certificate in base64url: the member `x5t#S256` in the header of a JWT.
    pub thumbprint: String,
    /// The last moment of its validity.
    pub ends: DateTime<Utc>,
}

impl Certificate {
    /// Reads a certificate from the content of a file. `password` is used only for PKCS#12.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub fn read(
        content: &[u8],
        password: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, CertificateError> {
        let is_pem = content.windows(11).any(|window| window == b"-----BEGIN ");
        let (key, certificates) =
            if is_pem { from_pem(content)? } else { from_pkcs12(content, password)? };
        if certificates.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        // The file may hold a chain. The application's own certificate is the one with the key's public half.
        let own = certificates.iter().find_map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            let of = &certificate.public_key().subject_public_key.data;
            (of.as_ref() == key.public().as_ref()).then_some((der, certificate))
        });
        let (der, own) = own.ok_or(CertificateError::Mismatch)?;
        let validity = own.validity();
        let at = |time: x509_parser::time::ASN1Time| {
            DateTime::from_timestamp(time.timestamp(), 0).unwrap_or_default()
        };
        let (begins, ends) = (at(validity.not_before), at(validity.not_after));
        if now > ends {
            return Err(CertificateError::Expired(ends));
        }
        if now < begins {
            return Err(CertificateError::NotYet(begins));
        }
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, der));
        Ok(Self { key, thumbprint, ends })
    }

    /// Signs with RSASSA-PSS and SHA-256.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CertificateError> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed = self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| CertificateError::Key("it does not sign".to_owned()))?;
        Ok(signature)
    }
}

type Pair = (RsaKeyPair, Vec<Vec<u8>>);

fn from_pem(content: &[u8]) -> Result<Pair, CertificateError> {
    let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(content)
        .filter_map(|der| der.ok().map(|der| der.to_vec()))
        .collect();
    let key = match PrivateKeyDer::from_pem_slice(content) {
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        Ok(_) => return Err(CertificateError::NotRsa),
        Err(_) if String::from_utf8_lossy(content).contains("ENCRYPTED") => {
            return Err(CertificateError::EncryptedPem);
        }
        Err(_) => return Err(CertificateError::NoKey),
    };
    Ok((key.map_err(|error| rejected(&error))?, certificates))
}

fn from_pkcs12(content: &[u8], password: &str) -> Result<Pair, CertificateError> {
    // PKCS#12 is DER and begins with a SEQUENCE. Other bytes must not look like a wrong password.
    if content.first() != Some(&0x30) {
        return Err(CertificateError::Unknown);
    }
    let archive = Pkcs12Archive::from_pkcs12(content, password).map_err(|error| {
        use Pkcs12Error::{MacError, Pkcs5Error, UnpadError};
        if matches!(error, MacError(_) | Pkcs5Error(_) | UnpadError) {
            CertificateError::WrongPassword
        } else {
            CertificateError::Pkcs12(error.to_string())
        }
    })?;
    let key = archive.keys.first().ok_or(CertificateError::NoKey)?;
    let key = RsaKeyPair::from_pkcs8(key.key.as_der()).map_err(|error| rejected(&error))?;
    let certificates = archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    Ok((key, certificates))
}

fn rejected(error: &ring::error::KeyRejected) -> CertificateError {
    match error.to_string() {
        word if word == "WrongAlgorithm" => CertificateError::NotRsa,
        word => CertificateError::Key(word),
    }
}
