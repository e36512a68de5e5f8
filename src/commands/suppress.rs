//! The commands `suppress`, `unsuppress` and `suppressed`: the first withholds a value from every target, the
//! second lets it count again, the third lists what is withheld.

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::door::{self, By};
use super::output::{print, print_as, some_time, time};
use crate::admin::{Needs, Nothing, Request, Services};
use crate::config::ConfigSource;
use crate::ledger::{Ledger, Lifted, Suppressed, Suppression, millis};
use crate::log_event::LogEvent;
use crate::pure::count::Count;
use crate::pure::policy;
use crate::pure::safe;
use crate::pure::title;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SuppressOptions {
    /// The value, in any spelling, e.g. 198.51.100.7 or evil[.]example
    #[arg(value_name = "VALUE")]
    pub value: String,

    /// How long, e.g. 30d; without this, until `unsuppress`
    #[arg(long = "for", value_name = "TIME", value_parser = some_time)]
    pub within: Option<humantime::Duration>,

    /// The reason, shown by `suppressed` later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// The longest value or reason, bytes. Both are printed wherever the suppression is shown.
const LONGEST: usize = 1_500;

/// Withholds a value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    pub value: String,
    /// When it ends; `None` means when it is taken back. RFC 3339 in JSON, or Unix milliseconds.
    #[serde(with = "crate::ledger::rfc3339_option", default)]
    pub until: Option<i64>,
    #[serde(default)]
    pub reason: String,
}

pub(super) const SUPPRESS: Request<Suppress, Suppression> =
    Request::change("/suppress", Needs::Targets, |services, asked| {
        Box::pin(withhold(services, asked))
    });

async fn withhold(services: &Services, asked: Suppress) -> anyhow::Result<Suppression> {
    let (value, reason, until) = (checked(&asked.value)?, asked.reason.as_str(), asked.until);
    // Checked here as well, because the request may come from a program other than this command.
    ensure!(reason.len() <= LONGEST, "the reason is too long");
    ensure!(
        until.is_none_or(|until| until > Ledger::now()),
        "the time is over already: give an RFC 3339 time, or Unix milliseconds"
    );
    let Services { ledger, views, .. } = services;
    let suppressed = ledger.suppress(views, value, reason, until, Ledger::now()).await;
    let done = suppressed.context("the ledger cannot be written")?;
    let Suppression { before, claims, indicators, tlp } = &done;
    let is_open = title::may_be_logged(*tlp);
    let value = is_open.then_some(value);
    tracing::warn!(
        event = LogEvent::OperatorSuppress.word(),
        value,
        reason,
        until = until.map(time),
        claims,
        indicators,
        "A value is suppressed, as an operator asked"
    );
    for Lifted { value, until, reason } in before {
        let value = is_open.then_some(value.as_str());
        tracing::warn!(
            event = LogEvent::OperatorSuppress.word(),
            value,
            reason,
            until = until.map(time),
            "An earlier suppression is replaced"
        );
    }
    Ok(done)
}

// Takes a suppression back.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsuppress {
    /// The value, in any spelling
    #[arg(value_name = "VALUE")]
    pub value: String,
}

pub(super) const UNSUPPRESS: Request<Unsuppress, Suppression> =
    Request::change("/unsuppress", Needs::Targets, |services, asked| {
        Box::pin(lift(services, asked))
    });

async fn lift(services: &Services, asked: Unsuppress) -> anyhow::Result<Suppression> {
    let value = checked(&asked.value)?;
    let Services { ledger, views, .. } = services;
    let lifted = ledger.unsuppress(views, value, Ledger::now()).await;
    let done = lifted.context("the ledger cannot be written")?;
    let Suppression { before, claims, indicators, tlp } = &done;
    let value = title::may_be_logged(*tlp).then_some(value);
    if before.is_empty() {
        tracing::info!(
            event = LogEvent::OperatorSuppress.word(),
            value,
            "An operator asked to take a suppression back, and the value is not suppressed. Nothing was changed"
        );
    } else {
        tracing::warn!(
            event = LogEvent::OperatorSuppress.word(),
            value,
            claims,
            indicators,
            "A value is no longer suppressed, as an operator asked"
        );
    }
    Ok(done)
}

/// The request for the suppressed values.
pub(super) const SUPPRESSED: Request<Nothing, Vec<Suppressed>> =
    Request::read("/suppressed", Needs::Settings, |services, _| {
        Box::pin(async { services.ledger.suppressed().await.context("the ledger cannot be read") })
    });

