//! The command `explain` tells what became of an event, an attribute or a value, and why. The ledger knows
//! only what makes claims, so MISP is asked about all other attributes.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, Sender};
use uuid::Uuid;

use super::output::{note, write};
use super::{ConfigSource, door};
use crate::admin::{Explain, LongRequest, Needs, Services, is_named};
use crate::config::ONE_SOURCE;
use crate::ledger::{Ledger, Telling};
use crate::misp_api::MispClient;
use crate::pure::convert;
use crate::pure::explain::{DocumentStories, ExplainLine, Story, Teller};
use crate::pure::misp;
use crate::pure::policy::spellings;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExplainOptions {
    /// The uuid of an event or an attribute, the id of an indicator, or a value in any spelling, e.g. evil[.]example
    #[arg(value_name = "UUID|ID|VALUE")]
    pub what: String,

    #[command(flatten)]
    pub telling: TellingOptions,
}

/// The form in which `explain` and `convert --explain` print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct TellingOptions {
    /// Add the indicators as STIX JSON
    #[arg(long)]
    pub stix: bool,

    /// Print a line of JSON for each attribute instead of text
    #[arg(long)]
    pub json: bool,
}

/// The most events that are read for a value or an attribute.
const MOST_EVENTS: usize = 10;

pub(super) const EXPLAIN: LongRequest<Explain, ExplainLine> = LongRequest {
    path: "/explain",
    needs: Needs::Secrets,
    execute: |services, asked, lines| Box::pin(tell(services, asked, lines)),
};

async fn tell(
    services: &Services,
    asked: Explain,
    lines: Sender<ExplainLine>,
) -> anyhow::Result<()> {
    let mut answer = Explanation { lines, known: BTreeSet::new() };
    let notes = answer.tell_from_ledger(services, &asked).await?;
    let is_uuid = Uuid::parse_str(&asked.what).is_ok();
    let is_known = !answer.known.is_empty();
    let mut faults = Vec::new();
    // A uuid may be an event's, whose other attributes the ledger does not keep: MISP is asked too.
    if is_uuid || !is_known {
        for (source, client) in services.clients() {
            let told = answer.tell_from_misp(services, client, &asked).await;
            let named = is_named(source, services.sources.len());
            let of = if named { format!(" of {source}") } else { String::new() };
            faults.extend(
                told.unwrap_or_else(|fault| {
                    Some(format!("the MISP{of} cannot be asked: {fault:#}"))
                }),
            );
        }
        if services.clients().next().is_none() && !is_known {
            let section = services.sources.first().map_or(ONE_SOURCE, |source| &source.section);
            faults.push(format!("set {section}.key, and MISP is asked as well"));
        }
    }
    // A fault alone is no answer: it may be why nothing is known.
    let is_told = !answer.known.is_empty() || !notes.is_empty();
    for note in notes.into_iter().chain(faults) {
        answer.lines.send(ExplainLine::Note(note)).await.ok();
    }
    ensure!(
        is_told,
        "nothing is known of {:?}: neither the ledger nor MISP, as far as it was asked, has such an event, attribute or value",
        asked.what
    );
    Ok(())
}

/// The answer, as far as it was sent.
struct Explanation {
    lines: Sender<ExplainLine>,
    /// The attributes whose stories were sent.
    known: BTreeSet<Uuid>,
}

impl Explanation {
    async fn tell(&mut self, story: Box<Story>) {
        self.known.insert(story.attribute);
        // If nobody takes the lines any more, at most the rest of ten events is read in vain.
        self.lines.send(ExplainLine::Story(story)).await.ok();
    }

    /// Sends what the ledger keeps. Returns its notes, which come last.
    async fn tell_from_ledger(
        &mut self,
        services: &Services,
        asked: &Explain,
    ) -> anyhow::Result<Vec<String>> {
        let (made, mut told) = mpsc::channel(1);
        let telling = Telling { now: Ledger::now(), stix: asked.stix };
        let explaining = services.ledger.explain(&services.views, &asked.what, telling, made);
        let mut notes = Vec::new();
        let passing = async {
            while let Some(line) = told.recv().await {
                match line {
                    ExplainLine::Story(story) => self.tell(story).await,
                    ExplainLine::Note(note) => notes.push(note),
                }
            }
        };
        let (explained, ()) = tokio::join!(explaining, passing);
        explained.context("the ledger cannot be read")?;
        Ok(notes)
    }

