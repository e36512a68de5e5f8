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
    /// Whether the first half was refused, once that is known.
    first_refused: Option<bool>,
    /// Other refused sets of two records or more. The last one is halved next.
    waiting: Vec<Vec<Record>>,
    /// Other requests and those of the search take turns, so that a long search delays no news.
    is_next: bool,
}

/// What is known once a half was answered.
pub(super) enum Halved {
    /// The second half is sent next.
    First(Bisection),
    /// The refused ones of both halves, and the sets that wait.
    Both { refused: Vec<Vec<Record>>, waiting: Vec<Vec<Record>> },
}

impl Bisection {
    pub(super) fn new(set: Vec<Record>) -> Self {
        Self { set, first_refused: None, waiting: Vec::new(), is_next: true }
    }

    /// Goes on with the last of these sets; `None` where there is none.
    pub(super) fn go_on(mut waiting: Vec<Vec<Record>>) -> Option<Self> {
        let set = waiting.pop()?;
        // A part was sent just now: the next turn is that of other requests.
        Some(Self { waiting, is_next: false, ..Self::new(set) })
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

    /// Whether an object is searched. It goes into no other request, whose answer it would spoil.
    pub(super) fn holds(&self, object: Uuid) -> bool {
        self.waiting.iter().chain([&self.set]).flatten().any(|record| record.object == object)
    }

    /// Whether it is the turn of the search.
    pub(in crate::deliver) fn is_next(&self) -> bool {
        self.is_next
    }

    /// Notes that a request was sent; `is_part`: it was the search's.
    pub(super) fn sent(&mut self, is_part: bool) {
        self.is_next = !is_part;
    }

    /// Notes the answer to the part.
    pub(super) fn answered(mut self, is_refused: bool) -> Halved {
        let Some(first_refused) = self.first_refused else {
            self.first_refused = Some(is_refused);
            return Halved::First(self);
        };
        let second = self.set.split_off(self.set.len() / 2);
        let halves = [(first_refused, self.set), (is_refused, second)];
        let refused =
            halves.into_iter().filter_map(|(is_refused, half)| is_refused.then_some(half));
        Halved::Both { refused: refused.collect(), waiting: self.waiting }
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
        let search = Bisection::new(set(1..=5));
        assert_eq!(search.part(), set(1..=2));
        let Halved::First(search) = search.answered(false) else { panic!("one half is known") };
        assert_eq!(search.part(), set(3..=5));
        let Halved::Both { refused, waiting } = search.answered(true) else {
            panic!("both halves are known")
        };
        assert_eq!((refused, waiting), (vec![set(3..=5)], vec![]));
    }

    #[test]
    fn a_set_refused_meanwhile_waits_for_the_second_half() {
        let mut search = Bisection::new(set(1..=2));
        search.add(set(3..=4));
        assert_eq!(search.part(), set(3..=3));
        let Halved::First(mut search) = search.answered(true) else { panic!("one half is known") };
        search.add(set(5..=6));
        assert_eq!(search.part(), set(4..=4));
        let Halved::Both { refused, waiting } = search.answered(true) else {
            panic!("both halves are known")
        };
        assert_eq!(refused, [set(3..=3), set(4..=4)]);
        assert_eq!(waiting, [set(1..=2), set(5..=6)]);
        assert_eq!(Bisection::go_on(waiting).unwrap().part(), set(5..=5));
    }

    #[test]
    fn the_search_and_other_requests_take_turns() {
        let mut search = Bisection::new(set(1..=4));
        assert!(search.is_next());
        search.sent(true);
        assert!(!search.is_next());
        search.sent(false);
        assert!(search.is_next());
        let after_a_part = Bisection::go_on(vec![set(1..=2)]).unwrap();
        assert!(!after_a_part.is_next());
    }
}
