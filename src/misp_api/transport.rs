//! Sends requests to MISP with the auth key, at the allowed pace, and sends them again after failures that
//! may pass.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response};
use serde_json::{Map, Value};

use super::faults::{AnswerFaults, header, wait};
use super::limit::Limit;
use super::pace::Pace;
use super::page::{EventPage, Pages};
use super::refusal::RestError;
use super::reply::StreamedReply;
use crate::config::{Rest, Secret, SharedSecret};
use crate::http::{ClientOptions, HttpError, Trust};
use crate::log_event::{LogEvent, ms};
use crate::metrics;
use crate::pure::backoff::Backoff;

const SECTION: &str = "misp";
pub(super) const SEARCH: &str = "/events/restSearch";

/// A client for one MISP with one key. A clone is cheap and shares the pace.
#[derive(Clone)]
pub struct MispClient(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    /// `host:port` of the proxy on the way, if there is one.
    proxy: Option<String>,
    config: Rest,
    key: SharedSecret,
    /// The key's name in the configuration, for the log.
    key_name: &'static str,
    backoff: Backoff,
    pages: Pages,
    limit: Mutex<Limit>,
    pace: Mutex<Pace>,
}

impl fmt::Debug for MispClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MispClient").field("url", &self.0.config.url).finish_non_exhaustive()
    }
}

/// A request before it gets its key.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<String>,
    /// Whether MISP's rate limit counts the request. It counts only searches.
    is_search: bool,
    /// Whether the caller can ask for less at once. Then a request that took too long is not sent again.
    divisible: bool,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method: Method::GET, path, body: None, is_search: false, divisible: false }
    }

    pub(super) fn search(query: Map<String, Value>, divisible: bool) -> Self {
        let ask = Self::post(SEARCH, &Value::Object(query));
        Self { is_search: true, divisible, ..ask }
    }

    /// A request with a body that is no search.
    pub(super) fn post(path: impl Into<String>, body: &Value) -> Self {
        let (path, body) = (path.into(), Some(body.to_string()));
        Self { method: Method::POST, path, body, is_search: false, divisible: false }
    }
}

impl MispClient {
    /// # Errors
    /// [`HttpError`], each with its remedy.
    pub fn new(config: &Rest) -> Result<Self, HttpError> {
        Self::with_key_of(config, "misp.key")
    }

    /// Makes a client for sightings, with their key in place of that of `config`.
    ///
    /// # Errors
    /// The same.
    pub fn for_sightings(config: &Rest, key: &Secret) -> Result<Self, HttpError> {
        let config = Rest { key: key.clone(), ..config.clone() };
        Self::with_key_of(&config, "misp.sightings.key")
    }

    fn with_key_of(config: &Rest, key_name: &'static str) -> Result<Self, HttpError> {
        header_of(&config.key)?;
        let http = Self::way(config).client_with(|builder| {
            builder.read_timeout(config.request_timeout).default_headers(headers())
        })?;
        let most = EventPage { events: config.page_events, attributes: config.page_attributes };
        let url = config.url.parse().ok();
        Ok(Self(Arc::new(Inner {
            http,
            proxy: url.and_then(|url| Self::way(config).proxy_to(&url)),
            backoff: Backoff::new(config.backoff_min, config.backoff_max),
            key: SharedSecret::new(config.key.clone()),
            key_name,
            pace: Mutex::new(Pace::new(config.requests_per_second)),
            config: config.clone(),
            pages: Pages::new(most),
            limit: Mutex::default(),
        })))
    }

