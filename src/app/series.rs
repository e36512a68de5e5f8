//! Shows every counter as 0 from the start, with each word that its labels can have. Otherwise the first fault of a
//! kind would be no rise for Prometheus.

use strum::{IntoEnumIterator, VariantNames};

use crate::azure::token::SignInError;
use crate::config::{Config, Source};
use crate::deliver::outcome::UploadOutcome;
use crate::intake::{webhook, zmq};
use crate::ledger::{EventOutcome, Lane};
use crate::metrics::begin;
use crate::misp_api::RestError;
use crate::notice::GapReason;
use crate::pure::convert::Reason;

/// Begins the series of the intakes, the ledger and all enabled targets.
pub(super) fn begin_all(config: &Config) {
    config.enabled_sources().for_each(of_source);
    if config.enabled_sources().any(|source| source.webhook.is_some()) {
        webhook::STATUSES.iter().for_each(|status| begin::webhook_answered(status.as_str()));
        of_gaps(webhook::INTAKE);
    }
    begin::gap_of("relay", GapReason::Interrupted.word());
    begin::gap_of("relay", GapReason::Stopped.word());
    begin::gap_of("publication", GapReason::MalformedFrame.word());
    begin::gap_of("ledger", GapReason::LedgerFailed.word());
    begin::gap_of("operator", GapReason::Asked.word());
    EventOutcome::iter().for_each(|outcome| begin::event_read(outcome.word()));
    ["new", "changed", "gone"].iter().for_each(|word| begin::claims(word));
    Reason::iter().for_each(|reason| begin::skipped(reason.word()));
    begin::sign_in("granted");
    SignInError::VARIANTS.iter().for_each(|word| begin::sign_in(word));
    let enabled = config.targets.iter().filter(|target| target.enabled);
    enabled.for_each(|target| of_target(&target.name));
}

fn of_source(source: &Source) {
    source.zeromq.endpoints.iter().for_each(|feed| of_feed(feed));
    let outcomes = RestError::VARIANTS.iter().chain([&"answered"]);
    outcomes.for_each(|outcome| begin::rest_request(&source.name, outcome));
    let told = ["taken", "refused", "put_off"].iter().filter(|_| source.telling.is_some());
    told.for_each(|outcome| begin::sighting_told(&source.name, outcome));
}

fn of_feed(feed: &str) {
    zmq::topics().for_each(|topic| begin::frame_received(feed, topic));
    zmq::sockets().for_each(|socket| begin::bytes_received(feed, socket));
    of_gaps(feed);
}

/// The gaps that an intake can have.
fn of_gaps(intake: &str) {
    let elsewhere =
        [GapReason::LedgerFailed, GapReason::Interrupted, GapReason::Stopped, GapReason::Asked];
    let own = GapReason::iter().filter(|reason| !elsewhere.contains(reason));
    own.for_each(|reason| begin::gap_of(intake, reason.word()));
}

fn of_target(target: &str) {
    for lane in Lane::ALL.map(Lane::word) {
        begin::sent(target, lane);
        begin::accepted(target, lane);
        begin::time_to_accepted(target, lane);
    }
    UploadOutcome::VARIANTS.iter().for_each(|word| begin::request_outcome(target, word));
    ["new", "known", "dropped"].iter().for_each(|outcome| begin::hits(target, outcome));
    begin::request_time(target);
    begin::rejected(target);
    begin::withdrawn(target);
    begin::deleted(target);
}
