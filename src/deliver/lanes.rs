//! Keeps the open changes of a target in memory, in three lanes. In the live lane, events take turns. The queue itself
//! is in the ledger: this file only notes how far each change has been picked. Invariant: a change leaves the queue
//! only after all its objects were looked at and none was pending.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::ledger::{Lane, Ledger, OpenChange, Pending, PendingPage, SqlResult};

/// A lane with fewer changes in memory than this reads more of them from the ledger.
const HELD: usize = 512;

/// An object that was picked, and the change that led to it.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    pub pending: Pending,
    pub lane: Lane,
    pub change: i64,
}

/// Changes that have left the queue.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// Those of which something was sent.
    pub sent: Vec<SentNews>,
    /// Those of which something was sent, and after which no other change of their event is open in the lane. Each
    /// has the time of the first of these.
    pub last: Vec<OpenChange>,
}

/// News of an event of which nothing is left to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentNews {
    pub event: Uuid,
    /// Unix milliseconds.
    pub heard: i64,
}

/// An open change and the present pass over its objects.
#[derive(Debug)]
struct Turn {
    open: OpenChange,
    /// When its own news was heard. `open` may have the time of an earlier change, whose heir it is.
    heard: i64,
    pass: PickPass,
    /// The target accepted something of it in this run.
    was_accepted: bool,
    /// Its objects in requests without an answer.
    in_flight: usize,
}

/// How far a change has been picked.
#[derive(Debug, Clone, Copy, Default)]
struct PickPass {
    /// The last object that was looked at.
    after: Option<Uuid>,
    /// All objects were looked at.
    exhausted: bool,
    /// Some object is in another request, or must wait. The next answer starts a new pass.
    busy: bool,
    /// Some object was pending.
    pending: bool,
}

impl Turn {
    fn new(open: OpenChange) -> Self {
        let heard = open.opened_at;
        Self { open, heard, pass: PickPass::default(), was_accepted: false, in_flight: 0 }
    }

    fn sent_news(&self) -> Option<SentNews> {
        let event = self.open.event.filter(|_| self.was_accepted)?;
        Some(SentNews { event, heard: self.heard })
    }

    /// Whether nothing of it is left to pick or to be answered. A change with a request in flight stays open: the
    /// answer may make its objects pending again.
    fn is_over(&self) -> bool {
        self.pass.exhausted && !self.pass.busy && self.in_flight == 0
    }

    fn start_again(&mut self) {
        self.pass = PickPass::default();
    }
}

/// How far one change came when a batch was picked. It counts once the batch is sent.
#[derive(Debug)]
pub(super) struct ChangeStep {
    lane: Lane,
    change: i64,
    pass: PickPass,
}

/// The open changes of one target.
#[derive(Debug)]
pub(super) struct Lanes {
    target: String,
    view: String,
    lanes: [VecDeque<Turn>; 3],
    /// The newest change that was read from the ledger, for each lane.
    last: [i64; 3],
}

/// The space that is left in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub objects: usize,
    pub bytes: usize,
    /// Objects that have expired at this time are not sent, Unix milliseconds.
    pub now: i64,
}

/// The objects of a change among which a probe is chosen.
const PROBED: i64 = 100;

/// A look for objects ends after this many pages in which nothing can be sent.
const BARREN_PAGES: usize = 16;

/// The summary of a change that is not the last one of its event.
pub(super) const NO_SUMMARY: &str = "{}";

/// The bytes of the members that sending adds to an object, and of the comma.
const ENVELOPE: usize = 140;

impl Lanes {
    pub(super) fn new(target: &str, view: &str) -> Self {
        let (target, view) = (target.to_owned(), view.to_owned());
        Self { target, view, lanes: Default::default(), last: [0; 3] }
    }

    pub(super) fn view(&self) -> &str {
        &self.view
    }

    /// Reads the changes that were opened since, as far as memory has room for them.
    pub(super) async fn refill(&mut self, ledger: &Ledger) -> SqlResult<()> {
        let lanes = Lane::ALL.into_iter().zip(self.lanes.iter_mut().zip(self.last.iter_mut()));
        // The backlog is read first and the withdrawals last. If the writer commits in between, its withdrawals
        // are seen, or nothing of it. So the additions of a commit are never sent before its withdrawals.
        for (lane, (turns, last)) in lanes.rev() {
            if turns.len() < HELD {
                // A resync opens a change for each event: too many to hold them all in memory.
                let limit = i64::try_from(HELD).unwrap_or(i64::MAX);
                let opened = ledger.open_changes(&self.target, lane, *last, limit).await?;
                *last = opened.last().map_or(*last, |open| open.change);
                turns.extend(opened.into_iter().map(Turn::new));
            }
        }
        self.look_for_everything(ledger).await
    }

