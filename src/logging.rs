//! Logs on standard error: compact for people, or one JSON object a line. What is logged is the
//! business of each room; secrets are of a type that does not print.

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Mutex;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// The filter that a level such as `info` or `info,misp_sentinel_relay::intake=debug` stands for.
///
/// # Errors
/// What is wrong with it, in words.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    for directive in level.split(',') {
        let word = directive.rsplit_once('=').map_or(directive, |(_, word)| word).trim();
        if word.parse::<LevelFilter>().is_err() || word.chars().all(|c| c.is_ascii_digit()) {
            return Err(format!("{directive:?} names no level"));
        }
    }
    EnvFilter::builder().parse(level).map_err(|error| error.to_string())
}

/// Sends what the program logs to standard error from now on.
///
/// # Errors
/// The level is none, or a logger was installed before.
pub fn install(log: &Log) -> anyhow::Result<()> {
    let colours = std::io::stderr().is_terminal();
    subscriber(log, colours, std::io::stderr)?.try_init()?;
    Ok(())
}

/// As [`install`], into a file.
///
/// # Errors
/// The level is none, or a logger was installed before.
pub fn install_in_file(log: &Log, file: File) -> anyhow::Result<()> {
    subscriber(log, false, Mutex::new(file))?.try_init()?;
    Ok(())
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(log: &Log, colours: bool, writer: W) -> anyhow::Result<Subscriber>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(&log.level).map_err(anyhow::Error::msg)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match log.format {
        LogFormat::Pretty => Box::new(builder.compact().with_ansi(colours).finish()),
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = Log { format, level: level.to_owned() };
        let subscriber = subscriber(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let secret = crate::config::Secret::new("canary");
            tracing::info!(count = 3, %secret, ?secret, "event received");
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
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn pretty_is_plain_text_and_hides_secrets() {
        let text = logged(LogFormat::Pretty, "info");
        assert!(text.contains("event received"), "{text}");
        assert!(text.contains("[redacted]") && !text.contains("canary"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn the_level_filters() {
        assert!(logged(LogFormat::Pretty, "debug").contains("detail"));
        assert_eq!(logged(LogFormat::Pretty, "error"), "");
        assert_eq!(logged(LogFormat::Pretty, "info,other_crate=trace").lines().count(), 1);
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in ["verbose", "", "info,intake", "info,intake=loud", "3"] {
            assert!(filter(level).is_err(), "{level:?}");
        }
    }
}
