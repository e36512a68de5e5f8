//! A target's open changes in memory: three lanes, and in the live lane events that take turns.
//!
//! The ledger is the queue; this only remembers how far each change has been picked. Invariant: a
//! change leaves the ledger's queue after a look at the ledger says that nothing of it is pending.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::ledger::{Lane, Ledger, OpenChange, Pending};

/// Changes of a lane held in memory; more are read when these run low.
const HELD: usize = 512;

/// An object that was picked, and for which change.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    pub pending: Pending,
    pub lane: Lane,
    pub change: i64,
}

/// How far a change has been picked.
#[derive(Debug)]
struct Turn {
    open: OpenChange,
    after: Option<Uuid>,
    exhausted: bool,
    /// Something of it is in another request: nothing to do before an answer comes.
    blocked: bool,
}

impl Turn {
    fn waits(&self) -> bool {
        !self.exhausted && !self.blocked
    }
}

/// What to remember once a picked batch is really sent.
#[derive(Debug, Default)]
pub(super) struct Progress(Vec<Step>);

/// How far picking a batch has come in one change.
#[derive(Debug)]
struct Step {
    lane: Lane,
    change: i64,
    after: Option<Uuid>,
    exhausted: bool,
    blocked: bool,
}

/// What one change gave to a batch.
#[derive(Debug)]
struct Taken {
    picked: Vec<Picked>,
    after: Option<Uuid>,
    blocked: bool,
    /// The bytes of the request are used up.
    is_full: bool,
}

/// Takes what fits. The first object of a request always does.
fn take(
    turn: &Turn,
    found: Vec<Pending>,
    room: &mut Room,
    busy: impl Fn(&Pending) -> bool,
) -> Taken {
    let (lane, change) = (turn.open.lane, turn.open.change);
    let mut taken = Taken { picked: Vec::new(), after: turn.after, blocked: false, is_full: false };
    for pending in found {
        let size = pending.body.len() + ENVELOPE;
        if size > room.bytes && !room.is_untouched {
            taken.is_full = true;
            break;
        }
        taken.after = Some(pending.object);
        if busy(&pending) {
            taken.blocked = true;
            continue;
        }
        *room = Room {
            objects: room.objects.saturating_sub(1),
            bytes: room.bytes.saturating_sub(size),
            is_untouched: false,
        };
        taken.picked.push(Picked { pending, lane, change });
    }
    taken
}

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
}

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
        for (lane, (turns, last)) in
            Lane::ALL.into_iter().zip(self.lanes.iter_mut().zip(self.last.iter_mut()))
        {
            if turns.len() < HELD {
                let limit = i64::try_from(HELD).unwrap_or(i64::MAX);
                let opened = ledger.open_changes(&self.target, lane, *last, limit).await?;
                *last = opened.last().map_or(*last, |open| open.change);
                turns.extend(opened.into_iter().map(turn));
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
        backlog.extend(first.into_iter().filter(|open| open.change == 0).map(turn));
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
        let turns = lanes.flat_map(|lane| self.of(lane)).filter(|turn| turn.waits());
        for turn in turns {
            if room.objects == 0 {
                break;
            }
            let at = (Ledger::now(), i64::try_from(room.objects).unwrap_or(i64::MAX));
            let change = turn.open.change;
            let found = ledger.pending(&self.view, &self.target, change, turn.after, at).await?;
            let is_all = found.len() < room.objects;
            let taken = take(turn, found, &mut room, &busy);
            let is_full = taken.is_full;
            progress.0.push(Step {
                lane: turn.open.lane,
                change,
                after: taken.after,
                exhausted: is_all && !is_full,
                blocked: taken.blocked,
            });
            picked.extend(taken.picked);
            if is_full {
                break;
            }
        }
        Ok((picked, progress))
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
        for Step { lane, change, after, exhausted, blocked } in progress.0 {
            let turns = self.of_mut(lane);
            let Some(position) = turns.iter().position(|turn| turn.open.change == change) else {
                continue;
            };
            let Some(mut turn) = turns.remove(position) else { continue };
            turn.after = after;
            turn.exhausted = exhausted;
            turn.blocked = blocked && exhausted;
            let event = turn.open.event;
            turns.push_back(turn);
            if lane == Lane::Live && event.is_some() {
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
        for turn in self.lanes.iter_mut().flatten().filter(|turn| turn.blocked) {
            turn.blocked = false;
            turn.exhausted = false;
            turn.after = None;
        }
    }

    fn rewind(&mut self, lane: Lane, change: i64) {
        let turns = self.of_mut(lane);
        if let Some(turn) = turns.iter_mut().find(|turn| turn.open.change == change) {
            turn.after = None;
            turn.exhausted = false;
        }
    }

    /// Takes changes that are wholly picked and answered off the queue; returns them.
    pub(super) async fn close_finished(
        &mut self,
        ledger: &Ledger,
    ) -> sqlx::Result<Vec<OpenChange>> {
        let finished: Vec<i64> = self
            .lanes
            .iter()
            .flatten()
            .filter(|turn| turn.exhausted && !turn.blocked)
            .map(|turn| turn.open.change)
            .filter(|change| !self.in_flight.contains_key(change))
            .collect();
        if finished.is_empty() {
            return Ok(Vec::new());
        }
        let over = ledger.close_changes(&self.view, &self.target, &finished).await?;
        let mut closed = Vec::with_capacity(over.len());
        for turns in &mut self.lanes {
            let (gone, kept): (VecDeque<Turn>, VecDeque<Turn>) = std::mem::take(turns)
                .into_iter()
                .partition(|turn| over.contains(&turn.open.change));
            closed.extend(gone.into_iter().map(|turn| turn.open));
            *turns = kept;
        }
        for change in finished.iter().filter(|change| !over.contains(change)) {
            Lane::ALL.into_iter().for_each(|lane| self.rewind(lane, *change));
        }
        Ok(closed)
    }
}

fn turn(open: OpenChange) -> Turn {
    Turn { open, after: None, exhausted: false, blocked: false }
}

/// Puts the other changes of an event that just had its turn behind those of other events.
fn requeue(turns: &mut VecDeque<Turn>, event: Option<Uuid>) {
    let (same, others): (VecDeque<Turn>, VecDeque<Turn>) =
        std::mem::take(turns).into_iter().partition(|turn| turn.open.event == event);
    turns.extend(others);
    turns.extend(same);
}
