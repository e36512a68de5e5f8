//! The commands `resync`, `held` and `release`: the running relay carries them out; without one they
//! open the ledger themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, SecondsFormat};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use uuid::Uuid;

use super::answer;
use super::commands::{open, print};
use super::control::{self, Request, Response};
use super::progress::Progress;
use crate::app::{self, Reading};
use crate::commands::{ReleaseOptions, ResyncOptions};
use crate::config::Config;
use crate::ledger::{Alteration, Altered, Held, Ledger};
use crate::pure::count::Count;
use crate::pure::safe;
use crate::rest::Client;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How often a line tells of it where there is no terminal.
const TELL: Duration = Duration::from_secs(10);

/// Reads everything in MISP anew and compares; tells how far it is until it is done.
///
/// # Errors
/// There is no key, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn resync(config: &Config, options: &ResyncOptions) -> anyhow::Result<()> {
    ensure!(
        config.misp.rest.is_some(),
        "a resync reads MISP over REST: set misp.key (and misp.url)"
    );
    let since = options.since.map(|age| Ledger::now() / 1_000 - seconds(age.into()));
    if options.dry_run {
        return dry_run(config, (options.event, since)).await;
    }
    let request = Request::Resync { event: options.event, since };
    match control::ask(&config.ledger.data_dir, &request).await? {
        Some(Response::Done) if options.detach => {
            print("The relay resyncs; `status` tells how far it is.\n")
        }
        Some(Response::Done) => {
            let done = follow(async || running(config).await).await?;
            print(&format!(
                "{done}\nAll is compared; what differed is being sent, as `status` and the log tell.\n"
            ))?;
            notes(config, options.event).await
        }
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            // Never makes one.
            open(&config.ledger).await?.close().await;
            let data_dir = config.ledger.data_dir.clone();
            let (reading, done) = read(config, &data_dir, (options.event, since)).await?;
            reading.end().await.close().await;
            print(&format!("{done}\nNo relay is running: its next start sends what differs.\n"))
        }
    }
}

fn seconds(age: Duration) -> i64 {
    i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}

/// What kept anything from being put right.
async fn notes(config: &Config, event: Option<Uuid>) -> anyhow::Result<()> {
    if let (Some(event), Some(rest)) = (event, &config.misp.rest)
        && Client::new(rest)?.is_gone(event).await?
    {
        print(&format!("MISP has no event {event}, or does not show it to this key.\n"))?;
    }
    let answer = control::ask(&config.ledger.data_dir, &Request::Status).await?;
    let Some(Response::Status { status }) = answer else { return Ok(()) };
    const KEPT: [&str; 3] = ["rest:", "events:", "held:"];
    let kept = |line: &&String| KEPT.iter().any(|start| line.starts_with(start));
    let note = |line: &String| format!("note: {}\n", safe::line(line));
    let notes: String = status.degraded.iter().filter(kept).map(note).collect();
    print(&notes)
}

async fn running(config: &Config) -> anyhow::Result<Option<Progress>> {
    match control::ask(&config.ledger.data_dir, &Request::Progress).await? {
        Some(Response::Progress { progress }) => Ok(progress),
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => bail!("the relay has ended; its next start goes on with the resync"),
    }
}

/// Reads with the ledger in `data_dir` until the resync is done.
async fn read(
    config: &Config,
    data_dir: &Path,
    what: (Option<Uuid>, Option<i64>),
) -> anyhow::Result<(Reading, String)> {
    let reading = Reading::begin(config, data_dir, what).await?;
    let (ledger, source) = (reading.ledger.clone(), config.misp.name.clone());
    let done = follow(async || {
        if let Some(fault) = reading.fault() {
            bail!("{fault}");
        }
        Ok(Progress::of(&ledger, &source).await?)
    });
    let done = done.await;
    match done {
        Ok(done) => Ok((reading, done)),
        Err(error) => {
            reading.end().await.close().await;
            Err(error)
        }
    }
}

