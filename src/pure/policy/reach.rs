//! Decides of which attributes MISP may be told that they were hit. A sighting tells whoever sees the attribute that
//! this organisation was hit, and that is a matter of distribution: TLP tags change nothing.

use std::iter;

use uuid::Uuid;

use crate::pure::convert::{ClaimFacts, EventFacts};

/// The attributes of which hits are told (`misp.sightings.audience`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Of events that the organisation of the key created, and that only this organisation sees.
    Own,
    /// Those that at most this distribution shows, 0 to 3.
    Distribution(i64),
    All,
}

/// MISP's `distribution` of an object or attribute that inherits.
const INHERIT: i64 = 5;

/// MISP's `distribution` values that have a meaning: 4 is a sharing group.
const KNOWN: std::ops::RangeInclusive<i64> = 0..=4;

impl Reach {
    /// Reads `own`, `all`, or `distribution<=N` with N from 0 to 3.
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "own" => Some(Self::Own),
            "all" => Some(Self::All),
            _ => {
                let most: i64 = text.strip_prefix("distribution<=")?.parse().ok()?;
                (0..=3).contains(&most).then_some(Self::Distribution(most))
            }
        }
    }

    /// Whether it asks for the organisation of the key.
    pub fn asks_for_organisation(self) -> bool {
        self == Self::Own
    }

    /// Whether a hit of the attribute may be told. `organisation`: that of the key. What is not known admits nothing.
    pub fn admits(
        self,
        organisation: Option<Uuid>,
        event: &EventFacts,
        attribute: &ClaimFacts,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Distribution(most) => is_within(most, event, attribute),
            Self::Own => {
                let is_own = organisation.is_some() && event.org_uuid == organisation;
                is_own && is_within(0, event, attribute)
            }
        }
    }
}

/// Whether only those see the attribute whom the distribution `most` allows. MISP shows it to those whom event, object
/// and attribute all allow, so one of the three is enough. What an edit changed since the publication counts as the
/// wider of both.
fn is_within(most: i64, event: &EventFacts, attribute: &ClaimFacts) -> bool {
    // An edit does not say whether it was of the object or of the attribute.
    let edited = || attribute.also.iter().map(|also| also.distribution);
    let object = attribute.object.iter().map(|object| object.distribution);
    let of_event: Vec<i64> = iter::once(event.distribution)
        .chain(event.also.iter().map(|also| also.audience.distribution))
        .collect();
    let of_attribute: Vec<i64> = iter::once(attribute.distribution).chain(edited()).collect();
    // An attribute outside of objects has no such level.
    let of_object: Vec<i64> =
        object.flat_map(|object| iter::once(object).chain(edited())).collect();
    let are_known = of_event.iter().all(|one| KNOWN.contains(one))
        && of_object.iter().chain(&of_attribute).all(|one| KNOWN.contains(one) || *one == INHERIT);
    let holds = |of: &Vec<i64>| !of.is_empty() && of.iter().all(|one| (0..=most).contains(one));
    are_known && [of_event, of_object, of_attribute].iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::convert::{ObjectFacts, SharedWith, TagFacts};
    use crate::pure::misp::Audience;

    const OURS: Uuid = Uuid::from_u128(1);
    const THEIRS: Uuid = Uuid::from_u128(2);

    fn event(org: Option<Uuid>, distribution: i64, tlp: &str) -> EventFacts {
        let tags = vec![TagFacts { name: tlp.to_owned(), ..TagFacts::default() }];
        EventFacts { org_uuid: org, distribution, tags, ..EventFacts::default() }
    }

    fn attribute(distribution: i64, object: Option<i64>) -> ClaimFacts {
        let object = object.map(|distribution| {
            ObjectFacts { distribution, ..serde_json::from_value(blank_object()).unwrap() }.into()
        });
        ClaimFacts { distribution, object, ..ClaimFacts::default() }
    }

    fn blank_object() -> serde_json::Value {
        serde_json::json!({"uuid": Uuid::nil(), "name": "file", "distribution": 5})
    }

    /// For each TLP, distribution of the event and organisation: what `own`, `distribution<=1` and `all` tell.
    #[test]
    fn what_may_be_told_for_each_tlp_distribution_and_organisation() {
        for tlp in ["tlp:red", "tlp:amber+strict", "tlp:amber", "tlp:green", "tlp:clear", "other"] {
            for (org, distribution, told) in [
                (Some(OURS), 0, [true, true, true]),
                (Some(OURS), 1, [false, true, true]),
                (Some(OURS), 2, [false, false, true]),
                (Some(OURS), 3, [false, false, true]),
                (Some(OURS), 4, [false, false, true]),
                (Some(OURS), 7, [false, false, true]),
                (Some(THEIRS), 0, [false, true, true]),
                (Some(THEIRS), 1, [false, true, true]),
                (Some(THEIRS), 2, [false, false, true]),
                (Some(THEIRS), 3, [false, false, true]),
                (Some(THEIRS), 4, [false, false, true]),
                (None, 0, [false, true, true]),
                (None, 3, [false, false, true]),
            ] {
                let event = event(org, distribution, tlp);
                let reaches = [Reach::Own, Reach::Distribution(1), Reach::All];
                let admitted =
                    reaches.map(|reach| reach.admits(Some(OURS), &event, &attribute(5, None)));
                assert_eq!(admitted, told, "{tlp} {org:?} {distribution}");
                // Without the organisation of the key nothing is its own.
                assert!(!Reach::Own.admits(None, &event, &attribute(5, None)));
            }
        }
    }

    #[test]
    fn the_narrowest_of_event_object_and_attribute_counts() {
        for (of_event, of_object, of_attribute, own) in [
            (3, None, 0, true),
            (3, Some(0), 5, true),
            (0, Some(3), 3, true),
            (4, None, 0, true),
            (0, None, 4, true),
            (3, Some(5), 5, false),
            (3, Some(4), 1, false),
            // Of what MISP does not have nobody knows whom it reaches.
            (0, None, 9, false),
            (5, None, 0, false),
        ] {
            let event = event(Some(OURS), of_event, "tlp:green");
            let admitted =
                Reach::Own.admits(Some(OURS), &event, &attribute(of_attribute, of_object));
            assert_eq!(admitted, own, "{of_event} {of_object:?} {of_attribute}");
        }
    }

    #[test]
    fn what_an_edit_changed_counts_as_the_wider_of_both() {
        let narrowed = EventFacts {
            also: Some(SharedWith { audience: Audience::new(3, 0), sharing_group: None }),
            ..event(Some(OURS), 0, "tlp:red")
        };
        assert!(!Reach::Own.admits(Some(OURS), &narrowed, &attribute(5, None)));
        let edited = ClaimFacts { also: vec![Audience::new(1, 0)], ..attribute(0, None) };
        let open = event(Some(OURS), 3, "tlp:red");
        assert!(!Reach::Own.admits(Some(OURS), &open, &edited));
        assert!(Reach::Distribution(1).admits(Some(OURS), &open, &edited));
    }

    #[test]
    fn an_audience_is_own_all_or_a_distribution() {
        assert_eq!(Reach::read("own"), Some(Reach::Own));
        assert_eq!(Reach::read("all"), Some(Reach::All));
        assert_eq!(Reach::read("distribution<=2"), Some(Reach::Distribution(2)));
        for none in ["", "Own", "distribution<=4", "distribution<=-1", "distribution<2", "2"] {
            assert_eq!(Reach::read(none), None, "{none}");
        }
    }
}
