//! Our HTTP client as the SDK's transport. It reads refusals itself: the SDK cannot read an
//! `error_description` with escapes in it (line breaks, quotes), which Entra sends.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode};
use azure_core::{Error, error::ErrorKind};
use serde::Deserialize;

use super::http::explain;
use super::refusal::Refusal;
use super::token::{SignIn, SignInError};

/// Of an answer's body, bytes.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct OurClient(pub(super) reqwest::Client);

/// What the SDK carries back to us inside its own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    NoAnswer(String),
    #[error("HTTP {status}")]
    Refused { status: u16, body: Vec<u8> },
}

impl Failure {
    pub(super) fn explain(&self, sign_in: &SignIn) -> SignInError {
        match self {
            Self::NoAnswer(why) => {
                SignInError::Unreachable(format!("{}: {why}", sign_in.authority))
            }
            Self::Refused { status, body } => {
                let refusal = Refusal::read(*status, body, sign_in);
                if refusal.may_pass() {
                    SignInError::Unreachable(refusal.to_string())
                } else {
                    SignInError::Refused(refusal)
                }
            }
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(ErrorKind::Other, failure)
    }
}

#[async_trait]
impl HttpClient for OurClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|error| Error::new(ErrorKind::DataConversion, error))?;
        let mut builder = self.0.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            builder = builder.body(bytes.clone());
        }
        let no_answer = |error: reqwest::Error| Failure::NoAnswer(explain(&error));
        let mut response = builder.send().await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::NoAnswer("the answer is too long".to_owned()).into());
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(Failure::Refused { status, body }.into());
        }
        if !holds_token(&body) {
            return Err(Failure::NoAnswer("the answer holds no token".to_owned()).into());
        }
        let headers = headers(response.headers());
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(status), headers, body))
    }
}

/// The SDK takes an answer without a token for an empty token, and caches it.
fn holds_token(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Answer<'b> {
        #[serde(borrow)]
        access_token: Cow<'b, str>,
    }
    serde_json::from_slice::<Answer<'_>>(body).is_ok_and(|answer| !answer.access_token.is_empty())
}

fn headers(map: &reqwest::header::HeaderMap) -> Headers {
    let readable = map.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?.to_owned();
        Some((HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value)))
    });
    Headers::from(readable.collect::<HashMap<_, _>>())
}
