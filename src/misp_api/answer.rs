//! Reads the events of an answer one by one while the answer arrives, so that it is never in memory as a
//! whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::refusal::RestError;
use super::reply::{Arrived, Stream, StreamedReply};
use super::search::{self, Deleted};
use super::transport::{Ask, MispClient, SEARCH};
use crate::document::Document;

/// The answer to [`MispClient::read`](super::MispClient::read), while it arrives.
#[derive(Debug)]
pub struct EventsAnswer {
    /// The time of MISP's clock when the answer began, in Unix seconds. `None`: MISP did not send it.
    pub date: Option<i64>,
    client: MispClient,
    /// The folder in which large events are spooled. `None`: they stay in memory.
    folder: Option<PathBuf>,
    /// The events that were asked for and have not arrived yet.
    missing: HashSet<Uuid>,
    asked: usize,
    /// The number of events in the answer that were not asked for.
    strangers: usize,
    state: AnswerState,
}

#[derive(Debug)]
enum AnswerState {
    /// The first answer, which includes deleted attributes.
    First(Box<Stream>),
    /// The second answer, with the events that the first one did not hold.
    Second(Box<Stream>),
    Ended,
    Failed,
}

impl EventsAnswer {
    pub(super) async fn ask(
        client: MispClient,
        events: &[Uuid],
        folder: Option<&Path>,
    ) -> Result<Self, RestError> {
        let missing: HashSet<Uuid> = events.iter().copied().collect();
        let asked = missing.len();
        // An empty list of uuids is no filter for MISP: it would answer with all events.
        let (date, state) = if missing.is_empty() {
            (None, AnswerState::Ended)
        } else {
            let reply = search(&client, events, Deleted::Shown).await?;
            (reply.date(), AnswerState::First(Box::new(elements(reply, folder))))
        };
        let folder = folder.map(Path::to_owned);
        Ok(Self { date, client, folder, missing, asked, strangers: 0, state })
    }

    /// Returns the JSON of the next event, `{"Event": {…}}`, as it arrived. `None` only after a complete and
    /// well-formed answer.
    ///
    /// # Errors
    /// After [`RestError::TooLarge`] the next call continues with the next event. After any other error every
    /// call fails.
    pub async fn next(&mut self) -> Result<Option<Document>, RestError> {
        loop {
            let found = match &mut self.state {
                AnswerState::First(stream) | AnswerState::Second(stream) => stream.next().await,
                AnswerState::Ended => return Ok(None),
                AnswerState::Failed => return Err(failed_before()),
            };
            let taken = match found {
                Ok(Some(element)) => self.take(element),
                Ok(None) => self.go_on().await.map(|()| None),
                Err(error) => Err(error),
            };
            match taken {
                Ok(None) => {}
                Ok(some) => return Ok(some),
                Err(error) => {
                    if !matches!(error, RestError::TooLarge { .. }) {
                        self.state = AnswerState::Failed;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Accepts an event of the answer. `None`: it was not asked for. MISP also finds events by the uuids of
    /// their attributes, so a few such events are normal.
    fn take(&mut self, element: Arrived) -> Result<Option<Document>, RestError> {
        let event = match element {
            Arrived::Whole(event) => event,
            Arrived::TooLarge(event) => {
                if let Some(event) = event {
                    // It exists, so the second request must not ask for it again.
                    self.missing.remove(&event);
                }
                return Err(RestError::TooLarge { event, most: self.client.max_event() });
            }
        };
        let asked_for = event.event().is_some_and(|uuid| self.missing.remove(&uuid));
        if asked_for {
            return Ok(Some(event));
        }
        // More strangers than requested events mean that MISP did not see the filter.
        self.strangers += 1;
        if self.strangers > self.asked { Err(unasked(&self.client)) } else { Ok(None) }
    }

    /// Asks for the events that are still missing. MISP finds events that have no attributes only if the
    /// request does not include deleted ones.
    async fn go_on(&mut self) -> Result<(), RestError> {
        let was = std::mem::replace(&mut self.state, AnswerState::Ended);
        if matches!(was, AnswerState::First(_)) && !self.missing.is_empty() {
            let missing: Vec<Uuid> = self.missing.iter().copied().collect();
            let reply = search(&self.client, &missing, Deleted::Left).await?;
            self.state = AnswerState::Second(Box::new(elements(reply, self.folder.as_deref())));
        }
        Ok(())
    }
}

async fn search(
    client: &MispClient,
    events: &[Uuid],
    deleted: Deleted,
) -> Result<StreamedReply, RestError> {
    let query = search::events(events, deleted, client.reads_decay());
    client.ask(&Ask::search(query, events.len() > 1)).await
}

fn elements(reply: StreamedReply, folder: Option<&Path>) -> Stream {
    match folder {
        Some(folder) => reply.spooled_elements(folder),
        None => reply.elements(),
    }
}

fn unasked(client: &MispClient) -> RestError {
    let why = "it holds events that were not asked for: something on the way to MISP drops the \
               request's body or its headers Accept and Content-Type";
    client.faults(SEARCH).malformed(why, &[])
}

fn failed_before() -> RestError {
    let url = SEARCH.to_owned();
    RestError::BrokeOff { url, why: "it failed before".to_owned() }
}
