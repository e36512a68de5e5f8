//! Chooses what to advise after a refused sign-in, by the error code and the kind of the credential.

use super::sign_in::{SignIn, Who};
use crate::config::{Credential, ManagedIdentity, Proof};

/// Returns what the operator has to change. Empty if the relay knows no remedy.
pub(super) fn remedy(who: Who, status: u16, code: &str, sign_in: &SignIn) -> String {
    if who == Who::ManagedIdentity {
        return of_managed_identity(status, &sign_in.credential);
    }
    let SignIn { credential, authority, .. } = sign_in;
    let (tenant, client) = (&credential.tenant_id, &credential.client_id);
    match code {
        "AADSTS7000215" => format!(
            "client_secret is not a secret of application {client}: use the secret's value, \
             not its secret ID (the value is shown only once, when the secret is made)"
        ),
        "AADSTS7000222" => expired(credential),
        "AADSTS700016" => format!(
            "tenant {tenant} knows no application {client}: check client_id (the Application \
             (client) ID, not the object ID) and tenant_id"
        ),
        "AADSTS90002" | "AADSTS900023" => format!(
            "{authority} knows no tenant {tenant}: check tenant_id (the Directory (tenant) ID), \
             and the authority if the tenant is in another cloud"
        ),
        "AADSTS7000112" => format!("application {client} is disabled: enable it in Entra"),
        "AADSTS500011" | "AADSTS70011" | "AADSTS1002012" => format!(
            "check scope: it must be the resource of the cloud at {authority}, ending in /.default"
        ),
        "AADSTS700027" | "AADSTS700030" => not_registered(credential),
        "AADSTS700024" => out_of_time(credential),
        "AADSTS70021" | "AADSTS700211" | "AADSTS700212" | "AADSTS700213" => {
            not_trusted(code, credential)
        }
        "AADSTS53003" | "AADSTS53000" | "AADSTS53001" => format!(
            "a conditional access policy of tenant {tenant} keeps application {client} out: let \
             workload identities in from this machine's address"
        ),
        "" if status == 404 => format!("check authority {authority}"),
        _ => String::new(),
    }
}

fn expired(credential: &Credential) -> String {
    let client = &credential.client_id;
    if let Proof::Certificate { file, .. } = &credential.proof {
        return format!(
            "the certificate of application {client} has expired: make a new one, upload it under \
             Certificates & secrets, and put it into certificate_file {}",
            file.display()
        );
    }
    format!(
        "the secret of application {client} has expired: make a new one under \
         Certificates & secrets and set client_secret"
    )
}

fn not_registered(credential: &Credential) -> String {
    let client = &credential.client_id;
    if let Proof::Certificate { file, .. } = &credential.proof {
        return format!(
            "application {client} does not know the certificate in certificate_file {}: upload it \
             (without its key) under Certificates & secrets, or check client_id",
            file.display()
        );
    }
    format!("what signed for application {client} is not known to it: check client_id")
}

fn out_of_time(credential: &Credential) -> String {
    if let Proof::WorkloadIdentity { token_file } = &credential.proof {
        return format!(
            "the token in federated_token_file {} is no longer good, or this machine's clock is \
             wrong: see that its issuer still replaces it",
            token_file.display()
        );
    }
    "this machine's clock is wrong: set it by NTP (the assertion's time is not Entra's)".to_owned()
}

/// Returns the advice if the application does not trust the token's issuer, subject or audience.
fn not_trusted(code: &str, credential: &Credential) -> String {
    let what = match code {
        "AADSTS700211" => "issuer",
        "AADSTS700212" => "audience",
        "AADSTS700213" => "subject",
        _ => "issuer, subject and audience",
    };
    let shown = match &credential.proof {
        Proof::FederatedManagedIdentity { identity, audience } => format!(
            "issuer is the managed identity's tenant (e.g. https://login.microsoftonline.com/TENANT/v2.0), \
             subject its object ID, audience {audience}; or check managed_identity {}",
            word(identity)
        ),
        Proof::WorkloadIdentity { token_file } => format!(
            "as the token in federated_token_file {} has them (on AKS: the cluster's OIDC issuer, \
             system:serviceaccount:NAMESPACE:NAME, api://AzureADTokenExchange)",
            token_file.display()
        ),
        Proof::ClientSecret(_)
        | Proof::Certificate { .. }
        | Proof::ManagedIdentity(_)
        | Proof::AzureCli => "as the token has them".to_owned(),
    };
    let client = &credential.client_id;
    format!(
        "application {client} has no federated credential of this {what}: make one under \
         Certificates & secrets > Federated credentials: {shown}"
    )
}

fn of_managed_identity(status: u16, credential: &Credential) -> String {
    let (Proof::ManagedIdentity(identity) | Proof::FederatedManagedIdentity { identity, .. }) =
        &credential.proof
    else {
        return String::new();
    };
    match (status, identity) {
        (400, ManagedIdentity::SystemAssigned) => {
            "this machine has no system-assigned identity: switch it on under Identity, or name a \
             user-assigned one in managed_identity"
                .to_owned()
        }
        (400, named) => format!(
            "assign the identity to this machine (Identity > User assigned), or name the right one: \
             managed_identity is {}",
            word(named)
        ),
        (401 | 403, _) => {
            "the endpoint does not take this program for one of the machine's own: see that no \
             proxy stands between"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Returns the identity in the spelling of the setting `managed_identity`.
fn word(identity: &ManagedIdentity) -> String {
    match identity {
        ManagedIdentity::SystemAssigned => "\"\" (system-assigned)".to_owned(),
        ManagedIdentity::ClientId(id) => format!("client:{id}"),
        ManagedIdentity::ObjectId(id) => format!("object:{id}"),
        ManagedIdentity::ResourceId(id) => format!("resource:{id}"),
    }
}
