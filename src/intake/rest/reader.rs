//! Reads the events that the ledger's read queue names, and hands each answer to the ledger's writer.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::{IntakeFault, RestIntake, now, own_clock, until};
use crate::document::Document;
use crate::ledger::{DueRead, Ledger, Vain};
use crate::log_event::LogEvent;
use crate::misp_api::RestError;
use crate::notice::{EventAnswer, Read, Receipt, What};

/// The longest sleep of the reader.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The pause before an answer is offered to a full inbox again.
const INBOX_FULL: Duration = Duration::from_millis(20);

/// The number of vain reads of an event after which a resync goes on without it.
const PATIENCE: i64 = 10;

/// The same number for faults that only a change of MISP or of a setting ends.
const NO_PATIENCE: i64 = 1;

/// A request for some events.
struct ReadRequest {
    /// The reads that the answer has not told anything about yet.
    due: HashMap<Uuid, DueRead>,
    /// The events that `misp.search` selects. `None`: no search is set, so all are.
    selected: Option<HashSet<Uuid>>,
    /// Our own clock when the request began.
    began: SystemTime,
    /// MISP's clock when the request began.
    date: i64,
}

/// The failures of the reader.
#[derive(Debug, Default)]
struct Trouble {
    /// Requests that failed in a row.
    failures: u32,
    /// The most events of a request. It is halved with each failure, until the event that cannot be read is
    /// alone.
    most: Option<usize>,
}

impl Trouble {
    /// Notes a success. Requests grow again step by step, since the event that failed may still be due.
    fn over(&mut self) {
        self.failures = 0;
        self.most = self.most.and_then(|most| most.checked_mul(2)).filter(|most| *most < 10_000);
    }
}

impl RestIntake {
    /// Reads what is due. Never ends.
    pub(super) async fn read_due(&self) {
        let mut trouble = Trouble::default();
        loop {
            let asked = self.ledger.asked();
            tokio::pin!(asked);
            // As in catch-up: a request that comes during the read must wake the wait after it.
            asked.as_mut().enable();
            match self.read_some(&mut trouble).await {
                Ok(true) => trouble.over(),
                Ok(false) => {
                    let sleep = self.until_next_read().await;
                    tokio::select! {
                        () = asked => {}
                        () = tokio::time::sleep(sleep) => {}
                    }
                }
                Err(fault) => {
                    trouble.failures += 1;
                    self.pause(&fault, trouble.failures, "read events").await;
                }
            }
        }
    }

    async fn until_next_read(&self) -> Duration {
        // A fault of the ledger shows at the next read. Here it only means the longest sleep.
        let next = self.ledger.next_read(self.source()).await.ok().flatten();
        let due = next.map_or(LONGEST_SLEEP, until);
        due.clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }

    /// Sends one request. Returns whether anything was due.
    async fn read_some(&self, trouble: &mut Trouble) -> Result<bool, IntakeFault> {
        let page = self.client.page();
        let most = trouble.most.map_or(page.events, |most| most.min(page.events));
        let due = self.ledger.due_reads(self.source(), now(), most).await?;
        let due = take(due, page.attributes);
        if due.is_empty() {
            return Ok(false);
        }
        let asked_for = due.clone();
        let read = self.read(due).await;
        if let Err(IntakeFault::Misp(error)) = &read
            && error.may_be_of_one_event()
        {
            // One event can make MISP fail for the whole request. Halves find it.
            trouble.most = Some((asked_for.len() / 2).max(1));
            // Alone in its request, the event itself is at fault. It must not hold up the others.
            if let [alone] = asked_for.as_slice() {
                self.put_off(alone, PATIENCE, &error.to_string()).await?;
            }
        }
        read.map(|()| true)
    }

