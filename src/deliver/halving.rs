//! Finding the bad record behind a 400 or 413: halves are sent until it is alone. Pure.
//!
//! If both halves fail alike, or three lone records in a row, it is not the records but the target;
//! and a record is rejected only where the target accepted something else meanwhile. A record that was
//! rejected before and is tried once more says nothing about the target: alone, it is rejected again.

use uuid::Uuid;

/// Lone refusals in a row that speak against the target.
const TOO_MANY: usize = 3;

/// The same, where the target was seen to accept something just before.
const TOO_MANY_IF_PROVEN: usize = 16;

/// How often a record that nothing else speaks against or for is tried alone.
const TRIES: u8 = 3;

/// Suspects remembered: the oldest give way.
const MOST_SUSPECTS: usize = 64;

/// An object in the version that was sent: another version is another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub object: Uuid,
    pub version: i64,
    /// This version was rejected before.
    pub retried: bool,
}

/// What a refusal leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Smaller parts are to be sent: see [`Halving::part`].
    Smaller,
    /// This record was refused alone, which may be the target's fault: to be tried again later.
    Rest(Record),
    /// These records are bad: each was refused alone while others were accepted.
    Reject(Vec<Record>),
    /// The target refuses whatever it is sent; the rejections named were not the records' fault.
    Misconfigured(Vec<Record>),
}

/// The search in one target.
#[derive(Debug, Default)]
pub(super) struct Halving {
    /// Refused sets of two or more, still to be halved.
    refused: Vec<Vec<Record>>,
    pair: Option<Pair>,
    /// Records refused alone since the target last accepted anything.
    lone: Vec<Record>,
    suspects: Vec<Suspect>,
    /// The target accepted something since it was suspected: it cannot be all wrong.
    proven: bool,
}

#[derive(Debug)]
struct Pair {
    halves: [Vec<Record>; 2],
    /// What became of the first half, once it is known.
    first_refused: Option<bool>,
}

/// A record that was refused in a request of its own.
#[derive(Debug)]
struct Suspect {
    record: Record,
    tries: u8,
    /// The target accepted something since.
    others_accepted: bool,
}

impl Halving {
    /// The part to be sent next.
    pub(super) fn part(&mut self) -> Option<&[Record]> {
        if self.pair.is_none() {
            let mut first = self.refused.pop()?;
            let second = first.split_off(first.len() / 2);
            self.pair = Some(Pair { halves: [first, second], first_refused: None });
        }
        let pair = self.pair.as_ref()?;
        let [first, second] = &pair.halves;
        Some(if pair.first_refused.is_none() { first } else { second })
    }

    /// Whether a search is under way.
    #[must_use]
    pub(super) fn is_active(&self) -> bool {
        self.pair.is_some() || !self.refused.is_empty()
    }

    /// Whether an object is being searched: it goes in no request but the search's.
    #[must_use]
    pub(super) fn holds(&self, object: Uuid) -> bool {
        let halves = self.pair.iter().flat_map(|pair| &pair.halves);
        self.refused.iter().chain(halves).flatten().any(|record| record.object == object)
    }

    /// The target accepted the part.
    pub(super) fn accepted(&mut self) -> Ruling {
        self.clear_target();
        self.proven = true;
        self.note(false, false)
    }

    /// The target accepted a request that was no part of the search.
    pub(super) fn accepted_other(&mut self) {
        self.clear_target();
        self.proven = self.is_active();
    }

    /// The target, which was suspected, accepted a probe: both halves may be bad.
    pub(super) fn prove(&mut self) {
        self.clear_target();
        self.proven = true;
    }

    fn clear_target(&mut self) {
        self.lone.clear();
        self.suspects.iter_mut().for_each(|suspect| suspect.others_accepted = true);
    }

    /// The target refused the part; `too_large`: for its size.
    pub(super) fn refused_part(&mut self, too_large: bool) -> Ruling {
        self.note(true, too_large)
    }

    /// The target refused `records`, a request that was no part of the search.
    pub(super) fn refused(&mut self, records: &[Record]) -> Ruling {
        match records {
            [] => Ruling::Smaller,
            [lone] => self.suspect(*lone),
            _ => {
                self.refused.push(records.to_vec());
                Ruling::Smaller
            }
        }
    }

    /// Forgets the search: its objects are picked again from the ledger.
    pub(super) fn give_up(&mut self) {
        *self = Self { suspects: std::mem::take(&mut self.suspects), ..Self::default() };
    }

    fn suspect(&mut self, record: Record) -> Ruling {
        if record.retried {
            return self.reject(vec![record]);
        }
        let known = self.suspects.iter().position(|suspect| suspect.record == record);
        let known = known.map(|position| self.suspects.remove(position));
        let tries = known.as_ref().map_or(1, |suspect| suspect.tries.saturating_add(1));
        if tries >= TRIES || known.is_some_and(|suspect| suspect.others_accepted) {
            return self.reject(vec![record]);
        }
        if self.suspects.len() >= MOST_SUSPECTS {
            self.suspects.remove(0);
        }
        self.suspects.push(Suspect { record, tries, others_accepted: false });
        if !self.lone.contains(&record) {
            self.lone.push(record);
        }
        if self.is_too_much() { self.misconfigured() } else { Ruling::Rest(record) }
    }

