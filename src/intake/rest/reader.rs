//! Works down the ledger's queue of reads: asks for events whole, and hands each answer to the
//! ledger's writer.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use uuid::Uuid;

use super::{Fault, RestIntake, now, own_clock, until};
use crate::ledger::DueRead;
use crate::misp;
use crate::notice::{Answer, Read, Receipt, What};
use crate::rest::RestError;

/// How long the reader sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How long it leaves a full inbox alone.
const INBOX_FULL: Duration = Duration::from_millis(20);

/// How long an event is left alone that MISP neither shows nor denies.
const UNCLEAR: i64 = 60_000;

/// A request about some events.
struct Request {
    due: HashMap<Uuid, DueRead>,
    selected: Option<HashSet<Uuid>>,
    began: SystemTime,
    date: i64,
}

impl RestIntake {
    /// Reads what is due; never ends.
    pub(super) async fn read_due(&self) {
        let mut failures = 0;
        loop {
            let asked = self.ledger.asked();
            tokio::pin!(asked);
            asked.as_mut().enable();
            match self.read_some().await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    let sleep = self.until_next_read().await;
                    tokio::select! {
                        () = asked => {}
                        () = tokio::time::sleep(sleep) => {}
                    }
                }
                Err(fault) => {
                    failures += 1;
                    self.pause(&fault, failures, "read events").await;
                }
            }
        }
    }

    async fn until_next_read(&self) -> Duration {
        let next = self.ledger.next_read(self.source()).await.ok().flatten();
        let due = next.map_or(LONGEST_SLEEP, until);
        due.clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }

    /// One request. Whether anything was due.
    async fn read_some(&self) -> Result<bool, Fault> {
        let page = self.client.page();
        let due = self.ledger.due_reads(self.source(), now(), page.events).await?;
        let due = take(due, page.attributes);
        if due.is_empty() {
            return Ok(false);
        }
        let events: Vec<Uuid> = due.iter().map(|read| read.event).collect();
        let began = SystemTime::now();
        let selected = match self.misp.search.is_empty() {
            true => None,
            false => Some(self.client.selected(&self.misp.search, &events).await?),
        };
        let mut answer = self.client.read(&events).await?;
        let mut request = Request {
            due: due.into_iter().map(|read| (read.event, read)).collect(),
            selected,
            began,
            date: answer.date.unwrap_or_else(own_clock),
        };
        loop {
            match answer.next().await {
                Ok(Some(document)) => self.take(&mut request, document).await,
                Ok(None) => break,
                Err(RestError::TooLarge { event, .. }) => {
                    self.too_large(&mut request, event).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.status.succeeded();
        for read in std::mem::take(&mut request.due).into_values() {
            self.look_for(&request, read).await?;
        }
        Ok(true)
    }

    async fn take(&self, request: &mut Request, document: Bytes) {
        let event = misp::event_uuid(&document);
        let Some(due) = event.and_then(|event| request.due.remove(&event)) else {
            tracing::debug!(?event, "MISP answers with an event that was not asked for");
            return;
        };
        let selected = request.selected.as_ref().is_none_or(|all| all.contains(&due.event));
        self.hand_over(request, &due, Answer::Event { document, selected }).await;
    }

    /// Waits until the answer is committed: at most one is in memory.
    async fn hand_over(&self, request: &Request, due: &DueRead, answer: Answer) {
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
                tracing::debug!(event = %due.event, "an answer is not committed: asked for again");
                // The ledger's fault is told by the writer; this keeps from asking without pause.
                tokio::time::sleep(self.rest.backoff_min).await;
            }
        }
    }

    async fn too_large(&self, request: &mut Request, event: Option<Uuid>) -> Result<(), Fault> {
        let due = event.and_then(|event| request.due.remove(&event));
        tracing::error!(
            ?event,
            "an event is larger than misp.rest.max_event and is not read: raise it"
        );
        if let Some(due) = due {
            self.ledger.give_up_read(self.source(), due.event, due.asked).await?;
        }
        Ok(())
    }

    /// The answer does not hold the event: either there is none, or the listing ended early.
    async fn look_for(&self, request: &Request, due: DueRead) -> Result<(), Fault> {
        if self.client.is_gone(due.event).await? {
            self.hand_over(request, &due, Answer::Gone).await;
            return Ok(());
        }
        tracing::warn!(event = %due.event, "MISP knows the event and did not show it: asked for again");
        self.ledger.put_off_read(self.source(), due.event, now() + UNCLEAR).await?;
        Ok(())
    }
}

/// What goes into one request: reads of the same urgency as the first, as many as `attributes` allow.
fn take(due: Vec<DueRead>, attributes: usize) -> Vec<DueRead> {
    let Some(backlog) = due.first().map(DueRead::is_backlog) else { return due };
    let mut room = i64::try_from(attributes).unwrap_or(i64::MAX);
    let mut first = true;
    due.into_iter()
        .take_while(|read| {
            room = room.saturating_sub(read.weight);
            let fits = read.is_backlog() == backlog && (first || room >= 0);
            first = false;
            fits
        })
        .collect()
}
