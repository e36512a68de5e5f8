//! The audience of an event, an object or an attribute: its distribution and sharing group. MISP shows an
//! attribute only to those whom event, object and attribute all allow.

use serde::{Deserialize, Deserializer, Serialize};

use super::lenient;

/// MISP's `distribution` of a sharing group's members.
pub const SHARING_GROUP: i64 = 4;

/// MISP's `distribution` of an object or attribute that inherits: whoever may see the event or object around it may see
/// it.
pub(super) const INHERIT: i64 = 5;

pub(super) fn inherited() -> i64 {
    INHERIT
}

/// Reads the `distribution` of an object or attribute, which inherits if it has none.
pub(super) fn distribution<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(lenient::optional_number(deserializer)?.unwrap_or(INHERIT))
}

/// MISP's `distribution` values for this community, connected communities and all communities.
const COMMUNITIES: std::ops::RangeInclusive<i64> = 1..=3;

/// Who may see an event, an object or an attribute, according to its own distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    pub distribution: i64,
    /// MISP's number of the sharing group.
    pub sharing_group_id: i64,
}

impl Audience {
    pub fn new(distribution: i64, sharing_group_id: i64) -> Self {
        Self { distribution, sharing_group_id }
    }

    /// Whether it is for more than one organisation and for no sharing group.
    pub fn is_open(self) -> bool {
        COMMUNITIES.contains(&self.distribution)
    }
}

/// Returns the audiences of an attribute: that of its event, and those `below`, which are its object's and its own.
/// Policy must allow each of them. There is no narrowest one, since a sharing group is neither wider nor narrower than
/// the others. An object or attribute that inherits adds none. An event cannot inherit, so its audience always counts.
pub fn stands_under(
    event: Audience,
    below: impl IntoIterator<Item = Audience>,
) -> impl Iterator<Item = Audience> {
    let below = below.into_iter().filter(|one| one.distribution != INHERIT);
    std::iter::once(event).chain(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distributions(event: i64, object: Option<i64>, attribute: i64) -> Vec<i64> {
        let of = |distribution| Audience::new(distribution, 0);
        let below = object.into_iter().chain([attribute]).map(of);
        stands_under(of(event), below).map(|one| one.distribution).collect()
    }

    #[test]
    fn every_level_counts_that_has_a_word_of_its_own() {
        assert_eq!(distributions(0, None, 3), [0, 3]);
        assert_eq!(distributions(3, Some(0), 5), [3, 0]);
        assert_eq!(distributions(3, Some(5), 5), [3]);
        assert_eq!(distributions(4, Some(3), 1), [4, 3, 1]);
        // MISP knows no event that inherits.
        assert_eq!(distributions(5, None, 5), [5]);
    }

    #[test]
    fn only_the_distributions_of_communities_are_open() {
        let open = (-1..7).filter(|distribution| Audience::new(*distribution, 7).is_open());
        assert_eq!(open.collect::<Vec<_>>(), [1, 2, 3]);
    }
}
