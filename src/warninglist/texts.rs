//! A set of texts in little memory: one run of bytes, and a hash table of offsets into it.

use std::hash::{DefaultHasher, Hasher};

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
const FREE: u32 = u32::MAX;

/// Texts in the order in which they were put in, each behind its length.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    run: Vec<u8>,
    count: usize,
    /// A power of two of offsets into `run`, at most two thirds of them taken.
    slots: Vec<u32>,
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
        let room = (self.count + self.count / 2 + 1).next_power_of_two();
        let mut slots = vec![FREE; room];
        let mut offset = 0;
        while let Some((text, next)) = self.at(offset) {
            let found = probe(&slots, Hashed::of(text), |taken| {
                self.at(taken as usize).is_some_and(|(known, _)| known == text)
            });
            if let Found::Free(place) = found
                && let (Some(slot), Ok(at)) = (slots.get_mut(place), u32::try_from(offset))
            {
                *slot = at;
            }
            offset = next;
        }
        self.slots = slots;
    }

    pub(super) fn contains(&self, text: &str, hashed: Hashed) -> bool {
        let same = |offset: u32| self.at(offset as usize).is_some_and(|(known, _)| known == text);
        !self.slots.is_empty() && matches!(probe(&self.slots, hashed, same), Found::Taken)
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

enum Found {
    Taken,
    Free(usize),
}

/// Looks from the hash's place on until `same` says yes or a place is free.
fn probe(slots: &[u32], hashed: Hashed, same: impl Fn(u32) -> bool) -> Found {
    let mask = slots.len() - 1;
    let begin = usize::try_from(hashed.0 & mask as u64).unwrap_or(0);
    for step in 0..slots.len() {
        let place = (begin + step) & mask;
        match slots.get(place) {
            Some(&FREE) | None => return Found::Free(place),
            Some(&taken) if same(taken) => return Found::Taken,
            Some(_) => {}
        }
    }
    Found::Free(begin)
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
