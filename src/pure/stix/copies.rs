//! What several sources say of one attribute. MISPs synchronise events, so an attribute with one uuid may stand in more
//! than one of them.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::Admitted;
use crate::pure::convert::{EventFacts, Sibling, TagFacts};

/// The source of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClaimSource<'a> {
    pub name: &'a str,
    /// Its place in the order in which the ledger came to know the sources.
    pub place: usize,
}

impl Ord for ClaimSource<'_> {
    /// The source that was known first comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.place, self.name).cmp(&(other.place, other.name))
    }
}

impl PartialOrd for ClaimSource<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What other sources say of a claim's attribute. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere<'a> {
    /// The sources that show a newer version of the attribute, or its deletion.
    pub newer: Vec<&'a str>,
    /// The attribute's copies, whatever they claim.
    pub copies: Vec<CopyElsewhere<'a>>,
}

/// An attribute as another source shows it.
#[derive(Debug, Clone, Copy)]
pub struct CopyElsewhere<'a> {
    pub event: &'a EventFacts,
    /// The tags of the attribute itself.
    pub tags: &'a [TagFacts],
    /// The other attributes of its MISP object that may be told there. `None`: it is part of no object there.
    pub siblings: Option<&'a [Sibling]>,
}

impl CopyElsewhere<'_> {
    /// Whether this source lets a description mention the sibling too. A tag may forbid it here alone, and a source that
    /// shows the object and not the sibling may hide it.
    pub(super) fn lets_tell(&self, sibling: &Sibling) -> bool {
        let is_same = |other: &Sibling| {
            (&other.relation, &other.value) == (&sibling.relation, &sibling.value)
        };
        self.siblings.is_none_or(|siblings| siblings.iter().any(is_same))
    }
}

/// Keeps one copy of each attribute: the newest, and of several that are as new, that of the source that was known first.
/// These say the same, and a source that is added later must change nothing that was sent.
pub(super) fn one_of_each(admitted: Vec<Admitted<'_>>) -> Vec<Admitted<'_>> {
    let Some(first) = admitted.first().map(|claim| claim.source) else { return admitted };
    if admitted.iter().all(|claim| claim.source == first) {
        return admitted;
    }

    let mut speakers: HashMap<Uuid, (Reverse<i64>, ClaimSource<'_>)> = HashMap::new();
    for claim in &admitted {
        let speaker = speakers.entry(claim.attribute).or_insert_with(|| rank(claim));
        *speaker = rank(claim).min(*speaker);
    }
    let speaks = |claim: &Admitted<'_>| speakers.get(&claim.attribute) == Some(&rank(claim));
    admitted.into_iter().filter(speaks).collect()
}

fn rank<'a>(claim: &Admitted<'a>) -> (Reverse<i64>, ClaimSource<'a>) {
    (Reverse(claim.claim.timestamp), claim.source)
}

/// Where browsers reach each MISP: the beginnings of links by the name of the source, without a slash at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PublicUrls(BTreeMap<String, String>);

impl PublicUrls {
    /// The address of a source. What comes from no source in particular, such as a document, counts as the first one's.
    pub fn of(&self, source: &str) -> Option<&str> {
        let first = || self.0.values().next().filter(|_| source.is_empty());
        self.0.get(source).or_else(first).map(String::as_str)
    }
}

impl Extend<(String, String)> for PublicUrls {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, urls: I) {
        self.0.extend(urls);
    }
}

impl FromIterator<(String, String)> for PublicUrls {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(urls: I) -> Self {
        Self(urls.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_own_address_and_a_document_the_first_one() {
        let urls = [("own", "https://misp.own.example"), ("sector", "https://misp.sector.example")];
        let urls = urls.map(|(name, url)| (name.to_owned(), url.to_owned()));
        let urls: PublicUrls = urls.into_iter().collect();
        assert_eq!(urls.of("sector"), Some("https://misp.sector.example"));
        assert_eq!(urls.of(""), Some("https://misp.own.example"));
        assert_eq!(urls.of("gone"), None);
        assert_eq!(PublicUrls::default().of(""), None);
    }

    #[test]
    fn the_source_that_was_known_first_comes_first() {
        let source = |name, place| ClaimSource { name, place };
        assert!(source("z", 0) < source("a", 1));
        assert!(source("a", 2) < source("b", 2));
    }
}
