//! Names what the log tells. Every line at level INFO or above has such a name in its field `event`, so that an
//! alert does not depend on the words of a message.

use std::time::Duration;

use strum::{EnumMessage, IntoEnumIterator};

/// Logs at level INFO what is news, and else at level DEBUG.
macro_rules! info_if {
    ($is_news:expr, $($line:tt)*) => {
        if $is_news {
            tracing::info!($($line)*)
        } else {
            tracing::debug!($($line)*)
        }
    };
}

pub(crate) use info_if;

/// What a line of the log tells. The comments are the text of `docs/reference/log.md`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::EnumMessage, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum LogEvent {
    // The run.
    /// The relay starts: its version, and where its settings come from.
    RelayStarts,
    /// What the relay reads of MISP.
    SourceConfigured,
    /// The ledger holds a source that is no longer read. What it claims stays until `forget-source`; `claims` is how
    /// many there are.
    SourceAbsent,
    /// A source is new to the ledger. A full resync fills it, if it has a key.
    SourceNew,
    /// A target, and where its objects go.
    TargetConfigured,
    /// A setting is allowed, and may not be what you want. The line says why.
    SettingDoubtful,
    /// The admin listener serves the page, the metrics and the health checks at an address.
    AdminListening,
    /// All listeners are bound, and the relay works.
    RelayReady,
    /// A signal asked for the stop. The relay finishes what is in hand.
    RelayStopping,
    /// A second signal came, and the relay ended at once. What was committed is safe.
    RelayKilled,
    /// Not all parts ended within `delivery.grace`. Objects that were in requests are sent again.
    GraceExceeded,
    /// The relay ended; `why` is the signal, or the fault, and `hint` is what to do. As an error it needs you.
    /// In the `pretty` format the fault stands in the next line, as the error of `run`.
    RelayStopped,
    /// A part of the relay failed while it stopped.
    PartFailed,
    /// SIGHUP set another level of the log.
    LogLevelSet,
    /// SIGHUP found a mistake in `log.level`, and the level stays. Mend the setting, and send SIGHUP again.
    LogLevelRefused,
    /// The relay failed at something that never fails. Report it with the log.
    RelayFault,
    // The feed.
    /// A socket is connected to MISP's ZeroMQ publisher; `down_ms` is how long it was not.
    FeedConnected,
    /// A socket is not connected, and is tried again all the time. Told at a change, and once a minute. See
    /// whether MISP's publisher runs, and whether a firewall lets you through.
    FeedDisconnected,
    /// A frame was larger than `misp.zeromq.max_frame`. The event is read over REST.
    FrameTooLarge,
    /// A frame cannot be read. Told once a minute. MISP is asked what it was.
    FrameMalformed,
    /// The ledger is behind, and the memory for waiting notices is full. What is dropped is read over REST
    /// later. Told once a minute.
    InboxFull,
    /// MISP's publisher was restarted, so something may have been missed. MISP is asked.
    PublisherRestarted,
    // The webhook.
    /// The webhook listens.
    WebhookListens,
    /// A webhook request was refused; `answer` says which field of MISP's webhook module to change. For
    /// senders without the secret it is told once a minute.
    WebhookRefused,
    /// A connection to the webhook failed before its request, e.g. in the TLS handshake. Told once a minute.
    WebhookConnectionFailed,
    /// Publications that the webhook announced were never confirmed, and are dropped. An event that MISP
    /// shows published comes by the next catch-up.
    WebhookUnconfirmed,
    /// The webhook lost publications at the stop. Publish these events again in MISP.
    WebhookGapsLost,
    /// A publication of the feed was dropped, and the webhook's copy stands in.
    WebhookStandsIn,
    // MISP over REST.
    /// MISP does not answer as it should; `error` names the host and the remedy. Told at a change, and once a
    /// minute.
    MispFailing,
    /// MISP answers again. `down_ms` is how long it did not, and `reads_waiting` how many events are still to
    /// be read.
    MispRecovered,
    /// MISP's limit on requests is used up. The relay waits as long as MISP asks.
    MispRateLimited,
    /// No catch-up was completed for three times `misp.rest.catch_up_every`. Look how long MISP takes to
    /// answer.
    CatchUpLate,
    /// A catch-up was completed again.
    CatchUpRecovered,
    /// MISP was asked for all that may have been missed.
    GapsHealed,
    /// MISP does not list some events of the ledger any more. Each is read before anything ends.
    EventsUnlisted,
    /// MISP shows none of the ledger's events, so nothing is withdrawn. Mend MISP or the key, or run
    /// `release --empty` if it is right.
    MispEmpty,
    /// MISP shows events of the ledger again.
    MispNotEmpty,
    /// MISP's clock went back. Everything is read anew.
    MispClockBack,
    /// `misp.key` shows another view than the one that filled the ledger: its reads add nothing, and absence
    /// withdraws nothing. Start once with `--accept-new-view` if that is right.
    KeySeesOther,
    /// What `misp.key` sees, or whose key it is, changed and is accepted.
    KeyChanged,
    /// The key does not see an event, and may see less than before. Nothing is withdrawn.
    EventUnseen,
    /// An event cannot be read, and is tried again ever later. `why` is the remedy.
    EventUnreadable,
    /// MISP's answer about an event cannot be used. What was known of it before stays.
    EventRefused,
    /// A full resync goes on without an event that cannot be read.
    ResyncLeavesOut,
    /// A full resync begins: a first fill, the schedule, or a wish.
    ResyncStarted,
    /// All events of a full resync are listed.
    ResyncListed,
    /// How far a full resync has come. Told every `log.progress_every`.
    ResyncProgress,
    /// A full resync has read and compared all events: what was new, changed, gone and skipped.
    ResyncDone,
    // Hits.
    /// MISP was told that an attribute was hit at a target.
    SightingTaken,
    /// MISP refuses the sighting of an attribute for good: `why` are its words. It is not tried again.
    SightingRefused,
    /// MISP cannot be told of hits; `error` is the remedy. They are told later. Told at a change, and once a minute.
    SightingsFailing,
    /// MISP takes sightings again.
    SightingsRecovered,
    // Warninglists.
    /// MISP's warninglists cannot be read. The last ones stay in force.
    WarninglistsFailing,
    /// MISP's warninglists can be read again.
    WarninglistsRecovered,
    /// A warninglist changed in MISP, and is read.
    WarninglistChanged,
    /// Other warninglists are in force, and what they concern is judged anew.
    WarninglistsInForce,
    /// New warninglists would withdraw more than the guard allows. Look at them in MISP, then run
    /// `release --warninglists`.
    WarninglistsHeld,
    /// The warninglists in the data folder cannot be read. MISP is asked for all.
    WarninglistsFileUnreadable,
    // The ledger.
    /// The ledger took in an event: its title, and how many of its claims are new, changed, gone and skipped.
    EventCommitted,
    /// A publication waits until MISP shows it over REST: the key may not see it, or `misp.search` may not
    /// select it.
    PublicationWaits,
    /// A publication cannot be read. MISP is asked what it was.
    PublicationUnreadable,
    /// MISP took attributes back, and their claims end.
    ClaimsWithdrawn,
    /// A withdrawal looks older than its claim. The event is read over REST, which decides.
    WithdrawalDoubtful,
    /// An event was deleted in MISP, and its claims end.
    EventDeleted,
    /// A tag was put on or taken off, and that changed what is wanted.
    TagChanged,
    /// A tag was renamed or deleted in MISP. The events that carry it are read.
    TagAltered,
    /// A tag reads as a marking of TLP, and counts as one. If it is none, say so in `[policy.tlp_tags]`.
    TagGuessed,
    /// A false positive or an expiration was reported in MISP, or taken back.
    SightingChanged,
    /// Claims are gone without a word, more than the guard allows, and stand. Look with `held`, then run
    /// `release`, or mend MISP.
    ClaimsHeld,
    /// Claims are at half of their life, and are renewed.
    ClaimsRenewed,
    /// The policy, the rendering or the sources changed, and the ledger is judged anew. Told as it goes on.
    JudgingProgress,
    /// The ledger is judged anew.
    JudgingDone,
    /// A target sees another view than before.
    ViewChanged,
    /// The event that the last run left unfinished is gone through.
    EventResumed,
    /// The last run did not end in order. MISP is asked what was lost.
    LastRunBroken,
    /// The ledger was restored from a copy. MISP is asked what came after the copy was made.
    LedgerRestored,
    /// The ledger cannot be written: notices are lost. Free disk space, or mend the file.
    LedgerFailing,
    /// The ledger can be written again.
    LedgerRecovered,
    /// A piece of work on the ledger failed.
    LedgerWorkFailed,
    /// The figures of the ledger cannot be read.
    LedgerUnreadable,
    /// This machine's clock went back. Everything is compared with MISP and with each target.
    ClockBack,
    /// This machine's clock went on by days. If it is wrong, set it right.
    ClockAhead,
    // Delivery.
    /// A target accepted all of an event, or of a withdrawal; `accepted_after_ms` counts from MISP's frame.
    ChangeAccepted,
    /// A dry run wrote all of an event, or of a withdrawal, to its file.
    ChangeWritten,
    /// How many objects of the backlog a target accepted so far, and how many changes wait. Told every
    /// `log.progress_every`.
    BacklogProgress,
    /// A target accepted all of the backlog.
    BacklogDone,
    /// An upload failed, and is sent again. Told at a change, and once a minute.
    UploadFailed,
    /// A target fails again and again, or refuses the relay: its objects stay pending. `why` is the remedy. Told
    /// at a change, and once a minute.
    TargetDegraded,
    /// Sentinel answers 429. The relay waits as it was told, and nothing is lost.
    TargetThrottled,
    /// A target accepts uploads again. `down_ms` is how long it did not, and `waiting` what is still to be sent.
    TargetRecovered,
    /// Sentinel refuses a request. Smaller ones are sent, to find the bad record.
    RequestRefused,
    /// Sentinel rejects an object, with its words. Mend the cause, then run `retry-rejected`.
    ObjectRejected,
    /// Sentinel rejects a withdrawal: the indicator stays active there until its `valid_until`.
    WithdrawalRejected,
    /// Sentinel complains of a record that was not in the request.
    ComplaintStray,
    /// This machine's clock is ahead of Sentinel's. Synchronise the clocks.
    TargetClockBehind,
    /// Sentinel refuses the token, and the relay signs in anew.
    TokenRefused,
    /// A sign-in failed, so nothing can be sent to these targets. `error` names the service, the cause and the
    /// remedy. Told at a change, and once a minute.
    SignInFailed,
    /// A sign-in succeeds again.
    SignInRecovered,
    /// The token cannot be renewed, and is still good for a while. `error` is the remedy.
    SignInRenewalFailed,
    /// The tokens last less than five minutes.
    TokenShort,
    /// The certificate of a credential ends within a month. Make a new one.
    CertificateEnds,
    /// A secret was refused and has changed since, so the new one is tried.
    SecretChanged,
    /// A secret was refused, and cannot be read again.
    SecretUnreadable,
    /// Withdrawn indicators cannot be deleted now. Told at a change, and once a minute.
    DeletionFailing,
    /// Withdrawn indicators are deleted again.
    DeletionRecovered,
    /// A withdrawn indicator was deleted in Sentinel.
    IndicatorDeleted,
    /// Alerts of a target hit indicators of ours, and the ledger recorded it.
    HitsRecorded,
    /// A target's alerts cannot be read now. Told at a change, and once a minute.
    AlertsFailing,
    /// A target's alerts are read again.
    AlertsRecovered,
    /// The ledger is empty, and it is read back which ids are used up.
    IdsReadBack,
    /// Used-up ids were read back.
    IdsUsedUp,
    // What an operator asked for.
    /// An operator asked for a full resync, or for a read of one event.
    OperatorResync,
    /// An operator released held claims.
    OperatorRelease,
    /// An operator suppressed a value, or took a suppression back.
    OperatorSuppress,
    /// The time of a suppression is over.
    SuppressionEnded,
    /// An operator had rejected objects tried again.
    OperatorRetry,
    /// An operator had a target forgotten.
    OperatorForget,
    /// An operator had a source forgotten.
    OperatorForgetSource,
    /// An operator had Sentinel compared and repaired.
    OperatorRepair,
    /// An operator ended another product's indicators.
    OperatorCleanup,
}

impl LogEvent {
    /// Returns the name, as the field `event` has it.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Returns all of them, in the order of the flow.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// Returns what the line tells, and what to do.
    pub fn meaning(self) -> String {
        // A longer comment has several lines.
        self.get_documentation().unwrap_or_default().trim().replace('\n', " ")
    }
}

/// Returns a time as the log has all of them: in whole milliseconds.
pub fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
