//! The stories of attributes out of the ledger: what is claimed, admitted, wanted and delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::claimed::{Claimed, EventsByKey, claims_of, load_events};
use super::generations::newest;
use super::judged::{WantedRow, wanted_of};
use super::standing::standings;
use super::wanted::{WITHDRAWN, decode, disputed};
use super::{Ledger, View, Views, Writing};
use crate::convert::{self, EventFacts, Reason};
use crate::explain::{At, Indicated, Line, MAX_OTHERS, Other, Rules, Seen, Story, Why};
use crate::policy::{self, Beside};
use crate::stix::{self, Observable};

/// Attributes whose stories are made together.
const CHUNK: usize = 200;

/// An attribute that claims something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::FromRow)]
struct Place {
    source: String,
    event: Uuid,
    attribute: Uuid,
}

/// How the stories are told.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// Unix milliseconds.
    pub now: i64,
    /// Whether the indicators are told as STIX.
    pub stix: bool,
}

impl View {
    fn rules(&self, now: i64, stix: bool) -> Rules<'_> {
        Rules { judge: &self.judge, merger: &self.merger, targets: &self.targets, now, stix }
    }
}

impl Views {
    /// For stories of what the ledger does not keep.
    #[must_use]
    pub fn rules(&self, now: i64, stix: bool) -> Vec<Rules<'_>> {
        self.iter().map(|view| view.rules(now, stix)).collect()
    }
}

impl Ledger {
    /// Tells the story of each attribute that `what` names: the uuid of an event or an attribute, or
    /// a value in any spelling. It is one moment of the ledger. Ends early when nobody listens.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn explain(
        &self,
        views: &Views,
        what: &str,
        telling: Telling,
        lines: mpsc::Sender<Line>,
    ) -> sqlx::Result<()> {
        let mut tx = self.readers.begin().await?;
        let (places, notes) = find(&mut tx, what).await?;
        for places in places.chunks(CHUNK) {
            for story in stories(&mut tx, views, places, telling).await? {
                if lines.send(Line::Story(Box::new(story))).await.is_err() {
                    return Ok(());
                }
            }
        }
        for note in notes {
            // Whoever asked may be gone.
            lines.send(Line::Note(note)).await.ok();
        }
        Ok(())
    }
}

/// The attributes that `what` names and that claim something, and what there is to say besides.
async fn find(tx: &mut Writing, what: &str) -> sqlx::Result<(Vec<Place>, Vec<String>)> {
    if let Ok(uuid) = Uuid::parse_str(what) {
        let (places, notes) = find_uuid(tx, uuid).await?;
        if !places.is_empty() || !notes.is_empty() {
            return Ok((places, notes));
        }
    }
    let readings: BTreeSet<Observable> =
        convert::types().iter().flat_map(|row| convert::said(row.name, what)).collect();
    let mut places = Vec::new();
    for Observable { path, value } in readings {
        let found: Vec<Place> = sqlx::query_as(
            "SELECT DISTINCT source, event, attribute FROM claims
             WHERE lower(value) = lower($1) AND value = $1 AND path = $2
             ORDER BY timestamp DESC, attribute",
        )
        .bind(value)
        .bind(path.as_ref())
        .fetch_all(&mut **tx)
        .await?;
        places.extend(found);
    }
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    Ok((places, suppressions(tx, what).await?))
}

async fn suppressions(tx: &mut Writing, value: &str) -> sqlx::Result<Vec<String>> {
    let mut notes = Vec::new();
    for spelling in policy::spellings(value) {
        let found: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT s.value, s.since, s.reason FROM suppressed s
             JOIN suppressed_spellings p ON p.value = s.value WHERE p.spelling = $1",
        )
        .bind(spelling)
        .fetch_all(&mut **tx)
        .await?;
        notes.extend(found.iter().map(|(value, since, reason)| {
            format!("{value} is suppressed since {}: {reason}", time(*since))
        }));
    }
    notes.sort_unstable();
    notes.dedup();
    Ok(notes)
}

