//! Prints a number with its noun in the right form: `1 object`, `2 objects`. Pure.

use std::fmt;

/// A number and its noun, in the singular.
#[derive(Debug, Clone, Copy)]
pub struct Count<N>(pub N, pub &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        if *number == N::from(1) {
            return write!(f, "{number} {noun}");
        }
        match noun.strip_suffix('y') {
            Some(stem) => write!(f, "{number} {stem}ies"),
            None => write!(f, "{number} {noun}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_nothing_else() {
        assert_eq!(Count(1_i64, "object").to_string(), "1 object");
        assert_eq!(Count(0_u64, "object").to_string(), "0 objects");
        assert_eq!(Count(2_usize, "entry").to_string(), "2 entries");
    }
}
