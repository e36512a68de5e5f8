//! Builds the stories of attributes for `explain` from the ledger: what they claim, why policy admits it or not, what
//! is wanted and what was delivered.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::elsewhere::{Newer, ShownCopy};
use super::full_claims::{FullClaim, KnownEvents, claims_of};
use super::generations::Generations;
use super::hit_words;
use super::lookup::{LookedUp, look_up};
use super::merge::merge;
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, ClaimingAttribute};
use super::tables::wanted::{WITHDRAWN, WantedRow};
use super::tables::{held, standings};
use super::{Ledger, View, Views};
use crate::pure::convert::{EventFacts, Reason};
use crate::pure::explain::{
    ClaimVerdict, ExplainLine, Indicated, MAX_OTHERS, Other, Story, TargetStanding, ViewRules, Why,
    remarks, standing, time,
};
use crate::pure::stix::{self, Observable};

/// Attributes whose stories are made together.
const CHUNK: usize = 200;

/// How the stories are told.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// Unix milliseconds.
    pub now: i64,
    /// Whether the stories show the indicators as STIX.
    pub stix: bool,
}

impl View {
    fn rules(&self, now: i64, stix: bool) -> ViewRules<'_> {
        ViewRules { judge: &self.judge, merger: &self.merger, targets: &self.targets, now, stix }
    }
}

impl Views {
    /// The rules of each view, for stories of attributes that the ledger does not keep.
    #[must_use]
    pub fn rules(&self, now: i64, stix: bool) -> Vec<ViewRules<'_>> {
        self.iter().map(|view| view.rules(now, stix)).collect()
    }
}

