//! Reads the confidence, threat types, kill chain phases and labels of an indicator from MISP's tags and
//! categories.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use wildmatch::WildMatch;

use super::Rendering;
use super::text::clean;
use crate::pure::convert::{self, ClaimFacts, EventFacts, Since, TagFacts};
use crate::pure::policy::Judge;

/// The kill chain of phases that name no other: Lockheed Martin's, as STIX 2.1, 2.6 spells it.
const KILL_CHAIN: &str = "lockheed-martin-cyber-kill-chain";

/// What misp-stix calls MISP's categories as phases.
const CATEGORIES: &str = "misp-category";

/// The taxonomy whose predicates are Sentinel's threat types.
const THREAT_TYPES: &str = "sentinel-threattype";

/// As long as MISP's own column for a tag (`tags.name`), in characters.
const LONGEST_LABEL: usize = 255;

/// How labels begin that name an actor.
const ACTIVITY_GROUP: &str = "ActivityGroup:";

/// MISP's own taxonomy for an event's threat level, by `threat_level_id`; 4, undefined, says
/// nothing.
const THREAT_LEVELS: [(i64, &str); 3] = [
    (1, "misp:threat-level=\"high-risk\""),
    (2, "misp:threat-level=\"medium-risk\""),
    (3, "misp:threat-level=\"low-risk\""),
];

/// A phase as STIX writes it, and the chain that it belongs to.
pub(super) type ChainAndPhase = (String, String);

/// Reads tags by the operator's tables.
#[derive(Debug, Clone)]
pub(super) struct TagReader {
    /// The place in the order of scales, the tag and the value.
    confidence: Vec<(usize, String, u8)>,
    kill_chain: Vec<(String, ChainAndPhase)>,
    category_phases: bool,
    threat_types: Vec<(String, String)>,
    default_threat_type: String,
    threat_level_labels: bool,
    /// Tags that are never labels.
    ignored: Vec<WildMatch>,
    /// Taxonomies whose tags become labels; empty: all.
    taxonomies: Vec<String>,
}

impl TagReader {
    pub(super) fn new(rendering: &Rendering) -> Self {
        let rules = &rendering.tags;
        let scales = || rules.confidence_from.iter().map(|scale| comparable(scale)).enumerate();
        let confidence = rules.confidence.iter().filter_map(|(tag, value)| {
            let tag = comparable(tag);
            let (place, _) = scales().find(|(_, scale)| tag.starts_with(scale.as_str()))?;
            Some((place, tag, *value))
        });
        let ignored = rendering.labels_ignore.iter();
        Self {
            confidence: confidence.collect(),
            kill_chain: rows(&rules.kill_chain)
                .filter(|(_, name)| !name.is_empty())
                .map(|(tag, name)| (tag, phase(name)))
                .collect(),
            category_phases: rules.category_phases,
            threat_types: rows(&rules.threat_types).map(|(t, kind)| (t, kind.clone())).collect(),
            default_threat_type: rules.default_threat_type.clone(),
            threat_level_labels: rules.threat_level_labels,
            ignored: ignored.map(|tag| WildMatch::new_case_insensitive(tag)).collect(),
            taxonomies: rendering.labels_taxonomies.clone(),
        }
    }

    /// The confidence of the attribute's tags, or else of the event's tags. The first scale that states one counts. If
    /// it states several, the highest counts.
    pub(super) fn confidence(&self, event: &EventFacts, claim: &ClaimFacts) -> Option<u8> {
        let of = |tags: &[TagFacts]| {
            let said = sent(tags).filter_map(|tag| {
                self.confidence.iter().find(|(_, row, _)| is_same(&tag.name, row))
            });
            said.map(|(place, _, value)| (std::cmp::Reverse(*place), *value)).max()
        };
        of(&claim.tags).or_else(|| of(&event.tags)).map(|(_, value)| value)
    }

