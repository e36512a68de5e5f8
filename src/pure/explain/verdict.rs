//! Says first of all whether an attribute's indicator is in Sentinel, and what to do if it is not. Pure.

use super::{ClaimVerdict, DeliveryState, Story, TargetStanding, Why, time};

/// Whether something is in Sentinel, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSentinel {
    pub state: Presence,
    /// One or two sentences, in which commands stand between backticks.
    pub words: String,
}

/// Where an indicator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// At least one target accepted it as it is now.
    In,
    /// It is on its way there, or its withdrawal is.
    Changing,
    Out,
}

impl Story {
    /// Judges the story as a whole. What is in Sentinel for one of several targets is in Sentinel.
    pub fn in_sentinel(&self) -> InSentinel {
        let verdicts: Vec<&ClaimVerdict> = self.claims.iter().flat_map(|one| &one.views).collect();
        let standings = || {
            let indicators = verdicts.iter().filter_map(|verdict| verdict.indicator.as_ref());
            indicators.flat_map(|indicator| &indicator.targets)
        };
        let accepted: Vec<String> = standings().filter_map(accepted_by).collect();
        if !accepted.is_empty() {
            return told(Presence::In, format!("In Sentinel: accepted {}.", accepted.join(", ")));
        }
        if let Some((state, words)) = standings().filter_map(changing).next() {
            return told(state, words);
        }
        let withheld = verdicts.iter().find_map(|verdict| verdict.withheld.as_ref());
        if let Some(why) = self.skipped.as_ref().or(withheld) {
            return told(Presence::Out, format!("Not in Sentinel: {}", withheld_by(why)));
        }
        let missing = standings().map(missing).next();
        let unknown = || "nothing of it was sent yet".to_owned();
        told(Presence::Out, format!("Not in Sentinel: {}.", missing.unwrap_or_else(unknown)))
    }
}

fn told(state: Presence, words: String) -> InSentinel {
    InSentinel { state, words }
}

fn accepted_by(at: &TargetStanding) -> Option<String> {
    let is_accepted = at.state == DeliveryState::Delivered && !at.dry_run;
    let when = at.at.map(|at| format!("{} ", time(at))).unwrap_or_default();
    is_accepted.then(|| format!("{when}by {}", at.target))
}

fn changing(at: &TargetStanding) -> Option<(Presence, String)> {
    let TargetStanding { target, .. } = at;
    // What a dry run writes, or takes back, changes nothing in Sentinel.
    if at.dry_run {
        return None;
    }
    let lane = at.lane.as_ref().map(|lane| format!(" in the {lane} lane")).unwrap_or_default();
    let words = match at.state {
        // `at` is the time of the last acceptance: an earlier version is there.
        DeliveryState::Pending if at.at.is_some() => format!(
            "An earlier state of it was accepted by {target}; the new one waits{lane} and leaves by itself."
        ),
        DeliveryState::Pending => {
            format!("Not in Sentinel yet: it waits for {target}{lane} and leaves by itself.")
        }
        DeliveryState::Withdrawing => format!(
            "Still in Sentinel: its withdrawal waits for {target}{lane} and leaves by itself."
        ),
        DeliveryState::Delivered
        | DeliveryState::Rejected
        | DeliveryState::Withdrawn
        | DeliveryState::Expired
        | DeliveryState::NeverSent
        | DeliveryState::Disabled => return None,
    };
    Some((Presence::Changing, words))
}

fn withheld_by(why: &Why) -> String {
    let Why { reason, words } = why;
    let words = words.trim_end_matches('.');
    format!(
        "{words} ({reason}). To send it, change the attribute or its event in MISP, or the relay's settings."
    )
}

