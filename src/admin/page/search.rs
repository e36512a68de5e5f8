//! The page that finds out what became of a value, an event, an attribute or an indicator: the stories of the command
//! `explain`, without what may not be shown.

use maud::{Markup, html};

use super::Sight;
use super::frame::{Page, frame};
use super::mark::Mark;
use super::verdict;
use super::words::{foreign, may_be_named, sentence, tlp_name};
use crate::pure::explain::{InSentinel, Presence, Story, heading, lines};
use crate::pure::policy::Tlp;
use crate::pure::safe;

/// What a search found.
#[derive(Debug, Default)]
pub(in crate::admin) struct Searched {
    /// Each with the strictest level that its tags say. `None`: it is not known.
    pub stories: Vec<(Story, Option<Tlp>)>,
    pub notes: Vec<String>,
    /// Why the search was ended early, or found nothing.
    pub ended: Option<String>,
}

/// What a search is for.
const QUESTION: &str = "Why is a value in Sentinel, or not?";

/// Writes the page: the form, and below it what was found of `asked`. `sight` is what the overview shows; `None`: the
/// status cannot be told.
pub(in crate::admin) fn search(
    asked: &str,
    found: Option<&Searched>,
    show_tlp: Tlp,
    sight: Option<Sight<'_>>,
) -> Markup {
    let content = html! {
        (form(asked, true))
        @if let Some(found) = found { (write(found, show_tlp)) }
        @if let Some(sight) = sight {
            section aria-label="The state of the relay" { (verdict::line(sight)) }
        }
    };
    let subtitle = "Shows what `explain` tells: from MISP to Sentinel, and why";
    frame(Page::Search, "search", &subtitle.replace('`', ""), &content)
}

/// Writes the way from the overview to a search. An overview that loads itself again would forget what is typed, so
/// there a box leads to the page of the search, which stays.
pub(super) fn way_to_it(stays: bool) -> Markup {
    html! {
        @if stays {
            (form("", false))
        } @else {
            p.ask { (QUESTION) " " a href="search" { "Search for a value, an event or an attribute" } }
        }
    }
}

fn form(asked: &str, is_first: bool) -> Markup {
    html! {
        form role="search" action="search" method="get" {
            label {
                (QUESTION) " A value in any spelling, the uuid of an event or an attribute, or the id of an indicator"
                input type="search" name="q" value=(asked) maxlength="1000" required autofocus[is_first] autocomplete="off" spellcheck="false";
            }
            button type="submit" { "Search" }
        }
    }
}

fn write(found: &Searched, show_tlp: Tlp) -> Markup {
    let shown: Vec<&Story> = found
        .stories
        .iter()
        .filter(|(_, level)| may_be_named(*level, show_tlp))
        .map(|(story, _)| story)
        .collect();
    html! {
        section aria-label="What was found" {
            @if shown.len() > 1 { (sum(&shown)) }
            @for story in shown { (told(story)) }
            @for (story, level) in &found.stories {
                @if !may_be_named(*level, show_tlp) { (hidden(story, *level)) }
            }
            @if found.stories.is_empty() && found.ended.is_none() {
                p.verdict.is-neutral {
                    (Mark::Neutral.write("No attribute that the relay knows claims it, so nothing wants it in Sentinel."))
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

/// Writes the verdict on several attributes at once.
fn sum(stories: &[&Story]) -> Markup {
    let is_in = |story: &&&Story| story.in_sentinel().state == Presence::In;
    let there = stories.iter().filter(is_in).count();
    let mark = if there > 0 { Mark::Good } else { Mark::Neutral };
    let words = format!("In Sentinel: {there} of the {} attributes below.", stories.len());
    html! { p class=(mark.box_class()) { (mark.write(&words)) } }
}

/// Writes the story of one attribute: first the verdict, then what it is based on.
fn told(story: &Story) -> Markup {
    let InSentinel { state, words } = story.in_sentinel();
    let mark = match state {
        Presence::In => Mark::Good,
        Presence::Changing => Mark::Neutral,
        Presence::Out => Mark::Bad,
    };
    html! {
        h2 class=(mark.box_class()) { (mark.write_sentence(&words)) }
        dl.story {
            dt { "event" } dd { (event_of(story)) }
            @for line in lines(&without_others(story)) {
                dt { (foreign(&line.name)) } dd { (safe::line(&line.words)) }
            }
        }
    }
}

fn event_of(story: &Story) -> String {
    let heading = heading(&story.event);
    safe::line(heading.strip_prefix("event ").unwrap_or(&heading)).into_owned()
}

/// Writes that there is something which may not be shown.
fn hidden(story: &Story, level: Option<Tlp>) -> Markup {
    let command = format!("misp-sentinel-relay explain {}", story.attribute);
    html! {
        p {
            "An attribute of event " code { (story.event.uuid) } " is not shown (" (tlp_name(level)) "). See "
            code { (command) } " on the relay's host, or admin.show_tlp."
        }
    }
}

/// Leaves out the titles of other events that claim the same: their levels are not known here.
fn without_others(story: &Story) -> Story {
    let mut story = story.clone();
    let views = story.claims.iter_mut().flat_map(|claim| &mut claim.views);
    for other in views.flat_map(|view| &mut view.others) {
        other.info = "title hidden".to_owned();
    }
    story
}
