//! Chooses which other attributes of the same MISP object an indicator's description may mention. It chooses
//! only types that describe something and identify nobody, and only attributes that have the same audience
//! and no tags of their own.

use std::borrow::Cow;

use super::claim::Sibling;
use super::type_row::category;
use crate::pure::misp::{Attribute, Object};

/// Types that describe something, the most telling first. Types that are matched in logs are left out, because they
/// make indicators of their own. Types that identify people are left out too.
const TOLD: [&str; 12] = [
    "filename",
    "email-subject",
    "email-attachment",
    "mime-type",
    "size-in-bytes",
    "port",
    "text",
    "datetime",
    "counter",
    "float",
    "boolean",
    "hex",
];

const MAX_SIBLINGS: usize = 4;

/// The longest value, in characters.
const MAX_VALUE: usize = 120;

/// Returns the other attributes of `object` that have the same audience as `attribute` and no tags of their own, since
/// a tag may forbid them. They also have the same object and event. So if policy admits the audiences of `attribute`,
/// it admits theirs.
pub(super) fn siblings(attribute: &Attribute<'_>, object: &Object<'_>) -> Vec<Sibling> {
    let mut told: Vec<(usize, &Attribute<'_>)> = object
        .beside(is_told)
        .iter()
        .filter(|other| other.uuid != attribute.uuid && other.audience() == attribute.audience())
        .filter_map(|other| Some((place(&other.kind)?, other)))
        .collect();
    told.sort_by_key(|(place, _)| *place);
    told.into_iter().take(MAX_SIBLINGS).map(|(place, other)| sibling(place, other)).collect()
}

/// Words in the relations of free texts that are about people or their accounts.
const PEOPLE: [&str; 10] = [
    "user",
    "account",
    "password",
    "credential",
    "login",
    "name",
    "owner",
    "victim",
    "person",
    "phone",
];

fn is_about_people(attribute: &Attribute<'_>) -> bool {
    let relation = attribute.relation.to_ascii_lowercase();
    attribute.kind == "text" && PEOPLE.iter().any(|word| relation.contains(word))
}

fn is_told(attribute: &Attribute<'_>) -> bool {
    !attribute.deleted
        && !is_about_people(attribute)
        && attribute.tags.is_empty()
        && !attribute.value.trim().is_empty()
        && place(&attribute.kind).is_some()
}

fn place(kind: &str) -> Option<usize> {
    TOLD.iter().position(|told| *told == kind)
}

fn sibling(place: usize, attribute: &Attribute<'_>) -> Sibling {
    let kind = TOLD.get(place).copied().unwrap_or_default();
    let relation = if attribute.relation.is_empty() { kind } else { &attribute.relation };
    Sibling {
        kind: Cow::Borrowed(kind),
        category: category(&attribute.category),
        relation: relation.to_owned(),
        timestamp: attribute.timestamp,
        value: short(&attribute.value),
    }
}

/// On one line, and cut with an ellipsis.
fn short(value: &str) -> String {
    let mut words = value.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = words.clone().take(MAX_VALUE).collect();
    if words.nth(MAX_VALUE).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// Returns the beginning of the longer value, if this text was cut.
pub fn uncut(text: &str) -> Option<&str> {
    text.strip_suffix('…').filter(|start| start.chars().count() + 1 == MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use crate::pure::misp::Event;

    fn attribute(number: u128, kind: &str, value: &str, also: &Value) -> Value {
        let mut attribute = json!({
            "uuid": Uuid::from_u128(0x5863_4bba_0000_49db_85e0_0000_0000_0000 + number),
            "type": kind,
            "object_relation": kind,
            "value": value,
            "timestamp": "1700000000",
        });
        for (key, value) in also.as_object().unwrap() {
            attribute[key] = value.clone();
        }
        attribute
    }

    /// What is told beside each claim of an object, by the claim's value.
    fn told(attributes: &[Value]) -> Vec<(String, Vec<String>)> {
        let document = json!({"Event": {
            "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd",
            "Object": [{"name": "file", "Attribute": attributes}],
        }})
        .to_string();
        let event = Event::parse(document.as_bytes()).unwrap();
        let claims = crate::pure::convert::event(&event).claims.into_iter();
        let siblings = |claim: crate::pure::convert::Claim| {
            let siblings = claim.facts.object.unwrap().siblings.into_iter();
            let said = siblings.map(|other| format!("{}={}", other.relation, other.value));
            (claim.observable.value, said.collect())
        };
        claims.map(siblings).collect()
    }

    #[test]
    fn a_name_is_told_beside_a_hash_and_nothing_beside_itself() {
        let md5 = "0cc175b9c0f1b6a831c399e269772661";
        let plain = json!({});
        let said = told(&[
            attribute(1, "md5", md5, &plain),
            attribute(2, "text", "packed", &plain),
            attribute(3, "filename", "a.exe", &plain),
        ]);
        let expected =
            [(md5, vec!["filename=a.exe", "text=packed"]), ("a.exe", vec!["text=packed"])];
        let expected = expected.map(|(value, told)| {
            (value.to_owned(), told.into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn what_others_may_not_see_is_not_told_to_them() {
        let md5 = "0cc175b9c0f1b6a831c399e269772661";
        let others = [
            attribute(2, "filename", "deleted.exe", &json!({"deleted": "1"})),
            attribute(3, "filename", "tagged.exe", &json!({"Tag": [{"name": "tlp:red"}]})),
            attribute(4, "filename", "own.exe", &json!({"distribution": "0"})),
            attribute(5, "email-dst", "cfo@victim.example", &json!({})),
            attribute(6, "domain", "c2.example", &json!({})),
            attribute(7, "phone-number", "+352 1", &json!({})),
            attribute(8, "text", "j.doe", &json!({"object_relation": "UserName"})),
        ];
        let of = |also: &Value| {
            let first = attribute(1, "md5", md5, also);
            told(&[vec![first], others.to_vec()].concat()).swap_remove(0).1
        };
        assert_eq!(of(&json!({})), [""; 0]);
        assert_eq!(of(&json!({"distribution": "0"})), ["filename=own.exe"]);
        assert_eq!(of(&json!({"distribution": "3"})), [""; 0]);
    }

    #[test]
    fn much_is_cut_and_stays_on_one_line() {
        let md5 = attribute(1, "md5", "0cc175b9c0f1b6a831c399e269772661", &json!({}));
        let many = (2..9).map(|n| attribute(n, "text", &format!("note {n}\nline"), &json!({})));
        let (_, said) =
            told(&std::iter::once(md5.clone()).chain(many).collect::<Vec<_>>()).remove(0);
        assert_eq!(
            said,
            ["text=note 2 line", "text=note 3 line", "text=note 4 line", "text=note 5 line"]
        );
        for (length, cut) in [(120, "é".repeat(120)), (121, "é".repeat(119) + "…")] {
            let long = attribute(2, "text", &"é".repeat(length), &json!({}));
            assert_eq!(told(&[md5.clone(), long]).remove(0).1, [format!("text={cut}")]);
        }
    }
}