    /// Sends the stories of attributes that the ledger does not keep: those that claim nothing, and those
    /// that wait for a publication. Returns a note if more events hold it.
    async fn tell_from_misp(
        &mut self,
        services: &Services,
        client: &MispClient,
        asked: &Explain,
    ) -> anyhow::Result<Option<String>> {
        let found = client.heads(query(&asked.what)).next().await?;
        let found = found.map_or_else(Vec::new, |page| page.heads);
        // A common value may be in thousands of events, and each is read as a whole.
        let events: Vec<Uuid> = found.iter().map(|head| head.uuid).take(MOST_EVENTS).collect();
        let rules = services.views.rules(Ledger::now(), asked.stix);
        let Some(first) = rules.first() else { bail!("there is no target") };
        let is_wanted = names(&asked.what);
        let mut answer = client.read(&events).await?;
        while let Some(event) = answer.next().await? {
            let event = event.into_bytes().context("read MISP's answer")?;
            let event = misp::Event::parse(&event).context("read MISP's answer")?;
            let mut told = DocumentStories::default();
            told.take(&event, first.merger);
            let stories = told.stories(&rules).filter(&is_wanted);
            for mut story in stories.collect::<Vec<_>>() {
                // The ledger's own story of it was sent before, and says more.
                if self.known.contains(&story.attribute) {
                    continue;
                }
                if !story.claims.is_empty() {
                    story.notes.push(NOT_KEPT.to_owned());
                }
                self.tell(Box::new(story)).await;
            }
        }
        let left = found.len() - events.len();
        let words = "more events hold it: name one of them, or the attribute";
        Ok((left > 0).then(|| format!("{left} {words}")))
    }
}

/// Prints for each attribute that `options.what` names what became of it, and why.
///
/// # Errors
/// Nothing is known of it, neither a relay nor the ledger can answer, or standard output is closed.
pub async fn explain(settings: &ConfigSource, options: ExplainOptions) -> anyhow::Result<()> {
    let ExplainOptions { what, telling } = options;
    let asked = Explain { what, stix: telling.stix };
    let (lines, mut told) = mpsc::channel(2);
    // This block owns the receiver. When it ends because nothing can be printed, the sender ends too.
    let printing = async move {
        let mut teller = Teller::new(telling.json);
        while let Some(line) = told.recv().await {
            match line {
                ExplainLine::Story(story) => write(&teller.tell(&story))?,
                // A script reads standard output, so notes go to standard error.
                ExplainLine::Note(words) => note(&format!("note: {words}")),
            }
        }
        anyhow::Ok(())
    };
    let (asked, printed) =
        tokio::join!(door::ask_for_lines(settings, &EXPLAIN, asked, lines), printing);
    printed?;
    asked?;
    Ok(())
}

/// Returns the query for restSearch. MISP finds a uuid among events and attributes, and a value only as it is
/// written, so all spellings are asked for.
fn query(what: &str) -> Map<String, Value> {
    let (parameter, value) = match Uuid::parse_str(what) {
        Ok(uuid) => ("uuid", Value::from(uuid.to_string())),
        Err(_) => ("value", spellings(what).into_iter().chain([what.to_owned()]).collect()),
    };
    Map::from_iter([(parameter.to_owned(), value)])
}

/// The note on an attribute that MISP shows and that would claim something.
const NOT_KEPT: &str = "not in the ledger: added or changed since the event's last publication, the event is not published, or MISP has still to be read; `resync --event UUID` reads it now";

/// Returns a filter for the stories that `what` names.
fn names(what: &str) -> impl Fn(&Story) -> bool {
    let uuid = Uuid::parse_str(what).ok();
    // The value comes without a type, so it is read as each type would read it.
    let readings = convert::types().iter().flat_map(|row| convert::said(row.name, what));
    let patterns: BTreeSet<String> = readings.map(|reading| reading.pattern()).collect();
    move |story| match uuid {
        Some(uuid) => story.event.uuid == uuid || story.attribute == uuid,
        None => {
            // A composite value such as domain|ip is found by either of its halves.
            let is_half = |(one, two)| one == what || two == what;
            story.value == what
                || story.value.split_once('|').is_some_and(is_half)
                || story.claims.iter().any(|claimed| patterns.contains(&claimed.pattern))
        }
    }
}