    /// Sentinel's threat types: those of the attribute's tags, else of the event's.
    pub(super) fn threat_types<'t>(
        &'t self,
        event: &'t EventFacts,
        claim: &'t ClaimFacts,
    ) -> impl Iterator<Item = &'t str> {
        let of = |tags: &'t [TagFacts]| sent(tags).filter_map(|tag| self.threat_type(&tag.name));
        let from = if of(&claim.tags).next().is_some() { &claim.tags } else { &event.tags };
        of(from)
    }

    fn threat_type<'t>(&'t self, tag: &'t str) -> Option<&'t str> {
        let row = self.threat_types.iter().find(|(row, _)| is_same(tag, row));
        row.map(|(_, kind)| kind.as_str()).or_else(|| own_threat_type(tag))
    }

    /// The threat type of indicators without a tag that names one.
    pub(super) fn default_threat_type(&self) -> &str {
        &self.default_threat_type
    }

    /// The phases that the tags and the category name.
    pub(super) fn phases(
        &self,
        event: &EventFacts,
        claim: &ClaimFacts,
        phases: &mut BTreeSet<ChainAndPhase>,
    ) {
        for tag in sent_of(event, claim) {
            let row = self.kill_chain.iter().find(|(row, _)| is_same(&tag.name, row));
            phases.extend(row.map(|(_, phase)| phase.clone()));
        }
        if self.category_phases && !claim.category.is_empty() {
            phases.insert((CATEGORIES.to_owned(), hyphenated(&claim.category)));
        }
    }

    /// The tag as a label.
    pub(super) fn label(&self, tag: &str) -> Option<String> {
        let shown = !self.ignores(tag) && self.allows_taxonomy(tag);
        shown.then(|| spelled(tag)).filter(|label| !label.is_empty())
    }

    fn ignores(&self, label: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(label))
    }

    /// A tag of a taxonomy begins with its name and a colon.
    fn allows_taxonomy(&self, tag: &str) -> bool {
        let taxonomy = tag.split_once(':').map(|(taxonomy, _)| taxonomy);
        let is_it = |allowed: &String| taxonomy.is_some_and(|it| allowed.eq_ignore_ascii_case(it));
        self.taxonomies.is_empty() || self.taxonomies.iter().any(is_it)
    }

    /// One of MISP's warninglists as a label, in the manner of MISP's own taxonomy.
    pub(super) fn warninglist(&self, name: &str) -> Option<String> {
        self.label(&format!("misp:warninglist=\"{name}\""))
    }

    /// The actors whose tags are on the claim or its event, as Sentinel's rules read them out of
    /// labels: `ActivityGroup:(\S+)`, so without white space.
    pub(super) fn actors(
        &self,
        judge: &Judge,
        event: &EventFacts,
        claim: &ClaimFacts,
    ) -> Vec<String> {
        let tags = sent_of(event, claim);
        let tags = tags.filter(|tag| self.allows_taxonomy(&tag.name));
        let labels = tags.filter_map(|tag| actor(judge, event, &tag.name));
        let labels = labels.map(|name| spelled(&format!("{ACTIVITY_GROUP}{name}")));
        labels.filter(|label| !self.ignores(label)).collect()
    }

    /// The event's threat level as a label.
    pub(super) fn threat_level(&self, event: &EventFacts) -> Option<String> {
        let level = THREAT_LEVELS.iter().find(|(level, _)| *level == event.threat_level)?;
        self.threat_level_labels.then(|| self.label(level.1)).flatten()
    }
}

/// Whether a label names an actor, as Sentinel's rules read it.
pub(super) fn is_actor(label: &str) -> bool {
    label.starts_with(ACTIVITY_GROUP)
}

/// Returns a label as it is sent, without hidden characters. A label that names an actor also loses its white space,
/// since rules read such a name only up to the first white space.
fn spelled(label: &str) -> String {
    let label = clean(label, LONGEST_LABEL);
    if !is_actor(&label) {
        return label.into_owned();
    }
    label.split_whitespace().collect::<Vec<_>>().join("-")
}

/// The name of the actor that a tag names. The tag of an instance's own cluster holds only a uuid, so its name must
/// come from MISP's description of the cluster.
fn actor<'t>(judge: &Judge, event: &'t EventFacts, tag: &'t str) -> Option<&'t str> {
    let named = convert::actor(tag)?;
    if Uuid::try_parse(named).is_err() {
        return Some(named);
    }
    let cluster = judge.clusters(event).find(|cluster| cluster.tag == tag)?;
    Some(cluster.name.as_str()).filter(|name| !name.trim().is_empty())
}