/// Says why something that policy admits is not at a target.
fn missing(at: &TargetStanding) -> String {
    let TargetStanding { target, .. } = at;
    let when = at.at.map(|at| format!(" {}", time(at))).unwrap_or_default();
    if at.dry_run {
        return format!(
            "{target} is a dry run, which sends nothing; set mode = \"live\" to send it"
        );
    }
    match at.state {
        DeliveryState::Rejected => {
            let said = at.words.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
            format!(
                "{target} rejected it{said}; mend the cause, then `misp-sentinel-relay retry-rejected --target {target}`"
            )
        }
        DeliveryState::Withdrawn => format!(
            "withdrawn from {target}{when}; it comes back when MISP publishes it so that policy admits it"
        ),
        DeliveryState::Expired => {
            "its validity is over; it comes back when its attribute changes in MISP".to_owned()
        }
        DeliveryState::Disabled => {
            format!("{target} is not enabled; set enabled = true to send to it")
        }
        // Those before the last are told of before.
        DeliveryState::Delivered
        | DeliveryState::Pending
        | DeliveryState::Withdrawing
        | DeliveryState::NeverSent => {
            format!("it was never sent to {target}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClaimStory, Indicated};
    use super::*;

    fn standing(state: DeliveryState) -> TargetStanding {
        let at = Some(1_790_000_000_000);
        TargetStanding { target: "soc".to_owned(), state, at, ..TargetStanding::default() }
    }

    fn story(targets: Vec<TargetStanding>, withheld: Option<Why>) -> Story {
        let indicator = Some(Indicated { targets, ..Indicated::default() });
        let views = vec![ClaimVerdict { withheld, indicator, ..ClaimVerdict::default() }];
        let claims = vec![ClaimStory { views, ..ClaimStory::default() }];
        Story { claims, ..Story::default() }
    }

    fn why() -> Why {
        Why { reason: "to_ids".to_owned(), words: "to_ids is off.".to_owned() }
    }

    #[test]
    fn what_one_target_accepted_is_in_sentinel() {
        let other = TargetStanding { target: "csirt".to_owned(), ..TargetStanding::default() };
        let verdict = story(vec![other, standing(DeliveryState::Delivered)], None).in_sentinel();
        assert_eq!(verdict.state, Presence::In);
        assert_eq!(verdict.words, "In Sentinel: accepted 2026-09-21 14:13:20 UTC by soc.");
        // Another attribute holds it, though this one is withheld.
        let held = story(vec![standing(DeliveryState::Delivered)], Some(why()));
        assert_eq!(held.in_sentinel().state, Presence::In);
    }

    #[test]
    fn what_a_dry_run_wrote_is_not_in_sentinel() {
        let written = TargetStanding { dry_run: true, ..standing(DeliveryState::Delivered) };
        let verdict = story(vec![written], None).in_sentinel();
        assert_eq!(verdict.state, Presence::Out);
        assert!(verdict.words.contains("dry run"), "{}", verdict.words);
    }

    #[test]
    fn what_is_on_its_way_is_neither_in_nor_out() {
        let new = TargetStanding { at: None, ..standing(DeliveryState::Pending) };
        for (at, begins) in [
            (new, "Not in Sentinel yet"),
            (standing(DeliveryState::Pending), "An earlier state of it"),
            (standing(DeliveryState::Withdrawing), "Still in Sentinel"),
        ] {
            let verdict = story(vec![at], None).in_sentinel();
            assert_eq!(verdict.state, Presence::Changing);
            assert!(verdict.words.starts_with(begins), "{}", verdict.words);
        }
    }

    #[test]
    fn what_is_not_there_has_a_reason_and_says_what_to_do() {
        for (state, withheld, expected) in [
            (DeliveryState::Withdrawn, Some(why()), "to_ids is off (to_ids). To send it, change"),
            (DeliveryState::Rejected, None, "`misp-sentinel-relay retry-rejected --target soc`"),
            (DeliveryState::Expired, None, "its validity is over"),
            (DeliveryState::Disabled, None, "set enabled = true"),
            (DeliveryState::Withdrawn, None, "withdrawn from soc 2026-09-21 14:13:20 UTC"),
        ] {
            let verdict = story(vec![standing(state)], withheld).in_sentinel();
            assert_eq!(verdict.state, Presence::Out);
            assert!(verdict.words.starts_with("Not in Sentinel: "), "{}", verdict.words);
            assert!(verdict.words.contains(expected), "{expected}: {}", verdict.words);
        }
        let skipped = Story { skipped: Some(why()), ..Story::default() };
        assert_eq!(skipped.in_sentinel().state, Presence::Out);
    }
}