    /// Reads change 0, which stands for all objects. It can be opened at any time, and its number is always below
    /// the one that was read last. So it is asked for by itself.
    async fn look_for_everything(&mut self, ledger: &Ledger) -> SqlResult<()> {
        let [.., backlog] = &mut self.lanes;
        if backlog.iter().any(|turn| turn.open.change == 0) {
            return Ok(());
        }
        let first = ledger.open_changes(&self.target, Lane::Backlog, -1, 1).await?;
        backlog.extend(first.into_iter().filter(|open| open.change == 0).map(Turn::new));
        Ok(())
    }

    /// Returns the highest lane with something to pick.
    pub(super) fn highest(&self) -> Option<Lane> {
        self.waiting().next().map(|turn| turn.open.lane)
    }

    /// Whether a withdrawal is open, picked or not.
    pub(super) fn has_withdrawals(&self) -> bool {
        let [withdrawals, ..] = &self.lanes;
        !withdrawals.is_empty()
    }

    /// Whether anything of the backlog is open, picked or not.
    pub(super) fn has_backlog(&self) -> bool {
        let [.., backlog] = &self.lanes;
        !backlog.is_empty()
    }

    /// The changes with something to pick, those of the highest lane first.
    fn waiting(&self) -> impl Iterator<Item = &Turn> {
        self.lanes.iter().flatten().filter(|turn| !turn.pass.exhausted)
    }

    fn of_mut(&mut self, lane: Lane) -> &mut VecDeque<Turn> {
        let [withdrawals, live, backlog] = &mut self.lanes;
        match lane {
            Lane::Withdrawals => withdrawals,
            Lane::Live => live,
            Lane::Backlog => backlog,
        }
    }

    /// Picks objects for a request, the highest lane first; `busy` says which objects must wait. The lanes stay
    /// as they are until [`Lanes::sent`], so a batch that is not sent after all loses nothing.
    pub(super) async fn pick(
        &self,
        ledger: &Ledger,
        mut space: Space,
        lowest: Lane,
        busy: impl Fn(&Pending) -> bool,
    ) -> SqlResult<(Vec<Picked>, Vec<ChangeStep>)> {
        let (mut picked, mut progress) = (Vec::new(), Vec::new());
        let mut barren = 0;
        for turn in self.waiting().filter(|turn| turn.open.lane <= lowest) {
            if space.objects == 0 {
                break;
            }
            let (change, limit) =
                (turn.open.change, i64::try_from(space.objects).unwrap_or(i64::MAX));
            let page = ledger
                .page(&self.view, &self.target, change, turn.pass.after, space.now, limit)
                .await?;
            // After one page without anything pending the look ends, so that no look takes long, and after a few with
            // nothing but what must wait.
            let is_barren = page.found.is_empty() && page.next.is_some() && picked.is_empty();
            let (step, is_full) = take(turn, page, &mut space, &mut picked, &busy);
            progress.push(step);
            barren += usize::from(picked.is_empty());
            if is_full || is_barren || barren >= BARREN_PAGES {
                break;
            }
        }
        Ok((picked, progress))
    }

    /// Picks one object to try the target with: at each attempt an object of another change, and at each turn of a
    /// change another object. An object that has expired at `now` is not picked.
    pub(super) async fn probe(
        &self,
        ledger: &Ledger,
        attempt: usize,
        now: i64,
        busy: impl Fn(&Pending) -> bool,
    ) -> SqlResult<Option<Picked>> {
        let turns: Vec<&Turn> = self.waiting().collect();
        // Change after change is tried before a second object of the first: whole changes may be bad.
        let count = turns.len().max(1);
        for turn in turns.iter().cycle().skip(attempt % count).take(count) {
            let (change, after) = (turn.open.change, turn.pass.after);
            let found =
                ledger.pending(&self.view, &self.target, change, after, now, PROBED).await?;
            let mut free: Vec<Pending> = found.into_iter().filter(|one| !busy(one)).collect();
            if free.is_empty() {
                continue;
            }
            let pending = free.swap_remove((attempt / count) % free.len());
            let OpenChange { lane, change, .. } = turn.open;
            return Ok(Some(Picked { pending, lane, change }));
        }
        Ok(None)
    }

    /// Notes that a picked batch was sent.
    pub(super) fn sent(&mut self, picked: &[Picked], steps: Vec<ChangeStep>) {
        for one in picked {
            if let Some(turn) = self.turn(one.lane, one.change) {
                turn.in_flight += 1;
            }
        }
        self.advance(steps);
    }

    /// Notes which objects of a batch the target accepted. Others may have been altered since they were picked, and now
    /// belong to a newer change.
    pub(super) fn accepted(&mut self, picked: &[Picked], taken: &[Uuid]) {
        for one in picked.iter().filter(|one| taken.contains(&one.pending.object)) {
            if let Some(turn) = self.turn(one.lane, one.change) {
                turn.was_accepted = true;
            }
        }
    }

