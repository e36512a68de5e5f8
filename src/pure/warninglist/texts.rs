//! A set of texts that takes little memory: one run of bytes, and a hash table of offsets into it.

use std::hash::{DefaultHasher, Hasher};

use hashbrown::HashTable;

/// The hash by which every [`Texts`] finds a text: one hash serves all lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed(pub(super) u64);

impl Hashed {
    pub(super) fn of(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        Self(hasher.finish())
    }
}

/// The first byte of a long text. Its length stands in the next four bytes.
const LONG: u8 = u8::MAX;

/// The set has no room for another text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than 4 GB of entries")]
pub struct TooManyTexts;

/// Texts in the order in which they were put in. Its length stands before each.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    run: Vec<u8>,
    count: usize,
    /// Offsets into `run`, by the hash of the text there.
    found: HashTable<u32>,
}

impl Texts {
    /// Takes the texts in their order.
    ///
    /// # Errors
    /// [`TooManyTexts`].
    pub fn of<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, TooManyTexts> {
        let mut all = Self::default();
        texts.into_iter().try_for_each(|text| all.push(text.as_ref()))?;
        Ok(all)
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), TooManyTexts> {
        // An offset into the run has four bytes.
        let end = u32::try_from(self.run.len() + text.len() + 5);
        let (Ok(length), Ok(_)) = (u32::try_from(text.len()), end) else {
            return Err(TooManyTexts);
        };
        match u8::try_from(length) {
            Ok(short) if short != LONG => self.run.push(short),
            _ => {
                self.run.push(LONG);
                self.run.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.run.extend_from_slice(text.as_bytes());
        self.count += 1;
        Ok(())
    }

    /// Makes the table by which texts are found. Texts that are put in later are not in it.
    pub(super) fn sealed(mut self) -> Self {
        self.run.shrink_to_fit();
        let mut found = HashTable::with_capacity(self.count);
        let hash = |at: &u32| self.at(*at as usize).map_or(0, |(text, _)| Hashed::of(text).0);
        let mut offset = 0;
        while let Some((text, next)) = self.at(offset) {
            let hashed = Hashed::of(text).0;
            let is_known = found.find(hashed, |at| self.is_at(*at, text)).is_some();
            if let (false, Ok(at)) = (is_known, u32::try_from(offset)) {
                found.insert_unique(hashed, at, hash);
            }
            offset = next;
        }
        self.found = found;
        self
    }

    pub(super) fn contains(&self, text: &str, hashed: Hashed) -> bool {
        self.found.find(hashed.0, |at| self.is_at(*at, text)).is_some()
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

    /// Returns the text at an offset, and the offset of the next text.
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
        Texts::of(texts).unwrap().sealed()
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
