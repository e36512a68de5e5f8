//! One warninglist with its entries, ready to match values.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use regex::bytes::Regex;

use super::cidr::Networks;
use super::head::{ListHead, ListKind};
use super::pattern::Pattern;
use super::texts::Texts;
use super::value::ValuePart;

/// A warninglist, ready to match.
#[derive(Debug)]
pub struct List {
    pub head: ListHead,
    /// Entries that MISP may match but this program cannot read: regular expressions with look-around, back
    /// references or possessive quantifiers.
    pub unreadable: Vec<String>,
    pub(super) fingerprint: [u8; 32],
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Whole(Texts),
    Host(Texts),
    Inside(Networks),
    Anywhere { texts: Texts, finder: AhoCorasick },
    Like(Vec<(String, Regex)>),
}

/// Sums up what decides the verdicts of a list.
fn fingerprint(head: &ListHead, matcher: &Matcher) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let types: BTreeSet<&str> = head.types.iter().map(String::as_str).collect();
    for text in [head.name.as_str()].into_iter().chain(types) {
        hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
    }
    // A sum, so that the order of the entries does not matter. A repeated entry counts twice: a list
    // may look changed without need, and never unchanged.
    let sum = matcher.entries().fold(0, |sum: u128, entry| sum.wrapping_add(number(&entry)));
    hasher.update(&[head.kind as u8]).update(&sum.to_le_bytes());
    *hasher.finalize().as_bytes()
}

fn number(text: &str) -> u128 {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |low| u128::from_le_bytes(*low))
}

impl Matcher {
    /// Returns the entries that can match.
    fn entries(&self) -> Box<dyn Iterator<Item = Cow<'_, str>> + '_> {
        match self {
            Self::Whole(texts) | Self::Host(texts) | Self::Anywhere { texts, .. } => {
                Box::new(texts.iter().map(Cow::Borrowed))
            }
            Self::Inside(networks) => Box::new(networks.iter().map(Cow::Owned)),
            Self::Like(patterns) => {
                Box::new(patterns.iter().map(|(entry, _)| Cow::Borrowed(entry.as_str())))
            }
        }
    }
}

impl List {
    /// Makes a list of its entries, as MISP stores them.
    ///
    /// # Errors
    /// The reason why this program cannot match the list.
    pub fn new(head: ListHead, entries: Texts) -> Result<Self, String> {
        let mut unreadable = Vec::new();
        let matcher = match head.kind {
            ListKind::String => Matcher::Whole(entries.sealed()),
            ListKind::Hostname => {
                let hosts = entries.iter().map(|host| host.trim_matches('.').to_ascii_lowercase());
                Matcher::Host(Texts::of(hosts).map_err(|error| error.to_string())?.sealed())
            }
            ListKind::Cidr => Matcher::Inside(entries.iter().collect()),
            ListKind::Substring => {
                let finder = AhoCorasick::new(entries.iter()).map_err(|error| error.to_string())?;
                Matcher::Anywhere { texts: entries, finder }
            }
            ListKind::Regex => {
                let mut patterns = Vec::new();
                for entry in entries.iter() {
                    match Pattern::read(entry) {
                        Pattern::Matches(regex) => patterns.push((entry.to_owned(), regex)),
                        Pattern::Dead => {}
                        Pattern::Unknown => unreadable.push(entry.to_owned()),
                    }
                }
                Matcher::Like(patterns)
            }
        };
        Ok(Self { fingerprint: fingerprint(&head, &matcher), head, unreadable, matcher })
    }

    /// Returns the entry that the part of a value matches.
    pub(super) fn find(&self, part: &ValuePart<'_, '_>) -> Option<String> {
        match &self.matcher {
            Matcher::Whole(texts) => {
                texts.contains(part.text, part.whole()?).then(|| part.text.to_owned())
            }
            Matcher::Host(texts) => part
                .domains()
                .iter()
                .find(|(domain, hashed)| texts.contains(domain, *hashed))
                .map(|(domain, _)| (*domain).to_owned()),
            Matcher::Inside(networks) => networks.find(part.address()?),
            Matcher::Anywhere { texts, finder } => {
                let found = finder.find(part.text)?;
                texts.iter().nth(found.pattern().as_usize()).map(str::to_owned)
            }
            Matcher::Like(patterns) => patterns
                .iter()
                .find(|(_, regex)| regex.is_match(part.text.as_bytes()))
                .map(|(entry, _)| entry.clone()),
        }
    }

    /// Returns the entries, if values or hosts are compared with them whole.
    pub(super) fn texts(&self) -> Option<&Texts> {
        match &self.matcher {
            Matcher::Whole(texts) | Matcher::Host(texts) => Some(texts),
            Matcher::Inside(_) | Matcher::Anywhere { .. } | Matcher::Like(_) => None,
        }
    }

    pub(super) fn applies_to(&self, kind: &str) -> bool {
        self.head.types.iter().any(|one| one == "ALL" || one == kind)
    }

    /// Returns how many entries can match. Of nested networks only the widest counts.
    pub fn len(&self) -> usize {
        self.matcher.entries().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the entries of which [`List::new`] makes the same list.
    pub(super) fn entries(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let unreadable = self.unreadable.iter().map(|entry| Cow::Borrowed(entry.as_str()));
        self.matcher.entries().chain(unreadable)
    }
}
