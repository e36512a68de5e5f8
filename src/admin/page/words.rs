//! Writes times, texts of strangers and our own sentences into pages.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::pure::age::{age, ago};
use crate::pure::policy::Tlp;
use crate::pure::safe;

/// How many characters of a text of others are shown.
const LONGEST: usize = 300;

/// Returns a text of MISP, Sentinel or others in one line and of a bounded length. It holds nothing that ends the line
/// or turns the direction of writing around; what HTML would obey is escaped where it is put into a page.
pub(super) fn foreign(text: &str) -> String {
    let cut = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    let short = safe::line(text.get(..cut).unwrap_or(text));
    if cut < text.len() { format!("{short}…") } else { short.into_owned() }
}

/// Writes our own sentence, in which commands stand between backticks. It may hold words of others.
pub(super) fn sentence(text: &str) -> Markup {
    let text = safe::line(text);
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Writes how long ago something was, or `none` where it never was. The exact time is its title.
pub(super) fn since(time: Option<DateTime<Utc>>, now: DateTime<Utc>, none: &'static str) -> Markup {
    let Some(time) = time else { return html! { (none) } };
    let exact = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(exact) title=(exact) { (ago(time, now)) } }
}

/// Says how long something has lasted, as `since 15:37 UTC (6 s)`.
pub(super) fn period(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let lasted = u64::try_from((now - since).num_seconds()).unwrap_or_default();
    format!("since {} UTC ({})", since.format("%H:%M"), age(lasted))
}

/// Writes the clock time of something.
pub(super) fn clock(time: DateTime<Utc>) -> Markup {
    let exact = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    html! { time datetime=(exact) title=(exact) { (time.format("%H:%M:%S")) } }
}

/// Writes a number of thousands with spaces, as `12 345`, which no language reads otherwise.
pub(super) fn number(number: impl ToString + Copy) -> String {
    let number = number.to_string();
    let (sign, digits) =
        number.strip_prefix('-').map_or(("", number.as_str()), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Writes the marking of something. `None`: it is not known.
pub(super) fn tlp(level: Option<Tlp>) -> Markup {
    html! { span.tlp { (tlp_name(level)) } }
}

/// Returns the name of a marking, as `TLP:AMBER`.
pub(super) fn tlp_name(level: Option<Tlp>) -> String {
    let name = level.map(|level| format!("TLP:{}", level.name().to_uppercase()));
    name.unwrap_or_else(|| "TLP not known".to_owned())
}

/// Returns whether something with this marking may be named by its title or value. What is not known may not.
pub(super) fn may_be_named(level: Option<Tlp>, most: Tlp) -> bool {
    level.is_some_and(|level| level <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_named() {
        assert!(may_be_named(Some(Tlp::Clear), Tlp::Green));
        assert!(may_be_named(Some(Tlp::Green), Tlp::Green));
        assert!(!may_be_named(Some(Tlp::Amber), Tlp::Green));
        assert!(!may_be_named(None, Tlp::Red));
    }

    #[test]
    fn a_text_of_others_is_one_short_line_that_turns_nothing_around() {
        assert_eq!(foreign("a\nb\u{202e}c"), r"a\nb\u{202e}c");
        assert_eq!(foreign(&"ä".repeat(400)), format!("{}…", "ä".repeat(300)));
    }

    #[test]
    fn commands_are_code_and_markup_is_text() {
        let written = sentence("run `held` for <b>").into_string();
        assert_eq!(written, "run <code>held</code> for &lt;b&gt;");
    }

    #[test]
    fn a_period_tells_its_start_and_its_length() {
        let since = "2026-03-01T15:37:20Z".parse().unwrap();
        let now = "2026-03-01T15:37:26Z".parse().unwrap();
        assert_eq!(period(since, now), "since 15:37 UTC (6 s)");
        // A clock that went back.
        assert_eq!(period(now, since), "since 15:37 UTC (0 s)");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(-1_234), "-1\u{202f}234");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
