//! Sets up the log on standard error: compact lines for people, or one JSON object per line. Text that others
//! wrote can neither begin a new line nor control a terminal; secrets have a type that does not print.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

pub use json::nested;

use crate::config::{Log, LogFormat};
use crate::pure::safe;

mod json;

/// Writes the program's log to standard error from now on. Returns the switch for its level.
///
/// # Errors
/// The level cannot be parsed, or a logger was installed before.
pub fn install(log: &Log) -> anyhow::Result<LevelSwitch> {
    let (subscriber, switch) = subscriber(log, wants_colours(), io::stderr)?;
    subscriber.try_init()?;
    Ok(switch)
}

/// Does the same as [`install`], but writes the log to a file.
///
/// # Errors
/// The level cannot be parsed, or a logger was installed before.
pub fn install_in_file(log: &Log, file: File) -> anyhow::Result<()> {
    let (subscriber, _) = subscriber(log, false, Mutex::new(file))?;
    subscriber.try_init()?;
    Ok(())
}

/// A terminal gets colours, unless its user wants none (<https://no-color.org>).
fn wants_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// Sets the level of a log that is being written.
pub struct LevelSwitch(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LevelSwitch {
    /// Takes the level of these settings from now on.
    ///
    /// # Errors
    /// The level cannot be parsed, or the log has ended.
    pub fn set(&self, log: &Log) -> anyhow::Result<()> {
        Ok((self.0)(log.filter().map_err(anyhow::Error::msg)?)?)
    }
}

impl fmt::Debug for LevelSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelSwitch")
    }
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(log: &Log, colours: bool, writer: W) -> anyhow::Result<(Subscriber, LevelSwitch)>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = log.filter().map_err(anyhow::Error::msg)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // The terminal may be gone. To tell standard error of that would panic, since that is gone as well.
    let builder = builder.log_internal_errors(false);
    Ok(match log.format {
        LogFormat::Pretty => {
            let fields = debug_fn(write_field).delimited(" ");
            let builder = builder.compact().with_ansi(colours).fmt_fields(fields);
            let builder = builder.with_filter_reloading();
            let level = builder.reload_handle();
            let switch = LevelSwitch(Box::new(move |filter| level.reload(filter)));
            (Box::new(builder.finish()), switch)
        }
        LogFormat::Json => {
            // Of a span only the value is kept, since there is one kind of span, with one field.
            let fields = debug_fn(|writer, _, value| write!(writer, "{value:?}"));
            let builder = builder.event_format(json::JsonLines).fmt_fields(fields);
            let builder = builder.with_filter_reloading();
            let level = builder.reload_handle();
            let switch = LevelSwitch(Box::new(move |filter| level.reload(filter)));
            (Box::new(builder.finish()), switch)
        }
    })
}

/// Writes a field for people. Fields may hold text from outside, so it is escaped: it can neither begin a
/// line nor control a terminal.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", safe::line(&text)),
        // The crate `log` adds its module, file and line as fields of their own.
        name if name.starts_with("log.") => Ok(()),
        name => {
            let text = json::flat(name, &text).unwrap_or(text);
            write!(writer, "{name}={}", safe::line(&delimited(&text)))
        }
    }
}

/// Returns the value of a field so that the next field cannot be taken for a part of it: in quotes, if it has blanks.
fn delimited(text: &str) -> Cow<'_, str> {
    let is_plain = !text.is_empty() && !text.contains([' ', '"', '=']);
    if is_plain || is_quoted(text) { Cow::Borrowed(text) } else { format!("{text:?}").into() }
}