    /// Sends a request, and sends it again where that may help, as often as configured.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<StreamedReply, RestError> {
        let mut failures = 0;
        loop {
            match self.once(ask).await {
                Ok(reply) => return Ok(reply),
                Err(error) if ask.divisible && error.took_long() => return Err(error),
                Err(error) => failures = self.again(failures, error).await?,
            }
        }
    }

    /// Pauses before the next attempt. Returns the error if there must be no further one.
    pub(super) async fn again(&self, failures: u32, error: RestError) -> Result<u32, RestError> {
        let failures = failures + 1;
        if failures > self.0.config.retries || !error.may_pass() {
            return Err(error);
        }
        let pause = self.0.backoff.pause(failures, rand::random());
        tracing::debug!(%error, pause_ms = ms(pause), failures, "MISP is asked again");
        tokio::time::sleep(pause).await;
        Ok(failures)
    }

    pub(super) async fn once(&self, ask: &Ask) -> Result<StreamedReply, RestError> {
        if ask.is_search {
            self.keep_pace().await?;
        }
        let answered = match self.send(ask).await {
            Ok(response) => self.accept(&ask.path, response).await,
            Err(error) => Err(error),
        };
        let outcome = answered.as_ref().map_or_else(RestError::word, |_| "answered");
        metrics::rest_request(self.source(), outcome);
        match answered {
            Err(error) if ask.is_search => self.0.pages.settle(Err(error)),
            other => other,
        }
    }

    /// Sends a request with the key. After a 401 or 403 the key is read again, as it may have been replaced.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response, RestError> {
        let key = self.0.key.now();
        let response = self.send_with(ask, &key).await?;
        if !matches!(response.status().as_u16(), 401 | 403) {
            return Ok(response);
        }
        match self.0.key.other_than(&key, self.0.key_name).await {
            Some(key) => self.send_with(ask, &key).await,
            None => Ok(response),
        }
    }

    async fn send_with(&self, ask: &Ask, key: &Secret) -> Result<Response, RestError> {
        let url = format!("{}{}", self.0.config.url, ask.path);
        let mut request = self.0.http.request(ask.method.clone(), url);
        // A key that no header can hold is left out. MISP then refuses the request for lack of a key.
        if let Ok(key) = header_of(key) {
            request = request.header(AUTHORIZATION, key);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        // The place is taken before the wait, so that concurrent requests queue behind each other.
        let place = self.pace().take(Instant::now());
        tokio::time::sleep(place).await;
        let began = Instant::now();
        let response =
            request.send().await.map_err(|error| self.faults(&ask.path).unanswered(&error))?;
        let (path, status) = (ask.path.as_str(), response.status().as_u16());
        tracing::debug!(path, status, took_ms = ms(began.elapsed()), "MISP answered");
        let told = |name| header(response.headers(), name);
        let (remaining, reset) = (told("X-Rate-Limit-Remaining"), told("X-Rate-Limit-Reset"));
        self.limit().note(remaining, reset, Instant::now());
        Ok(response)
    }

    /// Accepts an answer with status 200. Any other status is an error.
    pub(super) async fn accept(
        &self,
        path: &str,
        response: Response,
    ) -> Result<StreamedReply, RestError> {
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(StreamedReply {
                response,
                faults: self.faults(path),
                pages: self.0.pages.clone(),
                max_event: self.max_event(),
                deadline: tokio::time::Instant::now() + self.0.config.answer_timeout,
            });
        }
        let headers = response.headers();
        let location = headers.get(LOCATION).map(|value| value.as_bytes().to_vec());
        let wait = wait(headers).unwrap_or(self.0.config.backoff_max);
        // The limit is shared: all searches of this client and its clones wait.
        if status == 429 {
            self.limit().refused(wait, Instant::now());
        }
        let faults = self.faults(path);
        let body = faults.beginning(response).await;
        Err(faults.refused(status, location.as_deref(), wait, &body))
    }

    /// Waits if the rate limit ends soon. If it lasts longer, the caller has to wait.
    async fn keep_pace(&self) -> Result<(), RestError> {
        let Some(after) = self.limit().wait(Instant::now()) else { return Ok(()) };
        if after > self.0.config.backoff_max {
            return Err(RestError::RateLimited { after });
        }
        tracing::info!(
            event = LogEvent::MispRateLimited.word(),
            wait_ms = ms(after),
            "MISP's limit on requests is used up, and the relay waits"
        );
        tokio::time::sleep(after).await;
        Ok(())
    }

    /// Returns the name of the source.
    pub fn source(&self) -> &str {
        &self.0.config.source
    }

    /// Returns the context from which the errors of a request to `path` are made.
    pub(super) fn faults(&self, path: &str) -> AnswerFaults {
        let Rest { request_timeout: silence, answer_timeout: whole, .. } = self.0.config;
        let (url, proxy) = (format!("{}{path}", self.0.config.url), self.0.proxy.clone());
        let source = self.source().to_owned();
        AnswerFaults { source, url, proxy, key: self.0.key.now(), silence, whole }
    }

    /// Returns how MISP is reached: authorities, proxy and connect time-out.
    pub fn way(config: &Rest) -> ClientOptions<'_> {
        ClientOptions {
            section: SECTION,
            https_only: config.url.starts_with("https://"),
            trust: if config.verify_tls { Trust::Own } else { Trust::Anything },
            ca_file: config.ca_file.as_deref(),
            proxy: config.proxy.as_deref(),
            connect_timeout: config.connect_timeout,
        }
    }

    /// Returns how much to ask for in the next request.
    pub fn page(&self) -> EventPage {
        self.0.pages.now()
    }

    pub(super) fn max_event(&self) -> usize {
        self.0.config.max_event
    }

    pub(super) fn reads_decay(&self) -> bool {
        self.0.config.decay
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.0.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the headers of every request. Without both types MISP ignores the body and answers everything.
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
