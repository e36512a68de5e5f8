//! A target's open changes in memory: three lanes, and in the live lane events that take turns.
//!
//! The ledger is the queue; this only remembers how far each change has been picked. Invariant: a
//! change leaves the ledger's queue only after a look at all of it found nothing pending.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::ledger::{Lane, Ledger, OpenChange, Page, Pending};

/// Changes of a lane held in memory; more are read when these run low.
const HELD: usize = 512;

/// An object that was picked, and for which change.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    pub pending: Pending,
    pub lane: Lane,
    pub change: i64,
}

/// How far a change has been picked, in the present pass over its objects.
#[derive(Debug)]
struct Turn {
    open: OpenChange,
    after: Option<Uuid>,
    exhausted: bool,
    /// Something of it is in another request, or rests: it is gone through again after an answer.
    busy: bool,
    /// Nothing was pending in this pass so far.
    clean: bool,
}

impl Turn {
    fn new(open: OpenChange) -> Self {
        Self { open, after: None, exhausted: false, busy: false, clean: true }
    }

    fn waits(&self) -> bool {
        !self.exhausted
    }

    fn start_again(&mut self) {
        (self.after, self.exhausted, self.busy, self.clean) = (None, false, false, true);
    }
}

/// How far one change came in picking a batch.
#[derive(Debug)]
struct Step {
    lane: Lane,
    change: i64,
    after: Option<Uuid>,
    exhausted: bool,
    busy: bool,
    clean: bool,
}

/// What to remember once a picked batch is really sent.
#[derive(Debug, Default)]
pub(super) struct Progress(Vec<Step>);

/// The open changes of one target.
#[derive(Debug)]
pub(super) struct Lanes {
    target: String,
    view: String,
    lanes: [VecDeque<Turn>; 3],
    /// The newest change read from the ledger, per lane.
    last: [i64; 3],
    in_flight: HashMap<i64, usize>,
}

/// Room in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub objects: usize,
    pub bytes: usize,
    /// Nothing is in it yet.
    pub is_untouched: bool,
    /// By which it is judged what has expired, Unix milliseconds.
    pub now: i64,
}

/// Which object is picked as a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    /// Probes picked before this one.
    pub attempt: usize,
    /// The time by which it is judged what has expired, Unix milliseconds.
    pub now: i64,
}

/// Objects of a change among which a probe is chosen.
const PROBED: i64 = 100;

/// What the ledger keeps for a change that is not an event's last.
pub(super) const NO_SUMMARY: &str = "{}";

/// Members added at sending, and the comma.
const ENVELOPE: usize = 140;

impl Lanes {
    pub(super) fn new(target: &str, view: &str) -> Self {
        Self {
            target: target.to_owned(),
            view: view.to_owned(),
            lanes: Default::default(),
            last: [0; 3],
            in_flight: HashMap::new(),
        }
    }

    /// Reads changes that were opened since, as long as there is room for them in memory.
    pub(super) async fn refill(&mut self, ledger: &Ledger) -> sqlx::Result<()> {
        let lanes = Lane::ALL.into_iter().zip(self.lanes.iter_mut().zip(self.last.iter_mut()));
        // The lowest first: of a change that is committed meanwhile its withdrawals are seen, or nothing.
        for (lane, (turns, last)) in lanes.rev() {
            if turns.len() < HELD {
                let limit = i64::try_from(HELD).unwrap_or(i64::MAX);
                let opened = ledger.open_changes(&self.target, lane, *last, limit).await?;
                *last = opened.last().map_or(*last, |open| open.change);
                turns.extend(opened.into_iter().map(Turn::new));
            }
        }
        self.look_for_everything(ledger).await
    }

    /// Change 0 can be opened at any time.
    async fn look_for_everything(&mut self, ledger: &Ledger) -> sqlx::Result<()> {
        let [.., backlog] = &mut self.lanes;
        if backlog.iter().any(|turn| turn.open.change == 0) {
            return Ok(());
        }
        let first = ledger.open_changes(&self.target, Lane::Backlog, -1, 1).await?;
        backlog.extend(first.into_iter().filter(|open| open.change == 0).map(Turn::new));
        Ok(())
    }

    /// The highest lane with something to pick.
    pub(super) fn highest(&self) -> Option<Lane> {
        let waiting = |lane: &Lane| self.of(*lane).iter().any(Turn::waits);
        Lane::ALL.into_iter().find(waiting)
    }

