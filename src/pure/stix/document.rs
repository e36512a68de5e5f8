//! Writes the JSON of context objects: identities, attack patterns, threat actors and relationships.
//! `context` decides which of them an indicator needs.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::body::KillChainPhase;
use super::text::{LONGEST_NAME, LONGEST_PIECE, clean};
use crate::pure::convert::{ClusterFacts, ClusterKind};

/// A kind of object that is no indicator. In the order in which one needs another.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ContextKind {
    Identity,
    AttackPattern,
    ThreatActor,
    Relationship,
}

impl ContextKind {
    /// The STIX type.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The kind of a STIX type.
    pub fn from_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// The wire form (STIX 2.1: 4.1 Attack Pattern, 4.5 Identity, 4.17 Threat Actor, 5.1 Relationship), in
/// a fixed order of members.
#[derive(Default, Serialize)]
pub(super) struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    spec_version: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<ClusterReference<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kill_chain_phases: Vec<KillChainPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationship_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<String>,
}

#[derive(Serialize)]
struct ClusterReference<'a> {
    source_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
}

impl<'a> Document<'a> {
    pub(super) fn new(kind: ContextKind, id: Uuid) -> Self {
        Self {
            kind: kind.word(),
            spec_version: "2.1",
            id: format!("{}--{id}", kind.word()),
            ..Self::default()
        }
    }

    pub(super) fn describe(&mut self, cluster: &'a ClusterFacts) {
        self.name = Some(clean(&cluster.name, LONGEST_NAME));
        let description = clean(&cluster.description, LONGEST_PIECE);
        self.description = Some(description).filter(|text| !text.is_empty());
        let (url, external_id) = (cluster.url.as_deref(), cluster.external_id.as_deref());
        if url.or(external_id).is_some() {
            let source_name = external_id.map_or("misp-galaxy", source_name);
            self.external_references.push(ClusterReference { source_name, url, external_id });
        }
        match cluster.kind {
            ClusterKind::AttackPattern => {
                let phases: BTreeSet<_> =
                    cluster.kill_chain.iter().filter_map(|p| phase(p)).collect();
                let phase =
                    |(kill_chain_name, phase_name)| KillChainPhase { kill_chain_name, phase_name };
                self.kill_chain_phases = phases.into_iter().map(phase).collect();
            }
            ClusterKind::ThreatActor => {
                let others = cluster.synonyms.iter().filter(|synonym| **synonym != cluster.name);
                self.aliases = others.map(|name| clean(name, LONGEST_NAME)).collect();
            }
        }
    }
}

/// Who numbers so (MITRE writes `mitre-attack` for all of ATT&CK).
fn source_name(external_id: &str) -> &'static str {
    if external_id.starts_with("AML.") { "mitre-atlas" } else { "mitre-attack" }
}

/// misp-galaxy writes MITRE's chains without `mitre-` and with the platform:
/// `attack-Linux:initial-access`, `mobile-attack-iOS:impact`; older ones with the domain,
/// `mitre-attack:enterprise-attack:impact`.
fn phase(written: &str) -> Option<(String, String)> {
    let (chain, rest) = written.split_once(':')?;
    let phase = rest.rsplit(':').next().map(str::trim).filter(|phase| !phase.is_empty())?;
    let bare = chain.trim().strip_prefix("mitre-").unwrap_or(chain.trim());
    let is_of = |known: &&str| {
        bare.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let known = ["attack", "mobile-attack", "pre-attack", "ics-attack", "atlas"];
    let chain = known.iter().find(|known| is_of(known)).map(|known| format!("mitre-{known}"));
    Some((chain.unwrap_or_else(|| bare.to_owned()), phase.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(kind: ClusterKind) -> ClusterFacts {
        ClusterFacts {
            tag: String::new(),
            uuid: Uuid::from_u128(1),
            kind,
            is_default: true,
            distribution: 0,
            name: "APT29".into(),
            description: "d".into(),
            external_id: Some("G0016".into()),
            url: Some("https://attack.mitre.org/groups/G0016".into()),
            kill_chain: vec!["attack:impact".into(), "mitre-attack:impact".into()],
            synonyms: vec!["APT29".into(), "Cozy Bear".into()],
        }
    }

    fn described(kind: ContextKind, cluster: &ClusterFacts) -> serde_json::Value {
        let mut document = Document::new(kind, Uuid::from_u128(1));
        document.describe(cluster);
        serde_json::json!(document)
    }

    /// STIX 2.1: 4.1 Attack Pattern, 4.17 Threat Actor, 2.6 Kill Chain Phase.
    #[test]
    fn techniques_and_actors_are_as_stix_has_them() {
        let id = "00000000-0000-0000-0000-000000000001";
        let page = "https://attack.mitre.org/groups/G0016";
        let reference = serde_json::json!([
            {"source_name": "mitre-attack", "url": page, "external_id": "G0016"}
        ]);
        let actor = serde_json::json!({
            "type": "threat-actor", "spec_version": "2.1", "id": format!("threat-actor--{id}"),
            "name": "APT29", "description": "d", "aliases": ["Cozy Bear"],
            "external_references": reference,
        });
        let of_actor = cluster(ClusterKind::ThreatActor);
        assert_eq!(described(ContextKind::ThreatActor, &of_actor), actor);
        let technique = serde_json::json!({
            "type": "attack-pattern", "spec_version": "2.1", "id": format!("attack-pattern--{id}"),
            "name": "APT29", "description": "d", "external_references": reference,
            "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "impact"}],
        });
        let of_technique = cluster(ClusterKind::AttackPattern);
        assert_eq!(described(ContextKind::AttackPattern, &of_technique), technique);
    }

    #[test]
    fn a_reference_names_who_numbers_so() {
        let of = |external_id: Option<&str>, url: Option<&str>| {
            let told = ClusterFacts {
                external_id: external_id.map(str::to_owned),
                url: url.map(str::to_owned),
                ..cluster(ClusterKind::ThreatActor)
            };
            let object = described(ContextKind::ThreatActor, &told);
            object.get("external_references").map(|all| all[0]["source_name"].clone())
        };
        assert_eq!(of(Some("AML.T0000"), None), Some("mitre-atlas".into()));
        assert_eq!(of(Some("T1566"), None), Some("mitre-attack".into()));
        assert_eq!(of(None, Some("https://a.example")), Some("misp-galaxy".into()));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn phases_are_mitres_whatever_the_platform() {
        for (written, read) in [
            ("attack-Linux:initial-access", Some(("mitre-attack", "initial-access"))),
            ("attack-Office-365:impact", Some(("mitre-attack", "impact"))),
            ("attack:impact", Some(("mitre-attack", "impact"))),
            ("mobile-attack-iOS:impact", Some(("mitre-mobile-attack", "impact"))),
            ("pre-attack:launch", Some(("mitre-pre-attack", "launch"))),
            ("mitre-attack:enterprise-attack:impact", Some(("mitre-attack", "impact"))),
            ("mitre-mobile-attack:mobile-attack:impact", Some(("mitre-mobile-attack", "impact"))),
            ("mitre-atlas:reconnaissance", Some(("mitre-atlas", "reconnaissance"))),
            ("house:stage", Some(("house", "stage"))),
            ("attack:", None),
            ("impact", None),
        ] {
            let expected = read.map(|(chain, phase)| (chain.to_owned(), phase.to_owned()));
            assert_eq!(phase(written), expected, "{written}");
        }
    }
}
