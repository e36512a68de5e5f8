//! The page for people at `/`: whether anything arrives, what became of it, and what is worth doing. It is made here
//! as HTML and needs no script; the overview loads itself again every few seconds.

mod arrivals;
mod backlog;
mod flow;
mod frame;
mod gaps;
mod mark;
mod search;
mod sign_in;
mod spark;
mod table;
mod targets;
mod timeline;
mod verdict;
mod withdrawn;
mod words;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::Status;
use super::shared::WithdrawnToday;
use crate::pure::age::age;
use crate::pure::policy::Tlp;
use crate::recent::History;
use frame::{Page, frame};

pub(super) use search::{Searched, search};
pub(super) use sign_in::sign_in;

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("style.css");

/// What the overview shows, at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'s> {
    pub status: &'s Status,
    /// When the status was made, which many lookers share.
    pub as_of: DateTime<Utc>,
    pub withdrawn: &'s WithdrawnToday,
    pub history: &'s History,
    pub now: DateTime<Utc>,
    /// The strictest level of what is named by its title.
    pub show_tlp: Tlp,
}

/// Writes the overview. One that is `paused` does not load itself again.
pub(super) fn overview(sight: Sight<'_>, paused: bool) -> Markup {
    let content = html! {
        (verdict::write(sight))
        (search::way_to_it(paused))
        (arrivals::write(sight))
        (targets::write(sight))
        (flow::write(sight))
        (withdrawn::write(sight))
        (gaps::write(sight))
        (timeline::write(sight))
    };
    let page = if paused { Page::Paused } else { Page::Live };
    frame(page, &verdict::title(sight), &subtitle(sight), &content)
}

/// Writes that the status cannot be told.
pub(super) fn fault(why: &str) -> Markup {
    let content = html! {
        section.verdict.is-bad aria-labelledby="verdict" {
            h2 #verdict { "The relay cannot tell how it is" }
            p { (words::foreign(why)) }
        }
    };
    frame(Page::Live, "no status", concat!("Version ", env!("CARGO_PKG_VERSION")), &content)
}

/// Returns what the head of the overview says beside the name.
fn subtitle(sight: Sight<'_>) -> String {
    let version = &sight.status.version;
    let up = sight.status.relay.as_ref().map(|relay| age(relay.uptime_seconds));
    let clock = sight.as_of.format("%Y-%m-%d %H:%M:%S UTC");
    format!("Version {version}, running for {}, as of {clock}", up.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::STYLE;

    /// The colours of the light style, then those of the dark one.
    fn palettes() -> [Vec<(String, [f64; 3])>; 2] {
        let (light, dark) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
        [light, dark].map(|part| {
            let (part, _) = part.split_once('}').unwrap();
            let lines = part.lines().filter_map(|line| line.trim().strip_prefix("--"));
            let colours = lines.map(|line| {
                let (name, colour) = line.trim_end_matches(';').split_once(": #").unwrap();
                let colour = u32::from_str_radix(colour, 16).unwrap();
                let channel = |shift: u32| f64::from((colour >> shift) & 0xff) / 255.0;
                (name.to_owned(), [16, 8, 0].map(channel))
            });
            colours.collect()
        })
    }

    /// The relative luminance of WCAG 2.
    fn luminance(colour: [f64; 3]) -> f64 {
        let linear = |channel: f64| {
            if channel <= 0.040_45 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        };
        let [red, green, blue] = colour.map(linear);
        0.212_6 * red + 0.715_2 * green + 0.072_2 * blue
    }

    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// WCAG 2.1 AA asks for 4.5 for text and for 3 for what is drawn.
    #[test]
    fn every_text_stands_out_from_both_backgrounds_in_light_and_dark() {
        for palette in palettes() {
            let colour = |name: &str| palette.iter().find(|(known, _)| known == name).unwrap().1;
            for paper in ["paper", "sheet"] {
                for (ink, least) in [
                    ("ink", 4.5),
                    ("dim", 4.5),
                    ("good", 4.5),
                    ("bad", 4.5),
                    ("link", 4.5),
                    ("bar", 3.0),
                ] {
                    let contrast = contrast(colour(ink), colour(paper));
                    assert!(contrast >= least, "{ink} on {paper}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn black_on_white_has_the_contrast_that_wcag_says() {
        assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.001);
    }
}
