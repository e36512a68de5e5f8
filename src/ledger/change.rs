//! A change: what one transaction alters. It gets a number for each view and lane, and a row with this number in the
//! queue of each target of the view.

use std::cell::OnceCell;
use std::rc::Rc;

use uuid::Uuid;

use super::Lane;
use super::sources::Sources;
use super::sql::{Result, Transaction};
use super::tables::counters;
use super::tables::queue::{self, NewChange};
use super::views::{View, Views};

/// What one transaction alters. It has a number for each view and lane. The first object of a view and lane makes
/// the number, with a place in the queue of each of the view's targets.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub views: &'a Views,
    pub event: Option<Uuid>,
    /// When the notice arrived, Unix milliseconds.
    pub opened_at: i64,
    /// The lane of the objects that are added or altered. Withdrawals have a lane of their own.
    pub lane: Lane,
    numbers: Vec<Number<'a>>,
    sources: OnceCell<Rc<Sources>>,
    /// Objects of all views.
    pub altered: usize,
    pub withdrawn: usize,
    /// Context objects that were added, altered or revoked.
    pub context: usize,
}

#[derive(Debug)]
struct Number<'a> {
    view: &'a str,
    lane: Lane,
    number: i64,
}

impl<'a> Change<'a> {
    pub(super) fn new(views: &'a Views, event: Option<Uuid>, opened_at: i64) -> Self {
        let (numbers, lane, sources) = (Vec::new(), Lane::Live, OnceCell::new());
        let (altered, withdrawn, context) = (0, 0, 0);
        Self { views, event, opened_at, lane, numbers, sources, altered, withdrawn, context }
    }

    /// The sources that the ledger knows, which each change asks for once.
    pub(super) fn sources(&self, tx: &Transaction<'_>) -> Result<Rc<Sources>> {
        if let Some(known) = self.sources.get() {
            return Ok(Rc::clone(known));
        }
        let known = Rc::new(Sources::load(tx)?);
        Ok(Rc::clone(self.sources.get_or_init(|| known)))
    }

    pub(super) fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.altered + self.withdrawn + self.context == 0
    }

    /// Stores the figures for the event's log line in its rows of the queues.
    pub(super) fn summarise(&self, tx: &Transaction<'_>, summary: &str) -> Result<()> {
        queue::summarise(tx, self.numbers.iter().map(|one| one.number), summary)
    }

    /// Returns the number of the change in a view and a lane. A change of context objects in the backlog names no
    /// event, because the event's log line leaves it out.
    pub(super) fn number(
        &mut self,
        tx: &Transaction<'_>,
        view: &'a View,
        lane: Lane,
    ) -> Result<i64> {
        let mut known = self.numbers.iter();
        if let Some(known) = known.find(|one| one.view == view.name && one.lane == lane) {
            return Ok(known.number);
        }
        let number = counters::next_change(tx)?;
        let is_own = lane == Lane::Withdrawals || lane == self.lane;
        // The line of the log about an event comes when its changes are taken, so what is not its own names no
        // event.
        let event = self.event.filter(|_| is_own);
        let opened_at = self.opened_at;
        // Disabled targets are none of these: once enabled, they are compared with everything.
        queue::open(tx, &view.targets, NewChange { number, lane, event, opened_at })?;
        self.numbers.push(Number { view: &view.name, lane, number });
        Ok(number)
    }
}
