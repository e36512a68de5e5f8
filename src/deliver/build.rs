//! Builds the senders of all enabled targets. The targets of one credential share a sender, and the
//! credentials of one application share a quota.

use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::destination::Destination;
use super::health::Health;
use super::quota_use::{Quota, QuotaUse};
use super::sender::Sender;
use super::session::Session;
use super::target_delivery::TargetDelivery;
use super::upload;
use crate::azure::token::{SignIn, SignInError, TokenSource};
use crate::config::{Config, Limits, Mode};
use crate::ledger::{Ledger, Views};
use crate::pure::pacer::Pacer;

/// The reason why no sender can be built.
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
/// [`BuildError`]: a target's address or credential cannot be used.
pub fn senders(
    config: &Config,
    views: &Views,
    ledger: &Ledger,
    http: &reqwest::Client,
    health: &Health,
) -> Result<Vec<Sender>, BuildError> {
    let mut senders: Vec<(Option<SignIn>, Sender)> = Vec::new();
    for target in config.targets.iter().filter(|target| target.enabled) {
        let sign_in = (target.mode == Mode::Live).then(|| SignIn::of(target));
        let destination = Destination::new(config, target, http)?;
        let view = views.name_of(&target.name);
        let name = target.name.clone();
        let most_objects = target.limits.max_objects;
        let target = TargetDelivery::new(
            target,
            view,
            destination,
            health.clone(),
            config.log.progress_every,
        );
        let share = |quota: &QuotaUse| {
            quota.share(&name, most_objects);
            health.show_quota(&name, quota.clone());
        };
        // Targets of one credential share a sender, so that its slots go to the highest lane of all of them.
        if let Some((_, sender)) = senders.iter_mut().find(|(known, _)| *known == sign_in) {
            share(&sender.quota.used);
            sender.targets.push(target);
            continue;
        }
        let quota = quota(config, sign_in.as_ref(), &senders);
        share(&quota.used);
        let tokens = sign_in.clone().map(|one| TokenSource::new(one, http.clone(), &config.azure));
        let session = Session::new(tokens.transpose()?.map(Arc::new), &config.delivery);
        let (delivery, ledger) = (config.delivery.clone(), ledger.clone());
        senders.push((sign_in, Sender::new(delivery, ledger, session, quota, target)));
    }
    Ok(senders.into_iter().map(|(_, sender)| sender).collect())
}

/// Returns the quota of an application or identity. Sentinel counts the quota for it, however many credentials
/// it has. A dry run has no quota.
fn quota(config: &Config, sign_in: Option<&SignIn>, known: &[(Option<SignIn>, Sender)]) -> Quota {
    let window = config.delivery.quota_window;
    let paced = |requests| Quota {
        pacer: Pacer::with_quota(requests, window, Instant::now()),
        used: QuotaUse::new(requests, window),
    };
    let Some(sign_in) = sign_in else { return paced(0) };
    let is_same = |other: &SignIn| other.is_same_principal(sign_in);
    // Two senders with a pacer each would use one quota twice.
    if let Some((_, other)) = known.iter().find(|(one, _)| one.as_ref().is_some_and(is_same)) {
        return other.quota.clone();
    }
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let same = live.filter(|one| is_same(&SignIn::of(one)));
    paced(Limits::shared_quota(same.map(|one| &one.limits)))
}
