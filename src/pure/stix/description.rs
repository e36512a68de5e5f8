//! Writes the description of an indicator from the attribute's comment, its object and the event's name. The
//! event's name is left out if a tag forbids naming the source.

use std::borrow::Cow;

use super::Admitted;
use super::text::{LONGEST_PIECE, clean, without_state};
use crate::pure::convert::{ObjectFacts, Sibling};
use crate::pure::policy::Judge;

/// Stands in for the name of an event whose source must not be named.
pub(super) const UNNAMED: &str = "The source is not named (TLP:EX:CHR)";

/// Writes `comment - object - event`, without the parts that are empty. It mentions only those other attributes of the
/// object that policy allows and every source lets tell. If the source must not be named, it leaves out the event's name.
pub(super) fn description<'a>(claim: &Admitted<'a>, judge: &Judge) -> Cow<'a, str> {
    let comment = clean(&claim.claim.comment, LONGEST_PIECE);
    let event = if claim.tags.policy.hides_source {
        Cow::Borrowed(UNNAMED)
    } else {
        clean(&claim.event.info, LONGEST_PIECE)
    };
    let tells = |sibling: &&Sibling| {
        judge.tells(claim.tags.policy, sibling)
            && claim.copies.iter().all(|copy| copy.lets_tell(sibling))
    };
    let object = claim.claim.object.as_ref().map(|object| words(object, &comment, tells));
    let object = object.map(|object| clean(&object, LONGEST_PIECE).into_owned());
    without_state(match (comment.as_ref(), object.filter(|object| !object.is_empty())) {
        ("", None) => event,
        (comment, None) => Cow::Owned(format!("{comment} - {event}")),
        ("", Some(object)) => Cow::Owned(format!("{object} - {event}")),
        (comment, Some(object)) => Cow::Owned(format!("{comment} - {object} - {event}")),
    })
}

/// Writes `file: dropper (filename: a.exe, size-in-bytes: 4096)`. It leaves out the object's comment if the attribute
/// has the same one.
fn words(object: &ObjectFacts, comment: &str, tells: impl Fn(&&Sibling) -> bool) -> String {
    let mut words = object.name.clone();
    let own = clean(&object.comment, LONGEST_PIECE);
    if !own.is_empty() && own != comment {
        words.push_str(if words.is_empty() { "" } else { ": " });
        words.push_str(&own);
    }
    let told = object.siblings.iter().filter(tells);
    let told: Vec<_> = told.map(|other| format!("{}: {}", other.relation, other.value)).collect();
    if !told.is_empty() {
        words.push_str(if words.is_empty() { "(" } else { " (" });
        words.push_str(&told.join(", "));
        words.push(')');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::convert::{ClaimFacts, EventFacts};
    use crate::pure::policy::SideFacts;
    use crate::pure::stix::{ClaimSource, ClaimTimes, Sight, TagsSaid};
    use uuid::Uuid;

    /// The default policy, but for `change`.
    fn judge(change: impl FnOnce(&mut crate::pure::policy::Policy)) -> Judge {
        let none = tempfile::NamedTempFile::new().unwrap();
        let mut rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        change(&mut rules.policy);
        Judge::new(&rules.policy)
    }

    fn sibling(kind: &'static str, relation: &str, value: &str) -> Sibling {
        Sibling {
            kind: kind.into(),
            category: "Payload delivery".into(),
            relation: relation.into(),
            timestamp: 0,
            value: value.into(),
        }
    }

    fn describe(comment: &str, object: Option<(&str, &str, &[Sibling])>, judge: &Judge) -> String {
        let event = EventFacts { info: "Campaign".into(), ..EventFacts::default() };
        let object = object.map(|(name, comment, siblings)| {
            Box::new(ObjectFacts {
                name: name.into(),
                comment: comment.into(),
                siblings: siblings.to_vec(),
                ..ObjectFacts::default()
            })
        });
        let claim = ClaimFacts { comment: comment.into(), object, ..ClaimFacts::default() };
        let times = ClaimTimes::of(&claim, Sight::first(0), None);
        let admitted = Admitted {
            event: &event,
            attribute: Uuid::nil(),
            source: ClaimSource::default(),
            claim: &claim,
            times,
            side_facts: SideFacts::default(),
            tags: TagsSaid {
                policy: judge.read_tags(&event, &claim),
                confidence: None,
                is_raised: false,
            },
            copies: Vec::new(),
        };
        description(&admitted, judge).into_owned()
    }

    #[test]
    fn it_says_what_the_comment_the_object_and_the_event_say() {
        let judge = judge(|_| {});
        let name = [sibling("filename", "filename", "a.exe"), sibling("port", "dst-port", "443")];
        assert_eq!(describe("", None, &judge), "Campaign");
        assert_eq!(describe(" seen ", None, &judge), "seen - Campaign");
        assert_eq!(describe("", Some(("file", "", &[])), &judge), "file - Campaign");
        assert_eq!(
            describe("seen", Some(("file", "dropper", &name)), &judge),
            "seen - file: dropper (filename: a.exe, dst-port: 443) - Campaign"
        );
        assert_eq!(
            describe("dropper", Some(("file", "dropper", &[])), &judge),
            "dropper - file - Campaign"
        );
        assert_eq!(describe("", Some(("", "", &[])), &judge), "Campaign");
    }

    #[test]
    fn it_is_readable_and_silences_no_rule() {
        let judge = judge(|_| {});
        let long = format!("State: in\u{0}active; {}", "x".repeat(60_000));
        let described = describe(&long, Some(("file", "State: falsepos;", &[])), &judge);
        assert!(described.starts_with("State: inactive, xxx"), "{described}");
        assert!(described.ends_with("x… - file: State: falsepos, - Campaign"), "{described}");
        assert!(described.len() < 6_100);
    }

    #[test]
    fn what_policy_forbids_is_not_told_beside_what_it_allows() {
        let siblings =
            [sibling("filename", "filename", "Payroll.xlsx"), sibling("port", "port", "443")];
        let described = |judge: &Judge| describe("", Some(("file", "", &siblings)), judge);
        let never = judge(|policy| policy.never = vec!["payroll.xlsx".into()]);
        assert_eq!(described(&never), "file (port: 443) - Campaign");
        let types = judge(|policy| policy.types_exclude = vec!["file*".into()]);
        assert_eq!(described(&types), "file (port: 443) - Campaign");
        let categories = judge(|policy| policy.categories_exclude = vec!["Payload*".into()]);
        assert_eq!(described(&categories), "file - Campaign");
    }
}
