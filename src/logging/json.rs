//! Writes an event as one line of JSON: time, level, name and message, then its own fields, and at last the module
//! that it comes from. Numbers are numbers, and what is [`nested`] is an object or a list.

use std::fmt::{self, Write};

use chrono::{SecondsFormat, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::pure::safe;

/// The fields that hold JSON of our own making. `tracing` knows no such values, so they travel as text.
const NESTED: [&str; 5] = ["endpoints", "skipped", "targets", "variables", "waiting"];

/// Returns the value of one of the `NESTED` fields.
pub fn nested(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns one of the `NESTED` fields in words for people, such as `context:13,to_ids_off:71`. `None`: it is none of
/// them. `text` is how the field is told else.
pub(super) fn flat(field: &str, text: &str) -> Option<String> {
    if !NESTED.contains(&field) {
        return None;
    }
    // A text is told in quotes.
    let inner = serde_json::from_str::<String>(text);
    let value = serde_json::from_str(inner.as_deref().unwrap_or(text)).ok()?;
    let words: Vec<String> = match &value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}:{}", word(value))).collect()
        }
        Value::Array(all) => all.iter().map(word).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![word(&value)],
    };
    Some(if words.is_empty() { "none".to_owned() } else { words.join(",") })
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Formats lines of JSON in which a terminal finds nothing to obey. The text may be from anybody.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: tracing::Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = Line {
            time: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            level: *metadata.level(),
            module: metadata.target(),
            source: source(context),
            fields,
        };
        let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", safe::json(&text))
    }
}

struct Line<'a> {
    time: String,
    level: Level,
    module: &'a str,
    /// The source that the line is about, where there are several.
    source: Option<String>,
    fields: Fields,
}

/// Returns the source in whose span a line is written. The program has no other spans.
fn source<S, N>(context: &FmtContext<'_, S, N>) -> Option<String>
where
    S: tracing::Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    let span = context.lookup_current()?;
    let fields = span.extensions();
    Some(fields.get::<FormattedFields<N>>()?.fields.trim_matches('"').to_owned())
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    event: Option<Value>,
    message: String,
    others: Vec<(&'static str, Value)>,
    /// The module that a line of the crate `log` names.
    module: Option<String>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { time, level, module, source, fields } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", time)?;
        map.serialize_entry("level", level.as_str())?;
        if let Some(event) = &fields.event {
            map.serialize_entry("event", event)?;
        }
        map.serialize_entry("message", &fields.message)?;
        if let Some(source) = source {
            map.serialize_entry("source", source)?;
        }
        for (name, value) in &fields.others {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("module", fields.module.as_deref().unwrap_or(module))?;
        map.end()
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "event" => self.event = Some(value),
            name => self.others.push((name, value)),
        }
    }

    fn put_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "log.target" => self.module = Some(text),
            // The crate `log` adds its file and line as fields of their own.
            name if name.starts_with("log.") => {}
            name if NESTED.contains(&name) => {
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                self.put(field, value);
            }
            _ => self.put(field, Value::String(text)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        // The number of the line of the crate `log` is left out, as its file is.
        if !field.name().starts_with("log.") {
            self.put(field, value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if !field.name().starts_with("log.") {
            self.put(field, value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // It fails only if the value itself says so, and then its beginning is what there is.
        write!(text, "{value:?}").ok();
        self.put_text(field, text);
    }
}
