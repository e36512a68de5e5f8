//! Explains why a sign-in gave no token: quotes what Entra answered and adds what to do. The error codes:
//! <https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>

use std::fmt;

use serde::Deserialize;

use super::remedy::remedy;
use super::reply::may_pass;
use super::sign_in::{SignIn, Who};

/// The most characters of a description that are kept.
const KEPT: usize = 600;

/// The length of the shortest word that is taken for a token. Shorter words that begin with `eyJ` are kept.
const SHORTEST_TOKEN: usize = 40;

/// An answer with an error status. The SDK wraps it in its own error and returns it to us, as it does with a
/// [`SignInError`]. What it means depends on the service that answered.
#[derive(Debug, thiserror::Error)]
#[error("HTTP {status}")]
pub(super) struct RefusedAnswer {
    pub(super) who: Who,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// The service's reason for refusing a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInRefusal {
    pub who: Who,
    pub status: u16,
    /// The error code, e.g. `AADSTS7000215`. Empty if the answer has none.
    pub code: String,
    /// OAuth's `error`, e.g. `invalid_client`. Empty if the answer has none.
    pub error: String,
    /// The service's own description, with trace and correlation id.
    pub description: String,
    /// What the operator has to do. Empty if the relay knows no remedy.
    pub remedy: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignInErrorBody {
    error: String,
    error_description: String,
    error_codes: Vec<u64>,
    /// App Service's name for `error_description`.
    message: String,
}

impl SignInRefusal {
    /// Reads an answer with an error status. Secrets that it repeats are removed.
    fn read(refused: &RefusedAnswer, sign_in: &SignIn) -> Self {
        let RefusedAnswer { who, status, ref body } = *refused;
        let answer: SignInErrorBody = serde_json::from_slice(body).unwrap_or_default();
        let said = if answer.error_description.is_empty() {
            &answer.message
        } else {
            &answer.error_description
        };
        let mut description = said.replace(['\r', '\n'], " ");
        if description.is_empty() && answer.error.is_empty() {
            description = String::from_utf8_lossy(body).replace(['\r', '\n'], " ");
        }
        // This comes before the cut, which could leave a part of a secret that is no longer recognised.
        let description = redacted(&description, sign_in);
        let description: String = description.chars().take(KEPT).collect();
        let code = code(&answer, &description);
        let error = redacted(&answer.error, sign_in);
        let remedy = remedy(who, status, &code, sign_in);
        Self { who, status, code, error, description, remedy }
    }