    fn note(&mut self, refused: bool, too_large: bool) -> Ruling {
        let Some(mut pair) = self.pair.take() else { return Ruling::Smaller };
        let Some(first_refused) = pair.first_refused else {
            pair.first_refused = Some(refused);
            self.pair = Some(pair);
            return Ruling::Smaller;
        };
        // A target that accepted either half is proven.
        let is_certain = self.proven || too_large;
        let is_retried = |half: &Vec<Record>| half.iter().any(|record| record.retried);
        if !is_certain && !pair.halves.iter().any(is_retried) {
            return self.misconfigured();
        }
        // A fresh record beside a retried one may be good: it is picked again from the ledger.
        let is_bad = |record: &Record| record.retried || is_certain;
        let [first, second] = pair.halves;
        let mut alone = Vec::new();
        for half in [(first, first_refused), (second, refused)] {
            match half {
                (_, false) => {}
                (half, true) if half.len() > 1 => self.refused.push(half),
                (half, true) => alone.extend(half.into_iter().filter(is_bad)),
            }
        }
        if alone.is_empty() { Ruling::Smaller } else { self.reject(alone) }
    }

    fn reject(&mut self, alone: Vec<Record>) -> Ruling {
        for record in alone.iter().filter(|record| !record.retried) {
            if !self.lone.contains(record) {
                self.lone.push(*record);
            }
        }
        if self.is_too_much() { self.misconfigured() } else { Ruling::Reject(alone) }
    }

    fn is_too_much(&self) -> bool {
        self.lone.len() >= if self.proven { TOO_MANY_IF_PROVEN } else { TOO_MANY }
    }

