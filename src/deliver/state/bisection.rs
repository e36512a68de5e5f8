//! Finds the bad record in a refused request: its halves are sent until the bad record is alone.

use uuid::Uuid;

/// An object in the version that was sent. Another version is another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deliver) struct Record {
    pub object: Uuid,
    pub version: i64,
    /// This version was rejected before and is tried once more.
    pub retried: bool,
}

/// Refused sets of records that are halved one after another.
#[derive(Debug)]
pub(in crate::deliver) struct Bisection {
    /// The set whose halves are being sent: two records or more.
    set: Vec<Record>,
    /// Whether the first half was refused. `None`: it has no answer yet.
    first_refused: Option<bool>,
    /// Other refused sets of two records or more. The last one is halved next.
    waiting: Vec<Vec<Record>>,
    /// Other requests and those of the search take turns, so that a long search delays no news.
    pub is_next: bool,
}

impl Bisection {
    pub(super) fn new(set: Vec<Record>) -> Self {
        Self { set, first_refused: None, waiting: Vec::new(), is_next: true }
    }

    /// Goes on with these refused sets and those that wait. Returns whether there is any.
    pub(super) fn go_on(&mut self, refused: Vec<Vec<Record>>) -> bool {
        self.waiting.extend(refused);
        let Some(set) = self.waiting.pop() else { return false };
        // A part was sent just now: the next turn is that of other requests.
        (self.set, self.first_refused, self.is_next) = (set, None, false);
        true
    }

    /// Adds another refused set. It goes first, unless half of the present set is known already.
    pub(super) fn add(&mut self, set: Vec<Record>) {
        match self.first_refused {
            None => self.waiting.push(std::mem::replace(&mut self.set, set)),
            Some(_) => self.waiting.push(set),
        }
    }

    /// Returns the half that is sent next.
    pub(in crate::deliver) fn part(&self) -> &[Record] {
        let (first, second) = self.set.split_at(self.set.len() / 2);
        if self.first_refused.is_none() { first } else { second }
    }

    /// Whether an object is part of the search. It may be bad, so it must not be in another request.
    pub(super) fn holds(&self, object: Uuid) -> bool {
        self.waiting.iter().chain([&self.set]).flatten().any(|record| record.object == object)
    }

    /// Notes the answer to the part. Returns the refused halves once both are answered. Neither half is judged
    /// before: that only one of them is refused shows that a record is at fault and not the target.
    pub(super) fn answered(&mut self, is_refused: bool) -> Option<Vec<Vec<Record>>> {
        let first_refused = self.first_refused.replace(is_refused)?;
        let second = self.set.split_off(self.set.len() / 2);
        let halves = [(first_refused, std::mem::take(&mut self.set)), (is_refused, second)];
        let refused = halves.into_iter().filter(|(is_refused, _)| *is_refused);
        Some(refused.map(|(_, half)| half).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: std::ops::RangeInclusive<u128>) -> Vec<Record> {
        let record =
            |number| Record { object: Uuid::from_u128(number), version: 7, retried: false };
        numbers.map(record).collect()
    }

    #[test]
    fn both_halves_are_answered_before_either_is_judged() {
        let mut search = Bisection::new(set(1..=5));
        assert_eq!(search.part(), set(1..=2));
        assert_eq!(search.answered(false), None, "one half is known");
        assert_eq!(search.part(), set(3..=5));
        assert_eq!(search.answered(true), Some(vec![set(3..=5)]));
        assert!(!search.go_on(vec![]));
    }

    #[test]
    fn a_set_refused_meanwhile_waits_for_the_second_half() {
        let mut search = Bisection::new(set(1..=2));
        search.add(set(3..=4));
        assert_eq!(search.part(), set(3..=3));
        assert_eq!(search.answered(true), None, "one half is known");
        search.add(set(5..=6));
        assert_eq!(search.part(), set(4..=4));
        assert_eq!(search.answered(true), Some(vec![set(3..=3), set(4..=4)]));
        for part in [set(5..=5), set(1..=1)] {
            assert!(search.go_on(vec![]));
            assert_eq!(search.part(), part);
        }
        assert!(!search.go_on(vec![]));
    }

    #[test]
    fn other_requests_have_the_turn_after_a_part() {
        let mut search = Bisection::new(set(1..=4));
        assert!(search.is_next);
        assert!(search.go_on(vec![set(1..=2)]));
        assert!(!search.is_next, "a part was sent just now");
    }
}
