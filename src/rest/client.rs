//! Asks MISP: what it says at once, with retries of what may pass, and the pace that it asks for.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::Answer;
use super::faults::{self, Faults};
use super::heads::{self, Heads};
use super::key::Key;
use super::limit::{Limit, Told};
use super::pace::Pace;
use super::page::{Page, Pages};
use super::refusal::{self, RestError};
use super::reply::{Reply, header};
use super::search;
use crate::config::{Held, Rest, Secret};
use crate::http::{HttpError, Trust, Way, chain};
use crate::metrics;
use crate::pure::backoff::Backoff;

const SECTION: &str = "misp";
pub(super) const SEARCH: &str = "/events/restSearch";

/// A client of one MISP with one key. Cloning it is cheap, and clones share the pace.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    config: Rest,
    key: Held,
    backoff: Backoff,
    pages: Mutex<Pages>,
    limit: Mutex<Limit>,
    pace: Mutex<Pace>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.config.url).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<String>,
    /// The caller can ask for less at once: what took too long is not repeated as it was.
    divisible: bool,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, divisible: false }
    }

    pub(super) fn search(query: Map<String, Value>, divisible: bool) -> Self {
        let body = Some(Value::Object(query).to_string());
        Self { method: Method::POST, path: SEARCH.to_owned(), body, divisible }
    }

    /// MISP counts searches, and nothing else.
    fn is_search(&self) -> bool {
        self.body.is_some()
    }
}

impl Client {
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn new(config: &Rest) -> Result<Self, HttpError> {
        let builder = Self::way(config).builder()?.read_timeout(config.request_timeout);
        header_of(&config.key)?;
        let client = builder.default_headers(headers()).build();
        let http =
            client.map_err(|error| HttpError::Tls { section: SECTION, why: chain(&error) })?;
        let most = Page { events: config.page_events, attributes: config.page_attributes };
        Ok(Self(Arc::new(Inner {
            http,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            key: Held::new(config.key.clone()),
            pace: Mutex::new(Pace::new(config.requests_per_second)),
            config: config.clone(),
            pages: Mutex::new(Pages::new(most)),
            limit: Mutex::default(),
        })))
    }

