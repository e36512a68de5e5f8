//! Entra's refusals in plain words: what it said, and what to do.
//!
//! Codes: <https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>.

use std::fmt;

use serde::Deserialize;

use super::token::SignIn;
use crate::config::Credential;

/// How much of a description is kept, characters.
const KEPT: usize = 600;

/// What Entra said about a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// e.g. `AADSTS7000215`; empty where the answer has none.
    pub code: String,
    /// OAuth's word, e.g. `invalid_client`; empty where the answer has none.
    pub error: String,
    /// Entra's own sentence, trace and correlation id included.
    pub description: String,
    /// What to do about it; empty where we do not know.
    pub remedy: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: String,
    error_description: String,
    error_codes: Vec<u64>,
}

impl Refusal {
    /// Reads an answer that is no success. The secret is taken out, should Entra repeat it.
    pub(super) fn read(status: u16, body: &[u8], sign_in: &SignIn) -> Self {
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        let mut description = answer.error_description.replace(['\r', '\n'], " ");
        if description.is_empty() && answer.error.is_empty() {
            description = String::from_utf8_lossy(body).replace(['\r', '\n'], " ");
        }
        let description = redacted(&description, sign_in);
        let description: String = description.chars().take(KEPT).collect();
        let code = code(&answer, &description);
        let remedy = remedy(&code, status, sign_in);
        let error = redacted(&answer.error, sign_in);
        Self { status, code, error, description, remedy }
    }

    /// Whether the same sign-in may succeed in a moment.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..=599)
            || matches!(self.error.as_str(), "temporarily_unavailable" | "server_error")
    }
}

impl fmt::Display for Refusal {
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

/// The code at the head of the description, else the first of the numbers.
fn code(answer: &Answer, description: &str) -> String {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let in_text = description.split_once("AADSTS").map(|(_, rest)| digits(rest));
    let number = in_text.filter(|digits| !digits.is_empty());
    let number = number.or_else(|| answer.error_codes.first().map(u64::to_string));
    number.map(|number| format!("AADSTS{number}")).unwrap_or_default()
}

/// Without the secret, should Entra repeat it.
fn redacted(text: &str, sign_in: &SignIn) -> String {
    let secret = match &sign_in.credential {
        Credential::ClientSecret { secret, .. } if secret.is_given() => secret,
        Credential::ClientSecret { .. }
        | Credential::Certificate { .. }
        | Credential::ManagedIdentity(_)
        | Credential::WorkloadIdentity { .. }
        | Credential::FederatedManagedIdentity { .. }
        | Credential::AzureCli { .. } => return text.to_owned(),
    };
    text.replace(secret.expose(), "[redacted]")
}

fn remedy(code: &str, status: u16, sign_in: &SignIn) -> String {
    let SignIn { credential, authority, .. } = sign_in;
    let (tenant_id, client_id) = (credential.tenant_id(), credential.client_id());
    match code {
        "AADSTS7000215" => format!(
            "client_secret is not a secret of application {client_id}: use the secret's value, \
             not its secret ID (the value is shown only once, when the secret is made)"
        ),
        "AADSTS7000222" => format!(
            "the secret of application {client_id} has expired: make a new one under \
             Certificates & secrets and set client_secret"
        ),
        "AADSTS700016" => format!(
            "tenant {tenant_id} knows no application {client_id}: check client_id (the Application \
             (client) ID, not the object ID) and tenant_id"
        ),
        "AADSTS90002" | "AADSTS900023" => format!(
            "{authority} knows no tenant {tenant_id}: check tenant_id (the Directory (tenant) ID), \
             and the authority if the tenant is in another cloud"
        ),
        "AADSTS7000112" => format!("application {client_id} is disabled: enable it in Entra"),
        "AADSTS500011" | "AADSTS70011" | "AADSTS1002012" => format!(
            "check scope: it must be the resource of the cloud at {authority}, ending in /.default"
        ),
        _ if code.is_empty() && status == 404 => format!("check authority {authority}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn sign_in() -> SignIn {
        SignIn {
            credential: Credential::ClientSecret {
                tenant_id: "contoso.example".to_owned(),
                client_id: "c1".to_owned(),
                secret: Secret::new("hush~hush"),
            },
            authority: "https://login.example".to_owned(),
            scope: "https://management.example/.default".to_owned(),
        }
    }

    fn read(status: u16, body: &str) -> Refusal {
        Refusal::read(status, body.as_bytes(), &sign_in())
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
    fn common_causes_have_a_remedy() {
        for (number, hint) in [
            ("7000222", "has expired"),
            ("700016", "knows no application c1"),
            ("90002", "knows no tenant contoso.example"),
        ] {
            let body = format!(
                r#"{{"error":"invalid_request","error_description":"AADSTS{number}: words"}}"#
            );
            let refusal = read(400, &body);
            assert_eq!(refusal.code, format!("AADSTS{number}"));
            assert!(refusal.to_string().contains(hint), "{refusal}");
        }
    }

    #[test]
    fn secret_is_never_repeated() {
        let body = r#"{"error":"invalid_request","error_description":"Application with identifier 'hush~hush' was not found"}"#;
        assert!(!format!("{0} {0:?}", read(400, body)).contains("hush~hush"));
        assert!(!read(400, "you sent hush~hush").to_string().contains("hush~hush"));
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
        assert!(read(400, r#"{"error":"temporarily_unavailable"}"#).may_pass());
        assert!(!read(400, r#"{"error":"unauthorized_client"}"#).may_pass());
    }
}
