//! Lets the Azure SDK send its requests through our HTTP client. Refusals are read here, because the SDK
//! cannot parse an `error_description` with escapes, which Entra sends. Their error is of a kind that the SDK
//! does not retry, so each sign-in is one request.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode, Url};
use azure_core::{Error, error::ErrorKind};
use serde::Deserialize;

use super::http::{read, silence, way};
use super::refusal::{RefusedAnswer, SignInError};
use super::reply::Reply;
use super::sign_in::Who;
use crate::config::Azure;

/// The longest body of an answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The longest lifetime that is accepted, in seconds. No token lasts longer than a year.
const LONGEST_LIFE: f64 = 366.0 * 86_400.0;

/// The address at which the SDK always asks the metadata service.
const METADATA_HOST: &str = "169.254.169.254";

#[derive(Debug)]
pub(super) struct OurClient {
    pub(super) http: reqwest::Client,
    pub(super) who: Who,
    /// The URL at which the metadata service is asked. Its client must not use a proxy.
    pub(super) metadata: Option<Url>,
    /// How Azure is reached, for errors.
    pub(super) azure: Azure,
}

impl OurClient {
    /// Returns the URL that is really asked: the configured endpoint in place of the metadata service's.
    fn address(&self, asked: &Url) -> Url {
        let mut address = asked.clone();
        if let Some(endpoint) = &self.metadata
            && asked.host_str() == Some(METADATA_HOST)
        {
            address = endpoint.clone();
            address.set_path(asked.path());
            address.set_query(asked.query());
        }
        address
    }
}

#[async_trait]
impl HttpClient for OurClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|error| Error::new(ErrorKind::DataConversion, error))?;
        let address = self.address(request.url());
        let mut builder = self.http.request(method, address.clone());
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            builder = builder.body(bytes.clone());
        }
        let who = self.who;
        let silent = |why: &str| {
            let address = address.origin().ascii_serialization();
            SignInError::Unreachable(format!("{who} cannot be used at {address}: {why}"))
        };
        let no_answer = |error: reqwest::Error| {
            let proxy = self.metadata.is_none().then(|| way(&self.azure).proxy_to(&address));
            let proxy = proxy.flatten();
            SignInError::Unreachable(silence(&who.to_string(), &address, proxy.as_deref(), &error))
        };
        let response = builder.send().await.map_err(no_answer)?;
        let headers = headers(response.headers());
        let Reply { status, body, is_cut, .. } =
            read(response, MAX_ANSWER).await.map_err(no_answer)?;
        if is_cut {
            return Err(silent("the answer is too long").into());
        }
        // The SDK's client must see this 401 itself, because its header says where to sign in.
        let is_challenge = who == Who::KeyVault && status == 401;
        if !(200..=299).contains(&status) && !is_challenge {
            return Err(Error::new(ErrorKind::Other, RefusedAnswer { who, status, body }));
        }
        if who != Who::KeyVault {
            let answer: Option<TokenAnswer<'_>> = serde_json::from_slice(&body).ok();
            // The SDK would take an answer without a token for an empty token, and cache it.
            let token = answer.filter(|answer| !answer.access_token.is_empty());
            let token = token.ok_or_else(|| silent("the answer holds no token"))?;
            if who == Who::Entra {
                check_lifetime(&token.expires_in)?;
            }
        }
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(status), headers, body))
    }
}

#[derive(Deserialize)]
struct TokenAnswer<'b> {
    #[serde(borrow)]
    access_token: Cow<'b, str>,
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// Checks a token's lifetime. The SDK reads a missing one as zero, and panics if it exceeds the calendar.
fn check_lifetime(expires_in: &serde_json::Value) -> Result<(), SignInError> {
    let why = match expires_in.as_f64() {
        Some(seconds) if (1.0..=LONGEST_LIFE).contains(&seconds) => return Ok(()),
        Some(_) => format!("Entra says that it lasts {expires_in} s"),
        None => "Entra does not say how long it lasts (expires_in)".to_owned(),
    };
    Err(SignInError::Unusable(format!("{why}; check whether a proxy answers in Entra's place")))
}

fn headers(map: &reqwest::header::HeaderMap) -> Headers {
    let readable = map.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?.to_owned();
        Some((HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value)))
    });
    Headers::from(readable.collect::<HashMap<_, _>>())
}
