//! The page that finds out what became of a value, an event or an attribute: the stories of the command `explain`,
//! without what may not be shown.

use maud::{Markup, html};

use super::frame::{Page, frame};
use super::words::{foreign, may_be_named, sentence, tlp};
use crate::pure::explain::{Story, Teller};
use crate::pure::policy::Tlp;

/// What a search found.
#[derive(Debug, Default)]
pub(in crate::admin) struct Searched {
    /// Each with the strictest level that its tags say. `None`: it is not known.
    pub stories: Vec<(Story, Option<Tlp>)>,
    pub notes: Vec<String>,
    /// Why the search was ended early, or found nothing.
    pub ended: Option<String>,
}

/// Writes the page: the form, and below it what was found of `asked`.
pub(in crate::admin) fn search(asked: &str, found: Option<&Searched>, show_tlp: Tlp) -> Markup {
    let content = html! {
        form role="search" action="search" method="get" {
            label {
                "A value in any spelling, or the uuid of an event or an attribute"
                input type="search" name="q" value=(asked) maxlength="1000" required autofocus autocomplete="off" spellcheck="false";
            }
            button type="submit" { "What became of it?" }
        }
        @if let Some(found) = found { (write(found, show_tlp)) }
    };
    let subtitle = "Shows what `explain` tells: from MISP to Sentinel, and why";
    frame(Page::Search, "search", &subtitle.replace('`', ""), &content)
}

fn write(found: &Searched, show_tlp: Tlp) -> Markup {
    let mut teller = Teller::new(false);
    html! {
        section aria-labelledby="found" {
            h2 #found { "What became of it" }
            @for (story, level) in &found.stories {
                @if may_be_named(*level, show_tlp) {
                    pre { (teller.tell(&without_others(story))) }
                } @else {
                    (hidden(story, *level))
                }
            }
            @for note in &found.notes {
                p { "Note: " (foreign(note)) }
            }
            @if let Some(why) = &found.ended {
                p { (sentence(&foreign(why))) }
            }
        }
    }
}

/// Writes that there is something which may not be shown.
fn hidden(story: &Story, level: Option<Tlp>) -> Markup {
    let command = format!("misp-sentinel-relay explain {}", story.attribute);
    html! {
        p {
            "An attribute of event " code { (story.event.uuid) } " is not shown " (tlp(level)) ". See "
            code { (command) } " on the relay's host, or admin.show_tlp."
        }
    }
}

/// Leaves out the titles of other events that claim the same: their levels are not known here.
fn without_others(story: &Story) -> Story {
    let mut story = story.clone();
    let views = story.claims.iter_mut().flat_map(|claim| &mut claim.views);
    for other in views.flat_map(|view| &mut view.others) {
        other.info = "title not shown".to_owned();
    }
    story
}