async fn find_uuid(tx: &mut Writing, uuid: Uuid) -> sqlx::Result<(Vec<Place>, Vec<String>)> {
    let of_event: Vec<Place> = sqlx::query_as(
        "SELECT DISTINCT source, event, attribute FROM claims WHERE event = $1
         ORDER BY attribute_id, attribute",
    )
    .bind(uuid)
    .fetch_all(&mut **tx)
    .await?;
    let mut notes = event_notes(tx, uuid).await?;
    if !of_event.is_empty() || !notes.is_empty() {
        return Ok((of_event, notes));
    }
    let of_attribute: Vec<Place> =
        sqlx::query_as("SELECT DISTINCT source, event, attribute FROM claims WHERE attribute = $1")
            .bind(uuid)
            .fetch_all(&mut **tx)
            .await?;
    let buried: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT withdrawn_at, ids_only FROM tombstones WHERE attribute = $1 ORDER BY withdrawn_at",
    )
    .bind(uuid)
    .fetch_all(&mut **tx)
    .await?;
    notes.extend(buried.iter().map(|(at, ids_only)| {
        let what = if *ids_only { "switched its to_ids off" } else { "deleted or edited it" };
        format!("attribute {uuid}: MISP {what} {}", time(*at))
    }));
    Ok((of_attribute, notes))
}

#[derive(Debug, sqlx::FromRow)]
struct EventNotes {
    deleted_at: Option<i64>,
    skipped: String,
    due_at: Option<i64>,
}

/// What is to be said of a known event besides its claims.
async fn event_notes(tx: &mut Writing, event: Uuid) -> sqlx::Result<Vec<String>> {
    let rows: Vec<EventNotes> = sqlx::query_as(
        "SELECT e.deleted_at, e.skipped, r.due_at FROM events e
         LEFT JOIN reads r ON r.source = e.source AND r.event = e.event WHERE e.event = $1",
    )
    .bind(event)
    .fetch_all(&mut **tx)
    .await?;
    let mut notes = Vec::new();
    for row in rows {
        let skipped: BTreeMap<String, u64> = decode(&row.skipped)?;
        let skipped: Vec<String> =
            skipped.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
        let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.join(" ") };
        notes.push(format!("event {event}: skipped attributes: {skipped}"));
        let deleted =
            row.deleted_at.map(|at| format!("event {event}: deleted in MISP {}", time(at)));
        notes.extend(deleted);
        let read = row
            .due_at
            .map(|at| format!("event {event}: MISP is to be asked about it, {}", time(at)));
        notes.extend(read);
    }
    Ok(notes)
}

async fn stories(
    tx: &mut Writing,
    views: &Views,
    places: &[Place],
    telling: Telling,
) -> sqlx::Result<Vec<Story>> {
    let mut objects = BTreeSet::new();
    for place in places {
        objects.extend(objects_of(tx, place).await?);
    }
    let objects: Vec<Uuid> = objects.into_iter().collect();
    let claims = claims_of(tx, &objects, views).await?;
    let mut events = HashMap::new();
    load_events(tx, &claims, &mut events).await?;
    let mut told = Vec::new();
    for view in views.iter() {
        told.push(InView::load(tx, view, &objects, telling).await?);
    }
    let known = Known { claims: &claims, events: &events, views: &told, telling };
    let mut stories = Vec::with_capacity(places.len());
    for place in places {
        let Some(mut story) = known.story(place) else { continue };
        story.notes = notes(tx, place).await?;
        stories.push(story);
    }
    Ok(stories)
}

async fn objects_of(tx: &mut Writing, place: &Place) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT object FROM claims WHERE source = $1 AND event = $2 AND attribute = $3",
    )
    .bind(&place.source)
    .bind(place.event)
    .bind(place.attribute)
    .fetch_all(&mut **tx)
    .await
}

async fn notes(tx: &mut Writing, place: &Place) -> sqlx::Result<Vec<String>> {
    let held: Option<i64> = sqlx::query_scalar(
        "SELECT MIN(since) FROM held WHERE source = $1 AND event = $2 AND attribute = $3",
    )
    .bind(&place.source)
    .bind(place.event)
    .bind(place.attribute)
    .fetch_one(&mut **tx)
    .await?;
    let held = held.map(|since| {
        format!("MISP shows it no longer; the guard keeps it since {}: see `held`", time(since))
    });
    Ok(held.into_iter().collect())
}

/// What a view wants of some objects, and where its targets stand.
struct InView<'v> {
    view: &'v View,
    /// By the key of the claims.
    wanted: HashMap<Uuid, WantedRow>,
    /// By object.
    targets: HashMap<Uuid, Vec<At>>,
}

impl<'v> InView<'v> {
    async fn load(
        tx: &mut Writing,
        view: &'v View,
        keys: &[Uuid],
        telling: Telling,
    ) -> sqlx::Result<Self> {
        let newest = newest(tx, &view.name, keys).await?;
        let wanted = wanted_of(tx, &view.name, &newest).await?;
        let objects: Vec<Uuid> = wanted.values().map(|row| row.object).collect();
        let mut targets: HashMap<Uuid, Vec<At>> = HashMap::new();
        for row in standings(tx, &view.name, &objects, telling.now).await? {
            targets.entry(row.object).or_default().push(row.told(telling.now));
        }
        Ok(Self { view, wanted, targets })
    }