/// `sentinel-threattype:C2` is the threat type `C2`.
fn own_threat_type(tag: &str) -> Option<&str> {
    let value = tag.strip_prefix(THREAT_TYPES)?.strip_prefix(':')?.trim().trim_matches('"');
    (!value.is_empty()).then_some(value)
}

fn rows(table: &BTreeMap<String, String>) -> impl Iterator<Item = (String, &String)> {
    table.iter().map(|(tag, says)| (comparable(tag), says))
}

/// `chain/phase`, or the phase alone.
fn phase(name: &str) -> ChainAndPhase {
    let (chain, phase) = name.split_once('/').unwrap_or((KILL_CHAIN, name));
    (chain.trim().to_owned(), hyphenated(phase))
}

/// Phases are in lower case, with hyphens for spaces (STIX 2.1, 2.6).
fn hyphenated(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(' ', "-")
}

/// Returns a tag without quotes and in lower case, for comparison.
fn comparable(tag: &str) -> String {
    tag.trim().replace('"', "").to_ascii_lowercase()
}

/// Whether a tag is that of a row.
fn is_same(tag: &str, row: &str) -> bool {
    let tag = tag.trim().bytes().filter(|byte| *byte != b'"');
    tag.map(|byte| byte.to_ascii_lowercase()).eq(row.bytes())
}

/// The tags that may be sent. Local tags are never sent. Tags that were taken off no longer count. For tags that were
/// put on since the publication, MISP's frame may not say whether they are local.
fn sent(tags: &[TagFacts]) -> impl Iterator<Item = &TagFacts> {
    tags.iter().filter(|tag| !tag.local && tag.since == Since::Published)
}