/// Returns whether a text is one text in quotes, as `tracing` shows those that are no `Display`.
fn is_quoted(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    let mut is_escaped = false;
    for sign in inner.chars() {
        if sign == '"' && !is_escaped {
            return false;
        }
        is_escaped = sign == '\\' && !is_escaped;
    }
    !is_escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn settings(format: LogFormat, level: &str) -> Log {
        Log { format, level: level.to_owned(), progress_every: Duration::from_secs(60) }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = settings(format, level);
        let (subscriber, _) = subscriber(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let secret = crate::config::Secret::new("canary");
            let skipped = nested(&BTreeMap::from([("to_ids_off", 71)]));
            tracing::info!(event = "heard", count = 3, skipped, %secret, ?secret, "event received");
            tracing::debug!("detail");
        });
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "event received");
        assert_eq!(line["count"], 3);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["event"], "heard");
        assert_eq!(line["skipped"]["to_ids_off"], 71, "an object, and no text");
        assert_eq!(line["module"], "misp_sentinel_relay::logging::tests");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn pretty_is_plain_text_and_hides_secrets() {
        let text = logged(LogFormat::Pretty, "info");
        assert!(text.contains("event received"), "{text}");
        assert!(text.contains("[redacted]") && !text.contains("canary"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("skipped=to_ids_off:71 "), "no JSON in quotes: {text}");
    }

    #[test]
    fn fields_for_people_are_told_apart() {
        let page = Page::default();
        let writer = page.clone();
        let log = settings(LogFormat::Pretty, "info");
        let (subscriber, _) = subscriber(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let why = "500 at 10:00 host=evil";
            let (quotes, path) = (r#""a b" or "c\d""#, r"C:\new");
            let (quoted, none, shown) = ("two words", "", Some("a b"));
            tracing::info!(%why, quoted, %none, %quotes, ?shown, %path, n = 3, host = %"a:1", "m");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let fields = r#"m why="500 at 10:00 host=evil" quoted="two words" none="" quotes="\"a b\" or \"c\\d\"" shown="Some(\"a b\")" path=C:\new n=3 host=a:1"#;
        assert!(text.trim_end().ends_with(fields), "{text}\n{fields}");
    }

    #[test]
    fn what_is_nested_is_flat_for_people() {
        let told = |field, value: serde_json::Value| {
            json::flat(field, &format!("{:?}", nested(&value))).unwrap_or_default()
        };
        let skipped = serde_json::json!({"context": 13, "to_ids_off": 71});
        assert_eq!(told("skipped", skipped), "context:13,to_ids_off:71");
        let endpoints = serde_json::json!(["tcp://a:1", "tcp://b\"\u{1b}:2"]);
        assert!(told("endpoints", endpoints).starts_with("tcp://a:1,tcp://b"));
        assert_eq!(told("skipped", serde_json::json!({})), "none");
        assert_eq!(told("title", serde_json::json!({})), "", "it stays as it is");
    }

    /// The words are what MISP, Sentinel or a stranger may send.
    #[test]
    fn nobody_elses_words_begin_a_line_or_command_the_terminal() {
        let page = Page::default();
        let writer = page.clone();
        let log = settings(LogFormat::Pretty, "info");
        for colours in [false, true] {
            page.0.lock().unwrap().clear();
            let writer = writer.clone();
            let (subscriber, _) = subscriber(&log, colours, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                let words = "no\n2026-01-01 ERROR ledger: gone\u{1b}[2J\u{7}\u{2028}\u{202e}";
                tracing::warn!(words, why = %words, shown = ?words, "{words}");
            });
            let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains("\u{1b}[2J") && !text.contains('\u{7}'), "{text}");
            assert!(!text.contains('\u{2028}') && !text.contains('\u{202e}'), "{text}");
            assert_eq!(text.contains("\u{1b}["), colours, "our own colours alone: {text}");
        }
    }

    /// A terminal obeys C1 controls and signs of direction even inside JSON, which does not escape them by
    /// itself.
    #[test]
    fn nobody_elses_words_command_a_terminal_from_a_json_log() {
        let page = Page::default();
        let writer = page.clone();
        let log = settings(LogFormat::Json, "info");
        let (subscriber, _) = subscriber(&log, false, move || writer.clone()).unwrap();
        let words = "no\n\u{9b}2J\u{7f}\u{2028}\u{202e}gpj.exe é 🦀";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(words, shown = %words, "{words}");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with('\n'));
        for raw in ['\u{9b}', '\u{7f}', '\u{2028}', '\u{202e}'] {
            assert!(!text.contains(raw), "{text:?}");
        }
        assert!(text.contains(r"\u009b2J\u007f\u2028\u202egpj.exe é 🦀"), "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        for said in [&line["message"], &line["words"], &line["shown"]] {
            assert_eq!(said, words, "as it was said");
        }
    }

    #[test]
    fn the_level_filters() {
        assert!(logged(LogFormat::Pretty, "debug").contains("detail"));
        assert_eq!(logged(LogFormat::Pretty, "error"), "");
        assert_eq!(logged(LogFormat::Pretty, "info,other_crate=trace").lines().count(), 1);
    }
}
