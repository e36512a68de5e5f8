//! Writes JSON in MISP's style: numbers are strings of digits, and UTF-8 is not escaped.

use std::io::Write as _;

use uuid::Uuid;

/// JSON in the making.
#[derive(Debug, Default)]
pub(super) struct Json(pub(super) Vec<u8>);

impl Json {
    /// As it is.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// `text` as a JSON string.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            return self.raw("\"").raw(text).raw("\"");
        }
        let _written = serde_json::to_writer(&mut self.0, text);
        self
    }

    /// `text` as a JSON string, or `null`.
    pub(super) fn or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    /// A number in quotes.
    pub(super) fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        let _written = write!(self.0, "\"{number}\"");
        self
    }

    pub(super) fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    pub(super) fn uuid(&mut self, uuid: Uuid) -> &mut Self {
        let mut buffer = Uuid::encode_buffer();
        let text = uuid.hyphenated().encode_lower(&mut buffer);
        self.raw("\"").raw(text).raw("\"")
    }

    /// A list, each item by `write`.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]")
    }
}
