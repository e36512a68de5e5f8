//! What an operator should know of a verdict besides its reason.

use crate::convert::{ClaimFacts, EventFacts};
use crate::policy::Judge;
use crate::stix::Observable;

/// What there is to say of a claim under a policy.
#[must_use]
pub fn remarks(
    judge: &Judge,
    (event, claim): (&EventFacts, &ClaimFacts),
    observable: &Observable,
) -> Vec<String> {
    let mut remarks = guesses(judge, event, claim);
    remarks.extend(observable.url_host().map(|host| {
        format!(
            "Sentinel's newest rule for domains alarms on every request to the host {host}, not on this URL alone: see policy.shared_host_lists"
        )
    }));
    remarks
}

/// Tags that only their words make markings, each once, with what they are taken for.
#[must_use]
pub fn guesses(judge: &Judge, event: &EventFacts, claim: &ClaimFacts) -> Vec<String> {
    let mut words = Vec::new();
    for tag in event.tags.iter().chain(&claim.tags) {
        let Some(mark) = judge.guess(&tag.name) else { continue };
        let guess = format!(
            "the tag {:?} is taken for {}: if it is none, say so in [policy.tlp_tags]",
            tag.name,
            mark.tag()
        );
        if !words.contains(&guess) {
            words.push(guess);
        }
    }
    words
}
