//! The commands `suppress` and `unsuppress`: the first withholds a value from every target, the second lets
//! it count again.

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::door::{self, By};
use super::options::some_time;
use super::output::{print, time};
use super::settings::ConfigSource;
use crate::admin::{Needs, Request, Services};
use crate::ledger::{Ledger, Lifted, Suppression, millis};
use crate::pure::count::Count;
use crate::pure::policy;
use crate::pure::safe;

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
    /// When it ends, Unix milliseconds; `None` means when it is taken back.
    #[serde(default)]
    pub until: Option<i64>,
    #[serde(default)]
    pub reason: String,
}

impl Request for Suppress {
    const PATH: &'static str = "/suppress";
    const NEEDS: Needs = Needs::Targets;

    type Answer = Suppression;

    async fn execute(self, services: &Services) -> anyhow::Result<Suppression> {
        let (value, reason, until) = (checked(&self.value)?, self.reason.as_str(), self.until);
        // Checked here as well, because the request may come from a program other than this command.
        ensure!(reason.len() <= LONGEST, "the reason is too long");
        ensure!(
            until.is_none_or(|until| until > Ledger::now()),
            "the time is over already: it is Unix milliseconds"
        );
        let Services { ledger, views, .. } = services;
        let suppressed = ledger.suppress(views, value, reason, until, Ledger::now()).await;
        let done = suppressed.context("the ledger cannot be written")?;
        let Suppression { before, claims, indicators, .. } = &done;
        let words = "suppressed, as an operator asked";
        tracing::warn!(value, reason, until, claims, indicators, "{words}");
        for Lifted { value, until, reason } in before {
            tracing::warn!(value, reason, until, "an earlier suppression is replaced");
        }
        Ok(done)
    }
}

// Takes a suppression back.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsuppress {
    /// The value, in any spelling
    #[arg(value_name = "VALUE")]
    pub value: String,
}

impl Request for Unsuppress {
    const PATH: &'static str = "/unsuppress";
    const NEEDS: Needs = Needs::Targets;

    type Answer = Suppression;

    async fn execute(self, services: &Services) -> anyhow::Result<Suppression> {
        let value = checked(&self.value)?;
        let Services { ledger, views, .. } = services;
        let lifted = ledger.unsuppress(views, value, Ledger::now()).await;
        let done = lifted.context("the ledger cannot be written")?;
        let Suppression { before, claims, indicators, .. } = &done;
        if before.is_empty() {
            tracing::info!(
                value,
                "an operator asked to take a suppression back, and the value is not suppressed: nothing was changed"
            );
        } else {
            tracing::warn!(value, claims, indicators, "no longer suppressed, as an operator asked");
        }
        Ok(done)
    }
}

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
    let request = Suppress { value: value.to_owned(), until, reason };
    let (done, by) = door::ask(settings, request).await?;
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
    let (done, by) = door::ask(settings, Unsuppress { value: value.clone() }).await?;
    ensure!(
        !done.before.is_empty(),
        "{value} is not suppressed\n  hint: `suppressed` lists what is"
    );
    let when = when_sent(by, &done);
    let (claims, indicators) = (Count(done.claims, "claim"), Count(done.indicators, "indicator"));
    print(&format!(
        "{} is withheld no more: {claims} and {indicators} come back.\n{when}",
        safe::line(&value)
    ))
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
    let (count, verb) = (Count(*claims, "claim"), if *claims == 1 { "counts" } else { "count" });
    let indicators = match indicators {
        1 => "1 indicator ends".to_owned(),
        many => format!("{many} indicators end"),
    };
    format!("{is_withheld}: {count} {verb} for nothing, {indicators}.")
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
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{value} {}{reason}.", end(*until))
}

fn end(until: Option<i64>) -> String {
    until.map_or_else(|| "until `unsuppress`".to_owned(), |at| format!("until {}", time(at)))
}