    /// Notes how far changes have come that had nothing to send.
    pub(super) fn advance(&mut self, progress: Vec<ChangeStep>) {
        for step in progress {
            // A change may have been closed since it was picked.
            let Some(turn) = self.turn(step.lane, step.change) else { continue };
            turn.pass = step.pass;
            let event = turn.open.event.filter(|_| step.lane == Lane::Live);
            // Every change goes to the end of its lane, so that a large one lets the others pass. In the live
            // lane the other changes of its event go there too, so that events take turns.
            let place = |turn: &Turn| match &turn.open {
                open if open.change == step.change => 2,
                open if event.is_some() && open.event == event => 1,
                _ => 0,
            };
            self.of_mut(step.lane).make_contiguous().sort_by_key(place);
        }
    }

    /// Notes that a batch was answered. `is_settled`: none of its objects is pending any more. Otherwise a new pass
    /// over its changes begins, which finds the objects that must be sent again.
    pub(super) fn answered(&mut self, picked: &[Picked], is_settled: bool) {
        for one in picked {
            if let Some(turn) = self.turn(one.lane, one.change) {
                turn.in_flight = turn.in_flight.saturating_sub(1);
                if !is_settled {
                    turn.start_again();
                }
            }
        }
        self.unblock();
    }

    /// Starts a new pass over the changes whose objects waited: they may be free now.
    pub(super) fn unblock(&mut self) {
        self.lanes.iter_mut().flatten().filter(|turn| turn.pass.busy).for_each(Turn::start_again);
    }

    fn turn(&mut self, lane: Lane, change: i64) -> Option<&mut Turn> {
        self.of_mut(lane).iter_mut().find(|turn| turn.open.change == change)
    }

    /// Closes the changes that are completely picked and answered.
    pub(super) async fn close_finished(&mut self, ledger: &Ledger, now: i64) -> SqlResult<Closed> {
        let mut closed = Closed::default();
        for turns in &mut self.lanes {
            // Before the ledger closes a change, it looks once more whether anything of it is pending. For change
            // 0 that look would be one at all objects, so it is closed only after a pass that found nothing.
            let is_unfinished =
                |turn: &&mut Turn| turn.is_over() && turn.open.change == 0 && turn.pass.pending;
            turns.iter_mut().filter(is_unfinished).for_each(Turn::start_again);
            let over = turns.iter().filter(|turn| turn.is_over());
            let asked: Vec<&OpenChange> = over.map(|turn| &turn.open).collect();
            if asked.is_empty() {
                continue;
            }
            let gone = ledger.close_changes(&self.view, &self.target, &asked, now).await?;
            let (over, kept): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(turns).into_iter().partition(Turn::is_over);
            let (gone, open): (Vec<_>, Vec<_>) =
                over.into_iter().partition(|turn| gone.contains(&turn.open.change));
            *turns = kept;
            // If change 0 was opened anew meanwhile, the next refill reads it.
            for mut turn in open.into_iter().filter(|turn| turn.open.change != 0) {
                turn.start_again();
                turns.push_back(turn);
            }
            for turn in gone {
                closed.sent.extend(turn.sent_news());
                closed.last.extend(last_of_event(turns, turn));
            }
        }
        Ok(closed)
    }
}

/// Takes the objects of a page that fit into the request. The first object of a request always fits. Returns how
/// far the change came, and whether the request is full.
fn take(
    turn: &Turn,
    page: PendingPage,
    space: &mut Space,
    picked: &mut Vec<Picked>,
    busy: impl Fn(&Pending) -> bool,
) -> (ChangeStep, bool) {
    let (lane, change, mut pass) = (turn.open.lane, turn.open.change, turn.pass);
    pass.pending |= !page.found.is_empty();
    for pending in page.found {
        let size = pending.body.len() + ENVELOPE;
        if size > space.bytes && !picked.is_empty() {
            return (ChangeStep { lane, change, pass }, true);
        }
        pass.after = Some(pending.object);
        // Two changes can lead to one object, since change 0 leads to all of them.
        let is_here = |one: &Picked| {
            one.pending.object == pending.object || one.pending.stix_id == pending.stix_id
        };
        if busy(&pending) || picked.iter().any(is_here) {
            pass.busy = true;
            continue;
        }
        space.objects = space.objects.saturating_sub(1);
        space.bytes = space.bytes.saturating_sub(size);
        picked.push(Picked { pending, lane, change });
    }
    pass.after = page.next.or(pass.after);
    pass.exhausted = page.next.is_none();
    (ChangeStep { lane, change, pass }, false)
}

/// Returns a closed change, unless nothing of it was accepted, or other changes of its event are still open in
/// the lane. One of those inherits its summary, so that an event is logged once, when all of it has arrived.
fn last_of_event(
    open: &mut VecDeque<Turn>,
    Turn { open: closed, was_accepted, .. }: Turn,
) -> Option<OpenChange> {
    let same = |turn: &&mut Turn| turn.open.event.is_some() && turn.open.event == closed.event;
    let Some(heir) = open.iter_mut().find(same) else { return was_accepted.then_some(closed) };
    heir.was_accepted |= was_accepted;
    heir.open.opened_at = heir.open.opened_at.min(closed.opened_at);
    if closed.summary != NO_SUMMARY {
        heir.open.summary = closed.summary;
    }
    None
}
