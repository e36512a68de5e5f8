//! Counts what each policy selects right now: it reads the newest published events from MISP and judges them
//! as the relay would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::diagnosis::{Diagnosis, Found, Subject};
use super::misp::refused;
use super::target::{alike, names};
use crate::config::{Config, Source};
use crate::misp_api::{EventHead, MispClient, RestError};
use crate::pure::convert::{self, Claim, Reason};
use crate::pure::misp::Event;
use crate::pure::policy::{Judge, SideFacts};

const STEP: &str = "policy";

/// How many events are read: the newest.
const EVENTS: usize = 20;

/// How long the listing may take, and how long the reading.
const PATIENCE: Duration = Duration::from_secs(15);

/// The newest events of the listing, as far as there was time.
struct NewestEvents {
    newest: Vec<EventHead>,
    events: usize,
    is_whole: bool,
}

/// What a policy decides on the attributes that were read.
struct Counted {
    judge: Judge,
    selected: usize,
    skipped: BTreeMap<Reason, usize>,
}

/// Checks what each policy selects. Returns a finding for each policy.
pub(super) async fn look(config: &Config, source: &Source, client: &MispClient) -> Found {
    let refused = |error| refused(Subject(STEP, ""), &error);
    let listed = list(source, client).await.map_err(refused)?;
    if listed.events == 0 {
        return Err(nothing_published(source));
    }
    let enabled = config.targets.iter().filter(|target| target.enabled);
    let policies = alike(enabled, |a, b| a.policy == b.policy);
    let judges = policies.iter().filter_map(|targets| Some(Judge::new(&targets.first()?.policy)));
    let counting = judges.map(|judge| Counted { judge, selected: 0, skipped: BTreeMap::new() });
    let mut counted: Vec<Counted> = counting.collect();
    let read = read(client, &listed, &mut counted).await.map_err(refused)?;
    let found = policies.iter().zip(&counted);
    Ok(found.map(|(targets, counted)| tell(&names(targets), counted, &listed, read)).collect())
}

async fn list(source: &Source, client: &MispClient) -> Result<NewestEvents, RestError> {
    let begun = Instant::now();
    let mut listed = NewestEvents { newest: Vec::new(), events: 0, is_whole: true };
    let mut heads = client.heads(published(source));
    while let Some(page) = heads.next().await? {
        listed.events += page.heads.len();
        listed.newest.extend(page.heads);
        // Only the newest so far are kept, whatever the order of MISP's pages.
        listed.newest.sort_by_key(|head| std::cmp::Reverse(head.publish_timestamp));
        listed.newest.truncate(EVENTS);
        // A large MISP lists for minutes. A part of the list is enough here.
        if begun.elapsed() > PATIENCE {
            listed.is_whole = false;
            break;
        }
    }
    Ok(listed)
}

fn published(source: &Source) -> Map<String, Value> {
    let mut query = source.search.clone();
    query.insert("published".to_owned(), json!(1));
    if let Some(window) = source.window {
        query.insert("publish_timestamp".to_owned(), json!(format!("{}s", window.as_secs())));
    }
    query
}

fn nothing_published(source: &Source) -> Diagnosis {
    let mut causes = vec!["the organisation and role of the key's user".to_owned()];
    if source.window.is_some() {
        causes.push(source.key_of("window"));
    }
    if !source.search.is_empty() {
        causes.push(format!(
            "{} (MISP ignores parameters that it does not know)",
            source.key_of("search")
        ));
    }
    let remedy = format!("publish an event in MISP, or look at {}", causes.join(", "));
    Subject(STEP, "").warning("MISP shows this key no published event", remedy)
}

/// Reads the events one by one, so that one that cannot be read does not spoil the others. Returns how many
/// were read.
async fn read(
    client: &MispClient,
    listed: &NewestEvents,
    counted: &mut [Counted],
) -> Result<usize, RestError> {
    let begun = Instant::now();
    let mut read = 0;
    for head in &listed.newest {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let document = async { client.read(&[head.uuid]).await?.next().await };
        match document.await {
            Ok(Some(document)) => {
                let Ok(document) = document.into_bytes() else { continue };
                let Ok(event) = Event::parse(&document) else { continue };
                counted.iter_mut().for_each(|counted| counted.take(client.source(), &event));
                read += 1;
            }
            // The event is gone, or too large for one answer. Neither says anything of the policy.
            Ok(None) | Err(RestError::TooLarge { .. }) => {}
            // If not even one event can be read, the reason is the finding.
            Err(error) if read == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(read)
}

impl Counted {
    /// Counts an event's attributes. One is selected if any of its claims is.
    fn take(&mut self, source: &str, event: &Event<'_>) {
        let facts = event.facts();
        for read in event.attributes() {
            let claims = match &read {
                Ok((attribute, object)) => convert::claims(attribute, *object),
                Err(_) => Err(Reason::Malformed),
            };
            // Warninglists and suppressions are left out, as the finding says.
            let judged = claims.and_then(|claims| {
                let judged =
                    claims.into_iter().map(|Claim { facts: of_claim, observable, .. }| {
                        self.judge.admits_of(source, &facts, &of_claim)?;
                        self.judge.admit(&facts, &of_claim, &observable, &SideFacts::default())
                    });
                judged.reduce(Result::or).unwrap_or(Err(Reason::NoObservable))
            });
            match judged {
                Ok(()) => self.selected += 1,
                Err(reason) => *self.skipped.entry(reason).or_default() += 1,
            }
        }
    }
}

fn tell(targets: &str, counted: &Counted, listed: &NewestEvents, read: usize) -> Diagnosis {
    let Counted { selected, skipped, .. } = counted;
    let mut reasons: Vec<(&Reason, &usize)> = skipped.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let not: usize = skipped.values().sum();
    let words: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {}", reason.word())).collect();
    let why = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
    let more = if listed.is_whole { "" } else { "at least " };
    let events = listed.events;
    let evidence = format!(
        "{more}{events} published events; of the {read} newest, {selected} attributes are for Sentinel and {not} are not{why}, before warninglists and suppressions"
    );
    let subject = Subject(STEP, targets);
    match (selected, reasons.first()) {
        (0, Some((reason, _))) => subject.warning(
            format!("it selects nothing: {evidence}"),
            format!("{} (`explain EVENT-UUID` tells of each attribute)", reason.sentence()),
        ),
        (0, None) => subject.warning(evidence, "publish an event that has attributes"),
        _ => subject.ok(evidence),
    }
}