/// The tags that may be sent: first those of an event, then those of a claim.
pub(super) fn sent_of<'t>(
    event: &'t EventFacts,
    claim: &'t ClaimFacts,
) -> impl Iterator<Item = &'t TagFacts> {
    sent(&event.tags).chain(sent(&claim.tags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::stix::TagRules;

    /// The defaults, as an operator's program has them.
    fn context(change: impl FnOnce(&mut Rendering)) -> TagReader {
        let none = tempfile::NamedTempFile::new().unwrap();
        let rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        let mut rendering = rules.rendering;
        change(&mut rendering);
        TagReader::new(&rendering)
    }

    fn tags(names: &[&str]) -> Vec<TagFacts> {
        names.iter().map(|name| TagFacts { name: (*name).into(), ..TagFacts::default() }).collect()
    }

    fn event(names: &[&str]) -> EventFacts {
        EventFacts { tags: tags(names), ..EventFacts::default() }
    }

    fn claim(names: &[&str]) -> ClaimFacts {
        ClaimFacts { tags: tags(names), ..ClaimFacts::default() }
    }

    fn confidence(event_tags: &[&str], claim_tags: &[&str]) -> Option<u8> {
        context(|_| {}).confidence(&event(event_tags), &claim(claim_tags))
    }

    #[test]
    fn the_attributes_confidence_outranks_the_events() {
        let of_event = ["misp:confidence-level=\"completely-confident\""];
        assert_eq!(
            confidence(&of_event, &["misp:confidence-level=\"rarely-confident\""]),
            Some(25)
        );
        assert_eq!(confidence(&of_event, &[]), Some(100));
        assert_eq!(confidence(&[], &["tlp:red"]), None);
        // The taxonomy's numbers, but for an even 50, which a built-in rule does not take.
        for (level, number) in [
            ("usually-confident", 75),
            ("fairly-confident", 51),
            ("unconfident", 0),
            ("confidence-cannot-be-evalued", 51),
        ] {
            let tag = format!("misp:confidence-level=\"{level}\"");
            assert_eq!(confidence(&[], &[&tag]), Some(number), "{tag}");
        }
        assert_eq!(confidence(&[], &["misp:confidence-level=\"nonsense\""]), None);
    }

    #[test]
    fn other_scales_count_where_misp_says_nothing() {
        // STIX 2.1, appendix A: Admiralty credibility and the DNI scale.
        let credible = "admiralty-scale:information-credibility=\"2\"";
        let likely = "estimative-language:likelihood-probability=\"almost-certain\"";
        let reliable = "admiralty-scale:source-reliability=\"c\"";
        assert_eq!(confidence(&[], &[credible]), Some(70));
        assert_eq!(confidence(&[likely], &[]), Some(95));
        assert_eq!(confidence(&[reliable], &[]), Some(51));
        assert_eq!(confidence(&[], &[likely, credible, reliable]), Some(70));
        let misp = "misp:confidence-level=\"rarely-confident\"";
        assert_eq!(confidence(&[], &[credible, misp, likely]), Some(25));
        // "Truth cannot be judged" is no confidence.
        let unjudged = "admiralty-scale:information-credibility=\"6\"";
        assert_eq!(confidence(&[], &[unjudged, likely]), Some(95));
    }

    #[test]
    fn an_operators_own_levels_and_scales_count() {
        let own = context(|rendering| {
            rendering.tags = TagRules {
                confidence_from: vec!["house:trust".into()],
                confidence: [("house:trust=\"High\"".into(), 88)].into(),
                ..TagRules::default()
            };
        });
        let tags = ["HOUSE:trust=high", "misp:confidence-level=\"unconfident\""];
        assert_eq!(own.confidence(&event(&[]), &claim(&tags)), Some(88));
    }

    #[test]
    fn an_attributes_threat_type_replaces_its_events() {
        let context = context(|rendering| {
            rendering.tags.threat_types.insert("malware:ransomware".into(), "Malware".into());
        });
        let types = |event_tags: &[&str], claim_tags: &[&str]| {
            let (event, claim) = (event(event_tags), claim(claim_tags));
            context.threat_types(&event, &claim).map(str::to_owned).collect::<Vec<_>>()
        };
        let of_event = ["sentinel-threattype:Botnet"];
        assert_eq!(types(&of_event, &["sentinel-threattype:C2"]), ["C2"]);
        assert_eq!(types(&of_event, &["tlp:red"]), ["Botnet"]);
        assert_eq!(types(&[], &["malware:Ransomware"]), ["Malware"]);
        assert!(types(&["sentinel-threattype:"], &[]).is_empty());
    }

    fn phases(context: &TagReader, tags: &[&str], category: &'static str) -> Vec<String> {
        let claim = ClaimFacts { category: category.into(), ..claim(&[]) };
        let mut phases = BTreeSet::new();
        context.phases(&event(tags), &claim, &mut phases);
        phases.into_iter().map(|(chain, phase)| format!("{chain}/{phase}")).collect()
    }

    #[test]
    fn kill_chain_tags_and_the_category_become_phases() {
        let defaults = context(|_| {});
        let of = |tags: &[&str], category| phases(&defaults, tags, category);
        let lockheed = |phase: &str| format!("lockheed-martin-cyber-kill-chain/{phase}");
        for (tag, phase) in [
            ("kill-chain:Reconnaissance", "reconnaissance"),
            ("kill-chain:Weaponization", "weaponization"),
            ("kill-chain:Weaponisation", "weaponization"),
            ("kill-chain:Delivery", "delivery"),
            ("kill-chain:Exploitation", "exploitation"),
            ("kill-chain:Installation", "installation"),
            ("kill-chain:\"Command and Control\"", "command-and-control"),
            ("kill-chain:Actions on Objectives", "actions-on-objectives"),
        ] {
            assert_eq!(of(&[tag], ""), [lockheed(phase)], "{tag}");
        }
        assert!(of(&["kill-chain:Nonsense"], "").is_empty());
        assert_eq!(of(&[], "Network activity"), ["misp-category/network-activity"]);
        let own = context(|rendering| {
            rendering.tags.category_phases = false;
            let table = &mut rendering.tags.kill_chain;
            table.insert("house:stage=\"1\"".into(), "mitre-attack/Initial Access".into());
            table.insert("kill-chain:Delivery".into(), String::new());
        });
        let tags = ["house:stage=\"1\"", "kill-chain:Delivery"];
        assert_eq!(phases(&own, &tags, "Network activity"), ["mitre-attack/initial-access"]);
    }

    #[test]
    fn labels_are_the_tags_that_nobody_ignores() {
        let defaults = context(|_| {});
        for shown in ["diamond-model:Infrastructure", "type:OSINT", "misp-galaxy:tool=\"X\""] {
            assert_eq!(defaults.label(shown).as_deref(), Some(shown));
        }
        for hidden in ["misp:tool=\"MISP-STIX-Converter\"", "misp:to_ids=\"True\""] {
            assert_eq!(defaults.label(hidden), None, "{hidden}");
        }
        let strict = context(|rendering| rendering.labels_taxonomies = vec!["type".into()]);
        assert_eq!(strict.label("type:OSINT").as_deref(), Some("type:OSINT"));
        for other in ["typed:x", "type", "admiralty-scale:source-reliability=\"a\""] {
            assert_eq!(strict.label(other), None, "{other}");
        }
    }

    #[test]
    fn the_threat_level_is_a_label_of_misps_taxonomy() {
        let level = |context: &TagReader, threat_level| {
            context.threat_level(&EventFacts { threat_level, ..EventFacts::default() })
        };
        let defaults = context(|_| {});
        assert_eq!(level(&defaults, 1).as_deref(), Some("misp:threat-level=\"high-risk\""));
        assert_eq!(level(&defaults, 3).as_deref(), Some("misp:threat-level=\"low-risk\""));
        assert_eq!(level(&defaults, 4), None);
        let quiet = context(|rendering| rendering.tags.threat_level_labels = false);
        assert_eq!(level(&quiet, 1), None);
    }

    #[test]
    fn a_warninglist_is_a_label_in_misps_manner() {
        let label = context(|_| {}).warninglist("Top 1000");
        assert_eq!(label.as_deref(), Some("misp:warninglist=\"Top 1000\""));
    }

    /// An instance's own cluster has a uuid in its tag, and a name where MISP tells it.
    #[test]
    fn actors_are_named_by_their_tags_or_their_clusters() {
        let none = tempfile::NamedTempFile::new().unwrap();
        let rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        let judge = Judge::new(&rules.policy);
        let tag = "misp-galaxy:threat-actor=\"a62a8db3-f23a-4d8f-afd6-9dbc77e7813b\"";
        let named = |name: &str| convert::ClusterFacts {
            tag: tag.into(),
            uuid: Uuid::from_u128(1),
            kind: convert::ClusterKind::ThreatActor,
            is_default: true,
            distribution: 0,
            name: name.into(),
            description: String::new(),
            external_id: None,
            url: None,
            kill_chain: vec![],
            synonyms: vec![],
        };
        let actors = |context: &TagReader, name: &str, tags: &[&str]| {
            let event = EventFacts { clusters: vec![named(name)], ..event(tags) };
            context.actors(&judge, &event, &claim(&[]))
        };
        let defaults = context(|_| {});
        let sofacy = "misp-galaxy:threat-actor=\"Sofacy Group\"";
        assert_eq!(actors(&defaults, "", &[sofacy]), ["ActivityGroup:Sofacy-Group"]);
        assert_eq!(actors(&defaults, "Our Bear", &[tag]), ["ActivityGroup:Our-Bear"]);
        assert_eq!(actors(&defaults, " ", &[tag]), [""; 0]);
        let untold = tag.replace("a62a", "b62a");
        assert_eq!(actors(&defaults, "Our Bear", &[&untold]), [""; 0]);
        let ignoring =
            context(|rendering| rendering.labels_ignore = vec!["ActivityGroup:*".into()]);
        assert_eq!(actors(&ignoring, "", &[sofacy]), [""; 0]);
        let others = context(|rendering| rendering.labels_taxonomies = vec!["type".into()]);
        assert_eq!(actors(&others, "", &[sofacy]), [""; 0]);
    }

    #[test]
    fn local_tags_say_nothing() {
        let mut source = event(&["sentinel-threattype:C2", "kill-chain:Delivery"]);
        source.tags.iter_mut().for_each(|tag| tag.local = true);
        let (context, claim) = (context(|_| {}), claim(&[]));
        assert_eq!(context.threat_types(&source, &claim).next(), None);
        let mut phases = BTreeSet::new();
        context.phases(&source, &claim, &mut phases);
        assert!(phases.is_empty());
    }
}
