//! A set of texts that takes little memory: one run of bytes, and a hash table of offsets into it.

use std::hash::{DefaultHasher, Hasher};

use hashbrown::HashTable;

/// The hash by which every [`Texts`] finds a text: one hash serves all lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed(u64);

impl Hashed {
    pub(super) fn of(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        Self(hasher.finish())
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

/// Texts of this length and longer have it in four bytes behind the first.
const LONG: u8 = u8::MAX;

/// Texts in the order in which they were put in, each behind its length.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    run: Vec<u8>,
    count: usize,
    /// Offsets into `run`, by the hash of the text there.
    found: HashTable<u32>,
}

impl Texts {
    /// Whether there was room: a set holds 4 GB.
    pub(super) fn push(&mut self, text: &str) -> bool {
        let (Ok(length), Ok(_)) =
            (u32::try_from(text.len()), u32::try_from(self.run.len() + text.len() + 5))
        else {
            return false;
        };
        match u8::try_from(length).ok().filter(|short| *short != LONG) {
            Some(short) => self.run.push(short),
            None => {
                self.run.push(LONG);
                self.run.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.run.extend_from_slice(text.as_bytes());
        self.count += 1;
        true
    }

    /// Makes the texts findable.
    pub(super) fn seal(&mut self) {
        self.run.shrink_to_fit();
        let mut found = HashTable::with_capacity(self.count);
        let hash =
            |at: &u32| self.at(*at as usize).map_or(0, |(text, _)| Hashed::of(text).number());
        let mut offset = 0;
        while let Some((text, next)) = self.at(offset) {
            let hashed = Hashed::of(text).number();
            let is_known = found.find(hashed, |at| self.is_at(*at, text)).is_some();
            if let (false, Ok(at)) = (is_known, u32::try_from(offset)) {
                found.insert_unique(hashed, at, hash);
            }
            offset = next;
        }
        self.found = found;
    }

    pub(super) fn contains(&self, text: &str, hashed: Hashed) -> bool {
        self.found.find(hashed.number(), |at| self.is_at(*at, text)).is_some()
    }

    fn is_at(&self, offset: u32, text: &str) -> bool {
        self.at(offset as usize).is_some_and(|(known, _)| known == text)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (text, next) = self.at(offset)?;
            offset = next;
            Some(text)
        })
    }

    /// The text at an offset, and the offset of the next.
    fn at(&self, offset: usize) -> Option<(&str, usize)> {
        let short = *self.run.get(offset)?;
        let (begin, length) = match short {
            LONG => {
                let long = self.run.get(offset + 1..offset + 5)?;
                (offset + 5, u32::from_le_bytes(long.try_into().ok()?) as usize)
            }
            short => (offset + 1, usize::from(short)),
        };
        let text = self.run.get(begin..begin + length)?;
        Some((std::str::from_utf8(text).ok()?, begin + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(texts: &[String]) -> Texts {
        let mut set = Texts::default();
        for text in texts {
            assert!(set.push(text));
        }
        set.seal();
        set
    }

    fn contains(set: &Texts, text: &str) -> bool {
        set.contains(text, Hashed::of(text))
    }

    #[test]
    fn it_holds_what_was_put_in_and_nothing_else() {
        let mut texts: Vec<String> = (0..10_000).map(|n| format!("host{n}.example")).collect();
        texts.extend([String::new(), "x".repeat(254), "y".repeat(255), "z".repeat(70_000)]);
        texts.push("ünï.example".to_owned());
        let set = sealed(&texts);
        assert!(texts.iter().all(|text| contains(&set, text)));
        for other in ["host10000.example", "host1", "x", "Host1.example", " "] {
            assert!(!contains(&set, other), "{other}");
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), texts);
        assert_eq!(set.len(), texts.len());
    }

    #[test]
    fn twice_the_same_is_no_harm() {
        let set = sealed(&vec!["a".to_owned(); 500]);
        assert!(contains(&set, "a"));
        assert!(!contains(&set, "b"));
    }

    #[test]
    fn an_empty_set_holds_nothing() {
        assert!(!contains(&Texts::default(), ""));
        assert!(!contains(&sealed(&[]), ""));
    }
}
