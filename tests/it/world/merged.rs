//! Computes what Sentinel must hold live of what several MISPs say together. An attribute may stand in several of them,
//! because they pull events from one another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::reference::{Copy, Untraced, Verdict};
use super::site::Site;

/// What all MISPs say now.
pub(super) struct Merged<'w> {
    sites: &'w [Site],
    /// By site.
    copies: Vec<Vec<Copy>>,
}

/// Observables with the uuids of the events that claim them.
pub(super) type Claimants = BTreeMap<String, BTreeSet<String>>;

impl<'w> Merged<'w> {
    pub(super) fn of(sites: &'w [Site]) -> Self {
        let copies = sites.iter().map(|site| site.reference.copies(&site.misp)).collect();
        Self { sites, copies }
    }

    /// All observables that must, or may, be live.
    pub(super) fn verdicts(&self) -> BTreeMap<String, Verdict> {
        let mut verdicts = BTreeMap::new();
        for (_, said, verdict) in self.claims() {
            let known = verdicts.entry(said.to_owned()).or_insert(Verdict::Not);
            *known = verdict.max(*known);
        }
        verdicts.retain(|_, verdict| *verdict != Verdict::Not);
        verdicts
    }

    /// The events that claim each observable, of those that are published. Of an observable in the set it is not
    /// certain.
    pub(super) fn claimants(&self) -> (Claimants, BTreeSet<String>) {
        let (mut claimants, mut uncertain) = (Claimants::new(), BTreeSet::new());
        for (copy, said, verdict) in self.claims().filter(|(copy, ..)| copy.is_published) {
            if verdict == Verdict::Must {
                claimants.entry(said.to_owned()).or_default().insert(copy.event.to_string());
            } else if verdict == Verdict::Either {
                uncertain.insert(said.to_owned());
            }
        }
        (claimants, uncertain)
    }

    /// Observables of which not everything is certain: by one MISP alone, or because a copy in another MISP is not.
    pub(super) fn doubtful(&self) -> BTreeSet<String> {
        let mut doubtful = BTreeSet::new();
        for site in self.sites {
            doubtful.extend(site.reference.doubtful(&site.misp));
        }
        for copies in self.several() {
            if !copies.iter().all(|copy| copy.is_published && copy.is_certain) {
                doubtful.extend(copies.iter().flat_map(|copy| copy.observables.iter().cloned()));
            }
        }
        doubtful
    }

    /// Observables that may differ after catch-up alone, with the cause. What one MISP says of an attribute decides on
    /// its copies too.
    pub(super) fn untraced(&self) -> BTreeMap<String, Untraced> {
        let mut untraced = BTreeMap::new();
        let all = self.sites.iter().flat_map(|site| site.reference.untraced());
        for (event, causes) in all {
            let copies = self.copies.iter().flatten().filter(|copy| copy.event == *event);
            let now: BTreeSet<_> = copies.flat_map(|copy| copy.observables.iter()).collect();
            for (cause, said) in causes {
                let said = said.iter().chain(now.iter().copied());
                untraced.extend(said.map(|one| (one.clone(), *cause)));
            }
        }
        untraced
    }

    /// Each claim of each copy, with what all MISPs together let Sentinel hold.
    fn claims(&self) -> impl Iterator<Item = (&Copy, &str, Verdict)> {
        let mut elsewhere: HashMap<Uuid, Vec<(usize, &Copy)>> = HashMap::new();
        for (site, copies) in self.copies.iter().enumerate() {
            for copy in copies {
                elsewhere.entry(copy.attribute).or_default().push((site, copy));
            }
        }
        let all = self.copies.iter().enumerate();
        all.flat_map(move |(site, copies)| copies.iter().map(move |copy| (site, copy))).flat_map(
            move |(site, copy)| {
                let others = elsewhere.get(&copy.attribute).into_iter().flatten();
                let others: Vec<&Copy> =
                    others.filter(|(other, _)| *other != site).map(|(_, copy)| *copy).collect();
                copy.claims.iter().map(move |(said, verdict)| {
                    let allowed = others.iter().map(|other| allowed(other, copy, said)).min();
                    (copy, said.as_str(), allowed.unwrap_or(Verdict::Must).min(*verdict))
                })
            },
        )
    }

    /// The copies of each attribute that more than one MISP shows.
    fn several(&self) -> Vec<Vec<&Copy>> {
        let mut by_attribute: HashMap<Uuid, Vec<&Copy>> = HashMap::new();
        for copy in self.copies.iter().flatten() {
            by_attribute.entry(copy.attribute).or_default().push(copy);
        }
        by_attribute.into_values().filter(|copies| copies.len() > 1).collect()
    }
}

/// What a copy of an attribute lets the claim of another copy be: the strictest TLP counts, and the newest version,
/// unless it says the same.
fn allowed(other: &Copy, claim: &Copy, said: &str) -> Verdict {
    let forbids = if other.is_certain { Verdict::Not } else { Verdict::Either };
    if other.is_red && !other.is_deleted {
        return forbids;
    }
    let says_the_same = other.is_for_ids && other.observables.iter().any(|one| one == said);
    if says_the_same {
        // Before an edit that is not published it may have said something else.
        return if other.is_certain { Verdict::Must } else { Verdict::Either };
    }
    match other.timestamp.cmp(&claim.timestamp) {
        std::cmp::Ordering::Greater => forbids,
        // Of one second both orders are right.
        std::cmp::Ordering::Equal => Verdict::Either,
        std::cmp::Ordering::Less if other.is_certain => Verdict::Must,
        std::cmp::Ordering::Less => Verdict::Either,
    }
}
