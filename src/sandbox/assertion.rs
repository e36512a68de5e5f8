//! Checks a client assertion as Entra does. It is a token of a trusted issuer, or a JWT that the
//! application's certificate signed:
//! <https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials>

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::access::{Access, Federated};
use super::refusal::No;

/// The longest time that a statement may hold, seconds.
const LONGEST: i64 = 600;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    alg: String,
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AssertionClaims {
    aud: Value,
    iss: String,
    sub: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// Whether `assertion` speaks for the application. `endpoint` is the token endpoint's address.
pub(super) fn check(
    access: &mut Access,
    client_id: &str,
    endpoint: &str,
    assertion: &str,
    now: DateTime<Utc>,
) -> Result<(), No> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return Err(malformed());
    };
    let signed = format!("{header}.{claims}");
    let claims: AssertionClaims = part(claims)?;
    if claims.iss != client_id {
        return by_issuer(access, client_id, assertion, &claims);
    }
    by_certificate(access, client_id, &part(header)?, &signed, signature)?;
    if claims.sub != client_id {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err((401, "invalid_client", 700_021, text.to_owned()));
    }
    if claims.aud != endpoint {
        let text = format!(
            "Client assertion audience claim does not match Realm issuer. Expected {endpoint}, got \
             {}.",
            claims.aud
        );
        return Err((401, "invalid_client", 700_023, text));
    }
    let now = now.timestamp();
    if now < claims.nbf || now > claims.exp || claims.exp - now > LONGEST {
        return Err(out_of_time(&format!("{} to {}", claims.nbf, claims.exp)));
    }
    if claims.jti.is_empty() || !access.seen.insert(claims.jti) {
        let text = "Assertion failed a single sign-on validation: its identifier was used before.";
        return Err((401, "invalid_client", 50_013, text.to_owned()));
    }
    Ok(())
}

fn by_certificate(
    access: &Access,
    client_id: &str,
    header: &Header,
    signed: &str,
    signature: &str,
) -> Result<(), No> {
    let invalid = |reason: &str| {
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on \
             application. [Reason - {reason}, Thumbprint of key used by client: '{}'] (application \
             '{client_id}')",
            header.thumbprint
        );
        (401, "invalid_client", 700_027, text)
    };
    if header.alg != "PS256" {
        return Err(invalid("The algorithm is not PS256"));
    }
    let registered = access.certificates.get(client_id).into_iter().flatten();
    let known = registered
        .into_iter()
        .find(|der| URL_SAFE_NO_PAD.encode(digest(&SHA256, der)) == header.thumbprint);
    let Some(der) = known else { return Err(invalid("The key was not found.")) };
    let parsed = X509Certificate::from_der(der).map_err(|_| invalid("The key cannot be read."))?;
    let key = &parsed.1.public_key().subject_public_key.data;
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| invalid("The key was found, but the signature is not its own."))
}

/// A token of another issuer is one that the sandbox made for it.
fn by_issuer(
    access: &Access,
    client_id: &str,
    assertion: &str,
    claims: &AssertionClaims,
) -> Result<(), No> {
    let trusted = access.trusted.get(client_id).map(Vec::as_slice).unwrap_or_default();
    let no_match = |code, what: &str, value: &str| {
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. \
             Please check your federated identity credential Subject, Audience and Issuer against \
             the presented assertion. https://learn.microsoft.com/entra/workload-id"
        );
        Err((401, "invalid_client", code, text))
    };
    let Some((federated, ends)) = access.issued.get(assertion) else {
        return no_match(700_211, "issuer", &claims.iss);
    };
    let Federated { issuer, subject, audience } = federated;
    let of_issuer: Vec<_> = trusted.iter().filter(|one| one.issuer == *issuer).collect();
    if of_issuer.is_empty() {
        return no_match(700_211, "issuer", issuer);
    }
    let of_subject: Vec<_> = of_issuer.iter().filter(|one| one.subject == *subject).collect();
    if of_subject.is_empty() {
        return no_match(700_213, "subject", subject);
    }
    if !of_subject.iter().any(|one| one.audience == *audience) {
        return no_match(700_212, "audience", audience);
    }
    if Instant::now() < *ends { Ok(()) } else { Err(out_of_time("past")) }
}

fn out_of_time(when: &str) -> No {
    let text = format!(
        "Client assertion is not within its valid time range ({when}). Current time is not Entra's."
    );
    (401, "invalid_client", 700_024, text)
}

fn malformed() -> No {
    (401, "invalid_client", 50_027, "JWT token is invalid or malformed.".to_owned())
}

fn part<T: for<'d> Deserialize<'d>>(part: &str) -> Result<T, No> {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|_| malformed())
}
