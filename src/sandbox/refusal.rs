//! Builds answers and refusals in the shapes of Sentinel's services and of Entra.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

/// An answer that is not HTTP yet.
#[derive(Debug, Default)]
pub(super) struct DraftAnswer {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) retry_after: Option<u64>,
}

impl DraftAnswer {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), retry_after: None }
    }

    /// An error in the shape of Sentinel's services.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message}});
        Self::new(status, body.to_string())
    }
}

impl IntoResponse for DraftAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if self.body.starts_with('<') { "text/html" } else { "application/json" };
        let mut response = (status, [(CONTENT_TYPE, kind)], self.body).into_response();
        let wait = self.retry_after.map(|seconds| (RETRY_AFTER, seconds.into()));
        response.headers_mut().extend(wait);
        response
    }
}

/// A refusal of Entra, with OAuth's word for it and Entra's own code.
#[derive(Debug)]
pub(super) struct EntraRefusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

impl EntraRefusal {
    /// The request is wrong.
    pub(super) fn of_request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status: 400, error, code, text: text.into() }
    }

    /// The client does not prove that it is who it says.
    pub(super) fn of_client(code: u32, text: impl Into<String>) -> Self {
        Self { status: 401, error: "invalid_client", code, text: text.into() }
    }
}

/// Writes the refusal in Entra's shape, line breaks included.
impl IntoResponse for EntraRefusal {
    fn into_response(self) -> Response {
        let Self { status, error, code, text } = self;
        let [trace, correlation] = [Uuid::new_v4(), Uuid::new_v4()];
        let time = Utc::now().format("%Y-%m-%d %H:%M:%SZ").to_string();
        let body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\n\
                 Timestamp: {time}"
            ),
            "error_codes": [code],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": Value::Null,
        });
        answer(status, body.to_string())
    }
}

/// An answer of JSON.
pub(super) fn answer(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}
