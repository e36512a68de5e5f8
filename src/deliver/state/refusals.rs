//! Decides whether a refusal is the fault of a record or of the target. Three rules protect good records:
//! - A record is rejected only if the target accepted something else meanwhile, or after three tries.
//! - If both halves of a set are refused, or three records in a row alone, the target is at fault.
//! - A record that was rejected before and is tried once more says nothing about the target.

use super::bisection::{Bisection, Record};

/// If this many records in a row were refused alone, the target is at fault.
const TOO_MANY: usize = 3;

/// The same number for a target that accepted something just before.
const TOO_MANY_IF_PROVEN: usize = 16;

/// A record is rejected after this many tries alone, even if the target accepted nothing else meanwhile.
const TRIES: u8 = 3;

/// The most suspects that are remembered. The oldest are forgotten first.
const MOST_SUSPECTS: usize = 64;

/// What a refusal leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deliver) enum Ruling {
    /// Nothing is known yet: smaller parts are sent.
    Smaller,
    /// This record was refused alone, which may be the target's fault: it is tried again later.
    Rest(Record),
    /// These records are bad: each was refused alone while others were accepted.
    Reject(Vec<Record>),
    /// The target refuses whatever it is sent. The records that were rejected meanwhile are named, since they were
    /// not at fault.
    Misconfigured(Vec<Record>),
    /// The target still refuses whatever it is sent.
    StillMisconfigured,
}

/// What the next requests are for.
#[derive(Debug, Default)]
enum SendMode {
    /// Batches are sent.
    #[default]
    Normal,
    /// Some record of a refused request is bad: halves are sent, one request at a time.
    Searching(Bisection),
    /// The target refuses everything: single objects are tried, slowly.
    Probing,
}

/// What a target has refused, and what follows from it.
#[derive(Debug, Default)]
pub(in crate::deliver) struct Refusals {
    mode: SendMode,
    /// Records that were refused alone since the target last accepted anything.
    lone: Vec<Record>,
    suspects: Vec<Suspect>,
    /// The target accepted something since it was suspected, so it cannot be all wrong.
    is_proven: bool,
}

/// A record that was refused in a request of its own.
#[derive(Debug)]
struct Suspect {
    record: Record,
    tries: u8,
    /// The target accepted something since.
    others_accepted: bool,
}

impl Refusals {
    /// Whether a search for a bad record goes on.
    pub(in crate::deliver) fn is_searching(&self) -> bool {
        matches!(self.mode, SendMode::Searching(_))
    }

    /// Whether single objects are tried because the target refuses everything.
    pub(in crate::deliver) fn is_probing(&self) -> bool {
        matches!(self.mode, SendMode::Probing)
    }

    /// Returns the search for a bad record, if one goes on.
    pub(in crate::deliver) fn search(&self) -> Option<&Bisection> {
        match &self.mode {
            SendMode::Searching(search) => Some(search),
            SendMode::Normal | SendMode::Probing => None,
        }
    }

    /// Notes that a request was sent; `is_part`: it was the search's.
    pub(super) fn sent(&mut self, is_part: bool) {
        if let SendMode::Searching(search) = &mut self.mode {
            search.is_next = !is_part;
        }
    }

    /// Notes that the target accepted a request; `is_part`: it was the search's. Returns what that tells of the
    /// search.
    pub(super) fn accepted(&mut self, is_part: bool) -> Ruling {
        self.lone.clear();
        self.suspects.iter_mut().for_each(|suspect| suspect.others_accepted = true);
        if is_part {
            self.is_proven = true;
            return self.answered_part(false, false);
        }
        // After a probe both halves of a set may be bad. In normal times an old acceptance proves little:
        // the settings may have changed since.
        self.is_proven = !matches!(self.mode, SendMode::Normal);
        if self.is_probing() {
            self.mode = SendMode::Normal;
        }
        Ruling::Smaller
    }

    /// Notes that the target refused the part of the search; `too_large`: for its size.
    pub(in crate::deliver) fn refused_part(&mut self, too_large: bool) -> Ruling {
        self.answered_part(true, too_large)
    }