    /// How MISP is reached.
    #[must_use]
    pub fn way(config: &Rest) -> Way<'_> {
        Way {
            section: SECTION,
            https_only: config.url.starts_with("https://"),
            trust: if config.verify_tls { Trust::Own } else { Trust::Anything },
            ca_file: config.ca_file.as_deref(),
            proxy: config.proxy.as_deref(),
            connect_timeout: config.connect_timeout,
        }
    }

    /// Who the key belongs to.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Refused`] if MISP does not take the key.
    pub async fn key(&self) -> Result<Key, RestError> {
        const PATH: &str = "/users/view/me";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        Key::read(&answer).ok_or_else(|| self.faults(PATH).malformed("no user and role in it", &[]))
    }

    /// MISP's version, e.g. `2.5.1`.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn version(&self) -> Result<String, RestError> {
        const PATH: &str = "/servers/getVersion";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        let version = answer.get("version").and_then(Value::as_str).map(str::to_owned);
        version.ok_or_else(|| self.faults(PATH).malformed("no version in it", &[]))
    }

    /// A setting of MISP's, e.g. `Plugin.ZeroMQ_enable`; only a site administrator may see it.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn setting(&self, name: &str) -> Result<Value, RestError> {
        let path = format!("/servers/getSetting/{name}");
        let mut answer = self.ask(&Ask::get(path.as_str())).await?.json().await?;
        let value = answer.get_mut("value").map(Value::take);
        value.ok_or_else(|| self.faults(&path).malformed("no value in it", &[]))
    }

    /// The heads of the events that `query` (parameters of restSearch) finds, page by page, in the
    /// order of their ids.
    #[must_use]
    pub fn heads(&self, query: Map<String, Value>) -> Heads {
        Heads::new(self.clone(), query)
    }

    /// Whole events: live and deleted attributes, `to_ids` or not, published or not. What the
    /// answer does not hold does not exist, or is not for this key to see.
    ///
    /// # Errors
    /// [`RestError`] of the request; what goes wrong later, [`Answer::next`] tells.
    pub async fn read(&self, events: &[Uuid]) -> Result<Answer, RestError> {
        Answer::ask(self.clone(), events).await
    }

    /// Which of these events the search (the operator's `misp.search`) selects.
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

    /// Whether MISP says that there is no such event, or none for this key. A web page, or a
    /// "not found" of something in front of MISP, does not say so.
    ///
    /// # Errors
    /// [`RestError`], also for any answer that is neither an event nor MISP's 404.
    pub async fn is_gone(&self, event: Uuid) -> Result<bool, RestError> {
        let path = format!("/events/view/{event}");
        let mut failures = 0;
        loop {
            let exists = match self.send(&Ask::get(path.as_str())).await {
                Ok(response) => self.exists(&path, response).await,
                Err(error) => Err(error),
            };
            metrics::rest_request(exists.as_ref().map_or_else(RestError::word, |_| "answered"));
            match exists {
                Ok(exists) => return Ok(!exists),
                Err(error) => failures = self.again(failures, error).await?,
            }
        }
    }

    async fn exists(&self, path: &str, response: Response) -> Result<bool, RestError> {
        if response.status() != 404 {
            return self.accept(path, response).await?.begins_as_json().await.map(|()| true);
        }
        let body = faults::beginning(response, self.0.config.request_timeout).await;
        match refusal::is_no_such_event(path, &body) {
            true => Ok(false),
            false => Err(self.faults(path).refused(404, None, Duration::ZERO, &body)),
        }
    }

    /// How much to ask for at once now.
    #[must_use]
    pub fn page(&self) -> Page {
        self.pages().now()
    }

    /// Asks, and asks again where that may help, as often as configured.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, RestError> {
        let mut failures = 0;
        loop {
            match self.once(ask).await {
                Ok(reply) => return Ok(reply),
                Err(error) if ask.divisible && error.took_long() => return Err(error),
                Err(error) => failures = self.again(failures, error).await?,
            }
        }
    }

    /// Pauses before the next attempt, if there is to be one.
    pub(super) async fn again(&self, failures: u32, error: RestError) -> Result<u32, RestError> {
        let failures = failures + 1;
        if failures > self.0.config.retries || !error.may_pass() {
            return Err(error);
        }
        let pause = self.0.backoff.pause(failures, rand::random());
        tracing::debug!(%error, ?pause, failures, "MISP is asked again");
        tokio::time::sleep(pause).await;
        Ok(failures)
    }

    pub(super) async fn once(&self, ask: &Ask) -> Result<Reply, RestError> {
        if ask.is_search() {
            self.keep_pace().await?;
        }
        let answered = match self.send(ask).await {
            Ok(response) => self.accept(&ask.path, response).await,
            Err(error) => Err(error),
        };
        metrics::rest_request(answered.as_ref().map_or_else(RestError::word, |_| "answered"));
        match answered {
            Err(error) if ask.is_search() => self.settle(Err(error)),
            other => other,
        }
    }

    /// A refused key may be another one by now.
    async fn send(&self, ask: &Ask) -> Result<Response, RestError> {
        let key = self.0.key.now();
        let response = self.send_with(ask, &key).await?;
        if !matches!(response.status().as_u16(), 401 | 403) {
            return Ok(response);
        }
        match self.0.key.other_than(&key, "misp.key").await {
            Some(key) => self.send_with(ask, &key).await,
            None => Ok(response),
        }
    }

    async fn send_with(&self, ask: &Ask, key: &Secret) -> Result<Response, RestError> {
        let url = format!("{}{}", self.0.config.url, ask.path);
        let mut request = self.0.http.request(ask.method.clone(), url);
        // One that no header may hold is refused by MISP for want of it.
        if let Ok(key) = header_of(key) {
            request = request.header(AUTHORIZATION, key);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let place = self.pace().take(Instant::now());
        tokio::time::sleep(place).await;
        let began = Instant::now();
        let response =
            request.send().await.map_err(|error| self.faults(&ask.path).unanswered(&error))?;
        let (path, status) = (ask.path.as_str(), response.status().as_u16());
        tracing::debug!(path, status, elapsed = ?began.elapsed(), "MISP answered");
        let headers = response.headers();
        let (remaining, reset) =
            (header(headers, "X-Rate-Limit-Remaining"), header(headers, "X-Rate-Limit-Reset"));
        self.limit().note(Told { remaining, reset }, Instant::now());
        Ok(response)
    }

    /// Everything but 200 is an error.
    async fn accept(&self, path: &str, response: Response) -> Result<Reply, RestError> {
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(Reply::new(self.clone(), path.to_owned(), response));
        }
        let headers = response.headers();
        let location = headers.get(LOCATION).map(|value| value.as_bytes().to_vec());
        let wait = faults::wait(headers).unwrap_or(self.0.config.backoff_max);
        if status == 429 {
            self.limit().refused(wait, Instant::now());
        }
        let body = faults::beginning(response, self.0.config.request_timeout).await;
        Err(self.faults(path).refused(status, location.as_deref(), wait, &body))
    }

    /// Waits for a limit that is nearly over; one that lasts longer is the caller's to wait for.
    async fn keep_pace(&self) -> Result<(), RestError> {
        let Some(after) = self.limit().wait(Instant::now()) else { return Ok(()) };
        if after > self.0.config.backoff_max {
            return Err(RestError::RateLimited { after });
        }
        tracing::info!(?after, "MISP's rate limit is used up: waiting");
        tokio::time::sleep(after).await;
        Ok(())
    }

    /// What goes wrong at a path, in words.
    pub(super) fn faults<'a>(&'a self, path: &'a str) -> Faults<'a> {
        let Rest { request_timeout, answer_timeout, .. } = self.0.config;
        Faults { path, key: self.0.key.now(), silence: request_timeout, whole: answer_timeout }
    }

    /// An answer was read to its end, or broke off.
    pub(super) fn settle<T>(&self, ended: Result<T, RestError>) -> Result<T, RestError> {
        match &ended {
            Ok(_) => self.pages().succeeded(),
            Err(error) if error.is_too_much() => self.pages().failed(),
            Err(_) => {}
        }
        ended
    }

    /// When an answer that begins now must have ended.
    pub(super) fn answer_deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.0.config.answer_timeout
    }

    pub(super) fn max_event(&self) -> usize {
        self.0.config.max_event
    }

    pub(super) fn reads_decay(&self) -> bool {
        self.0.config.decay
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.0.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On every request: without both types MISP gives everything, whatever the body says.
fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)])
}

fn header_of(key: &Secret) -> Result<HeaderValue, HttpError> {
    let mut key =
        HeaderValue::from_str(key.expose()).map_err(|_| HttpError::Key { section: SECTION })?;
    key.set_sensitive(true);
    Ok(key)
}
