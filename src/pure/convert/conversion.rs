//! Converts an attribute into its claims, or gives the reason why it makes none. It converts an event attribute by
//! attribute, and counts the skipped attributes by reason.

use std::collections::BTreeMap;

use super::claim::{Claim, ClaimFacts};
use super::kind::trimmed;
use super::skipped::Reason;
use super::type_row::Shape;
use super::{facts, pattern_attribute, table, url};
use crate::pure::misp::{Attribute, Event, Object};
use crate::pure::stix::Observable;

/// The claims of one attribute. A composite attribute has two, and so has a URL that logs have in two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub first: Claim,
    pub second: Option<Box<Claim>>,
}

impl IntoIterator for Claims {
    type Item = Claim;
    type IntoIter = std::iter::Chain<std::iter::Once<Claim>, std::option::IntoIter<Claim>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.second.map(|second| *second))
    }
}

/// The last second that MISP can store. A larger number is in milliseconds, or a mistake.
const LAST_SECOND: i64 = 0xffff_ffff;

/// Returns the claims of `attribute` (in `object`). An attribute without `to_ids` makes claims too, since policy
/// decides on it.
///
/// # Errors
/// The [`Reason`] why it makes no claim: it is deleted, or its type or its value makes none.
pub fn claims(attribute: &Attribute<'_>, object: Option<&Object<'_>>) -> Result<Claims, Reason> {
    if attribute.deleted || object.is_some_and(|object| object.deleted) {
        return Err(Reason::Deleted);
    }
    let row = table::find(&attribute.kind).ok_or(Reason::UnknownType)?;
    let shape = row.shape()?;
    if !(1..=LAST_SECOND).contains(&attribute.timestamp) {
        return Err(Reason::InvalidTimestamp);
    }
    let (first, second) = observables(shape, trimmed(&attribute.value))?;
    let claim = |part: u8, observable: Observable| {
        let mut facts = facts::of_attribute(attribute, object, row.name);
        if attribute.value != observable.value {
            facts.raw = Some(attribute.value.as_ref().to_owned());
        }
        Claim { attribute: attribute.uuid, part, observable, facts }
    };
    let second = second.map(|observable| Box::new(claim(1, observable)));
    Ok(Claims { first: claim(0, first), second })
}

/// Returns the observables of an attribute of this type and value. It returns none if the attribute makes no claim.
pub fn said(kind: &str, value: &str) -> Vec<Observable> {
    let read = table::find(kind)
        .and_then(|row| row.shape().ok())
        .and_then(|shape| observables(shape, value.trim()).ok());
    read.map_or_else(Vec::new, |(first, second)| std::iter::once(first).chain(second).collect())
}

/// Which of two forms of a URL a claim is about: as it was written, or as requests have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlForm {
    Written,
    Wire,
}

/// Returns which form of an attribute's URL `observable` is. `None`: it is no URL, or both forms are the same.
pub fn url_form(facts: &ClaimFacts, observable: &Observable) -> Option<UrlForm> {
    if observable.path != url::URL {
        return None;
    }
    let said = said(&facts.kind, facts.written(observable));
    let [written, wire] = said.as_slice() else { return None };
    match observable {
        _ if observable == written => Some(UrlForm::Written),
        _ if observable == wire => Some(UrlForm::Wire),
        _ => None,
    }
}

fn observables(shape: Shape, value: &str) -> Result<(Observable, Option<Observable>), Reason> {
    let halves = || value.rsplit_once('|').ok_or(Reason::InvalidValue);
    match shape {
        Shape::Whole(kind) => Ok(with_wire_form(kind.observable(value)?)),
        Shape::Pattern => Ok(with_wire_form(pattern_attribute::observable(value)?)),
        Shape::Before(kind) => Ok((kind.observable(halves()?.0)?, None)),
        Shape::BeforeFirst(kind) => {
            let (before, _) = value.split_once('|').ok_or(Reason::InvalidValue)?;
            Ok((kind.observable(before)?, None))
        }
        Shape::Both(before, behind) => {
            let halves = halves()?;
            let (first, second) = (before.observable(halves.0)?, behind.observable(halves.1)?);
            // An address may stand in both halves.
            let differs = second != first;
            Ok((first, differs.then_some(second)))
        }
        Shape::Named(behind, before) => {
            let halves = halves()?;
            Ok((behind.observable(halves.1)?, before.observable(halves.0).ok()))
        }
    }
}

fn with_wire_form(written: Observable) -> (Observable, Option<Observable>) {
    let wire = url::on_the_wire(&written);
    (written, wire)
}

/// The result of converting an event: each of its attributes is in `claims` or counted in `skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversion {
    pub claims: Vec<Claim>,
    pub skipped: Skipped,
    /// The number of attributes, including those of objects and unreadable ones.
    pub attributes: u64,
}

/// Converts all attributes of an event.
pub fn event(event: &Event<'_>) -> Conversion {
    let mut conversion =
        Conversion { claims: Vec::with_capacity(event.listed()), ..Conversion::default() };
    for read in event.attributes() {
        conversion.attributes += 1;
        match read.map_or(Err(Reason::Malformed), |(attribute, object)| claims(&attribute, object))
        {
            Ok(Claims { first, second }) => {
                conversion.claims.push(first);
                conversion.claims.extend(second.map(|second| *second));
            }
            Err(reason) => conversion.skipped.add(reason),
        }
    }
    conversion
}

/// Skipped attributes of an event, counted by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Skipped(BTreeMap<Reason, u64>);

impl Skipped {
    /// Counts one more.
    pub fn add(&mut self, reason: Reason) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Counts as many more.
    pub fn extend(&mut self, more: &Self) {
        for (reason, count) in more.iter() {
            *self.0.entry(reason).or_default() += count;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(&reason).copied().unwrap_or_default()
    }

    /// The reasons that occur, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}
