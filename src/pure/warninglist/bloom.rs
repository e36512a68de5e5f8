//! A Bloom filter over the texts of all warninglists. Most values are on no list, and for most of them the
//! filter shows this without a search in each list.

use super::texts::Hashed;

/// A Bloom filter that keeps all bits of a text in one word. Of the texts that are on no list, about one in a
/// hundred passes.
#[derive(Debug, Default)]
pub(super) struct Bloom {
    /// The words. Their number is a power of two; there is none in the default.
    words: Vec<u64>,
}

/// How many texts share a word, on average.
const SHARE: usize = 4;

impl Bloom {
    /// Makes a filter for this number of texts.
    pub(super) fn new(texts: usize) -> Self {
        Self { words: vec![0; (texts / SHARE + 1).next_power_of_two()] }
    }

    pub(super) fn add(&mut self, text: Hashed) {
        let place = self.place(text);
        if let Some(word) = self.words.get_mut(place) {
            *word |= bits(text);
        }
    }

    /// Whether the text may have been added. `false`: it was not.
    pub(super) fn passes(&self, text: Hashed) -> bool {
        let bits = bits(text);
        self.words.get(self.place(text)).is_some_and(|word| word & bits == bits)
    }

    fn place(&self, text: Hashed) -> usize {
        let most = (self.words.len() as u64).saturating_sub(1);
        usize::try_from(text.0 & most).unwrap_or(0)
    }
}

/// Returns four of a word's bits, from the half of the hash that does not choose the word.
fn bits(text: Hashed) -> u64 {
    let high = text.0 >> 32;
    (0..4).fold(0, |bits, which| bits | 1 << (high >> (6 * which) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_passes_and_little_else() {
        let text = |number: usize| Hashed::of(&format!("text {number}"));
        let mut bloom = Bloom::new(20_000);
        (0..20_000).for_each(|number| bloom.add(text(number)));
        assert!((0..20_000).all(|number| bloom.passes(text(number))));
        let passing = (20_000..120_000).filter(|number| bloom.passes(text(*number))).count();
        assert!(passing < 3_000, "{passing} of 100,000");
        assert!(!Bloom::default().passes(text(1)));
    }
}
