//! Warns about secrets and ids that were probably damaged when someone copied them.

use uuid::Uuid;

use super::unseen::unseen;
use super::{Config, Credential, ManagedIdentity, Proof};

/// Returns a sentence for each doubtful value, with its key and the remedy.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    for source in &config.sources {
        let key = |leaf| source.key_of(leaf);
        if let Some(plain) = &source.zeromq.credentials {
            doubts.extend(of_text(&key("zeromq.password"), plain.password.expose()));
            doubts.extend(of_text(&key("zeromq.username"), &plain.username));
        }
        if let Some(webhook) = &source.webhook {
            doubts.extend(of_text(&key("webhook.secret"), webhook.secret.expose()));
        }
    }
    for target in &config.targets {
        doubts.extend(of_credential(&format!("target.{}", target.name), &target.credential));
    }
    doubts
}

fn of_credential(section: &str, credential: &Credential) -> Vec<String> {
    let key = |leaf: &str| format!("{section}.{leaf}");
    let mut doubts = Vec::new();
    let proof = &credential.proof;
    if let Proof::ClientSecret(secret) = proof {
        doubts.extend(of_text(&key("client_secret"), secret.expose()));
        if Uuid::try_parse(secret.expose()).is_ok() {
            doubts.push(format!(
                "{section}.client_secret looks like a Secret ID; Entra wants the secret's Value"
            ));
        }
    } else if let Proof::Certificate { password, .. } = proof {
        doubts.extend(of_text(&key("certificate_password"), password.expose()));
    } else if let Proof::FederatedManagedIdentity { identity, .. } = proof
        && *identity == ManagedIdentity::SystemAssigned
    {
        doubts.push(format!(
            "{section}.managed_identity is empty: Entra lets applications trust user-assigned identities only"
        ));
    }
    doubts.extend(of_tenant(&key("tenant_id"), &credential.tenant_id));
    doubts.extend(of_client(&key("client_id"), &credential.client_id));
    doubts
}

/// Warns about white space or a byte order mark around a text. They are invisible, and nearly never meant.
fn of_text(key: &str, text: &str) -> Option<String> {
    let unseen = unseen(text)?;
    Some(format!(
        "{key} {unseen}, which counts as part of it: write it anew without that (printf '%s' in place of echo; UTF-8 without BOM in an editor)"
    ))
}

fn of_client(key: &str, id: &str) -> Option<String> {
    (!id.is_empty() && Uuid::try_parse(id).is_err()).then(|| format!(
        "{key} = {id:?} is no id: Entra shows it as \"Application (client) ID\" on the application's overview, a uuid"
    ))
}

/// The names that stand for many tenants. An application signs in to exactly one.
const NO_TENANT: [&str; 3] = ["common", "organizations", "consumers"];

fn of_tenant(key: &str, tenant: &str) -> Option<String> {
    let is_one = tenant.is_empty()
        || Uuid::try_parse(tenant).is_ok()
        || tenant.contains('.') && !NO_TENANT.contains(&tenant);
    (!is_one).then(|| format!(
        "{key} = {tenant:?} names no tenant: Entra shows it as \"Directory (tenant) ID\" on the application's overview, a uuid; a domain of the tenant will do as well"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_a_secret_unseen_is_told() {
        for text in
            ["secret\n", " secret", "secret\t", "\u{feff}secret", "secret\u{a0}", "\0secret"]
        {
            let told = of_text("target.soc.client_secret", text).unwrap();
            assert!(told.starts_with("target.soc.client_secret has "), "{told}");
            assert!(!told.contains("secret\n"), "it shows nothing of it");
        }
        assert_eq!(of_text("k", "se cret"), None);
        assert_eq!(of_text("k", ""), None);
    }

    #[test]
    fn ids_are_uuids_and_tenants_may_be_domains() {
        let id = "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001";
        for good in ["", id] {
            assert_eq!((of_client("k", good), of_tenant("k", good)), (None, None), "{good}");
        }
        assert_eq!(of_tenant("k", "contoso.onmicrosoft.com"), None);
        for bad in ["my app", "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001\n", "my-app"] {
            assert!(of_client("k", bad).is_some(), "{bad:?}");
        }
        for bad in ["common", "organizations", "consumers", "contoso"] {
            assert!(of_tenant("k", bad).is_some(), "{bad}");
        }
    }
}