/// Shows the progress until it is done; returns the last line.
async fn follow(
    look: impl AsyncFn() -> anyhow::Result<Option<Progress>>,
) -> anyhow::Result<String> {
    let bar = bar();
    let mut fault = None;
    let (began, mut told) = (Instant::now(), Instant::now());
    loop {
        let progress = look().await?;
        if let Some(progress) = progress {
            let line = progress.line(began.elapsed());
            bar.set_length(u64::try_from(progress.resync.attributes).unwrap_or_default());
            bar.set_position(u64::try_from(progress.read().1).unwrap_or_default());
            bar.set_message(line.clone());
            if progress.fault != fault {
                fault = progress.fault.clone();
                let words = fault.iter().map(|fault| format!("{fault}; it is tried again"));
                words.for_each(|words| bar.suspend(|| tell(&words)));
            }
            if progress.is_done() {
                bar.finish_and_clear();
                return Ok(line);
            }
            if bar.is_hidden() && told.elapsed() >= TELL {
                told = Instant::now();
                tell(&line);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Drawn on standard error where that is a terminal.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% ETA {eta}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Whoever does not read standard error misses nothing else.
fn tell(line: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Resyncs a copy of the ledger that nothing is sent from, and prints what would be.
async fn dry_run(config: &Config, what: (Option<Uuid>, Option<i64>)) -> anyhow::Result<()> {
    let folder = tempfile::TempDir::new_in(&config.ledger.data_dir)
        .context("make a folder for a copy of the ledger in ledger.data_dir")?;
    let copy = folder.path().join("ledger.db");
    match control::ask(&config.ledger.data_dir, &Request::Copy { to: copy.clone() }).await? {
        Some(Response::Done) => {}
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let copied = ledger.copy_to(&copy).await;
            ledger.close().await;
            copied.context("copy the ledger")?;
        }
    }
    crate::ledger::copy_warninglists(&config.ledger.data_dir, folder.path())
        .await
        .context("copy the warninglists in force")?;
    let copied =
        crate::config::LedgerConfig { data_dir: folder.path().to_owned(), ..config.ledger.clone() };
    let before = {
        let ledger = Ledger::open(&copied).await?;
        ledger.forget_resync(&config.misp.name).await?;
        let before = ledger.last_change().await?;
        ledger.close().await;
        before
    };
    let (reading, done) = read(config, folder.path(), what).await?;
    let ledger = reading.end().await;
    let told = tell_altered(&ledger, before, config).await;
    ledger.close().await;
    told?;
    print(&format!("{done}\nNothing was sent, and the ledger is as it was.\n"))
}

async fn tell_altered(ledger: &Ledger, before: i64, config: &Config) -> anyhow::Result<()> {
    for target in ledger.targets().await? {
        let mut counts: BTreeMap<Alteration, usize> = BTreeMap::new();
        let mut second_forms = 0;
        let mut after = Uuid::nil();
        loop {
            let page = ledger.altered_since(&target, before, (after, 500), Ledger::now()).await?;
            let Some(last) = page.last() else { break };
            after = last.object;
            let mut text = String::new();
            for altered in &page {
                *counts.entry(altered.how()).or_default() += 1;
                let is_new = altered.how() == Alteration::New;
                second_forms += usize::from(is_new && altered.second_form);
                // Writing into a String cannot fail.
                writeln!(text, "{target}: {}", safe::line(&words(altered))).ok();
            }
            print(&text)?;
        }
        let of = |how| counts.get(&how).copied().unwrap_or_default();
        print(&format!(
            "{target}: {} new, {} changed and {} withdrawn indicators would be sent from {}\n",
            of(Alteration::New),
            of(Alteration::Changed),
            of(Alteration::Withdrawn),
            config.misp.name,
        ))?;
        if second_forms > 0 {
            print(&format!(
                "{target}: {second_forms} of the new ones are URLs in the form that requests have: see convert.url_root\n"
            ))?;
        }
    }
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
struct Pattern {
    #[serde(default)]
    pattern: String,
}

fn words(altered: &Altered) -> String {
    let what = match altered.how() {
        Alteration::New => "new      ",
        Alteration::Changed => "changed  ",
        Alteration::Withdrawn => "withdrawn",
    };
    let body: Pattern = serde_json::from_str(&altered.body).unwrap_or_default();
    match altered.event {
        Some(event) => format!("{what} {} by event {event}", body.pattern),
        None => format!("{what} {}", body.pattern),
    }
}

/// Prints what the guard keeps, and why.
///
/// # Errors
/// Neither a relay nor the ledger can tell, or standard output is closed.
pub async fn held(config: &Config) -> anyhow::Result<()> {
    let (held, warninglists) = match control::ask(&config.ledger.data_dir, &Request::Held).await? {
        Some(Response::Held { held, warninglists }) => (held, warninglists),
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let held = answer::held(&ledger).await;
            ledger.close().await;
            held?
        }
    };
    print(&told(&held, warninglists))
}

fn told(held: &[Held], warninglists: Option<i64>) -> String {
    let mut text: String = held.iter().map(line).collect();
    if !held.is_empty() {
        text.push_str("MISP shows these claims no longer without having deleted them. `release` ends them; if MISP is at fault, mend it: what it shows again is held no more.\n");
    }
    if let Some(going) = warninglists {
        // Writing to a String cannot fail.
        let _written = writeln!(
            text,
            "MISP's present warninglists wait: they would withdraw {}, more than the guard allows, so the ones before stay in force. Look at them in MISP, then `release --warninglists`.",
            counted(going, "live indicator")
        );
    }
    if text.is_empty() {
        text.push_str("Nothing is held.\n");
    }
    text
}

fn counted(number: i64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn line(held: &Held) -> String {
    let Held { event, info, claims, since, example } = held;
    let since = DateTime::from_timestamp_millis(*since).unwrap_or_default();
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let claims = Count(*claims, "claim");
    let line = format!("event {event} {info:?}: {claims} since {since}, such as {example}");
    format!("{}\n", safe::line(&line))
}

async fn release_warninglists(config: &Config) -> anyhow::Result<()> {
    let request = Request::ReleaseWarninglists;
    let withdrawn = match control::ask(&config.ledger.data_dir, &request).await? {
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(Response::ReleasedWarninglists { withdrawn }) => withdrawn,
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let views = app::views(config);
            let released = answer::release_warninglists(&ledger, &views, &config.misp.name).await;
            ledger.close().await;
            released?
        }
    };
    match withdrawn {
        None => print("No warninglists wait.\n"),
        Some(count) => {
            let verb = if count == 1 { "is" } else { "are" };
            let count = Count(count, "indicator");
            print(&format!("The warninglists are in force; {count} {verb} withdrawn.\n"))
        }
    }
}

/// Ends what the guard keeps, or says that MISP is as empty as it looks.
///
/// # Errors
/// Neither a relay nor the ledger can do it, or standard output is closed.
pub async fn release(config: &Config, options: &ReleaseOptions) -> anyhow::Result<()> {
    let ReleaseOptions { event, empty, warninglists } = *options;
    if warninglists {
        return release_warninglists(config).await;
    }
    let released =
        match control::ask(&config.ledger.data_dir, &Request::Release { event, empty }).await? {
            Some(Response::Released { claims }) => claims,
            Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
            Some(other) => bail!("the relay answers {other:?}"),
            None => {
                let ledger = open(&config.ledger).await?;
                let what = (config.misp.name.as_str(), event, empty);
                let released = answer::release(&ledger, &app::views(config), what).await;
                ledger.close().await;
                released?
            }
        };
    match empty {
        true => print("The next look at MISP withdraws what it no longer has.\n"),
        false => print(&format!(
            "Ended: {}; what nothing else claims is withdrawn.\n",
            Count(released, "held claim")
        )),
    }
}
