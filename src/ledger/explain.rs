//! The stories of attributes out of the ledger: what is claimed, admitted, wanted and delivered.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::claimed::{Claimed, EventsByKey, claims_of, load_events};
use super::generations::newest;
use super::judged::{WantedRow, wanted_of};
use super::named::{Found, Place, find};
use super::standing::standings;
use super::wanted::{WITHDRAWN, disputed};
use super::{Ledger, View, Views, Writing};
use crate::pure::convert::{EventFacts, Reason};
use crate::pure::explain::{
    At, Indicated, Line, MAX_OTHERS, Other, Rules, Seen, Story, Why, remarks, standing, time,
};
use crate::pure::policy::Beside;
use crate::pure::stix::{self, Observable};

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
        let Found { places, observables, mut notes } = find(&mut tx, what).await?;
        if places.is_empty() {
            notes.extend(ended(&mut tx, views, &observables, telling).await?);
        }
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

/// Indicators of observables that nothing claims any more, and where they stand.
async fn ended(
    tx: &mut Writing,
    views: &Views,
    observables: &BTreeSet<Observable>,
    telling: Telling,
) -> sqlx::Result<Vec<String>> {
    let key = |observable| (views.object_key(observable), observable);
    let keys: Vec<(Uuid, &Observable)> = observables.iter().map(key).collect();
    let objects: Vec<Uuid> = keys.iter().map(|(key, _)| *key).collect();
    let mut notes = Vec::new();
    for view in views.iter() {
        let within = InView::load(tx, view, (&objects, &[]), telling).await?;
        for (key, observable) in &keys {
            let pattern = observable.pattern();
            for Indicated { id, targets, .. } in within.indicated_by(*key, telling) {
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
        told.push(InView::load(tx, view, (&objects, &claims), telling).await?);
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
    /// By [`View::key`].
    wanted: HashMap<Uuid, WantedRow>,
    /// By object.
    targets: HashMap<Uuid, Vec<At>>,
}

impl<'v> InView<'v> {
    async fn load(
        tx: &mut Writing,
        view: &'v View,
        claimed: (&[Uuid], &[Claimed]),
        telling: Telling,
    ) -> sqlx::Result<Self> {
        let newest = newest(tx, view, claimed).await?;
        let wanted = wanted_of(tx, &view.name, &newest).await?;
        let objects: Vec<Uuid> = wanted.values().map(|row| row.object).collect();
        let mut targets: HashMap<Uuid, Vec<At>> = HashMap::new();
        for row in standings(tx, &view.name, &objects, telling.now).await? {
            targets.entry(row.object).or_default().push(row.told(telling.now));
        }
        Ok(Self { view, wanted, targets })
    }

    /// Those of an observable, in the order of their ids.
    fn indicated_by(&self, observable: Uuid, telling: Telling) -> Vec<Indicated> {
        let rows = self.wanted.values().filter(|row| row.observable == observable);
        let mut told: Vec<Indicated> = rows.map(|row| self.told(row, telling)).collect();
        told.sort_by(|one, other| one.id.cmp(&other.id));
        told
    }

    fn told(&self, row: &WantedRow, telling: Telling) -> Indicated {
        let withdrawn = row.version == WITHDRAWN;
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

    fn claimed(&self, own: &Claimed) -> crate::pure::explain::Claimed {
        let views = self.views.iter().map(|view| self.seen(view, own));
        crate::pure::explain::Claimed {
            pattern: own.row.observable().pattern(),
            views: views.collect(),
        }
    }

    fn seen(&self, within: &InView<'_>, own: &Claimed) -> Seen {
        let view = within.view;
        let of_object = self.claims.iter().filter(|claim| view.merges(&claim.row, &own.row));
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
                withheld: self.withheld(view, claim),
            })
        });
        Seen {
            targets: view.members().map(str::to_owned).collect(),
            withheld: self.withheld(view, own),
            remarks: self.remarks(view, own),
            others: listed.collect(),
            more: others.len().saturating_sub(MAX_OTHERS),
            indicator: within
                .wanted
                .get(&view.key(&own.row))
                .map(|row| within.told(row, self.telling)),
        }
    }

    fn remarks(&self, view: &View, claim: &Claimed) -> Vec<String> {
        let known = claim.facts.as_ref().zip(self.event(claim));
        let observable = claim.row.observable();
        known.map_or_else(Vec::new, |(facts, event)| {
            remarks(&view.judge, (event, facts), &observable)
        })
    }

    fn withheld(&self, view: &View, claim: &Claimed) -> Option<Why> {
        let (Some(facts), Some(event)) = (&claim.facts, self.event(claim)) else {
            return Some(Reason::Malformed.into());
        };
        let same = self.claims.iter().filter(|one| view.merges(&one.row, &claim.row));
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
