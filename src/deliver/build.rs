//! Builds the senders of all enabled targets. The targets of one credential share a sender, and the
//! credentials of one application share a quota.

use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::destination::Destination;
use super::health::Health;
use super::pacer::Pacer;
use super::sender::Sender;
use super::session::Session;
use super::target_delivery::TargetDelivery;
use super::upload;
use crate::azure::token::{SignIn, SignInError, TokenSource};
use crate::config::{Config, Limits, Mode};
use crate::ledger::{Ledger, Views};

/// Why no sender can be built.
#[derive(Debug, Error)]
pub enum BuildError {
    #[error(transparent)]
    Endpoint(#[from] upload::BadEndpoint),
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

/// Builds the senders of all enabled targets: one for each credential.
///
/// # Errors
/// A target's address or credential cannot be used.
pub fn senders(
    config: &Config,
    views: &Views,
    ledger: &Ledger,
    http: &reqwest::Client,
    health: &Health,
) -> Result<Vec<Sender>, BuildError> {
    // Targets of one credential share a sender, so that its slots go to the highest lane of all of them.
    let mut credentials: Vec<(Option<SignIn>, Vec<TargetDelivery>)> = Vec::new();
    for target in config.targets.iter().filter(|target| target.enabled) {
        let sign_in = (target.mode == Mode::Live).then(|| SignIn::of(target));
        let destination = Destination::new(config, target, http)?;
        let view = views.name_of(&target.name);
        let delivery = TargetDelivery::new(target, view, destination, health.clone());
        match credentials.iter_mut().find(|(known, _)| *known == sign_in) {
            Some((_, targets)) => targets.push(delivery),
            None => credentials.push((sign_in, vec![delivery])),
        }
    }
    let mut senders = Vec::with_capacity(credentials.len());
    let mut pacers = Vec::new();
    for (sign_in, targets) in credentials {
        let pacer = pacer(config, sign_in.as_ref(), &mut pacers);
        let tokens = sign_in.map(|one| TokenSource::new(one, http.clone(), &config.azure));
        let session = Session::new(tokens.transpose()?.map(Arc::new), &config.delivery);
        let (delivery, ledger) = (config.delivery.clone(), ledger.clone());
        senders.push(Sender::new(delivery, ledger, session, pacer, targets));
    }
    Ok(senders)
}

/// Returns the pacer of an application or identity. The quota is counted for it, however many credentials
/// it has. What is written to a file has no quota.
fn pacer(config: &Config, sign_in: Option<&SignIn>, known: &mut Vec<(SignIn, Pacer)>) -> Pacer {
    let paced = |requests| Pacer::new(requests, config.delivery.quota_window, Instant::now());
    let Some(sign_in) = sign_in else { return paced(0) };
    // Two senders with a pacer each would use one quota twice.
    if let Some((_, pacer)) = known.iter().find(|(one, _)| one.is_same_principal(sign_in)) {
        return pacer.clone();
    }
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let same = live.filter(|one| SignIn::of(one).is_same_principal(sign_in));
    let pacer = paced(Limits::shared_quota(same.map(|one| &one.limits)));
    known.push((sign_in.clone(), pacer.clone()));
    pacer
}
