//! The stories of attributes out of the ledger: what is claimed, admitted, wanted and delivered.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::claimed::{ClaimRow, Claimed, EventsByKey, claims_of, load_events};
use super::generations::{self, newest};
use super::judged::{WantedRow, wanted_of};
use super::named::{Found, Place, find};
use super::sql::{Result, Transaction, statements, values};
use super::standing::standings;
use super::wanted::{WITHDRAWN, merge};
use super::{Ledger, View, Views};
use crate::pure::convert::{EventFacts, Reason};
use crate::pure::explain::{
    ClaimVerdict, ExplainLine, Indicated, MAX_OTHERS, Other, Story, TargetStanding, ViewRules, Why,
    remarks, standing, time,
};
use crate::pure::stix::{self, Observable};

statements! {
    OBJECTS(Text, Bytes, Bytes) =
        "SELECT object FROM claims WHERE source = $1 AND event = $2 AND attribute = $3";
    HELD_SINCE(Text, Bytes, Bytes) =
        "SELECT MIN(since) FROM held WHERE source = $1 AND event = $2 AND attribute = $3";
}

/// Attributes whose stories are made together.
const CHUNK: usize = 200;

/// How the stories are told.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// Unix milliseconds.
    pub now: i64,
    /// Whether the indicators are told as STIX.
    pub stix: bool,
}

impl View {
    fn rules(&self, now: i64, stix: bool) -> ViewRules<'_> {
        ViewRules { judge: &self.judge, merger: &self.merger, targets: &self.targets, now, stix }
    }
}

impl Views {
    /// For stories of what the ledger does not keep.
    #[must_use]
    pub fn rules(&self, now: i64, stix: bool) -> Vec<ViewRules<'_>> {
        self.iter().map(|view| view.rules(now, stix)).collect()
    }
}

impl Ledger {
    /// Tells the story of each attribute that `what` names: the uuid of an event or an attribute, or
    /// a value in any spelling. It is one moment of the ledger. Ends early when nobody listens.
    pub async fn explain(
        &self,
        views: &Views,
        what: &str,
        telling: Telling,
        lines: mpsc::Sender<ExplainLine>,
    ) -> Result<()> {
        let (views, what) = (views.clone(), what.to_owned());
        self.read_long(move |tx| {
            let Found { places, observables, mut notes } = find(tx, &what)?;
            if places.is_empty() {
                notes.extend(ended(tx, &views, &observables, telling)?);
            }
            for places in places.chunks(CHUNK) {
                for story in stories(tx, &views, places, telling)? {
                    if lines.blocking_send(ExplainLine::Story(Box::new(story))).is_err() {
                        return Ok(());
                    }
                }
            }
            for note in notes {
                // Whoever asked may be gone.
                lines.blocking_send(ExplainLine::Note(note)).ok();
            }
            Ok(())
        })
        .await
    }
}

/// Indicators of observables that nothing claims any more, and where they stand.
fn ended(
    tx: &Transaction<'_>,
    views: &Views,
    observables: &BTreeSet<Observable>,
    telling: Telling,
) -> Result<Vec<String>> {
    let key = |observable| (views.object_key(observable), observable);
    let keys: Vec<(Uuid, &Observable)> = observables.iter().map(key).collect();
    let objects: Vec<Uuid> = keys.iter().map(|(key, _)| *key).collect();
    let mut notes = Vec::new();
    for view in views.iter() {
        let known = Known { objects: &objects, claims: &[], events: &HashMap::new(), telling };
        let within = InView::load(tx, view, known)?;
        for (key, observable) in &keys {
            let pattern = observable.pattern();
            for Indicated { id, targets, .. } in within.indicated_by(*key) {
                let told = targets.iter().map(|at| {
                    let (target, standing) = (&at.target, standing(at));
                    format!("nothing claims {pattern} any more; {id} at {target}: {standing}")
                });
                notes.extend(told);
            }
        }
    }
    Ok(notes)
}

fn stories(
    tx: &Transaction<'_>,
    views: &Views,
    places: &[Place],
    telling: Telling,
) -> Result<Vec<Story>> {
    let mut objects = BTreeSet::new();
    for place in places {
        objects.extend(objects_of(tx, place)?);
    }
    let objects: Vec<Uuid> = objects.into_iter().collect();
    let claims = claims_of(tx, &objects, views)?;
    let mut events = HashMap::new();
    load_events(tx, &claims, &mut events)?;
    let known = Known { objects: &objects, claims: &claims, events: &events, telling };
    let mut told = Vec::new();
    for view in views.iter() {
        told.push(InView::load(tx, view, known)?);
    }
    let mut stories = Vec::with_capacity(places.len());
    for place in places {
        let Some(mut story) = known.story(place, &told) else { continue };
        story.notes = notes(tx, place)?;
        stories.push(story);
    }
    Ok(stories)
}

fn objects_of(tx: &Transaction<'_>, place: &Place) -> Result<Vec<Uuid>> {
    tx.rows(&OBJECTS, &values![&place.source, place.event, place.attribute])
}

fn notes(tx: &Transaction<'_>, place: &Place) -> Result<Vec<String>> {
    let values = values![&place.source, place.event, place.attribute];
    let held: Option<(Option<i64>,)> = tx.row(&HELD_SINCE, &values)?;
    let held = held.and_then(|(since,)| since).map(|since| {
        format!("MISP shows it no longer; the guard keeps it since {}: see `held`", time(since))
    });
    Ok(held.into_iter().collect())
}

