//! Keeps the context objects that wanted indicators need. Identities, techniques and actors are never withdrawn; of
//! each, the newest event decides the content. A relationship belongs to one indicator. It is revoked when the
//! indicator no longer needs it.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::change::Change;
use super::generations::Generations;
use super::merge::Merged;
use super::sql::{Result, Transaction};
use super::tables::keys::GenerationKey;
use super::tables::wanted::{self, ContextSaid, NewContext, Relationship};
use super::{Lane, View};
use crate::pure::stix::ContextObject;

/// Context objects have no end. This time is later than any other, and can still be rendered as a date.
const FOREVER: i64 = 253_402_300_799_000;

/// A context object that is needed and missing.
struct Lacking<'r> {
    object: Uuid,
    generation: GenerationKey,
    /// Of a relationship: the indicator that it starts at.
    source: Option<Uuid>,
    content: &'r ContextObject,
}

/// Adds, updates and revokes the context objects of these indicators, so that they match what the indicators need now.
/// `known`: the indicators that were wanted before, without those whose claims still wait to be judged.
pub(super) fn refresh<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    known: &Generations,
    merged: &[Merged],
    change: &mut Change<'a>,
) -> Result<()> {
    // What has expired is not sent, so nothing should point from it.
    let (live, expired): (Vec<&Merged>, Vec<&Merged>) =
        merged.iter().partition(|one| one.indicator.valid_until > change.opened_at);
    name(tx, view, &live, change)?;
    let needed: HashSet<Uuid> =
        live.iter().flat_map(|one| &one.needs).map(|need| need.key).collect();
    let mut sources: Vec<Uuid> = known.iter().map(|known| known.object).collect();
    if view.is_by_attribute() {
        // One may have started at another object with the same id.
        sources.extend(live.iter().map(|one| one.ids.object));
    }
    let keys: Vec<Uuid> = needed.iter().copied().collect();
    let relationships = relationships(tx, view, &sources, &keys)?;
    relate(tx, view, &live, &relationships, change)?;
    let expired: HashSet<Uuid> = expired.iter().map(|one| one.ids.object).collect();
    // What expires is not withdrawn: it needs no upload, and neither do its relationships.
    let is_over = |one: &&Relationship| {
        one.is_live() && !needed.contains(&one.key) && !expired.contains(&one.source)
    };
    let over = relationships.iter().filter(is_over).map(|one| one.object);
    revoke(tx, view, over, change)
}

/// Writes identities, techniques and actors: new ones, and those that a newer event describes differently.
fn name<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    live: &[&Merged],
    change: &mut Change<'a>,
) -> Result<()> {
    let mut said: HashMap<Uuid, &ContextObject> = HashMap::new();
    // A relationship, which has a target, belongs to one indicator: no other event says anything of it.
    for need in live.iter().flat_map(|one| &one.needs).filter(|need| need.target.is_none()) {
        let known = said.entry(need.key).or_insert(&need.object);
        if need.object.outranks(known) {
            *known = &need.object;
        }
    }
    let mut lacking = Vec::new();
    for (key, content) in said {
        match wanted::context_said(tx, &view.name, key)? {
            Some(ContextSaid { said_at, body })
                // The newest event counts, and of two at the same time the greater body: so the order of events is all one.
                if (content.timestamp, &content.body) <= (said_at, &body) => {}
            Some(ContextSaid { body, .. }) if body == content.body => {
                wanted::said_later(tx, &view.name, key, content.timestamp)?;
            }
            _ => {
                let generation = GenerationKey { key, number: 0 };
                lacking.push(Lacking { object: key, generation, source: None, content });
            }
        }
    }
    store(tx, view, &lacking, change)
}

/// The relationships that start at these indicators or have these keys, withdrawn ones and all generations
/// among them.
fn relationships(
    tx: &Transaction<'_>,
    view: &View,
    sources: &[Uuid],
    keys: &[Uuid],
) -> Result<Vec<Relationship>> {
    let mut found = wanted::relationships_from(tx, &view.name, sources)?;
    found.extend(wanted::relationships_of(tx, &view.name, keys)?);
    found.sort_unstable_by_key(|one| one.object);
    found.dedup_by_key(|one| one.object);
    Ok(found)
}