    /// Whether a withdrawal is open, picked or not.
    pub(super) fn has_withdrawals(&self) -> bool {
        !self.of(Lane::Withdrawals).is_empty()
    }

    fn of(&self, lane: Lane) -> &VecDeque<Turn> {
        let [withdrawals, live, backlog] = &self.lanes;
        match lane {
            Lane::Withdrawals => withdrawals,
            Lane::Live => live,
            Lane::Backlog => backlog,
        }
    }

    fn of_mut(&mut self, lane: Lane) -> &mut VecDeque<Turn> {
        let [withdrawals, live, backlog] = &mut self.lanes;
        match lane {
            Lane::Withdrawals => withdrawals,
            Lane::Live => live,
            Lane::Backlog => backlog,
        }
    }

    /// Picks objects for a request, the highest lane first; `busy` tells what is in another request.
    /// Nothing is remembered before [`Lanes::sent`].
    pub(super) async fn pick(
        &self,
        ledger: &Ledger,
        mut room: Room,
        lowest: Lane,
        busy: impl Fn(&Pending) -> bool,
    ) -> sqlx::Result<(Vec<Picked>, Progress)> {
        let (mut picked, mut progress) = (Vec::new(), Progress::default());
        let lanes = Lane::ALL.into_iter().filter(|lane| *lane <= lowest);
        for turn in lanes.flat_map(|lane| self.of(lane)).filter(|turn| turn.waits()) {
            if room.objects == 0 {
                break;
            }
            let page = self.page(ledger, turn, &room).await?;
            // A look that passes over what was sent already is enough for once.
            let is_barren = page.found.is_empty() && page.next.is_some() && picked.is_empty();
            let (step, is_full) = take(turn, page, &mut room, &mut picked, &busy);
            progress.0.push(step);
            if is_full || is_barren {
                break;
            }
        }
        Ok((picked, progress))
    }

