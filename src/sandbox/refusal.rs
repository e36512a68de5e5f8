//! How Entra says no, and how it answers at all.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

/// A refusal: status, OAuth's word, code and sentence.
pub(super) type No = (u16, &'static str, u32, String);

/// In Entra's shape, line breaks included.
pub(super) fn refuse((status, error, code, text): No) -> Response {
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

pub(super) fn answer(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}