impl Ledger {
    /// Builds the story of each attribute that `what` names: by the uuid of an event or an attribute, or by a value in
    /// any spelling. All stories show the same moment of the ledger. Ends early if the receiver of `lines` is gone.
    pub async fn explain(
        &self,
        views: &Views,
        what: &str,
        telling: Telling,
        lines: mpsc::Sender<ExplainLine>,
    ) -> Result<()> {
        let (views, what) = (views.clone(), what.to_owned());
        self.read_long(move |tx| {
            let LookedUp { attributes, observables, mut notes } = look_up(tx, &views, &what)?;
            // Where something claims the value, its story tells where the indicator stands.
            if attributes.is_empty() {
                notes.extend(ended(tx, &views, &observables, telling)?);
                let keys = observables.iter().map(|one| views.object_key(one));
                notes.extend(hit_words::of_observables(tx, keys)?);
            }
            for attributes in attributes.chunks(CHUNK) {
                for story in stories(tx, &views, attributes, telling)? {
                    // A client that reads slowly holds up this thread, which serves commands alone. The stories of a
                    // large event gathered in memory would fill it.
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

/// Tells of indicators of observables that no claim names any more, and of their state at each target.
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
        let events = KnownEvents::default();
        let (objects, events) = (&objects, &events);
        let are_several = false;
        let background = Background { objects, claims: &[], events, are_several, telling };
        let within = InView::load(tx, view, background)?;
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
    attributes: &[ClaimingAttribute],
    telling: Telling,
) -> Result<Vec<Story>> {
    let mut objects = BTreeSet::new();
    for one in attributes {
        objects.extend(claims::objects_of(tx, one.event_key(), [one.attribute])?);
    }
    let objects: Vec<Uuid> = objects.into_iter().collect();
    // All claims on these observables, whoever makes them: they decide together.
    let sources = Sources::load(tx)?;
    let claims = claims_of(tx, &objects, views, &sources)?;
    let events = KnownEvents::of(tx, &claims)?;
    let are_several = sources.are_several();
    let (objects, claims, events) = (&objects, &claims, &events);
    let background = Background { objects, claims, events, are_several, telling };
    let mut told = Vec::new();
    for view in views.iter() {
        told.push(InView::load(tx, view, background)?);
    }
    let mut stories = Vec::with_capacity(attributes.len());
    for one in attributes {
        let Some(mut story) = background.story(one, &told) else { continue };
        story.notes = held_note(tx, one)?.into_iter().collect();
        story.notes.extend(hit_words::of_attribute(tx, one)?);
        stories.push(story);
    }
    Ok(stories)
}

fn held_note(tx: &Transaction<'_>, claiming: &ClaimingAttribute) -> Result<Option<String>> {
    let since = held::since(tx, claiming.event_key(), claiming.attribute)?;
    Ok(since.map(|since| {
        format!("MISP shows it no longer; the guard keeps it since {}: see `held`", time(since))
    }))
}

/// What the ledger knows of some objects apart from the views.
#[derive(Clone, Copy)]
struct Background<'k> {
    objects: &'k [Uuid],
    /// In the order of objects.
    claims: &'k [FullClaim],
    events: &'k KnownEvents,
    /// Whether the ledger knows more than one source.
    are_several: bool,
    telling: Telling,
}

/// What a view makes of some objects, and the state of these at its targets.
struct InView<'k> {
    view: &'k View,
    background: Background<'k>,
    /// Of each claim: why the view withholds it.
    reasons: Vec<Option<Reason>>,
    /// By [`View::key`].
    wanted: HashMap<Uuid, WantedRow>,
    /// By object.
    targets: HashMap<Uuid, Vec<TargetStanding>>,
}

impl<'k> InView<'k> {
    fn load(tx: &Transaction<'_>, view: &'k View, background: Background<'k>) -> Result<Self> {
        let Background { objects, claims, events, telling, .. } = background;
        let known = Generations::load(tx, view, objects)?;
        let reasons = merge(view, &known, claims, events).reasons;
        let wanted = known.contents(tx, view)?;
        let objects: Vec<Uuid> = wanted.values().map(|row| row.object).collect();
        let mut targets: HashMap<Uuid, Vec<TargetStanding>> = HashMap::new();
        for row in standings::at_targets(tx, &view.name, &objects, telling.now)? {
            targets.entry(row.object).or_default().push(row.told(telling.now));
        }
        Ok(Self { view, background, reasons, wanted, targets })
    }

    /// Those of an observable, in the order of their ids.
    fn indicated_by(&self, observable: Uuid) -> Vec<Indicated> {
        let rows = self.wanted.values().filter(|row| row.observable == observable);
        let mut told: Vec<Indicated> = rows.map(|row| self.told(row)).collect();
        told.sort_by(|one, other| one.id.cmp(&other.id));
        told
    }

    fn told(&self, row: &WantedRow) -> Indicated {
        let (withdrawn, telling) = (row.version == WITHDRAWN, self.background.telling);
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
    fn seen(&self, index: usize, own: &FullClaim) -> ClaimVerdict {
        let is_own = |claim: &FullClaim| {
            claim.row.attribute == own.row.attribute && claim.row.event_key() == own.row.event_key()
        };
        let judged = self.background.claims.iter().zip(&self.reasons);
        let mut others: Vec<_> = judged
            .filter(|(claim, _)| self.view.merges(&claim.row, &own.row) && !is_own(claim))
            .collect();
        others.sort_by_key(|(claim, _)| {
            std::cmp::Reverse(claim.facts.as_ref().map(|facts| facts.timestamp))
        });
        let listed = others.iter().take(MAX_OTHERS).filter_map(|(claim, reason)| {
            let event = self.background.event(claim)?;
            Some(Other {
                source: self.background.source_of(claim),
                event: claim.row.event,
                info: event.info.clone(),
                attribute: claim.row.attribute,
                withheld: self.why(claim, **reason),
            })
        });
        ClaimVerdict {
            targets: self.view.members().map(str::to_owned).collect(),
            withheld: self.why(own, self.reasons.get(index).copied().flatten()),
            remarks: self.remarks(own),
            others: listed.collect(),
            more: others.len().saturating_sub(MAX_OTHERS),
            indicator: self.wanted.get(&self.view.key(&own.row)).map(|row| self.told(row)),
            kept_by: self.kept_by(own),
        }
    }

    /// The claims on the indicator of this one, each with the reason why it does not count.
    fn beside(&self, own: &FullClaim) -> impl Iterator<Item = (&FullClaim, Option<Reason>)> {
        let judged = self.background.claims.iter().zip(self.reasons.iter().copied());
        judged.filter(|(claim, _)| self.view.merges(&claim.row, &own.row))
    }

    /// The sources whose claims keep the indicator of this one.
    fn kept_by(&self, own: &FullClaim) -> Vec<String> {
        let counting = self.beside(own).filter(|(_, reason)| reason.is_none());
        let sources: BTreeSet<String> =
            counting.filter_map(|(claim, _)| self.background.source_of(claim)).collect();
        sources.into_iter().collect()
    }

    /// What the sources say that make a claim not count.
    fn forbidden_by(&self, claim: &FullClaim, reason: Reason) -> Vec<String> {
        if reason == Reason::Outdated {
            let heard = |newer: &&Newer| self.view.judge.hears(&newer.source).is_ok();
            return claim.elsewhere.newer.iter().filter(heard).map(newer_words).collect();
        }
        let sources: BTreeSet<String> = match reason == Reason::FalsePositive {
            true => self.disputed_by(claim).collect(),
            false if reason == Reason::TlpTooStrict => self.marked_by(claim).collect(),
            false => return Vec::new(),
        };
        sources.iter().map(|source| format!("marked so in {source}")).collect()
    }

    /// The other sources that mark the claim's attribute too strictly.
    fn marked_by(&self, claim: &FullClaim) -> impl Iterator<Item = String> {
        let is_strict = |copy: &&ShownCopy| {
            let event = self.background.events.get(copy.event_key());
            let tags = event.into_iter().flat_map(|event| &event.tags).chain(&copy.tags);
            self.view.judge.is_too_strict(tags.map(|tag| tag.name.as_str()))
        };
        let copies = claim.elsewhere.copies(&claim.row.source).filter(is_strict);
        copies.map(|copy| copy.event.source.clone())
    }

    /// The sources that mark the claim's observable as a false positive.
    fn disputed_by(&self, claim: &FullClaim) -> impl Iterator<Item = String> {
        let disputes = |claim: &FullClaim| {
            claim.facts.as_ref().is_some_and(|facts| self.view.judge.disputes(facts))
        };
        let disputing = self.beside(claim).filter(move |(claim, _)| disputes(claim));
        disputing.filter_map(|(claim, _)| self.background.source_of(claim))
    }

    fn why(&self, claim: &FullClaim, reason: Option<Reason>) -> Option<Why> {
        let reason = reason?;
        let mut why = Why::knowing(reason, &claim.side_facts, &self.view.judge);
        for words in self.forbidden_by(claim, reason) {
            why.words = format!("{}; {words}", why.words);
        }
        Some(why)
    }

    fn remarks(&self, claim: &FullClaim) -> Vec<String> {
        let known = claim.facts.as_ref().zip(self.background.event(claim));
        known.map_or_else(Vec::new, |(facts, event)| {
            remarks(&self.view.judge, event, facts, &claim.row.observable)
        })
    }
}

impl Background<'_> {
    fn story(&self, told: &ClaimingAttribute, views: &[InView<'_>]) -> Option<Story> {
        let all = self.claims.iter().enumerate();
        let mut own: Vec<_> = all.filter(|(_, claim)| is_of(claim, told)).collect();
        own.sort_by_key(|(_, claim)| claim.row.part);
        let (_, first) = own.first()?;
        let (facts, event) = (first.facts.as_ref()?, self.event(first)?);
        let claims = own.iter().map(|(index, claim)| crate::pure::explain::ClaimStory {
            pattern: claim.row.observable.pattern(),
            views: views.iter().map(|view| view.seen(*index, claim)).collect(),
        });
        let value = facts.raw.as_ref().unwrap_or(&first.row.observable.value);
        let story = Story::of_claim(event, told.attribute, facts, value);
        let source = self.source_of(first);
        Some(Story { source, claims: claims.collect(), ..story })
    }

    /// The source of a claim, if that needs to be told.
    fn source_of(&self, claim: &FullClaim) -> Option<String> {
        self.are_several.then(|| claim.row.source.clone())
    }

    fn event(&self, claim: &FullClaim) -> Option<&EventFacts> {
        self.events.get(claim.row.event_key())
    }
}

/// Says what outdates a claim.
fn newer_words(Newer { source, timestamp, is_withdrawal }: &Newer) -> String {
    let what = if *is_withdrawal { "taken back" } else { "changed" };
    format!("{what} in {source} {}", time(timestamp.saturating_mul(1_000)))
}

/// The object without `created` and `modified`, which are assigned when it is first sent to a target. A withdrawn
/// object also has no end here, because the end is assigned when the withdrawal is sent.
fn rendered(row: &WantedRow) -> Option<Value> {
    let mut body: Value = serde_json::from_str(&row.body).ok()?;
    if row.version != WITHDRAWN {
        body.as_object_mut()?.insert("valid_until".into(), stix::timestamp(row.valid_until).into());
    }
    Some(body)
}

fn is_of(claim: &FullClaim, told: &ClaimingAttribute) -> bool {
    let row = &claim.row;
    row.attribute == told.attribute && row.event == told.event && row.source == told.source
}