    /// Picks one object to try the target with: at each attempt one of another change, and of a change
    /// another object.
    pub(super) async fn probe(
        &self,
        ledger: &Ledger,
        Probe { attempt, now }: Probe,
        busy: impl Fn(&Pending) -> bool,
    ) -> sqlx::Result<Option<Picked>> {
        let lanes = Lane::ALL.into_iter().flat_map(|lane| self.of(lane));
        let turns: Vec<&Turn> = lanes.filter(|turn| turn.waits()).collect();
        let count = turns.len().max(1);
        for turn in turns.iter().cycle().skip(attempt % count).take(count) {
            let (change, at) = (turn.open.change, (now, PROBED));
            let found = ledger.pending(&self.view, &self.target, change, turn.after, at).await?;
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

    async fn page(&self, ledger: &Ledger, turn: &Turn, room: &Room) -> sqlx::Result<Page> {
        let at = (room.now, i64::try_from(room.objects).unwrap_or(i64::MAX));
        ledger.page(&self.view, &self.target, turn.open.change, turn.after, at).await
    }

    /// A batch that was picked is on its way: remembers how far its changes have come, and moves
    /// its events to the end of the line.
    pub(super) fn sent(&mut self, picked: &[Picked], progress: Progress) {
        for one in picked {
            *self.in_flight.entry(one.change).or_default() += 1;
        }
        self.advance(progress);
    }

    /// Remembers how far changes have come that had nothing to send.
    pub(super) fn advance(&mut self, progress: Progress) {
        for step in progress.0 {
            let turns = self.of_mut(step.lane);
            let Some(position) = turns.iter().position(|turn| turn.open.change == step.change)
            else {
                continue;
            };
            let Some(mut turn) = turns.remove(position) else { continue };
            turn.after = step.after;
            turn.exhausted = step.exhausted;
            turn.busy |= step.busy;
            turn.clean &= step.clean;
            let event = turn.open.event;
            turns.push_back(turn);
            if step.lane == Lane::Live && event.is_some() {
                requeue(turns, event);
            }
        }
    }

    /// An answer came for a batch: its changes are looked at again from the start unless all of it
    /// is `settled`.
    pub(super) fn answered(&mut self, picked: &[Picked], settled: bool) {
        for one in picked {
            if let Some(count) = self.in_flight.get_mut(&one.change) {
                *count = count.saturating_sub(1);
            }
            if !settled {
                self.rewind(one.lane, one.change);
            }
        }
        self.in_flight.retain(|_, count| *count > 0);
        self.unblock();
    }

    /// What was in another request, or rested, may be free now.
    pub(super) fn unblock(&mut self) {
        self.lanes.iter_mut().flatten().filter(|turn| turn.busy).for_each(Turn::start_again);
    }

    fn rewind(&mut self, lane: Lane, change: i64) {
        let turns = self.of_mut(lane);
        if let Some(turn) = turns.iter_mut().find(|turn| turn.open.change == change) {
            turn.start_again();
        }
    }

    /// Takes changes that are wholly picked and answered off the queue; returns them.
    pub(super) async fn close_finished(
        &mut self,
        ledger: &Ledger,
        now: i64,
    ) -> sqlx::Result<Vec<OpenChange>> {
        let in_flight = &self.in_flight;
        let mut closed = Vec::new();
        for turns in &mut self.lanes {
            let is_over = |turn: &Turn| {
                turn.exhausted && !turn.busy && !in_flight.contains_key(&turn.open.change)
            };
            if !turns.iter().any(is_over) {
                continue;
            }
            let (over, kept): (VecDeque<Turn>, VecDeque<Turn>) =
                std::mem::take(turns).into_iter().partition(is_over);
            *turns = kept;
            let (over, again): (Vec<Turn>, Vec<Turn>) =
                over.into_iter().partition(|turn| turn.open.change != 0 || turn.clean);
            let asked: Vec<&OpenChange> = over.iter().map(|turn| &turn.open).collect();
            let gone = match ledger.close_changes(&self.view, &self.target, &asked, now).await {
                Ok(gone) => gone,
                Err(error) => {
                    turns.extend(over.into_iter().chain(again));
                    return Err(error);
                }
            };
            let (over, open): (Vec<Turn>, Vec<Turn>) =
                over.into_iter().partition(|turn| gone.contains(&turn.open.change));
            // Change 0, if opened anew, is read anew.
            let open = open.into_iter().filter(|turn| turn.open.change != 0);
            for mut turn in open.chain(again) {
                turn.start_again();
                turns.push_back(turn);
            }
            closed.extend(over.into_iter().filter_map(|turn| last_of_event(turns, turn.open)));
        }
        Ok(closed)
    }
}

/// Takes what fits. The first object of a request always does. Whether the request is full is the
/// second result.
fn take(
    turn: &Turn,
    page: Page,
    room: &mut Room,
    picked: &mut Vec<Picked>,
    busy: impl Fn(&Pending) -> bool,
) -> (Step, bool) {
    let (lane, change) = (turn.open.lane, turn.open.change);
    let clean = page.found.is_empty();
    let mut step = Step { lane, change, after: turn.after, exhausted: false, busy: false, clean };
    for pending in page.found {
        let size = pending.body.len() + ENVELOPE;
        if size > room.bytes && !room.is_untouched {
            return (step, true);
        }
        step.after = Some(pending.object);
        // Two changes can lead to one object: change 0 leads to all.
        let is_here = |one: &Picked| {
            one.pending.object == pending.object || one.pending.stix_id == pending.stix_id
        };
        if busy(&pending) || picked.iter().any(is_here) {
            step.busy = true;
            continue;
        }
        *room = Room {
            objects: room.objects.saturating_sub(1),
            bytes: room.bytes.saturating_sub(size),
            is_untouched: false,
            now: room.now,
        };
        picked.push(Picked { pending, lane, change });
    }
    step.after = page.next.or(step.after);
    step.exhausted = page.next.is_none();
    (step, false)
}

/// A closed change, unless others of its event are still open in the lane: they take its story on,
/// so that an event is told once, when all of it has arrived.
fn last_of_event(open: &mut VecDeque<Turn>, closed: OpenChange) -> Option<OpenChange> {
    let same = |turn: &&mut Turn| turn.open.event.is_some() && turn.open.event == closed.event;
    let Some(heir) = open.iter_mut().find(same) else { return Some(closed) };
    heir.open.opened_at = heir.open.opened_at.min(closed.opened_at);
    if closed.summary != NO_SUMMARY {
        heir.open.summary = closed.summary;
    }
    None
}

/// Puts the other changes of an event that just had its turn behind those of other events.
fn requeue(turns: &mut VecDeque<Turn>, event: Option<Uuid>) {
    let (same, others): (VecDeque<Turn>, VecDeque<Turn>) =
        std::mem::take(turns).into_iter().partition(|turn| turn.open.event == event);
    turns.extend(others);
    turns.extend(same);
}