    /// Notes that the target refused a request with these records that was no part of a search.
    pub(in crate::deliver) fn refused(&mut self, records: &[Record]) -> Ruling {
        match (records, &mut self.mode) {
            // A record that was rejected before tells nothing of the target, and is judged as ever.
            ([one], SendMode::Probing) if one.retried => self.suspect(*one),
            (_, SendMode::Probing) => Ruling::StillMisconfigured,
            ([], _) => Ruling::Smaller,
            ([lone], _) => self.suspect(*lone),
            (_, SendMode::Searching(search)) => {
                search.add(records.to_vec());
                Ruling::Smaller
            }
            (_, SendMode::Normal) => {
                self.mode = SendMode::Searching(Bisection::new(records.to_vec()));
                Ruling::Smaller
            }
        }
    }

    /// Ends the search without a result. Its objects are picked again from the ledger.
    pub(in crate::deliver) fn give_up(&mut self) {
        (self.mode, self.is_proven) = (SendMode::Normal, false);
        self.lone.clear();
    }

    /// Blames the target for everything that it refused. Records of a search are picked again from the
    /// ledger; those that were refused alone are returned.
    pub(in crate::deliver) fn suspect_target(&mut self) -> Vec<Record> {
        (self.mode, self.is_proven) = (SendMode::Probing, false);
        std::mem::take(&mut self.lone)
    }