    /// Returns whether the same sign-in may succeed in a moment. The metadata service answers 404 and 410
    /// while it is being updated.
    fn may_pass(&self) -> bool {
        may_pass(self.status)
            || matches!(self.error.as_str(), "temporarily_unavailable" | "server_error")
            || (self.who == Who::ManagedIdentity && matches!(self.status, 404 | 410))
    }
}

impl fmt::Display for SignInRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        for part in [&self.error, &self.description] {
            if !part.is_empty() {
                write!(f, ", {part}")?;
            }
        }
        if !self.remedy.is_empty() {
            write!(f, " -- {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Returns the code in the description, or else the first of `error_codes`.
fn code(answer: &SignInErrorBody, description: &str) -> String {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let in_text = description.split_once("AADSTS").map(|(_, rest)| digits(rest));
    let number = in_text.filter(|digits| !digits.is_empty());
    let number = number.or_else(|| answer.error_codes.first().map(u64::to_string));
    number.map(|number| format!("AADSTS{number}")).unwrap_or_default()
}

/// Returns the text without the secret, and without anything that looks like a token or an assertion.
fn redacted(text: &str, sign_in: &SignIn) -> String {
    let mut credential = sign_in.credential.clone();
    let secret = credential.secret_mut().filter(|secret| !secret.expose().is_empty());
    let text = match secret {
        Some(secret) => text.replace(secret.expose(), "[redacted]"),
        None => text.to_owned(),
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words = text.split_inclusive(|c| !is_part(c)).map(|word| {
        let token = word.trim_end_matches(|c| !is_part(c));
        if token.len() >= SHORTEST_TOKEN && token.starts_with("eyJ") {
            word.replace(token, "[redacted]")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

/// The reason why there is no token.
#[derive(
    Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum SignInError {
    /// Entra, or a proxy in front of it, refuses. An operator must change something.
    #[error("{who} refuses the sign-in: {0}", who = .0.who)]
    Refused(SignInRefusal),
    /// There is no answer, or a failure that may pass in a moment.
    #[error("{0}")]
    Unreachable(String),
    /// The answer holds a token that cannot be used.
    #[error("the token cannot be used: {0}")]
    Unusable(String),
    /// The settings do not allow any sign-in.
    #[error("sign-in is not possible: {0}")]
    Settings(String),
}

impl From<SignInError> for azure_core::Error {
    fn from(error: SignInError) -> Self {
        Self::new(azure_core::error::ErrorKind::Other, error)
    }
}

impl SignInError {
    /// Makes the error of a refused sign-in.
    pub(super) fn of(refused: &RefusedAnswer, sign_in: &SignIn) -> Self {
        let refusal = SignInRefusal::read(refused, sign_in);
        if refusal.may_pass() {
            Self::Unreachable(format!("{} cannot be reached: {refusal}", refusal.who))
        } else {
            Self::Refused(refusal)
        }
    }

    /// Returns the name of the error in metrics.
    pub fn word(&self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credential, ManagedIdentity, Proof, Secret};

    fn credential(proof: Proof) -> Credential {
        Credential { tenant_id: "contoso.example".to_owned(), client_id: "c1".to_owned(), proof }
    }

    fn secret() -> Credential {
        credential(Proof::ClientSecret(Secret::new("hush~hush")))
    }

    fn sign_in(credential: Credential) -> SignIn {
        SignIn {
            credential,
            authority: "https://login.example".to_owned(),
            scope: "https://management.example/.default".to_owned(),
        }
    }

    fn answered(who: Who, status: u16, body: &[u8], sign_in: &SignIn) -> SignInRefusal {
        SignInRefusal::read(&RefusedAnswer { who, status, body: body.to_vec() }, sign_in)
    }

    fn read(status: u16, body: &str) -> SignInRefusal {
        answered(Who::Entra, status, body.as_bytes(), &sign_in(secret()))
    }

    fn coded(number: &str, credential: &Credential) -> SignInRefusal {
        let body =
            format!(r#"{{"error":"invalid_client","error_description":"AADSTS{number}: words"}}"#);
        answered(Who::Entra, 401, body.as_bytes(), &sign_in(credential.clone()))
    }

    #[test]
    fn escapes_in_the_description_are_read() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided for app \u0027c1\u0027.\r\nTrace ID: t1\r\nCorrelation ID: k1","error_codes":[7000215]}"#;
        let refusal = read(401, body);
        assert_eq!(refusal.code, "AADSTS7000215");
        assert_eq!(refusal.error, "invalid_client");
        assert!(refusal.description.contains("for app 'c1'.  Trace ID: t1"));
        assert!(refusal.remedy.contains("not its secret ID"));
        assert!(!refusal.may_pass());
    }

    #[test]
    fn common_causes_have_a_remedy_that_names_the_field() {
        let certificate = credential(Proof::Certificate {
            file: "/run/app.pem".into(),
            password: Secret::new(""),
        });
        let pod = credential(Proof::WorkloadIdentity { token_file: "/var/run/token".into() });
        let federated = credential(Proof::FederatedManagedIdentity {
            identity: ManagedIdentity::ClientId("m1".to_owned()),
            audience: "api://AzureADTokenExchange".to_owned(),
        });
        for (number, credential, hint) in [
            ("7000222", &secret(), "has expired"),
            ("7000222", &certificate, "certificate_file"),
            ("700016", &secret(), "knows no application c1"),
            ("90002", &secret(), "knows no tenant contoso.example"),
            ("700027", &certificate, "/run/app.pem"),
            ("700027", &certificate, "Certificates & secrets"),
            ("700024", &certificate, "clock"),
            ("700024", &pod, "/var/run/token"),
            ("70021", &pod, "federated credential"),
            ("700211", &pod, "issuer"),
            ("700213", &pod, "subject"),
            ("700213", &federated, "managed_identity"),
            ("700212", &federated, "api://AzureADTokenExchange"),
            ("53003", &secret(), "conditional access"),
            ("7000112", &secret(), "disabled"),
        ] {
            let refusal = coded(number, credential);
            assert_eq!(refusal.code, format!("AADSTS{number}"));
            assert!(refusal.to_string().contains(hint), "{hint}: {refusal}");
        }
    }

    #[test]
    fn identity_that_the_machine_does_not_have_is_named() {
        let identity = ManagedIdentity::ClientId("m1".to_owned());
        let sign_in = sign_in(Credential::of_machine(identity));
        let body = br#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        let refusal = answered(Who::ManagedIdentity, 400, body, &sign_in);
        assert!(!refusal.may_pass());
        assert!(refusal.remedy.contains("client:m1"), "{refusal}");
        assert!(refusal.remedy.contains("assign"), "{refusal}");
        assert!(answered(Who::ManagedIdentity, 404, b"", &sign_in).may_pass());
        assert!(answered(Who::ManagedIdentity, 410, b"", &sign_in).may_pass());
        let app_service = br#"{"statusCode":400,"message":"No User Assigned found"}"#;
        let refusal = answered(Who::ManagedIdentity, 400, app_service, &sign_in);
        assert_eq!(refusal.description, "No User Assigned found");
    }

    #[test]
    fn secret_is_never_repeated() {
        let body = r#"{"error":"invalid_request","error_description":"Application with identifier 'hush~hush' was not found"}"#;
        assert!(!format!("{0} {0:?}", read(400, body)).contains("hush~hush"));
        assert!(!read(400, "you sent hush~hush").to_string().contains("hush~hush"));
    }

    #[test]
    fn assertions_are_never_repeated() {
        let token = format!("eyJhbGciOiJQUzI1NiJ9.{}.c2lnbmF0dXJl-_", "QUJD".repeat(20));
        let body = serde_json::json!({
            "error": "invalid_client",
            "error_description": format!("AADSTS50027: JWT '{token}' is invalid, says eyJsomebody."),
        });
        let refusal = read(401, &body.to_string());
        assert_eq!(
            refusal.description,
            "AADSTS50027: JWT '[redacted]' is invalid, says eyJsomebody."
        );
    }

    #[test]
    fn page_instead_of_an_answer_is_quoted() {
        let refusal = read(404, "<html>nothing here</html>");
        assert_eq!((refusal.code.as_str(), refusal.error.as_str()), ("", ""));
        assert!(refusal.to_string().contains("nothing here"));
        assert!(refusal.remedy.contains("https://login.example"));
    }

    #[test]
    fn trouble_on_their_side_may_pass() {
        assert!(read(503, "").may_pass());
        assert!(read(429, "").may_pass());
        assert!(read(425, "").may_pass());
        assert!(read(400, r#"{"error":"temporarily_unavailable"}"#).may_pass());
        assert!(!read(400, r#"{"error":"unauthorized_client"}"#).may_pass());
        assert!(!read(404, "").may_pass());
    }
}
