//! Who signs in, and why there is no token.

use super::refusal::Refusal;
use crate::config::{Credential, Target};

/// Who signs in, where, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub credential: Credential,
    /// e.g. `https://login.microsoftonline.com`; https only.
    pub authority: String,
    /// e.g. `https://management.azure.com/.default`.
    pub scope: String,
}

impl SignIn {
    /// That of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self {
            credential: target.credential.clone(),
            authority: target.authority.clone(),
            scope: target.scope.clone(),
        }
    }

    /// Whether both sign in as one application or identity, by whatever proof: Sentinel's quota is its.
    #[must_use]
    pub fn is_same_principal(&self, other: &Self) -> bool {
        let name = |one: &Self| {
            let Self { credential, authority, .. } = one;
            let (tenant, client) = (credential.tenant_id(), credential.client_id());
            (!client.is_empty())
                .then(|| (authority.clone(), tenant.to_lowercase(), client.to_lowercase()))
        };
        match (name(self), name(other)) {
            (Some(own), Some(others)) => own == others,
            (None, None) => self.credential == other.credential,
            _ => false,
        }
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Entra, or whoever stands before it, says no: somebody must change something.
    #[error("{who} refuses the sign-in: {0}", who = .0.who)]
    Refused(Refusal),
    /// No answer, or one that may be another in a moment.
    #[error("{0}")]
    Unreachable(String),
    /// The answer gives a token, and it cannot be used.
    #[error("the token cannot be used: {0}")]
    Unusable(String),
    /// The settings cannot be used to sign in at all.
    #[error("sign-in is not possible: {0}")]
    Settings(String),
}

impl SignInError {
    /// The word in metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Unusable(_) => "unusable",
            Self::Settings(_) => "settings",
        }
    }
}
