//! Parses parts of HTTP requests: the fields of forms and queries, headers, and bearer tokens.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};

/// The fields of a form or a query.
#[derive(Debug)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads what stands behind the `?` of a URL, or in the body of a form.
    pub fn of(text: &str) -> Self {
        let Ok(mut url) = reqwest::Url::parse("https://form.invalid/") else {
            return Self(Vec::new());
        };
        url.set_query(Some(text));
        Self(url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// Returns the first field of this name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Returns the text of a header; empty if there is none.
pub fn header(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns the token that a request shows; empty if it shows none. The word before it may be in any case (RFC 9110,
/// section 11.1).
pub fn bearer(headers: &HeaderMap) -> &str {
    let shown = header(headers, AUTHORIZATION).split_once(' ');
    let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
    token.map(|(_, token)| token).unwrap_or_default()
}