    async fn read(&self, due: Vec<DueRead>) -> Result<(), IntakeFault> {
        let events: Vec<Uuid> = due.iter().map(|read| read.event).collect();
        let began = SystemTime::now();
        let selected = if self.source.search.is_empty() {
            None
        } else {
            Some(self.client.selected(&self.source.search, &events).await?)
        };
        let mut answer = self.client.read_spooling(&events, &self.data_dir).await?;
        // The key's view may have changed before the answer, which then must not be used.
        self.judge_key().await?;
        // MISP dates its answer and may have read the event when the request began. One second more, since
        // the date has no fractions.
        let lasted = i64::try_from(began.elapsed().unwrap_or_default().as_secs()).unwrap_or(0) + 1;
        let mut request = ReadRequest {
            due: due.into_iter().map(|read| (read.event, read)).collect(),
            selected,
            began,
            date: answer.date.unwrap_or_else(own_clock).saturating_sub(lasted),
        };
        loop {
            match answer.next().await {
                Ok(Some(document)) => self.take(&mut request, document).await,
                Ok(None) => break,
                Err(error @ RestError::TooLarge { event, .. }) => {
                    self.too_large(&mut request, event, &error).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.succeeded().await;
        // Only an answer that came to its end gets here, so an event that is left is truly not in it.
        let missing: Vec<DueRead> = std::mem::take(&mut request.due).into_values().collect();
        self.look_for(&request, missing).await
    }

    async fn take(&self, request: &mut ReadRequest, document: Document) {
        let event = document.event();
        // Removed from `due`, so that what is left at the end is what the answer does not hold.
        let Some(due) = event.and_then(|event| request.due.remove(&event)) else {
            tracing::debug!(
                misp_event = event.map(tracing::field::display),
                "MISP answers with an event that it was not asked for"
            );
            return;
        };
        let selected = request.selected.as_ref().is_none_or(|all| all.contains(&due.event));
        self.hand_over(request, &due, EventAnswer::Event { document, selected }).await;
    }

    /// Hands an answer to the ledger and waits until it is committed, so that at most one is in memory.
    async fn hand_over(&self, request: &ReadRequest, due: &DueRead, answer: EventAnswer) {
        let mut what = What::Read(Read {
            event: due.event,
            began: request.began,
            sequence: due.sequence,
            asked: due.asked,
            attempts: due.attempts,
            confirm: due.confirm,
            backlog: due.is_backlog(),
            date: request.date,
            answer,
        });
        // An answer that took a request to get is worth waiting for, unlike a pushed notice.
        let receipt = loop {
            match self.inbox.offer_and_wait(what, Instant::now()) {
                Ok(receipt) => break receipt,
                Err(full) => what = full.0,
            }
            tokio::time::sleep(INBOX_FULL).await;
        };
        match receipt.await {
            Ok(Receipt::Committed | Receipt::Again) => {}
            Ok(Receipt::Refused | Receipt::Failed) | Err(_) => {
                tracing::debug!(
                    misp_event = %due.event,
                    "An answer is not committed, and is asked for again"
                );
                // The writer logs the ledger's fault. This pause keeps MISP from being asked without end.
                tokio::time::sleep(self.rest.backoff_min).await;
            }
        }
    }

    async fn too_large(
        &self,
        request: &mut ReadRequest,
        event: Option<Uuid>,
        error: &RestError,
    ) -> Result<(), IntakeFault> {
        match event.and_then(|event| request.due.remove(&event)) {
            Some(due) => self.put_off(&due, NO_PATIENCE, &error.to_string()).await,
            None => {
                tracing::error!(
                    event = LogEvent::EventUnreadable.word(),
                    why = %error,
                    "An event cannot be read, and it is not known which"
                );
                Ok(())
            }
        }
    }

    /// Follows up events that the answer does not hold. They count as gone only if MISP says so, the key
    /// still shows the ledger's view, and MISP shows other events.
    async fn look_for(
        &self,
        request: &ReadRequest,
        missing: Vec<DueRead>,
    ) -> Result<(), IntakeFault> {
        const HIDDEN: &str = "MISP knows the event and does not show it whole; look for it in MISP as the key's user";
        let mut gone = Vec::new();
        for due in missing {
            if self.client.is_gone(due.event).await? {
                gone.push(due);
            } else {
                self.put_off(&due, PATIENCE, HIDDEN).await?;
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        // After MISP's answers and before their use: under another view the events may only be hidden.
        self.judge_key().await?;
        let events: Vec<Uuid> = gone.iter().map(|due| due.event).collect();
        let whole = self.shows_others(&events).await?;
        for due in gone {
            if whole {
                self.hand_over(request, &due, EventAnswer::Gone).await
            } else {
                self.put_off(&due, PATIENCE, "MISP shows no event at all").await?
            }
        }
        Ok(())
    }

    /// Puts off a read that told nothing. Each further read of this event comes later than the last one, the
    /// operator is told, and after `patience` reads a resync goes on without the event.
    async fn put_off(&self, due: &DueRead, patience: i64, why: &str) -> Result<(), IntakeFault> {
        let pauses = self.rest.vain_pauses(Ledger::now());
        let vain = Vain { event: due.event, asked: due.asked, why, patience, pauses };
        // `None`: the event was asked for anew meanwhile, so this failure says nothing of that read.
        let Some(times) = self.ledger.put_off_read(self.source(), vain).await? else {
            return Ok(());
        };
        tracing::warn!(
            event = LogEvent::EventUnreadable.word(),
            misp_event = %due.event,
            why,
            times,
            "An event cannot be read, and is tried again later"
        );
        // Equal, not more: the line is logged once for each event.
        if times == patience {
            tracing::error!(
                event = LogEvent::ResyncLeavesOut.word(),
                misp_event = %due.event,
                why,
                "A resync goes on without this event"
            );
        }
        Ok(())
    }
}

/// Returns the reads that go into one request: those as urgent as the first one, up to `attributes` in all.
fn take(due: Vec<DueRead>, attributes: usize) -> Vec<DueRead> {
    let Some(urgency) = due.first().map(|first| first.urgency) else { return due };
    let mut room = i64::try_from(attributes).unwrap_or(i64::MAX);
    let mut first = true;
    due.into_iter()
        .take_while(|read| {
            room = room.saturating_sub(read.weight);
            // The first one always goes, or an event larger than a page would never be read.
            let fits = read.urgency == urgency && (first || room >= 0);
            first = false;
            fits
        })
        .collect()
}
