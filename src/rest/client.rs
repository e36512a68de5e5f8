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
use super::heads::{self, Heads};
use super::key::Key;
use super::limit::{Limit, Told};
use super::page::{Page, Pages};
use super::refusal::{self, RestError, Said};
use super::reply::{Reply, header};
use super::search;
use crate::config::Rest;
use crate::deliver::backoff::Backoff;
use crate::http::{HttpError, Trust, Way, certificate_error, chain};

const SECTION: &str = "misp";
pub(super) const SEARCH: &str = "/events/restSearch";

/// A client of one MISP with one key. Cloning it is cheap, and clones share the pace.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    config: Rest,
    backoff: Backoff,
    pages: Mutex<Pages>,
    limit: Mutex<Limit>,
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
    body: Option<Vec<u8>>,
    /// The caller can ask for less at once: what was too much is not repeated as it was.
    divisible: bool,
}

impl Ask {
    fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, divisible: false }
    }

    pub(super) fn search(query: &Map<String, Value>, divisible: bool) -> Self {
        let body = serde_json::to_vec(query).unwrap_or_default();
        Self { method: Method::POST, path: SEARCH.to_owned(), body: Some(body), divisible }
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
        let way = Way {
            section: SECTION,
            https_only: config.url.starts_with("https://"),
            trust: if config.verify_tls { Trust::Own } else { Trust::Anything },
            ca_file: config.ca_file.as_deref(),
            proxy: config.proxy.as_deref(),
            connect_timeout: config.connect_timeout,
        };
        let builder = way.builder()?.read_timeout(config.request_timeout);
        let client = builder.default_headers(headers(config)?).build();
        let http =
            client.map_err(|error| HttpError::Tls { section: SECTION, why: chain(&error) })?;
        let most = Page { events: config.page_events, attributes: config.page_attributes };
        Ok(Self(Arc::new(Inner {
            http,
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            config: config.clone(),
            pages: Mutex::new(Pages::new(most)),
            limit: Mutex::default(),
        })))
    }

    /// Who the key belongs to.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Refused`] if MISP does not take the key.
    pub async fn key(&self) -> Result<Key, RestError> {
        const PATH: &str = "/users/view/me";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        Key::read(&answer).ok_or_else(|| self.malformed(PATH, "no user and role in it", &[]))
    }

    /// MISP's version, e.g. `2.5.1`.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn version(&self) -> Result<String, RestError> {
        const PATH: &str = "/servers/getVersion";
        let answer = self.ask(&Ask::get(PATH)).await?.json().await?;
        let version = answer.get("version").and_then(Value::as_str).map(str::to_owned);
        version.ok_or_else(|| self.malformed(PATH, "no version in it", &[]))
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
            let ask = Ask::search(&search::selected(search, chunk), false);
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
            let response = match self.send(&Ask::get(path.as_str())).await {
                Ok(response) if response.status() == 404 => {
                    let body = beginning(response).await;
                    if refusal::is_no_such_event(&path, &body) {
                        return Ok(true);
                    }
                    Err(self.refusal(&path, 404, None, self.0.config.backoff_max, &body))
                }
                Ok(response) => self.accept(&path, response).await,
                Err(error) => Err(error),
            };
            match response {
                Ok(reply) => return reply.begins_as_json().await.map(|()| false),
                Err(error) => failures = self.again(failures, error).await?,
            }
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
                Err(error) if ask.divisible && error.is_too_much() => return Err(error),
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
        if answered.as_ref().is_err_and(|error| ask.is_search() && error.is_too_much()) {
            self.pages().failed();
        }
        answered
    }

    async fn send(&self, ask: &Ask) -> Result<Response, RestError> {
        let url = format!("{}{}", self.0.config.url, ask.path);
        let mut request = self.0.http.request(ask.method.clone(), url);
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let began = Instant::now();
        let response = request.send().await.map_err(|error| self.unanswered(&ask.path, &error))?;
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
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        let wait = wait(headers).unwrap_or(self.0.config.backoff_max);
        if status == 429 {
            self.limit().refused(wait, Instant::now());
        }
        let body = beginning(response).await;
        Err(self.refusal(path, status, location.as_deref(), wait, &body))
    }

    fn refusal(
        &self,
        path: &str,
        status: u16,
        location: Option<&str>,
        wait: Duration,
        body: &[u8],
    ) -> RestError {
        let body = self.without_key(body);
        refusal::refusal(&Said { path, status, location, wait, body: &body })
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

    /// No answer began.
    fn unanswered(&self, path: &str, error: &reqwest::Error) -> RestError {
        let (path, why) = (path.to_owned(), chain(error));
        if let Some(certificate) = certificate_error(error) {
            let advice = remedy(certificate);
            return RestError::Untrusted { path, why, advice };
        }
        match error.is_timeout() && !error.is_connect() {
            true => RestError::Silent { path, waited: self.0.config.request_timeout },
            false => RestError::Unreachable { path, why },
        }
    }

    /// The answer broke off.
    pub(super) fn broken(&self, path: &str, error: &reqwest::Error) -> RestError {
        let path = path.to_owned();
        if !error.is_timeout() {
            return RestError::BrokeOff { path, why: chain(error) };
        }
        self.pages().failed();
        RestError::Silent { path, waited: self.0.config.request_timeout }
    }

    /// `body`: as much of it as is there; a web page is named as such.
    pub(super) fn malformed(&self, path: &str, why: &str, body: &[u8]) -> RestError {
        let body = self.without_key(body);
        let path = path.to_owned();
        if refusal::is_html(&body) {
            return RestError::Html { path, status: 200, title: refusal::title(&body) };
        }
        let why = match refusal::words(&body) {
            Some(words) => format!("{why} ({words})"),
            None => why.to_owned(),
        };
        RestError::Malformed { path, why }
    }

    /// Some proxies show the request in their error pages.
    fn without_key(&self, body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(body);
        text.replace(self.0.config.key.expose(), "[redacted]").into_bytes()
    }

    pub(super) fn managed(&self) {
        self.pages().succeeded();
    }

    pub(super) fn max_event(&self) -> usize {
        self.0.config.max_event
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.0.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On every request: without both types MISP gives everything, whatever the body says.
fn headers(config: &Rest) -> Result<HeaderMap, HttpError> {
    let mut key = HeaderValue::from_str(config.key.expose())
        .map_err(|_| HttpError::Key { section: SECTION })?;
    key.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    Ok(HeaderMap::from_iter([(AUTHORIZATION, key), (ACCEPT, json.clone()), (CONTENT_TYPE, json)]))
}

/// As an answer of 429 says; MISP gives no `Retry-After`, but a proxy may.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds: Option<u64> =
        header(headers, "X-Rate-Limit-Reset").or_else(|| header(headers, "Retry-After"));
    seconds.map(Duration::from_secs)
}

/// As much of a refusal's body as is worth reading.
async fn beginning(mut response: Response) -> Vec<u8> {
    const MOST: usize = 16 << 10;
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= MOST {
            break;
        }
    }
    body
}

fn remedy(certificate: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Cause;
    if matches!(certificate, Cause::NotValidForName | Cause::NotValidForNameContext { .. }) {
        return "write the name that it was issued for into misp.url, or put the certificate itself \
                into misp.ca_file";
    }
    if matches!(certificate, Cause::Expired | Cause::ExpiredContext { .. }) {
        return "renew it, and look at the clocks";
    }
    "put the authority that signed it, or the certificate itself, into misp.ca_file (PEM)"
}
