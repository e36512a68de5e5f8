//! Sends one upload request and returns the answer as it came. It knows HTTP and decides nothing. The request
//! is `POST {endpoint}{path}?api-version={api_version}`, in the form of one of Sentinel's upload APIs (see
//! [`Api`]).

use std::time::Duration;

use axum::body::Bytes;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::outcome::NoReply;
use crate::azure::http::{exchange, silence, way};
use crate::azure::reply::Reply;
use crate::config::{Api, Azure, Secret, Target};

/// The most bytes of an answer's body. A longer body is cut and not refused: the status still counts, and the
/// start of the body names records.
const MAX_ANSWER: usize = 1 << 20;

/// The upload address of a target.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    timeout: Duration,
    /// `host:port` of the proxy on the way, if there is one.
    proxy: Option<String>,
}

/// The error if endpoint and path of a target make no https address.
#[derive(Debug, thiserror::Error)]
#[error("target {target}: {address} is no https address ({why}); check endpoint and path")]
pub struct BadEndpoint {
    target: String,
    address: String,
    why: String,
}

impl Client {
    /// Makes a client for `target`; `timeout` is for one request, from connect to the answer's last byte.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn new(
        http: reqwest::Client,
        azure: &Azure,
        target: &Target,
        timeout: Duration,
    ) -> Result<Self, BadEndpoint> {
        let path = target.path.replace("{workspace_id}", &target.workspace_id.to_string());
        let endpoint = target.endpoint.trim_end_matches('/');
        let address = format!("{endpoint}/{}", path.trim_start_matches('/'));
        let wrong = |why: String| BadEndpoint {
            target: target.name.clone(),
            address: address.clone(),
            why,
        };
        let mut url = Url::parse(&address).map_err(|error| wrong(error.to_string()))?;
        if url.scheme() != "https" {
            return Err(wrong("the scheme is not https".to_owned()));
        }
        if !target.api_version.is_empty() {
            url.query_pairs_mut().append_pair("api-version", &target.api_version);
        }
        let proxy = way(azure).proxy_to(&url);
        Ok(Self { http, url, timeout, proxy })
    }

    /// Returns the address of the requests.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Sends one request (see [`body`]).
    ///
    /// # Errors
    /// [`NoReply`] where no whole answer came.
    pub async fn send(&self, token: &Secret, body: Bytes) -> Result<Reply, NoReply> {
        let request = self
            .http
            .post(self.url.clone())
            .bearer_auth(token.expose())
            .header(CONTENT_TYPE, "application/json")
            .timeout(self.timeout)
            .body(body);
        exchange(request, MAX_ANSWER).await.map_err(|error| NoReply {
            why: silence("Sentinel", &self.url, self.proxy.as_deref(), &error).into(),
            // Without a connection nothing arrived. Every other error may hide a success.
            ambiguous: !error.is_connect() && !error.is_builder(),
        })
    }
}

/// Writes the body of a request, e.g. `{"sourcesystem":…,"stixobjects":[…]}`. The objects are JSON already
/// and are copied as they are, so that a repeat is the same byte for byte.
pub fn body(api: Api, sourcesystem: &str, objects: &[impl AsRef<str>]) -> Bytes {
    let objects: Vec<&str> = objects.iter().map(AsRef::as_ref).collect();
    let (source, list) = (serde_json::Value::from(sourcesystem), api.list());
    Bytes::from(format!(r#"{{"sourcesystem":{source},"{list}":[{}]}}"#, objects.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_copies_the_objects_and_escapes_the_source() {
        let objects = [r#"{"id": "a",  "n":1e2}"#, r#"{"id":"b"}"#];
        let text = r#"{"sourcesystem":"a \"b\"","stixobjects":[{"id": "a",  "n":1e2},{"id":"b"}]}"#;
        assert_eq!(body(Api::StixObjects, r#"a "b""#, &objects), text);
        let empty = |api| body(api, "s", &[] as &[&str]);
        assert_eq!(empty(Api::IndicatorsV2), r#"{"sourcesystem":"s","indicators":[]}"#);
        assert_eq!(empty(Api::IndicatorsV1), r#"{"sourcesystem":"s","value":[]}"#);
    }
}
