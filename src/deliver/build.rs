//! From targets to senders: those of one credential share a loop, those of one application a quota.

use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use super::health::Health;
use super::line::{Line, Way};
use super::pacer::{Pacer, SharedPacer};
use super::sender::Sender;
use super::upload;
use crate::azure::token::{SignIn, SignInError, TokenSource};
use crate::config::{Config, Limits, Mode, Target};
use crate::ledger::{Ledger, Views};

/// Why no sender can be built.
#[derive(Debug, Error)]
pub enum BuildError {
    #[error(transparent)]
    Endpoint(#[from] upload::BadEndpoint),
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

/// The senders for all enabled targets, those of one credential together.
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
    let mut credentials: Vec<(Option<SignIn>, Vec<Line>)> = Vec::new();
    for target in config.targets.iter().filter(|target| target.enabled) {
        let sign_in = (target.mode == Mode::Live).then(|| SignIn::of(target));
        let line = line(config, views.name_of(&target.name), target, http, health)?;
        match credentials.iter_mut().find(|(known, _)| *known == sign_in) {
            Some((_, lines)) => lines.push(line),
            None => credentials.push((sign_in, vec![line])),
        }
    }
    let mut senders = Vec::with_capacity(credentials.len());
    let mut pacers = Vec::new();
    for (sign_in, lines) in credentials {
        let pacer = pacer(config, sign_in.as_ref(), &mut pacers);
        let token = sign_in.map(|one| TokenSource::new(one, http.clone(), &config.azure));
        let token = token.transpose()?.map(Arc::new);
        senders.push(Sender::new(config, ledger, (token, pacer), lines));
    }
    Ok(senders)
}

/// One for each application or identity, however many credentials it has: the quota is its. What is
/// written to a file has none.
fn pacer(
    config: &Config,
    sign_in: Option<&SignIn>,
    known: &mut Vec<(SignIn, SharedPacer)>,
) -> SharedPacer {
    let paced = |requests| {
        let window = config.delivery.quota_window;
        SharedPacer::new(Pacer::new(requests, window, Instant::now()))
    };
    let Some(sign_in) = sign_in else { return paced(0) };
    if let Some((_, pacer)) = known.iter().find(|(one, _)| one.is_same_principal(sign_in)) {
        return pacer.clone();
    }
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let same = live.filter(|one| SignIn::of(one).is_same_principal(sign_in));
    let pacer = paced(Limits::shared_quota(same.map(|one| &one.limits)));
    known.push((sign_in.clone(), pacer.clone()));
    pacer
}

fn line(
    config: &Config,
    view: &str,
    target: &Target,
    http: &reqwest::Client,
    health: &Health,
) -> Result<Line, BuildError> {
    let way = match target.mode {
        Mode::Live => {
            Way::Upload(upload::Client::new(http.clone(), target, config.delivery.request_timeout)?)
        }
        Mode::DryRun => Way::File(target.dry_run_file.clone()),
    };
    health.update(&target.name, |_| {});
    Ok(Line::new(target, view, way, health.clone()))
}
