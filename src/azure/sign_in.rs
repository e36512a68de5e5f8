//! The type `SignIn` says with which credential, at which authority and for which scope the relay signs in.
//! The type `Who` names the service that was asked.

use crate::config::{Credential, Target};

/// A sign-in: the credential, the authority and the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub credential: Credential,
    /// The base URL of the authority, e.g. `https://login.microsoftonline.com`. Always https.
    pub authority: String,
    /// The scope of the token, e.g. `https://management.azure.com/.default`.
    pub scope: String,
}

impl SignIn {
    /// Returns the sign-in of a target.
    pub fn of(target: &Target) -> Self {
        Self {
            credential: target.credential.clone(),
            authority: target.authority.clone(),
            scope: target.scope.clone(),
        }
    }

    /// Returns whether both sign in as the same application or identity, by whatever proof. Sentinel's quota
    /// belongs to that principal.
    pub fn is_same_principal(&self, other: &Self) -> bool {
        let name = |one: &Self| {
            let Self { credential, authority, .. } = one;
            let (tenant, client) = (&credential.tenant_id, &credential.client_id);
            (!client.is_empty())
                .then(|| (authority.clone(), tenant.to_lowercase(), client.to_lowercase()))
        };
        match (name(self), name(other)) {
            (Some(own), Some(others)) => own == others,
            // Without a client id nothing but an equal credential shows that it is the same identity.
            (None, None) => self.credential == other.credential,
            _ => false,
        }
    }
}

/// The service that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Who {
    Entra,
    /// The metadata service of the machine, or App Service's endpoint.
    #[strum(serialize = "the managed identity endpoint")]
    ManagedIdentity,
    #[strum(serialize = "Key Vault")]
    KeyVault,
}