    fn indicated(&self, key: Uuid, telling: Telling) -> Option<Indicated> {
        let row = self.wanted.get(&key)?;
        let withdrawn = row.version == WITHDRAWN;
        Some(Indicated {
            id: format!("indicator--{}", row.stix_id),
            valid_from: row.valid_from,
            valid_until: row.valid_until,
            withdrawn,
            expired: !withdrawn && row.valid_until <= telling.now,
            stix: telling.stix.then(|| rendered(row)).flatten(),
            targets: self.targets.get(&row.object).cloned().unwrap_or_default(),
        })
    }
}

/// All that is known of some objects.
struct Known<'k> {
    /// In the order of objects.
    claims: &'k [Claimed],
    events: &'k EventsByKey,
    views: &'k [InView<'k>],
    telling: Telling,
}

impl Known<'_> {
    fn story(&self, place: &Place) -> Option<Story> {
        let mut own: Vec<&Claimed> = self.claims.iter().filter(|one| is_of(one, place)).collect();
        own.sort_by_key(|one| one.row.part);
        let first = own.first()?;
        let (facts, event) = (first.facts.as_ref()?, self.event(first)?);
        let claims = own.iter().map(|claim| self.claimed(claim)).collect();
        let value = facts.raw.as_ref().unwrap_or(&first.row.value);
        Some(Story { claims, ..Story::of_claim(event, place.attribute, (facts, value)) })
    }

    fn event(&self, claim: &Claimed) -> Option<&EventFacts> {
        self.events.get(&(claim.row.source.clone(), claim.row.event))
    }

    fn claimed(&self, own: &Claimed) -> crate::explain::Claimed {
        let views = self.views.iter().map(|view| self.seen(view, own));
        crate::explain::Claimed { pattern: own.row.observable().pattern(), views: views.collect() }
    }

    fn seen(&self, within: &InView<'_>, own: &Claimed) -> Seen {
        let of_object = self.claims.iter().filter(|claim| claim.row.object == own.row.object);
        let is_own = |claim: &&Claimed| {
            claim.row.attribute == own.row.attribute && claim.row.event == own.row.event
        };
        let mut others: Vec<&Claimed> = of_object.filter(|claim| !is_own(claim)).collect();
        others
            .sort_by_key(|claim| std::cmp::Reverse(claim.facts.as_ref().map(|one| one.timestamp)));
        let listed = others.iter().take(MAX_OTHERS).filter_map(|claim| {
            let event = self.event(claim)?;
            Some(Other {
                event: claim.row.event,
                info: event.info.clone(),
                attribute: claim.row.attribute,
                withheld: self.withheld(within.view, claim),
            })
        });
        Seen {
            targets: within.view.members().map(str::to_owned).collect(),
            withheld: self.withheld(within.view, own),
            others: listed.collect(),
            more: others.len().saturating_sub(MAX_OTHERS),
            indicator: within.indicated(own.row.object, self.telling),
        }
    }

    fn withheld(&self, view: &View, claim: &Claimed) -> Option<Why> {
        let (Some(facts), Some(event)) = (&claim.facts, self.event(claim)) else {
            return Some(Reason::Malformed.into());
        };
        let same = self.claims.iter().filter(|one| one.row.object == claim.row.object);
        let beside = Beside { disputed: disputed(view, same), ..claim.beside.clone() };
        let verdict = view.judge.admit(event, facts, &claim.row.observable(), &beside);
        verdict.err().map(|reason| Why::beside(reason, &beside))
    }
}

/// Without `created` and `modified`, which each target's first sending assigns; of what is withdrawn,
/// without its end, which the sending of the withdrawal is.
fn rendered(row: &WantedRow) -> Option<Value> {
    let mut body: Value = serde_json::from_str(&row.body).ok()?;
    if row.version != WITHDRAWN {
        body.as_object_mut()?.insert("valid_until".into(), stix::timestamp(row.valid_until).into());
    }
    Some(body)
}

fn is_of(claim: &Claimed, place: &Place) -> bool {
    let row = &claim.row;
    row.attribute == place.attribute && row.event == place.event && row.source == place.source
}

fn time(milliseconds: i64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds);
    time.map_or_else(String::new, |time| time.format("%F %T UTC").to_string())
}
