//! Lists what an operator should know about a verdict besides its reason, for example that a tag was taken
//! for a TLP marking because of its words.

use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::policy::{Decided, Judge};
use crate::pure::stix::Observable;

/// Lists what is to be said about a claim under a policy.
pub fn remarks(
    judge: &Judge,
    event: &EventFacts,
    claim: &ClaimFacts,
    observable: &Observable,
) -> Vec<String> {
    let mut remarks = markings(judge, event, claim);
    remarks.extend(observable.url_host().map(|host| {
        format!(
            "Sentinel's newest rule for domains alarms on every request to the host {host}, not on this URL alone: see policy.shared_host_lists"
        )
    }));
    remarks
}

/// Lists the tags that the operator's table decides, and the tags that count as markings only for their words.
/// Each is listed once, with what it is taken for.
pub fn markings(judge: &Judge, event: &EventFacts, claim: &ClaimFacts) -> Vec<String> {
    let mut words = Vec::new();
    for tag in event.tags.iter().chain(&claim.tags) {
        let decided = judge.decided(&tag.name).map(|decided| by_table(&decided));
        let Some(told) = decided.or_else(|| guessed(judge, &tag.name)) else { continue };
        if !words.contains(&told) {
            words.push(told);
        }
    }
    words
}

fn by_table(decided: &Decided) -> String {
    let Decided { tag, line, counts_as, says } = decided;
    let told = format!(
        "the tag {tag:?} counts as {}, by {line:?} in [policy.tlp_tags]",
        decided.counts_as()
    );
    match says.filter(|says| Some(*says) != *counts_as) {
        Some(says) => format!("{told}; the tag itself says {}", says.tag()),
        None => told,
    }
}

fn guessed(judge: &Judge, tag: &str) -> Option<String> {
    let mark = judge.guess(tag)?.tag();
    Some(format!("the tag {tag:?} is taken for {mark}: if it is none, say so in [policy.tlp_tags]"))
}
