//! The command `explain`: what the ledger tells, by the running relay or without one; and of what
//! the ledger does not keep, what MISP shows now.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::commands::write;
use super::control::Request;
use super::stream::{self, Long};
use crate::app;
use crate::commands::ExplainOptions;
use crate::config::{Config, Rest};
use crate::ledger::Ledger;
use crate::pure::convert;
use crate::pure::explain::{Line, Story, Teller, Told};
use crate::pure::misp;
use crate::pure::policy::spellings;
use crate::pure::safe;
use crate::rest::Client;

/// Events that are looked into for a value or an attribute.
const MOST_EVENTS: usize = 10;

/// Tells of each attribute that `options.what` names what became of it, and why.
///
/// # Errors
/// Nothing is known of it, neither a relay nor the ledger can tell, or standard output is closed.
pub async fn explain(config: &Config, options: &ExplainOptions) -> anyhow::Result<()> {
    let mut telling = Output { teller: Teller::new(options.telling.json), known: BTreeSet::new() };
    let notes = from_ledger(config, options, &mut telling).await?;
    let is_uuid = Uuid::parse_str(&options.what).is_ok();
    let mut fault = None;
    if is_uuid || telling.known.is_empty() {
        match &config.misp.rest {
            Some(rest) => fault = from_misp(config, rest, options, &mut telling).await,
            None if telling.known.is_empty() => {
                fault = Some("set misp.key, and MISP is asked as well".into())
            }
            None => {}
        }
    }
    for note in notes.iter().chain(&fault) {
        tell(&format!("note: {note}"));
    }
    ensure!(
        !telling.known.is_empty() || !notes.is_empty(),
        "nothing is known of {:?}: neither the ledger nor MISP, as far as it was asked, has such an event, attribute or value",
        options.what
    );
    Ok(())
}

/// What was told so far.
struct Output {
    teller: Teller,
    known: BTreeSet<Uuid>,
}

impl Output {
    fn story(&mut self, story: &Story) -> anyhow::Result<()> {
        self.known.insert(story.attribute);
        write(&self.teller.tell(story))
    }
}

/// Notes are no part of what a script reads.
fn tell(note: &str) {
    use std::io::Write;
    // Nobody reads it: nothing to do about that.
    writeln!(std::io::stderr(), "{}", safe::line(note)).ok();
}

/// Gives back the notes.
async fn from_ledger(
    config: &Config,
    options: &ExplainOptions,
    telling: &mut Output,
) -> anyhow::Result<Vec<String>> {
    let ExplainOptions { what, telling: how } = options;
    let request = Request::Explain { what: what.clone(), stix: how.stix };
    let long = Long::Explain { what: what.clone(), stix: how.stix };
    let (lines, mut told) = mpsc::channel::<Vec<u8>>(2);
    let printing = async {
        let mut notes = Vec::new();
        while let Some(line) = told.recv().await {
            match serde_json::from_slice(&line).context("understand the relay's answer")? {
                Line::Story(story) => telling.story(&story)?,
                Line::Note(note) => notes.push(note),
            }
        }
        anyhow::Ok(notes)
    };
    let (asked, notes) = tokio::join!(stream::ask(config, &request, long, lines), printing);
    let notes = notes?;
    asked?;
    Ok(notes)
}

/// Tells of attributes that the ledger does not keep: those that claim nothing, and those that wait
/// for a publication. Gives back what kept MISP from telling all.
async fn from_misp(
    config: &Config,
    rest: &Rest,
    options: &ExplainOptions,
    telling: &mut Output,
) -> Option<String> {
    match read(config, rest, options, telling).await {
        Ok(0) => None,
        Ok(left) => Some(format!("{left} more events hold it: name one of them, or the attribute")),
        Err(fault) => Some(format!("MISP cannot be asked: {fault:#}")),
    }
}

/// How many events were not looked into.
async fn read(
    config: &Config,
    rest: &Rest,
    options: &ExplainOptions,
    telling: &mut Output,
) -> anyhow::Result<usize> {
    let client = Client::new(rest)?;
    let found = client.heads(query(&options.what)).next().await?;
    let found = found.map_or_else(Vec::new, |page| page.heads);
    let events: Vec<Uuid> = found.iter().map(|head| head.uuid).take(MOST_EVENTS).collect();
    let views = app::views(config);
    let rules = views.rules(Ledger::now(), options.telling.stix);
    let Some(first) = rules.first() else { bail!("there is no target") };
    let wanted = Wanted::new(&options.what);
    let mut answer = client.read(&events).await?;
    while let Some(event) = answer.next().await? {
        let event = misp::Event::parse(&event).context("read MISP's answer")?;
        let mut told = Told::default();
        told.take(&event, first.merger);
        let stories = told.stories(&rules).filter(|story| wanted.is(story));
        for mut story in stories.collect::<Vec<_>>() {
            if telling.known.contains(&story.attribute) {
                continue;
            }
            if !story.claims.is_empty() {
                story.notes.push(NOT_KEPT.to_owned());
            }
            telling.story(&story)?;
        }
    }
    Ok(found.len() - events.len())
}

/// MISP looks for a uuid among events and attributes, and for a value as it is written.
fn query(what: &str) -> Map<String, Value> {
    let (parameter, value) = match Uuid::parse_str(what) {
        Ok(uuid) => ("uuid", Value::from(uuid.to_string())),
        Err(_) => ("value", spellings(what).into_iter().chain([what.to_owned()]).collect()),
    };
    Map::from_iter([(parameter.to_owned(), value)])
}

/// Of an attribute that MISP shows and that would claim something.
const NOT_KEPT: &str = "not in the ledger: added or changed since the event's last publication, the event is not published, or MISP has still to be read; `resync --event UUID` reads it now";

/// Which stories are asked for.
struct Wanted<'w> {
    what: &'w str,
    uuid: Option<Uuid>,
    patterns: BTreeSet<String>,
}

impl<'w> Wanted<'w> {
    fn new(what: &'w str) -> Self {
        let uuid = Uuid::parse_str(what).ok();
        let readings = convert::types().iter().flat_map(|row| convert::said(row.name, what));
        Self { what, uuid, patterns: readings.map(|reading| reading.pattern()).collect() }
    }

    fn is(&self, story: &Story) -> bool {
        if let Some(uuid) = self.uuid {
            return story.event.uuid == uuid || story.attribute == uuid;
        }
        let halves = || story.value.split_once('|').into_iter().flat_map(|(one, two)| [one, two]);
        story.value == self.what
            || halves().any(|half| half == self.what)
            || story.claims.iter().any(|claimed| self.patterns.contains(&claimed.pattern))
    }
}
