//! Tests every way to sign in to Azure against the sandbox, with secrets by reference and their rotation.

mod certificates;
mod ends;
mod kinds;
mod lifetimes;
mod rotation;
mod vault;

use std::path::{Path, PathBuf};
use std::time::Duration;

use misp_sentinel_relay::azure::http;
use misp_sentinel_relay::azure::token::{SignIn, SignInError, TokenSource};
use misp_sentinel_relay::azure::{SignInRefusal, Who};
use misp_sentinel_relay::config::{Azure, Credential, ManagedIdentity, Proof, Secret};
use misp_sentinel_relay::sandbox::{Federated, MachineIdentity, Sandbox, Settings, SignInFault};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::support::sandbox::{PATIENCE, azure, start, start_with};

const EXCHANGE: &str = "api://AzureADTokenExchange";

/// A file of `tests/certificates`.
pub(crate) fn certificate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

pub(crate) fn certificate_der(name: &str) -> Vec<u8> {
    CertificateDer::from_pem_file(certificate_file(name)).unwrap().to_vec()
}

/// Tenant and client id of the sandbox's application.
fn application(sandbox: &Sandbox) -> (String, String) {
    let account = &sandbox.settings().accounts[0];
    (account.tenant_id.clone(), account.client_id.clone())
}

fn identity(sandbox: &Sandbox, number: u8, is_system_assigned: bool) -> MachineIdentity {
    MachineIdentity {
        tenant_id: application(sandbox).0,
        client_id: format!("{number}0000000-0000-4000-8000-00000000c11e"),
        object_id: format!("{number}0000000-0000-4000-8000-0000000000b1"),
        resource_id: format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n{number}"
        ),
        is_system_assigned,
    }
}

fn source(sandbox: &Sandbox, credential: Credential) -> TokenSource {
    source_by(sandbox, credential, &azure(sandbox))
}

fn source_by(sandbox: &Sandbox, credential: Credential, azure: &Azure) -> TokenSource {
    let sign_in = SignIn {
        credential,
        authority: sandbox.base_url(),
        scope: "https://management.azure.com/.default".to_owned(),
    };
    TokenSource::new(sign_in, http::client(azure).unwrap(), azure).unwrap()
}

async fn refusal(source: &TokenSource) -> SignInRefusal {
    let error = source.token().await.unwrap_err();
    let SignInError::Refused(refusal) = error else { panic!("{error}") };
    refusal
}
