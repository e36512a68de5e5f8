//! All enabled warninglists of one MISP. It finds the lists that an attribute is on.

use std::collections::HashMap;
use std::sync::Arc;

use super::bloom::Bloom;
use super::list::List;
use super::texts::Hashed;
use super::value::parts;

/// The enabled lists, in the order in which MISP asks them. It is cheap to make it anew: lists are shared.
#[derive(Debug, Default)]
pub struct Lists {
    lists: Vec<Arc<List>>,
    /// Places in `lists`, by attribute type.
    by_type: HashMap<String, Vec<usize>>,
    /// Places in `lists`, for every other type.
    of_all: Vec<usize>,
    /// The filter over the texts of all lists.
    pub(super) bloom: Bloom,
}

/// A list that an attribute is on.
#[derive(Debug)]
pub struct Hit<'l, 'v> {
    pub list: &'l List,
    /// The part of the value that matched.
    pub value: &'v str,
    /// The entry that it matched, as MISP reports it.
    pub entry: String,
}

impl Lists {
    /// Makes the set, with the lists in the order of their ids.
    pub fn new(mut lists: Vec<Arc<List>>) -> Self {
        lists.sort_by_key(|list| list.head.id);
        let applying = |kind: &str| -> Vec<usize> {
            let places = lists.iter().enumerate();
            places.filter(|(_, list)| list.applies_to(kind)).map(|(place, _)| place).collect()
        };
        let named = lists.iter().flat_map(|list| &list.head.types);
        let by_type = named.map(|kind| (kind.clone(), applying(kind))).collect();
        let of_all = applying("ALL");
        let bloom = bloom(&lists);
        Self { by_type, of_all, bloom, lists }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<List>> {
        self.lists.iter()
    }

    pub fn len(&self) -> usize {
        self.lists.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Returns how many entries all lists have.
    pub fn entries(&self) -> usize {
        self.lists.iter().map(|list| list.len()).sum()
    }

    /// Returns the lists that an attribute of the type `kind` with this value, as MISP wrote it, is on.
    pub fn hits<'l, 'v>(&'l self, kind: &str, value: &'v str) -> impl Iterator<Item = Hit<'l, 'v>> {
        let parts = parts(kind, value, &self.bloom);
        let places = self.by_type.get(kind).unwrap_or(&self.of_all);
        places.iter().filter_map(move |place| {
            let list = self.lists.get(*place)?;
            let (value, entry) =
                parts.iter().find_map(|part| Some((part.text, list.find(part)?)))?;
            Some(Hit { list, value, entry })
        })
    }

    /// Returns the lists that have this very host as an entry, whatever types they are for. Only lists of whole
    /// values and of hosts can have it.
    pub fn holding<'l>(&'l self, host: &str) -> impl Iterator<Item = &'l List> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let hashed = Some(Hashed::of(&host)).filter(|hashed| self.bloom.passes(*hashed));
        let holds = move |list: &&List| {
            let texts = list.texts().zip(hashed);
            texts.is_some_and(|(texts, hashed)| texts.contains(&host, hashed))
        };
        self.lists.iter().map(AsRef::as_ref).filter(holds)
    }

    /// Sums up what decides the verdicts: names, kinds, types and entries, but neither order nor versions.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut each: Vec<[u8; 32]> = self.lists.iter().map(|list| list.fingerprint).collect();
        each.sort_unstable();
        *blake3::hash(&each.concat()).as_bytes()
    }
}

fn bloom(lists: &[Arc<List>]) -> Bloom {
    let texts = || lists.iter().filter_map(|list| list.texts());
    let mut bloom = Bloom::new(texts().map(|texts| texts.len()).sum());
    texts().flat_map(|texts| texts.iter()).for_each(|text| bloom.add(Hashed::of(text)));
    bloom
}
