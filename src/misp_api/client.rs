//! The questions that a `MispClient` can ask: who owns the auth key, MISP's version and settings, the heads
//! of events, whole events, and whether an event is gone. `transport` sends the requests.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Response;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::EventsAnswer;
use super::heads::{self, Heads};
use super::key::Key;
use super::refusal::{self, RestError};
use super::search;
use super::transport::{Ask, MispClient};
use crate::metrics;

impl MispClient {
    /// Asks for the user to whom the key belongs.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Refused`] if MISP does not take the key.
    pub async fn key(&self) -> Result<Key, RestError> {
        const PATH: &str = "/users/view/me";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        Key::read(&answer).ok_or_else(|| self.faults(PATH).malformed("no user and role in it", &[]))
    }

    /// Asks for MISP's version, e.g. `2.5.1`.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn version(&self) -> Result<String, RestError> {
        const PATH: &str = "/servers/getVersion";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        let version = answer.get("version").and_then(Value::as_str).map(str::to_owned);
        version.ok_or_else(|| self.faults(PATH).malformed("no version in it", &[]))
    }

    /// Asks for a setting of MISP, e.g. `Plugin.ZeroMQ_enable`. Only a site administrator may read it.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn setting(&self, name: &str) -> Result<Value, RestError> {
        let path = format!("/servers/getSetting/{name}");
        let mut answer = self.ask(&Ask::get(path.as_str())).await?.json().await?;
        let value = answer.get_mut("value").map(Value::take);
        value.ok_or_else(|| self.faults(&path).malformed("no value in it", &[]))
    }

    /// Returns the heads of the events that `query` (parameters of restSearch) finds, page by page and in the
    /// order of their ids.
    pub fn heads(&self, query: Map<String, Value>) -> Heads {
        Heads::new(self.clone(), query)
    }

    /// Asks for whole events: live and deleted attributes, with and without `to_ids`, published or not. An
    /// event that the answer does not hold does not exist, or the key may not see it.
    ///
    /// # Errors
    /// [`RestError`] of the request. [`EventsAnswer::next`] returns errors that occur later.
    pub async fn read(&self, events: &[Uuid]) -> Result<EventsAnswer, RestError> {
        EventsAnswer::ask(self.clone(), events, None).await
    }

    /// Asks for whole events as [`MispClient::read`] does. Large ones are written to spools in `folder`, and are
    /// never in memory as a whole.
    ///
    /// # Errors
    /// As of [`MispClient::read`].
    pub async fn read_spooling(
        &self,
        events: &[Uuid],
        folder: &Path,
    ) -> Result<EventsAnswer, RestError> {
        EventsAnswer::ask(self.clone(), events, Some(folder)).await
    }

    /// Asks which of these events match `search`, the operator's `misp.search`.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn selected(
        &self,
        search: &Map<String, Value>,
        events: &[Uuid],
    ) -> Result<HashSet<Uuid>, RestError> {
        let asked: HashSet<Uuid> = events.iter().copied().collect();
        let mut selected = HashSet::new();
        let mut rest = events;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(self.page().events.min(rest.len()));
            rest = behind;
            let ask = Ask::search(search::selected(search, chunk), false);
            let mut stream = self.ask(&ask).await?.elements();
            while let Some(element) = stream.next().await? {
                selected.extend(heads::uuid(&element).filter(|uuid| asked.contains(uuid)));
            }
        }
        Ok(selected)
    }

    /// Asks whether an event does not exist, or not for this key. Only MISP's own 404 counts: a web page or a
    /// 404 of a proxy is an error.
    ///
    /// # Errors
    /// [`RestError`], also if the answer is neither an event nor MISP's 404.
    pub async fn is_gone(&self, event: Uuid) -> Result<bool, RestError> {
        let path = format!("/events/view/{event}");
        let mut failures = 0;
        loop {
            let exists = match self.send(&Ask::get(path.as_str())).await {
                Ok(response) => self.exists(&path, response).await,
                Err(error) => Err(error),
            };
            let outcome = exists.as_ref().map_or_else(RestError::word, |_| "answered");
            metrics::rest_request(self.source(), outcome);
            match exists {
                Ok(exists) => return Ok(!exists),
                Err(error) => failures = self.again(failures, error).await?,
            }
        }
    }

    async fn exists(&self, path: &str, response: Response) -> Result<bool, RestError> {
        // `accept` makes an error of every status but 200, so only an event counts as existing.
        if response.status() != 404 {
            return self.accept(path, response).await?.begins_as_json().await.map(|()| true);
        }
        let faults = self.faults(path);
        let body = faults.beginning(response).await;
        if refusal::is_no_such_event(path, &body) {
            Ok(false)
        } else {
            Err(faults.refused(404, None, Duration::ZERO, &body))
        }
    }
}
