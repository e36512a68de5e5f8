//! What MISP's tags say about an indicator: confidence, threat type, kill chain, labels.

use wildmatch::WildMatch;

use super::Rendering;
use crate::convert::{Since, Tag};
use crate::policy::Tlp;

/// `misp:confidence-level` of the MISP taxonomy, as the taxonomy's own numerical values.
const CONFIDENCE: [(&str, u8); 6] = [
    ("completely-confident", 100),
    ("usually-confident", 75),
    ("fairly-confident", 50),
    ("rarely-confident", 25),
    ("unconfident", 0),
    ("confidence-cannot-be-evalued", 50),
];

/// The `kill-chain` taxonomy: Lockheed Martin's phases.
const KILL_CHAIN: [&str; 7] = [
    "Reconnaissance",
    "Weaponization",
    "Delivery",
    "Exploitation",
    "Installation",
    "Command and Control",
    "Actions on Objectives",
];

/// The confidence of the attribute's tags, else of the event's; the highest where several say one.
pub(super) fn confidence(event: &[Tag], attribute: &[Tag]) -> Option<u8> {
    let of = |tags: &[Tag]| sent(tags).filter_map(|tag| confidence_of(&tag.name)).max();
    of(attribute).or_else(|| of(event))
}

fn confidence_of(tag: &str) -> Option<u8> {
    let level = tag.strip_prefix("misp:confidence-level=")?.trim_matches('"');
    CONFIDENCE.iter().find(|(name, _)| name.eq_ignore_ascii_case(level)).map(|(_, value)| *value)
}

/// `sentinel-threattype:C2` is the indicator type `C2`, which Sentinel shows as threat type.
pub(super) fn indicator_type(tag: &str) -> Option<String> {
    machine_value(tag, "sentinel-threattype").map(str::to_owned)
}

/// `kill-chain:Command and Control` is the phase `command-and-control` (STIX 2.1, 2.6: phase names
/// are lower case with hyphens).
pub(super) fn kill_chain_phase(tag: &str) -> Option<String> {
    let phase = machine_value(tag, "kill-chain")?;
    KILL_CHAIN
        .iter()
        .find(|known| known.eq_ignore_ascii_case(phase))
        .map(|known| known.to_ascii_lowercase().replace(' ', "-"))
}

fn machine_value<'a>(tag: &'a str, taxonomy: &str) -> Option<&'a str> {
    let rest = tag.strip_prefix(taxonomy)?.strip_prefix(':')?;
    let value = rest.trim().trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// Tags that may be shown: local ones never leave, those taken off no longer count, and of those put
/// on since the publication MISP's frame may not say whether they are local.
pub(super) fn sent(tags: &[Tag]) -> impl Iterator<Item = &Tag> {
    tags.iter().filter(|tag| !tag.local && tag.since == Since::Published)
}

/// Which tags become labels.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    ignore: Vec<WildMatch>,
    taxonomies: Vec<String>,
}

impl Labels {
    pub(super) fn new(rendering: &Rendering) -> Self {
        let ignore = rendering
            .labels_ignore
            .iter()
            .map(|tag| WildMatch::new_case_insensitive(tag))
            .collect();
        Self { ignore, taxonomies: rendering.labels_taxonomies.clone() }
    }

    /// The tag as a label. TLP tags are none: the merged level has its own label.
    pub(super) fn label(&self, tag: &str) -> Option<String> {
        let shown = Tlp::from_tag(tag).is_none()
            && !self.ignore.iter().any(|pattern| pattern.matches(tag))
            && self.allows_taxonomy(tag);
        shown.then(|| tag.to_owned())
    }

    fn allows_taxonomy(&self, tag: &str) -> bool {
        let taxonomy = tag.split(':').next().unwrap_or_default();
        self.taxonomies.is_empty()
            || self.taxonomies.iter().any(|allowed| allowed.eq_ignore_ascii_case(taxonomy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag { name: (*name).into(), ..Tag::default() }).collect()
    }

    #[test]
    fn the_attributes_confidence_outranks_the_events() {
        let event = tags(&["misp:confidence-level=\"completely-confident\""]);
        let attribute = tags(&["misp:confidence-level=\"rarely-confident\""]);
        assert_eq!(confidence(&event, &attribute), Some(25));
        assert_eq!(confidence(&event, &[]), Some(100));
        assert_eq!(confidence(&[], &tags(&["tlp:red"])), None);
    }

    #[test]
    fn kill_chain_tags_become_stix_phase_names() {
        let phase = kill_chain_phase("kill-chain:Command and Control");
        assert_eq!(phase.as_deref(), Some("command-and-control"));
        assert_eq!(kill_chain_phase("kill-chain:Nonsense"), None);
    }
}
