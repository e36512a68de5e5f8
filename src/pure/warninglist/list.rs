//! One warninglist with its entries, ready to match values. A `Builder` takes the entries one by one and
//! makes the list.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use regex::bytes::Regex;

use super::cidr::Networks;
use super::head::{ListHead, ListKind};
use super::pattern::Pattern;
use super::texts::{Hashed, Texts};
use super::value::ValuePart;

/// A warninglist, ready to match.
#[derive(Debug)]
pub struct List {
    pub head: ListHead,
    /// Entries that MISP may match and this program cannot read: regular expressions with
    /// look-around, back references or possessive quantifiers.
    pub unreadable: Vec<String>,
    pub(super) fingerprint: [u8; 32],
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Whole(Texts),
    Host(Texts),
    Inside(Networks),
    Anywhere { texts: Texts, finder: Option<AhoCorasick> },
    Like(Vec<(String, Regex)>),
}

/// A list whose entries are still coming.
#[derive(Debug)]
pub struct Builder(List);

impl Builder {
    pub fn new(head: ListHead) -> Self {
        let matcher = match head.kind {
            ListKind::String => Matcher::Whole(Texts::default()),
            ListKind::Hostname => Matcher::Host(Texts::default()),
            ListKind::Cidr => Matcher::Inside(Networks::default()),
            ListKind::Substring => Matcher::Anywhere { texts: Texts::default(), finder: None },
            ListKind::Regex => Matcher::Like(Vec::new()),
        };
        Self(List { head, unreadable: Vec::new(), fingerprint: [0; 32], matcher })
    }

    /// Takes an entry as MISP stores it.
    pub fn push(&mut self, entry: &str) {
        let fits = match &mut self.0.matcher {
            Matcher::Whole(texts) | Matcher::Anywhere { texts, .. } => texts.push(entry),
            Matcher::Host(texts) => texts.push(&entry.trim_matches('.').to_ascii_lowercase()),
            Matcher::Inside(networks) => {
                networks.push(entry);
                true
            }
            Matcher::Like(patterns) => match Pattern::read(entry) {
                Pattern::Matches(regex) => {
                    patterns.push((entry.to_owned(), regex));
                    true
                }
                Pattern::Dead => true,
                Pattern::Unknown => false,
            },
        };
        if !fits {
            self.0.unreadable.push(entry.to_owned());
        }
    }

    /// The list, if this program can match it.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn finish(mut self) -> Result<List, String> {
        match &mut self.0.matcher {
            Matcher::Whole(texts) | Matcher::Host(texts) => texts.seal(),
            Matcher::Inside(networks) => networks.seal(),
            Matcher::Anywhere { texts, finder } => {
                let built = AhoCorasick::new(texts.iter()).map_err(|error| error.to_string())?;
                *finder = Some(built);
            }
            Matcher::Like(_) => {}
        }
        let mut hasher = blake3::Hasher::new();
        let List { head, matcher, .. } = &self.0;
        let types: BTreeSet<&str> = head.types.iter().map(String::as_str).collect();
        for text in [head.name.as_str()].into_iter().chain(types) {
            hasher.update(&text.len().to_le_bytes()).update(text.as_bytes());
        }
        // A sum, so that the order of the entries does not matter. A repeated entry counts twice: a list
        // may look changed without need, and never unchanged.
        let sum = matcher.entries().fold(0, |sum: u128, entry| sum.wrapping_add(number(&entry)));
        hasher.update(&[head.kind as u8]).update(&sum.to_le_bytes());
        self.0.fingerprint = *hasher.finalize().as_bytes();
        Ok(self.0)
    }
}

fn number(text: &str) -> u128 {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |low| u128::from_le_bytes(*low))
}

impl Matcher {
    /// The entries that can match.
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
    /// The entry that the part of a value matches.
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
                let found = finder.as_ref()?.find(part.text)?;
                texts.iter().nth(found.pattern().as_usize()).map(str::to_owned)
            }
            Matcher::Like(patterns) => patterns
                .iter()
                .find(|(_, regex)| regex.is_match(part.text.as_bytes()))
                .map(|(entry, _)| entry.clone()),
        }
    }

    /// Whether it has this text as an entry that is looked up whole.
    pub(super) fn has(&self, text: &str, hashed: Hashed) -> bool {
        self.texts().is_some_and(|texts| texts.contains(text, hashed))
    }

    /// The texts that are looked up whole.
    pub(super) fn texts(&self) -> Option<&Texts> {
        match &self.matcher {
            Matcher::Whole(texts) | Matcher::Host(texts) => Some(texts),
            Matcher::Inside(_) | Matcher::Anywhere { .. } | Matcher::Like(_) => None,
        }
    }

    pub(super) fn applies_to(&self, kind: &str) -> bool {
        self.head.types.iter().any(|one| one == "ALL" || one == kind)
    }

    /// How many entries can match here: repeats of a network count once.
    pub fn len(&self) -> usize {
        match &self.matcher {
            Matcher::Whole(texts) | Matcher::Host(texts) | Matcher::Anywhere { texts, .. } => {
                texts.len()
            }
            Matcher::Inside(networks) => networks.len(),
            Matcher::Like(patterns) => patterns.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries, such that a builder makes the same list of them.
    pub(super) fn entries(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let unreadable = self.unreadable.iter().map(|entry| Cow::Borrowed(entry.as_str()));
        self.matcher.entries().chain(unreadable)
    }
}
