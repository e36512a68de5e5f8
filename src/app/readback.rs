//! Chooses the targets whose workspaces the relay can read over the management plane, and the token source for each. If
//! the ledger is empty, it also fetches the ids that were used up by revocation.

use anyhow::Context;

use crate::azure;
use crate::azure::token::{SignIn, TokenSource};
use crate::compare::{ReadableTarget, Readback, is_asked, tells_used_up_ids};
use crate::config::{Config, Target};
use crate::deliver::{Sender, UploadAccess};
use crate::ledger::{Ledger, StartError, Views};
use crate::log_event::LogEvent;
use crate::pure::stix::Withdraw;

/// Returns the targets whose workspaces can be read back, with the tokens of their senders.
pub(super) fn of(
    config: &Config,
    http: &reqwest::Client,
    senders: &[Sender],
) -> anyhow::Result<Readback> {
    let mut places = Vec::new();
    for target in &config.targets {
        // What the sender has is shared, so that both use one token and keep one quota.
        if let Some(access) = senders.iter().find_map(|sender| sender.access_to(&target.name)) {
            places.extend(ReadableTarget::of(config, target, http, access)?);
        }
    }
    Ok(Readback::new(places, config.management.ingestion))
}

/// Returns the targets whose workspaces can be read back, with tokens of their own: no sender runs here.
///
/// # Errors
/// A client for Azure cannot be made.
pub fn of_config(config: &Config) -> anyhow::Result<Readback> {
    let http = azure::http::client(&config.azure)?;
    let asked = config.targets.iter().filter(|target| is_asked(target));
    Ok(Readback::new(readable(config, &http, asked)?, config.management.ingestion))
}

fn readable<'c>(
    config: &Config,
    http: &reqwest::Client,
    targets: impl IntoIterator<Item = &'c Target>,
) -> anyhow::Result<Vec<ReadableTarget>> {
    let (mut places, mut known) = (Vec::new(), Vec::new());
    for target in targets {
        let tokens = TokenSource::shared(&mut known, SignIn::of(target), http, &config.azure)?;
        // No sender paces this credential here, so there is no pacer to share.
        let access = UploadAccess { tokens, pacer: None };
        places.extend(ReadableTarget::of(config, target, http, access)?);
    }
    Ok(places)
}

/// Reads the used-up ids of all targets that revoke into an empty ledger.
///
/// # Errors
/// [`StartError::Forgotten`] if one of the targets cannot be asked, or if its ids do not tell. Otherwise what
/// went wrong while asking.
pub(super) async fn recover(
    config: &Config,
    http: Option<&reqwest::Client>,
    ledger: &Ledger,
    views: &Views,
) -> anyhow::Result<()> {
    let Some(http) = http else { return Err(StartError::Forgotten.into()) };
    let revoking = |target: &&Target| target.is_live() && target.withdraw == Withdraw::Revoke;
    // All of them or none: a target that was left out would get revoked ids again.
    let live: Vec<&Target> = config.targets.iter().filter(revoking).collect();
    if !live.iter().all(|target| tells_used_up_ids(target)) {
        return Err(StartError::Forgotten.into());
    }
    for place in readable(config, http, live)? {
        let name = &place.target;
        tracing::info!(
            event = LogEvent::IdsReadBack.word(),
            target = name,
            "The ledger is empty, so the relay reads back which ids are used up"
        );
        let noted = place.recover(ledger, views.name_of(name)).await.with_context(|| {
            format!(
                "read back which ids target {name} has used up, since the ledger is empty and withdraw = \"revoke\" (or start once with --accept-duplicates)"
            )
        })?;
        tracing::warn!(
            event = LogEvent::IdsUsedUp.word(),
            target = name,
            used_up = noted,
            "Used-up ids were read back. What lives there is sent once more as MISP shows it, and `verify --repair` withdraws what MISP no longer shows"
        );
    }
    Ok(())
}
