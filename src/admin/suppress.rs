//! The commands `suppress`, `unsuppress` and `suppressed`: by the running relay, or on the ledger
//! without one.

use anyhow::{bail, ensure};
use chrono::{DateTime, SecondsFormat};

use super::commands::{open, print, print_json};
use super::control::{self, Request, Response};
use crate::app;
use crate::commands::SuppressOptions;
use crate::config::Config;
use crate::ledger::{Ledger, Lifted, Suppressed, Suppression, millis};
use crate::pure::count::Count;
use crate::pure::policy;
use crate::pure::safe;

/// A value or a reason, bytes: both go over the control socket, escaped.
const LONGEST: usize = 1_500;

/// Withholds a value.
///
/// # Errors
/// The value is empty, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn suppress(config: &Config, options: &SuppressOptions) -> anyhow::Result<()> {
    let value = checked(&options.value)?;
    let until = options.within.map(|within| Ledger::now().saturating_add(millis(*within)));
    let reason = options.reason.clone().unwrap_or_default();
    ensure!(reason.len() <= LONGEST, "the reason is too long");
    let request = Request::Suppress { value: value.clone(), until, reason: reason.clone() };
    let answer = control::ask(&config.ledger.data_dir, &request).await?;
    let is_running = answer.is_some();
    let done = match answer {
        Some(answer) => told(answer)?,
        None => {
            let ledger = open(&config.ledger).await?;
            let (what, now) = ((value.as_str(), reason.as_str()), Ledger::now());
            let done = ledger.suppress(&app::views(config), what, until, now).await;
            ledger.close().await;
            done?
        }
    };
    let mut words = safe::line(&withheld(&value, until, &done)).into_owned() + "\n";
    words.push_str(when_sent(is_running, &done));
    for earlier in &done.before {
        words.push_str(&safe::line(&format!(
            "This replaces an earlier suppression: {}",
            told_of(earlier)
        )));
        words.push('\n');
    }
    print(&words)
}

/// What a suppression did, with the value as it is stored and as claims spell it.
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

/// How claims spell the value besides, such as ` (as http://evil.example and http://evil.example/)`.
fn other_forms(value: &str) -> String {
    let mut forms = policy::forms(value);
    let all = forms.len();
    forms.retain(|form| form != value);
    let also = if forms.len() < all { "also " } else { "" };
    match forms.is_empty() {
        true => String::new(),
        false => format!(" ({also}as {})", forms.join(" and ")),
    }
}

/// A change of the ledger alone is sent later.
fn when_sent(is_running: bool, done: &Suppression) -> &'static str {
    match is_running || done.indicators == 0 {
        true => "",
        false => "No relay is running: its next start sends that.\n",
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

/// Takes a suppression back.
///
/// # Errors
/// The value is not suppressed, neither a relay nor the ledger can do it, or standard output is
/// closed.
pub async fn unsuppress(config: &Config, value: &str) -> anyhow::Result<()> {
    let value = checked(value)?;
    let request = Request::Unsuppress { value: value.clone() };
    let answer = control::ask(&config.ledger.data_dir, &request).await?;
    let is_running = answer.is_some();
    let done = match answer {
        Some(answer) => told(answer)?,
        None => {
            let ledger = open(&config.ledger).await?;
            let done = ledger.unsuppress(&app::views(config), &value, Ledger::now()).await;
            ledger.close().await;
            done?
        }
    };
    ensure!(
        !done.before.is_empty(),
        "{value} is not suppressed\n  hint: `suppressed` lists what is"
    );
    let when = when_sent(is_running, &done);
    let Suppression { claims, indicators, .. } = done;
    let (claims, indicators) = (Count(claims, "claim"), Count(indicators, "indicator"));
    print(&format!(
        "{} is withheld no more: {claims} and {indicators} come back.\n{when}",
        safe::line(&value)
    ))
}

/// Lists what is withheld.
///
/// # Errors
/// Neither a relay nor the ledger can tell, or standard output is closed.
pub async fn suppressed(config: &Config, json: bool) -> anyhow::Result<()> {
    let list = match control::ask(&config.ledger.data_dir, &Request::Suppressed).await? {
        Some(Response::Suppressed { suppressed }) => suppressed,
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let list = ledger.suppressed().await;
            ledger.close().await;
            list?
        }
    };
    match (json, list.is_empty()) {
        (true, _) => print_json(&serde_json::to_string(&list)?),
        (false, true) => print("Nothing is suppressed.\n"),
        (false, false) => print(&list.iter().map(line).collect::<String>()),
    }
}

fn line(one: &Suppressed) -> String {
    let Suppressed { value, since, until, reason, claims } = one;
    let end = until.map_or_else(String::new, |at| format!(" until {}", time(at)));
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let claims = Count(*claims, "claim");
    format!("{}\n", safe::line(&format!("{value} since {}{end}, {claims}{reason}", time(*since))))
}

fn checked(value: &str) -> anyhow::Result<String> {
    let value = value.trim();
    ensure!(!value.is_empty(), "no value to withhold\n  hint: suppress 198.51.100.7");
    ensure!(value.len() <= LONGEST, "the value is too long\n  hint: write it into policy.never");
    Ok(value.to_owned())
}

fn told(answer: Response) -> anyhow::Result<Suppression> {
    if let Response::Failed { error } = answer {
        bail!("the relay answers: {error}");
    }
    let Response::Suppression { done } = answer else { bail!("the relay answers {answer:?}") };
    Ok(done)
}

fn time(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