/// Withholds a value, and prints what that ends.
///
/// # Errors
/// The value is empty, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn suppress(settings: &ConfigSource, options: SuppressOptions) -> anyhow::Result<()> {
    let value = checked(&options.value)?;
    // The end is fixed here: it does not depend on when the relay gets the request.
    let until = options.within.map(|within| Ledger::now().saturating_add(millis(*within)));
    let reason = options.reason.unwrap_or_default();
    ensure!(reason.len() <= LONGEST, "the reason is too long");
    let asked = Suppress { value: value.to_owned(), until, reason };
    let (done, by) = door::ask(settings, &SUPPRESS, asked).await?;
    let mut words = safe::line(&withheld(value, until, &done)).into_owned() + "\n";
    words.push_str(when_sent(by, &done));
    for earlier in &done.before {
        let earlier = format!("This replaces an earlier suppression: {}", told_of(earlier));
        words.push_str(&format!("{}\n", safe::line(&earlier)));
    }
    print(&words)
}

/// Takes a suppression back, and prints what comes back.
///
/// # Errors
/// The value is not suppressed, neither a relay nor the ledger can do it, or standard output is
/// closed.
pub async fn unsuppress(settings: &ConfigSource, asked: Unsuppress) -> anyhow::Result<()> {
    let value = checked(&asked.value)?.to_owned();
    let (done, by) = door::ask(settings, &UNSUPPRESS, Unsuppress { value: value.clone() }).await?;
    ensure!(
        !done.before.is_empty(),
        "{value} is not suppressed\n  hint: `suppressed` lists what is"
    );
    let when = when_sent(by, &done);
    let (claims, indicators) = (Count(done.claims, "claim"), Count(done.indicators, "indicator"));
    let value = safe::line(&value);
    print(&format!("{value} is withheld no more: {claims} and {indicators} come back.\n{when}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct SuppressedOptions {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Prints the suppressed values.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn suppressed(settings: &ConfigSource, options: SuppressedOptions) -> anyhow::Result<()> {
    let (list, _) = door::ask(settings, &SUPPRESSED, Nothing {}).await?;
    print_as(options.json, &list, |list| match list.is_empty() {
        true => "Nothing is suppressed.\n".to_owned(),
        false => list.iter().map(line).collect(),
    })
}

fn line(one: &Suppressed) -> String {
    let Suppressed { value, since, until, reason, claims } = one;
    let (since, claims) = (time(*since), Count(*claims, "claim"));
    let end = until.map_or_else(String::new, |at| format!(" until {}", time(at)));
    let line = format!("{value} since {since}{end}, {claims}{}", after_colon(reason));
    format!("{}\n", safe::line(&line))
}

fn checked(value: &str) -> anyhow::Result<&str> {
    let value = value.trim();
    ensure!(!value.is_empty(), "no value to withhold\n  hint: suppress 198.51.100.7");
    ensure!(value.len() <= LONGEST, "the value is too long\n  hint: write it into policy.never");
    Ok(value)
}

/// Returns a sentence on what a suppression did, with the value as it is stored and as claims spell it.
fn withheld(value: &str, until: Option<i64>, done: &Suppression) -> String {
    let Suppression { claims, indicators, .. } = done;
    let is_withheld = format!("{value}{} is withheld {}", other_forms(value), end(until));
    if *claims == 0 {
        return format!(
            "{is_withheld}, but nothing claims it now: compare the spelling with MISP's, and take a mistake back by `unsuppress`."
        );
    }
    let (count, counts) = (Count(*claims, "claim"), if *claims == 1 { "counts" } else { "count" });
    let (ending, ends) =
        (Count(*indicators, "indicator"), if *indicators == 1 { "ends" } else { "end" });
    format!("{is_withheld}: {count} {counts} for nothing, {ending} {ends}.")
}

/// Returns the other spellings in claims, such as ` (as http://evil.example and http://evil.example/)`.
fn other_forms(value: &str) -> String {
    let mut forms = policy::forms(value);
    let all = forms.len();
    // The value itself is shown before these, so it is not repeated.
    forms.retain(|form| form != value);
    let also = if forms.len() < all { "also " } else { "" };
    if forms.is_empty() { String::new() } else { format!(" ({also}as {})", forms.join(" and ")) }
}

/// Returns a sentence if the change is sent later, because no relay runs.
fn when_sent(by: By, done: &Suppression) -> &'static str {
    // Where no indicator ends or comes back, there is nothing to send.
    if by == By::Relay || done.indicators == 0 {
        ""
    } else {
        "No relay is running: its next start sends that.\n"
    }
}

fn told_of(earlier: &Lifted) -> String {
    let Lifted { value, until, reason } = earlier;
    format!("{value} {}{}.", end(*until), after_colon(reason))
}

/// Returns a reason as the end of a line; empty if there is none.
fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn end(until: Option<i64>) -> String {
    until.map_or_else(|| "until `unsuppress`".to_owned(), |at| format!("until {}", time(at)))
}
