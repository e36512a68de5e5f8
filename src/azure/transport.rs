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

use super::http::explain;
use super::refusal::{SignInError, SignInRefusal};
use super::sign_in::{SignIn, Who};

/// Of an answer's body, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Seconds: no token lasts longer than a year.
const LONGEST_LIFE: f64 = 366.0 * 86_400.0;

/// The address that the SDK knows of the metadata service.
const METADATA_HOST: &str = "169.254.169.254";

#[derive(Debug)]
pub(super) struct OurClient {
    pub(super) http: reqwest::Client,
    pub(super) asks: Addressee,
}

#[derive(Debug)]
pub(super) enum Addressee {
    Entra,
    /// Where the metadata service is. The client must be one that uses no proxy.
    Metadata(Url),
    /// Its refusals are the SDK's to read: one is the challenge that tells where to sign in.
    KeyVault,
}

/// What the SDK carries back to us inside its own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportFailure {
    #[error("{why}")]
    NoAnswer { who: Who, address: String, why: String },
    #[error("HTTP {status}")]
    Refused { who: Who, status: u16, body: Vec<u8> },
    /// A token came that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Nobody was asked: what is here is not enough.
    #[error("{0}")]
    Settings(String),
}

impl TransportFailure {
    pub(super) fn explain(&self, sign_in: &SignIn) -> SignInError {
        match self {
            Self::NoAnswer { who, address, why } => {
                SignInError::Unreachable(format!("{who} cannot be reached: {address}: {why}"))
            }
            Self::Refused { who, status, body } => {
                let refusal = SignInRefusal::read(*who, *status, body, sign_in);
                if refusal.may_pass() {
                    SignInError::Unreachable(format!("{who} cannot be reached: {refusal}"))
                } else {
                    SignInError::Refused(refusal)
                }
            }
            Self::Unusable(why) => SignInError::Unusable(why.clone()),
            Self::Settings(why) => SignInError::Settings(why.clone()),
        }
    }
}

impl From<TransportFailure> for Error {
    fn from(failure: TransportFailure) -> Self {
        Self::new(ErrorKind::Other, failure)
    }
}

impl OurClient {
    fn who(&self) -> Who {
        match self.asks {
            Addressee::Entra => Who::Entra,
            Addressee::Metadata(_) => Who::ManagedIdentity,
            Addressee::KeyVault => Who::KeyVault,
        }
    }

    /// Where the request goes in truth.
    fn address(&self, asked: &Url) -> Url {
        let mut address = asked.clone();
        if let Addressee::Metadata(endpoint) = &self.asks
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
        let silent = |why: String| {
            let address = address.origin().ascii_serialization();
            TransportFailure::NoAnswer { who: self.who(), address, why }
        };
        let no_answer = |error: reqwest::Error| silent(explain(&error));
        let mut response = builder.send().await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(silent("the answer is too long".to_owned()).into());
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status().as_u16();
        let is_challenge = matches!(self.asks, Addressee::KeyVault) && status == 401;
        if !response.status().is_success() && !is_challenge {
            return Err(TransportFailure::Refused { who: self.who(), status, body }.into());
        }
        match self.asks {
            Addressee::KeyVault => {}
            _ if !holds_token(&body) => {
                return Err(silent("the answer holds no token".to_owned()).into());
            }
            Addressee::Metadata(_) => {}
            Addressee::Entra => check_lifetime(&body)?,
        }
        let headers = headers(response.headers());
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(status), headers, body))
    }
}

/// The SDK takes an answer without a token for an empty token, and caches it.
fn holds_token(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct TokenAnswer<'b> {
        #[serde(borrow)]
        access_token: Cow<'b, str>,
    }
    serde_json::from_slice(body).is_ok_and(|TokenAnswer { access_token }| !access_token.is_empty())
}

/// The SDK takes a missing lifetime for none, and panics over one that reaches beyond the calendar.
fn check_lifetime(body: &[u8]) -> Result<(), TransportFailure> {
    #[derive(Deserialize)]
    struct LifetimeAnswer {
        #[serde(default)]
        expires_in: serde_json::Value,
    }
    let Ok(LifetimeAnswer { expires_in }) = serde_json::from_slice(body) else { return Ok(()) };
    let why = match expires_in.as_f64() {
        Some(seconds) if (1.0..=LONGEST_LIFE).contains(&seconds) => return Ok(()),
        Some(_) => format!("Entra says that it lasts {expires_in} s"),
        None => "Entra does not say how long it lasts (expires_in)".to_owned(),
    };
    let why = format!("{why}; look whether a proxy answers in Entra's place");
    Err(TransportFailure::Unusable(why))
}

fn headers(map: &reqwest::header::HeaderMap) -> Headers {
    let readable = map.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?.to_owned();
        Some((HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value)))
    });
    Headers::from(readable.collect::<HashMap<_, _>>())
}