    fn misconfigured(&mut self) -> Ruling {
        let lone = std::mem::take(&mut self.lone);
        self.give_up();
        Ruling::Misconfigured(lone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u128) -> Record {
        Record { object: Uuid::from_u128(number), version: 7, retried: false }
    }

    fn retried(number: u128) -> Record {
        Record { retried: true, ..record(number) }
    }

    fn ids(count: u128) -> Vec<Record> {
        (1..=count).map(record).collect()
    }

    /// Sends a batch to a target that refuses every part with a bad record; returns the rejected
    /// ones and the number of requests.
    fn search(batch: &[Record], bad: &[Record]) -> (Vec<Record>, usize) {
        let mut halving = Halving::default();
        let mut rejected = Vec::new();
        let mut requests = 1;
        assert_eq!(halving.refused(batch), Ruling::Smaller);
        while let Some(part) = halving.part().map(<[Record]>::to_vec) {
            requests += 1;
            assert!(requests < 100, "no end");
            let is_bad = part.iter().any(|id| bad.contains(id));
            let ruling = if is_bad { halving.refused_part(false) } else { halving.accepted() };
            match ruling {
                Ruling::Smaller => {}
                Ruling::Reject(ids) => rejected.extend(ids),
                Ruling::Rest(_) | Ruling::Misconfigured(_) => panic!("the target is fine"),
            }
        }
        (rejected, requests)
    }

    #[test]
    fn one_bad_record_among_a_hundred_is_found_in_few_requests() {
        let batch = ids(100);
        for bad in [0, 49, 50, 99] {
            let (rejected, requests) = search(&batch, &batch[bad..=bad]);
            assert_eq!(rejected, [batch[bad]]);
            assert!(requests <= 15, "{requests}");
        }
    }

    #[test]
    fn two_bad_records_in_one_half_are_both_found() {
        let batch = ids(64);
        let (mut rejected, _) = search(&batch, &[batch[3], batch[17]]);
        rejected.sort_by_key(|one| one.object);
        assert_eq!(rejected, [batch[3], batch[17]]);
    }

    #[test]
    fn both_halves_failing_alike_speak_against_the_target() {
        let batch = ids(10);
        let mut halving = Halving::default();
        halving.refused(&batch);
        assert!(halving.part().is_some());
        assert_eq!(halving.refused_part(false), Ruling::Smaller);
        assert!(halving.part().is_some());
        assert_eq!(halving.refused_part(false), Ruling::Misconfigured(vec![]));
        assert!(!halving.is_active());
    }

    #[test]
    fn a_target_that_accepted_a_probe_is_searched_to_the_end() {
        let batch = ids(10);
        let mut halving = Halving::default();
        halving.prove();
        halving.refused(&batch);
        let mut rejected = Vec::new();
        while let Some(part) = halving.part().map(<[Record]>::to_vec) {
            let bad = part.contains(&batch[0]) || part.contains(&batch[9]);
            let ruling = if bad { halving.refused_part(false) } else { halving.accepted() };
            if let Ruling::Reject(ids) = ruling {
                rejected.extend(ids);
            }
        }
        rejected.sort_by_key(|one| one.object);
        assert_eq!(rejected, [batch[0], batch[9]]);
    }

    #[test]
    fn three_lone_refusals_in_a_row_speak_against_the_target() {
        let mut halving = Halving::default();
        let [a, b, c] = [1, 2, 3].map(record);
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        assert_eq!(halving.refused(&[b]), Ruling::Rest(b));
        assert_eq!(halving.refused(&[c]), Ruling::Misconfigured(vec![a, b, c]));
    }

    #[test]
    fn lone_record_is_rejected_only_once_the_target_accepted_another() {
        let mut halving = Halving::default();
        let [a, b] = [1, 2].map(record);
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        halving.accepted_other();
        assert_eq!(halving.refused(&[b]), Ruling::Rest(b), "another record");
        assert_eq!(halving.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn lone_record_of_a_quiet_target_is_rejected_after_some_tries() {
        let mut halving = Halving::default();
        let a = record(1);
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        assert_eq!(halving.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn altered_record_is_another_one() {
        let mut halving = Halving::default();
        let [a, altered] = [7, 8].map(|version| Record { version, ..record(1) });
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        halving.accepted_other();
        assert_eq!(halving.refused(&[altered]), Ruling::Rest(altered));
    }

    #[test]
    fn target_that_fails_again_after_a_probe_loses_no_record() {
        let mut halving = Halving::default();
        halving.prove();
        halving.refused(&ids(100));
        let (mut rejected, mut requests) = (Vec::new(), 0);
        let taken_back = loop {
            assert!(halving.part().is_some(), "no end is found");
            requests += 1;
            match halving.refused_part(false) {
                Ruling::Reject(alone) => rejected.extend(alone),
                Ruling::Misconfigured(taken_back) => break taken_back,
                Ruling::Smaller | Ruling::Rest(_) => {}
            }
        };
        assert!(rejected.iter().all(|record| taken_back.contains(record)));
        assert!(requests <= 40, "{requests}");
    }

    #[test]
    fn records_that_are_refused_again_do_not_speak_against_the_target() {
        for bad in [&[1][..], &[1, 2], &[1, 2, 3, 4, 5, 6, 7]] {
            let all: Vec<Record> = bad.iter().map(|number| retried(*number)).collect();
            let mut halving = Halving::default();
            let mut rejected = Vec::new();
            let mut take = |ruling| {
                if let Ruling::Reject(alone) = ruling {
                    rejected.extend(alone);
                } else {
                    assert_eq!(ruling, Ruling::Smaller);
                }
            };
            take(halving.refused(&all));
            while halving.part().is_some() {
                take(halving.refused_part(false));
            }
            rejected.sort_by_key(|one| one.object);
            assert_eq!(rejected, all);
            assert_eq!(halving.refused(&[record(9)]), Ruling::Rest(record(9)));
        }
    }

    #[test]
    fn fresh_record_beside_a_retried_one_is_rejected_only_once_the_target_is_proven() {
        for proven in [false, true] {
            let mut halving = Halving::default();
            if proven {
                halving.prove();
            }
            halving.refused(&[record(1), retried(2)]);
            assert!(halving.part().is_some());
            assert_eq!(halving.refused_part(false), Ruling::Smaller);
            assert!(halving.part().is_some());
            let fresh = proven.then(|| record(1));
            let both = fresh.into_iter().chain([retried(2)]).collect();
            assert_eq!(halving.refused_part(false), Ruling::Reject(both));
            assert!(!halving.is_active() && !halving.holds(record(1).object));
        }
    }

    #[test]
    fn what_is_searched_is_held_back_until_it_is_found_or_given_up() {
        let batch = ids(4);
        let outsider = record(9).object;
        let mut halving = Halving::default();
        let holds_all = |halving: &Halving| batch.iter().all(|one| halving.holds(one.object));
        assert!(!halving.is_active() && !halving.holds(batch[0].object));
        halving.refused(&batch);
        assert!(halving.is_active() && holds_all(&halving) && !halving.holds(outsider));
        assert_eq!(halving.part(), Some(&batch[..2]));
        assert!(halving.is_active() && holds_all(&halving) && !halving.holds(outsider));
        halving.refused(&ids(3));
        halving.give_up();
        assert!(!halving.is_active() && !halving.holds(batch[0].object));
        assert_eq!(halving.part(), None);
    }

    #[test]
    fn a_suspect_is_remembered_when_the_search_is_given_up() {
        let mut halving = Halving::default();
        let a = record(1);
        assert_eq!(halving.refused(&[a]), Ruling::Rest(a));
        halving.accepted_other();
        halving.give_up();
        assert_eq!(halving.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn a_refused_request_without_records_is_no_search() {
        let mut halving = Halving::default();
        assert_eq!(halving.refused(&[]), Ruling::Smaller);
        assert!(!halving.is_active());
    }

    #[test]
    fn two_halves_that_are_both_too_large_are_halved_further() {
        let batch = ids(4);
        let mut halving = Halving::default();
        halving.refused(&batch);
        for _ in 0..2 {
            assert!(halving.part().is_some());
            assert_eq!(halving.refused_part(true), Ruling::Smaller);
        }
        assert_eq!(halving.part().unwrap().len(), 1);
    }
}
