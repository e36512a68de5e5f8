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
use super::refusal::EntraRefusal;

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

/// Checks that `assertion` speaks for the application. `endpoint` is the address of the token endpoint.
pub(super) fn check(
    access: &mut Access,
    client_id: &str,
    endpoint: &str,
    assertion: &str,
    now: DateTime<Utc>,
) -> Result<(), EntraRefusal> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err(malformed()) };
    let signed = format!("{header}.{claims}");
    let claims: AssertionClaims = part(claims)?;
    if claims.iss != client_id {
        return by_issuer(access, client_id, assertion, &claims);
    }
    by_certificate(access, client_id, &part(header)?, &signed, signature)?;
    if claims.sub != client_id {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(EntraRefusal::of_client(700_021, text));
    }
    if claims.aud != endpoint {
        let audience = claims.aud;
        let text = format!(
            "Client assertion audience claim does not match Realm issuer. Expected {endpoint}, got {audience}."
        );
        return Err(EntraRefusal::of_client(700_023, text));
    }
    let now = now.timestamp();
    if now < claims.nbf || now > claims.exp || claims.exp - now > LONGEST {
        return Err(out_of_time(&format!("{} to {}", claims.nbf, claims.exp)));
    }
    if claims.jti.is_empty() || !access.seen.insert(claims.jti) {
        let text = "Assertion failed a single sign-on validation: its identifier was used before.";
        return Err(EntraRefusal::of_client(50_013, text));
    }
    Ok(())
}

fn by_certificate(
    access: &Access,
    client_id: &str,
    header: &Header,
    signed: &str,
    signature: &str,
) -> Result<(), EntraRefusal> {
    let invalid = |reason: &str| {
        let thumbprint = &header.thumbprint;
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}'] (application '{client_id}')"
        );
        EntraRefusal::of_client(700_027, text)
    };
    if header.alg != "PS256" {
        return Err(invalid("The algorithm is not PS256"));
    }
    let is_named =
        |der: &&Vec<u8>| URL_SAFE_NO_PAD.encode(digest(&SHA256, der)) == header.thumbprint;
    let known = access.certificates.get(client_id).into_iter().flatten().find(is_named);
    let Some(der) = known else { return Err(invalid("The key was not found.")) };
    let parsed = X509Certificate::from_der(der).map_err(|_| invalid("The key cannot be read."))?;
    let key = &parsed.1.public_key().subject_public_key.data;
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| invalid("The key was found, but the signature is not its own."))
}

/// Checks a token of another issuer. It must be one that the sandbox made for that issuer.
fn by_issuer(
    access: &Access,
    client_id: &str,
    assertion: &str,
    claims: &AssertionClaims,
) -> Result<(), EntraRefusal> {
    let trusted = access.trusted.get(client_id).map(Vec::as_slice).unwrap_or_default();
    let no_match = |code, what: &str, value: &str| {
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id"
        );
        Err(EntraRefusal::of_client(code, text))
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

fn out_of_time(when: &str) -> EntraRefusal {
    let text = format!(
        "Client assertion is not within its valid time range ({when}). Current time is not Entra's."
    );
    EntraRefusal::of_client(700_024, text)
}

fn malformed() -> EntraRefusal {
    EntraRefusal::of_client(50_027, "JWT token is invalid or malformed.")
}

fn part<T: for<'d> Deserialize<'d>>(part: &str) -> Result<T, EntraRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|_| malformed())
}