    fn suspect(&mut self, record: Record) -> Ruling {
        // An operator or a resync tries it again. Alone and refused again, it is just as bad as before.
        if record.retried {
            return self.reject(vec![record]);
        }
        let known = self.suspects.iter().position(|suspect| suspect.record == record);
        let known = known.map(|position| self.suspects.remove(position));
        let tries = known.as_ref().map_or(1, |suspect| suspect.tries.saturating_add(1));
        // A target with nothing else to accept cannot prove that it is well, so the tries are counted.
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

    fn answered_part(&mut self, is_refused: bool, too_large: bool) -> Ruling {
        let SendMode::Searching(search) = &mut self.mode else { return Ruling::Smaller };
        let Some(refused) = search.answered(is_refused) else { return Ruling::Smaller };
        // A target that accepted either half is proven. One that refused both may refuse everything.
        let is_certain = self.is_proven || too_large;
        if !is_certain && !refused.iter().flatten().any(|record| record.retried) {
            return self.misconfigured();
        }
        let (alone, sets): (Vec<_>, Vec<_>) = refused.into_iter().partition(|half| half.len() == 1);
        if !search.go_on(sets) {
            self.mode = SendMode::Normal;
        }
        // A fresh record beside a retried one may be good: it is picked again from the ledger.
        let is_bad = |record: &Record| record.retried || is_certain;
        let alone: Vec<Record> = alone.into_iter().flatten().filter(is_bad).collect();
        if alone.is_empty() { Ruling::Smaller } else { self.reject(alone) }
    }

    fn reject(&mut self, alone: Vec<Record>) -> Ruling {
        // Rejections count against the target as well. A target that turns bad during a search would otherwise
        // have record after record rejected.
        for record in alone.iter().filter(|record| !record.retried) {
            if !self.lone.contains(record) {
                self.lone.push(*record);
            }
        }
        if self.is_too_much() { self.misconfigured() } else { Ruling::Reject(alone) }
    }

    fn is_too_much(&self) -> bool {
        self.lone.len() >= if self.is_proven { TOO_MANY_IF_PROVEN } else { TOO_MANY }
    }

    fn misconfigured(&mut self) -> Ruling {
        Ruling::Misconfigured(self.suspect_target())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn part(refusals: &Refusals) -> Option<&[Record]> {
        refusals.search().map(Bisection::part)
    }

    fn holds(refusals: &Refusals, object: Uuid) -> bool {
        refusals.search().is_some_and(|search| search.holds(object))
    }

    fn record(number: u128) -> Record {
        Record { object: Uuid::from_u128(number), version: 7, retried: false }
    }

    fn retried(number: u128) -> Record {
        Record { retried: true, ..record(number) }
    }

    fn ids(count: u128) -> Vec<Record> {
        (1..=count).map(record).collect()
    }

    /// The target was suspected, and accepted a probe.
    fn prove(refusals: &mut Refusals) {
        refusals.suspect_target();
        refusals.accepted(false);
    }

    /// Sends a batch to a target that refuses every part with a bad record; returns the rejected
    /// ones and the number of requests.
    fn search(batch: &[Record], bad: &[Record]) -> (Vec<Record>, usize) {
        let mut refusals = Refusals::default();
        let mut rejected = Vec::new();
        let mut requests = 1;
        assert_eq!(refusals.refused(batch), Ruling::Smaller);
        while let Some(part) = part(&refusals).map(<[Record]>::to_vec) {
            requests += 1;
            assert!(requests < 100, "no end");
            let is_bad = part.iter().any(|id| bad.contains(id));
            let ruling =
                if is_bad { refusals.refused_part(false) } else { refusals.accepted(true) };
            match ruling {
                Ruling::Smaller => {}
                Ruling::Reject(ids) => rejected.extend(ids),
                Ruling::Rest(_) | Ruling::Misconfigured(_) | Ruling::StillMisconfigured => {
                    panic!("the target is fine")
                }
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
        let mut refusals = Refusals::default();
        refusals.refused(&batch);
        assert!(part(&refusals).is_some());
        assert_eq!(refusals.refused_part(false), Ruling::Smaller);
        assert!(part(&refusals).is_some());
        assert_eq!(refusals.refused_part(false), Ruling::Misconfigured(vec![]));
        assert!(!refusals.is_searching());
    }

    #[test]
    fn a_target_that_accepted_a_probe_is_searched_to_the_end() {
        let batch = ids(10);
        let mut refusals = Refusals::default();
        prove(&mut refusals);
        refusals.refused(&batch);
        let mut rejected = Vec::new();
        while let Some(part) = part(&refusals).map(<[Record]>::to_vec) {
            let bad = part.contains(&batch[0]) || part.contains(&batch[9]);
            let ruling = if bad { refusals.refused_part(false) } else { refusals.accepted(true) };
            if let Ruling::Reject(ids) = ruling {
                rejected.extend(ids);
            }
        }
        rejected.sort_by_key(|one| one.object);
        assert_eq!(rejected, [batch[0], batch[9]]);
    }

    #[test]
    fn three_lone_refusals_in_a_row_speak_against_the_target() {
        let mut refusals = Refusals::default();
        let [a, b, c] = [1, 2, 3].map(record);
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        assert_eq!(refusals.refused(&[b]), Ruling::Rest(b));
        assert_eq!(refusals.refused(&[c]), Ruling::Misconfigured(vec![a, b, c]));
    }

    #[test]
    fn lone_record_is_rejected_only_once_the_target_accepted_another() {
        let mut refusals = Refusals::default();
        let [a, b] = [1, 2].map(record);
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        refusals.accepted(false);
        assert_eq!(refusals.refused(&[b]), Ruling::Rest(b), "another record");
        assert_eq!(refusals.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn lone_record_of_a_quiet_target_is_rejected_after_some_tries() {
        let mut refusals = Refusals::default();
        let a = record(1);
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        assert_eq!(refusals.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn altered_record_is_another_one() {
        let mut refusals = Refusals::default();
        let [a, altered] = [7, 8].map(|version| Record { version, ..record(1) });
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        refusals.accepted(false);
        assert_eq!(refusals.refused(&[altered]), Ruling::Rest(altered));
    }

    #[test]
    fn target_that_fails_again_after_a_probe_loses_no_record() {
        let mut refusals = Refusals::default();
        prove(&mut refusals);
        refusals.refused(&ids(100));
        let (mut rejected, mut requests) = (Vec::new(), 0);
        let taken_back = loop {
            assert!(part(&refusals).is_some(), "no end is found");
            requests += 1;
            match refusals.refused_part(false) {
                Ruling::Reject(alone) => rejected.extend(alone),
                Ruling::Misconfigured(taken_back) => break taken_back,
                Ruling::Smaller | Ruling::Rest(_) | Ruling::StillMisconfigured => {}
            }
        };
        assert!(rejected.iter().all(|record| taken_back.contains(record)));
        assert!(requests <= 40, "{requests}");
    }

    #[test]
    fn records_that_are_refused_again_do_not_speak_against_the_target() {
        for bad in [&[1][..], &[1, 2], &[1, 2, 3, 4, 5, 6, 7]] {
            let all: Vec<Record> = bad.iter().map(|number| retried(*number)).collect();
            let mut refusals = Refusals::default();
            let mut rejected = Vec::new();
            let mut take = |ruling| {
                if let Ruling::Reject(alone) = ruling {
                    rejected.extend(alone);
                } else {
                    assert_eq!(ruling, Ruling::Smaller);
                }
            };
            take(refusals.refused(&all));
            while part(&refusals).is_some() {
                take(refusals.refused_part(false));
            }
            rejected.sort_by_key(|one| one.object);
            assert_eq!(rejected, all);
            assert_eq!(refusals.refused(&[record(9)]), Ruling::Rest(record(9)));
        }
    }

    #[test]
    fn fresh_record_beside_a_retried_one_is_rejected_only_once_the_target_is_proven() {
        for proven in [false, true] {
            let mut refusals = Refusals::default();
            if proven {
                prove(&mut refusals);
            }
            refusals.refused(&[record(1), retried(2)]);
            assert!(part(&refusals).is_some());
            assert_eq!(refusals.refused_part(false), Ruling::Smaller);
            assert!(part(&refusals).is_some());
            let fresh = proven.then(|| record(1));
            let both = fresh.into_iter().chain([retried(2)]).collect();
            assert_eq!(refusals.refused_part(false), Ruling::Reject(both));
            assert!(!refusals.is_searching() && !holds(&refusals, record(1).object));
        }
    }

    #[test]
    fn what_is_searched_is_held_back_until_it_is_found_or_given_up() {
        let batch = ids(4);
        let outsider = record(9).object;
        let mut refusals = Refusals::default();
        let holds_all = |refusals: &Refusals| batch.iter().all(|one| holds(refusals, one.object));
        assert!(!refusals.is_searching() && !holds(&refusals, batch[0].object));
        refusals.refused(&batch);
        assert!(refusals.is_searching() && holds_all(&refusals) && !holds(&refusals, outsider));
        assert_eq!(part(&refusals), Some(&batch[..2]));
        assert!(refusals.is_searching() && holds_all(&refusals) && !holds(&refusals, outsider));
        refusals.refused(&ids(3));
        refusals.give_up();
        assert!(!refusals.is_searching() && !holds(&refusals, batch[0].object));
        assert_eq!(part(&refusals), None);
    }

    #[test]
    fn a_suspect_is_remembered_when_the_search_is_given_up() {
        let mut refusals = Refusals::default();
        let a = record(1);
        assert_eq!(refusals.refused(&[a]), Ruling::Rest(a));
        refusals.accepted(false);
        refusals.give_up();
        assert_eq!(refusals.refused(&[a]), Ruling::Reject(vec![a]));
    }

    #[test]
    fn a_refused_request_without_records_is_no_search() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.refused(&[]), Ruling::Smaller);
        assert!(!refusals.is_searching());
    }

    #[test]
    fn two_halves_that_are_both_too_large_are_halved_further() {
        let batch = ids(4);
        let mut refusals = Refusals::default();
        refusals.refused(&batch);
        for _ in 0..2 {
            assert!(part(&refusals).is_some());
            assert_eq!(refusals.refused_part(true), Ruling::Smaller);
        }
        assert_eq!(part(&refusals).unwrap().len(), 1);
    }

    #[test]
    fn a_suspected_target_is_probed_until_it_accepts_something() {
        let mut refusals = Refusals::default();
        refusals.refused(&ids(4));
        assert!(refusals.is_searching() && !refusals.is_probing());
        refusals.suspect_target();
        assert!(refusals.is_probing() && part(&refusals).is_none());
        for batch in [ids(1), ids(4)] {
            assert_eq!(refusals.refused(&batch), Ruling::StillMisconfigured);
        }
        assert_eq!(refusals.refused(&[retried(9)]), Ruling::Reject(vec![retried(9)]));
        assert!(refusals.is_probing());
        refusals.accepted(false);
        assert!(!refusals.is_probing() && !refusals.is_searching());
    }

    #[test]
    fn a_search_goes_on_after_other_requests_were_accepted() {
        let mut refusals = Refusals::default();
        refusals.refused(&ids(4));
        refusals.accepted(false);
        assert_eq!(part(&refusals), Some(&ids(4)[..2]));
        refusals.refused_part(false);
        assert_eq!(refusals.refused_part(false), Ruling::Smaller, "the target is proven");
        assert_eq!(part(&refusals), Some(&ids(4)[2..3]));
    }

    #[test]
    fn no_turn_is_the_searchs_without_a_search() {
        let mut refusals = Refusals::default();
        refusals.sent(false);
        assert!(!refusals.search().is_some_and(|search| search.is_next));
        refusals.refused(&ids(2));
        assert!(refusals.search().is_some_and(|search| search.is_next));
        refusals.sent(true);
        assert!(!refusals.search().is_some_and(|search| search.is_next));
    }
}