/// Writes the relationships that are needed and missing.
fn relate<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    live: &[&Merged],
    known: &[Relationship],
    change: &mut Change<'a>,
) -> Result<()> {
    let mut newest: HashMap<Uuid, &Relationship> = HashMap::new();
    for one in known {
        let known = newest.entry(one.key).or_insert(one);
        if one.generation > known.generation {
            *known = one;
        }
    }
    let mut rendered = Vec::new();
    for one in live {
        for need in &one.needs {
            let Some(target) = need.target else { continue };
            let number = match newest.get(&need.key) {
                Some(known) if known.is_live() => {
                    // It points from the same id, whichever object has that now.
                    if known.source != one.ids.object {
                        wanted::hand_over(tx, &view.name, known.object, one.ids.object)?;
                    }
                    continue;
                }
                Some(known) if known.revoked => known.generation.saturating_add(1),
                Some(known) => known.generation,
                None => 0,
            };
            let generation = GenerationKey { key: need.key, number };
            let object = view.merger.relationship(one.ids.stix_id, target, number);
            rendered.extend(object.map(|object| (one.ids.object, generation, object)));
        }
    }
    let lacking = rendered.iter().map(|(source, generation, content)| Lacking {
        object: content.id,
        generation: *generation,
        source: Some(*source),
        content,
    });
    store(tx, view, &lacking.collect::<Vec<_>>(), change)
}

fn store<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    lacking: &[Lacking<'_>],
    change: &mut Change<'a>,
) -> Result<()> {
    if lacking.is_empty() {
        return Ok(());
    }
    // Indicators go out without their context, so it holds none of them up.
    let number = change.number(tx, view, Lane::Backlog)?;
    let objects = lacking.iter().map(|one| NewContext {
        object: one.object,
        generation: one.generation,
        source: one.source,
        kind: one.content.kind.word(),
        stix_id: one.content.id,
        body: &one.content.body,
        valid_until: FOREVER,
        version: one.content.fingerprint,
        said_at: one.content.timestamp,
    });
    wanted::store_context(tx, &view.name, objects, number)?;
    change.context += lacking.len();
    Ok(())
}

/// Revokes relationships. It deletes those that no target was ever sent.
fn revoke<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    over: impl Iterator<Item = Uuid>,
    change: &mut Change<'a>,
) -> Result<()> {
    for object in over {
        if wanted::forget_unsent(tx, &view.name, object)? {
            continue;
        }
        let number = change.number(tx, view, Lane::Backlog)?;
        wanted::withdraw(tx, &view.name, object, true, number)?;
        change.context += 1;
    }
    Ok(())
}

/// A context object that an indicator needs and lacks, or a relationship that it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Astray {
    pub indicator: Uuid,
    pub context: Uuid,
}

/// Finds the context that these indicators need and that is not wanted, and the relationships that nothing needs. An
/// indicator that has expired at `now` needs nothing.
pub(super) fn astray(
    tx: &Transaction<'_>,
    view: &View,
    merged: &[&Merged],
    now: i64,
) -> Result<Vec<Astray>> {
    let live: Vec<&&Merged> = merged.iter().filter(|one| one.indicator.valid_until > now).collect();
    let needs = live.iter().flat_map(|one| {
        one.needs.iter().map(|need| Astray { indicator: one.ids.object, context: need.key })
    });
    let needed: HashSet<Astray> = needs.collect();
    let sources: Vec<Uuid> = live.iter().map(|one| one.ids.object).collect();
    let known = wanted::relationships_from(tx, &view.name, &sources)?.into_iter();
    let mut astray: Vec<Astray> = known
        .filter(Relationship::is_live)
        .map(|one| Astray { indicator: one.source, context: one.key })
        .filter(|one| !needed.contains(one))
        .collect();
    for one in needed {
        if wanted::count_live_of_key(tx, &view.name, one.context)? == 0 {
            astray.push(one);
        }
    }
    Ok(astray)
}