/// What is known of some objects, whatever the view.
#[derive(Clone, Copy)]
struct Known<'k> {
    objects: &'k [Uuid],
    /// In the order of objects.
    claims: &'k [Claimed],
    events: &'k EventsByKey,
    telling: Telling,
}

/// What a view makes of some objects, and where its targets stand.
struct InView<'k> {
    view: &'k View,
    known: Known<'k>,
    /// Of each claim: why the view withholds it.
    reasons: Vec<Option<Reason>>,
    /// By [`View::key`].
    wanted: HashMap<Uuid, WantedRow>,
    /// By object.
    targets: HashMap<Uuid, Vec<TargetStanding>>,
}

impl<'k> InView<'k> {
    fn load(tx: &Transaction<'_>, view: &'k View, known: Known<'k>) -> Result<Self> {
        let Known { objects, claims, events, telling } = known;
        let newest = newest(tx, view, (objects, claims))?;
        let place =
            |key: Uuid, first: &ClaimRow| generations::place(view, first, newest.get(&key), false);
        let reasons = merge(view, claims, events, place).reasons;
        let wanted = wanted_of(tx, &view.name, &newest)?;
        let objects: Vec<Uuid> = wanted.values().map(|row| row.object).collect();
        let mut targets: HashMap<Uuid, Vec<TargetStanding>> = HashMap::new();
        for row in standings(tx, &view.name, &objects, telling.now)? {
            targets.entry(row.object).or_default().push(row.told(telling.now));
        }
        Ok(Self { view, known, reasons, wanted, targets })
    }

    /// Those of an observable, in the order of their ids.
    fn indicated_by(&self, observable: Uuid) -> Vec<Indicated> {
        let rows = self.wanted.values().filter(|row| row.observable == observable);
        let mut told: Vec<Indicated> = rows.map(|row| self.told(row)).collect();
        told.sort_by(|one, other| one.id.cmp(&other.id));
        told
    }

    fn told(&self, row: &WantedRow) -> Indicated {
        let (withdrawn, telling) = (row.version == WITHDRAWN, self.known.telling);
        Indicated {
            id: format!("indicator--{}", row.stix_id),
            valid_from: row.valid_from,
            valid_until: row.valid_until,
            withdrawn,
            expired: !withdrawn && row.valid_until <= telling.now,
            stix: telling.stix.then(|| rendered(row)).flatten(),
            targets: self.targets.get(&row.object).cloned().unwrap_or_default(),
        }
    }

    /// What the view makes of `own`, the claim at `index`.
    fn seen(&self, index: usize, own: &Claimed) -> ClaimVerdict {
        let is_own = |claim: &Claimed| {
            claim.row.attribute == own.row.attribute && claim.row.event == own.row.event
        };
        let judged = self.known.claims.iter().zip(&self.reasons);
        let mut others: Vec<_> = judged
            .filter(|(claim, _)| self.view.merges(&claim.row, &own.row) && !is_own(claim))
            .collect();
        others.sort_by_key(|(claim, _)| {
            std::cmp::Reverse(claim.facts.as_ref().map(|facts| facts.timestamp))
        });
        let listed = others.iter().take(MAX_OTHERS).filter_map(|(claim, reason)| {
            let event = self.known.event(claim)?;
            Some(Other {
                event: claim.row.event,
                info: event.info.clone(),
                attribute: claim.row.attribute,
                withheld: why(claim, **reason),
            })
        });
        ClaimVerdict {
            targets: self.view.members().map(str::to_owned).collect(),
            withheld: why(own, self.reasons.get(index).copied().flatten()),
            remarks: self.remarks(own),
            others: listed.collect(),
            more: others.len().saturating_sub(MAX_OTHERS),
            indicator: self.wanted.get(&self.view.key(&own.row)).map(|row| self.told(row)),
        }
    }

    fn remarks(&self, claim: &Claimed) -> Vec<String> {
        let known = claim.facts.as_ref().zip(self.known.event(claim));
        let observable = claim.row.observable();
        known.map_or_else(Vec::new, |(facts, event)| {
            remarks(&self.view.judge, event, facts, &observable)
        })
    }
}

fn why(claim: &Claimed, reason: Option<Reason>) -> Option<Why> {
    reason.map(|reason| Why::knowing(reason, &claim.side_facts))
}

impl Known<'_> {
    fn story(&self, place: &Place, views: &[InView<'_>]) -> Option<Story> {
        let all = self.claims.iter().enumerate();
        let mut own: Vec<_> = all.filter(|(_, claim)| is_of(claim, place)).collect();
        own.sort_by_key(|(_, claim)| claim.row.part);
        let (_, first) = own.first()?;
        let (facts, event) = (first.facts.as_ref()?, self.event(first)?);
        let claims = own.iter().map(|(index, claim)| crate::pure::explain::ClaimStory {
            pattern: claim.row.observable().pattern(),
            views: views.iter().map(|view| view.seen(*index, claim)).collect(),
        });
        let value = facts.raw.as_ref().unwrap_or(&first.row.value);
        let story = Story::of_claim(event, place.attribute, facts, value);
        Some(Story { claims: claims.collect(), ..story })
    }

    fn event(&self, claim: &Claimed) -> Option<&EventFacts> {
        self.events.get(&(claim.row.source.clone(), claim.row.event))
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
