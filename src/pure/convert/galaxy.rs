//! Picks the galaxy clusters that describe techniques and actors, and copies what the relay sends of them. A
//! cluster counts only where its tag `misp-galaxy:type="value"` is on the event or on one of its attributes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::claim::{ClusterFacts, ClusterKind};
use crate::pure::misp::{self, Audience};

/// Of an event with more, the others remain tags.
const MAX_CLUSTERS: usize = 100;

/// Characters of a description.
const MAX_DESCRIPTION: usize = 500;

const MAX_SYNONYMS: usize = 20;

/// The clusters of an event, which may come in parts.
#[derive(Debug, Default)]
pub struct Clusters {
    /// The tags of all clusters so far. Of two clusters with one tag the first one counts.
    tags: HashSet<String>,
    read: Vec<ClusterFacts>,
}

impl Clusters {
    /// Takes the clusters of a part of the event.
    pub fn take(&mut self, part: &misp::Event<'_>) {
        let clusters = part.clusters().into_iter();
        let new = clusters.filter(|cluster| self.tags.insert(cluster.tag.as_ref().to_owned()));
        self.read.extend(new.filter_map(|new| cluster(&new)));
    }

    /// Returns those that anyone may see who sees the event; of too many the same ones whatever their order.
    pub fn finish(mut self) -> Vec<ClusterFacts> {
        if self.read.len() > MAX_CLUSTERS {
            self.read.sort_by(|one, other| one.tag.cmp(&other.tag));
            self.read.truncate(MAX_CLUSTERS);
        }
        self.read
    }
}

fn cluster(cluster: &misp::Cluster<'_>) -> Option<ClusterFacts> {
    let restricted = !cluster.is_default && !Audience::new(cluster.distribution, 0).is_open();
    let external_id = cluster.meta.external_id.first().map(|id| id.trim());
    let kind =
        kind(&cluster.kind).filter(|_| !restricted && !external_id.is_some_and(is_tactic))?;
    Some(ClusterFacts {
        tag: cluster.tag.as_ref().to_owned(),
        uuid: cluster.uuid,
        kind,
        is_default: cluster.is_default,
        distribution: cluster.distribution,
        name: without_number(cluster.value.trim()).to_owned(),
        description: cut(cluster.description.trim()),
        external_id: external_id.filter(|id| !id.is_empty()).map(str::to_owned),
        url: url(external_id, &cluster.meta.refs),
        kill_chain: owned(cluster.meta.kill_chain.iter()),
        synonyms: owned(cluster.meta.synonyms.iter().take(MAX_SYNONYMS)),
    })
}

/// `mitre-attack-pattern` and its predecessors by platform; `threat-actor`, MITRE's intrusion sets
/// and Microsoft's activity groups.
fn kind(galaxy: &str) -> Option<ClusterKind> {
    let ends = |words: &[&str]| words.iter().any(|word| galaxy.ends_with(word));
    if ends(&["attack-pattern"]) {
        Some(ClusterKind::AttackPattern)
    } else if ends(&["threat-actor", "intrusion-set", "activity-group"]) {
        Some(ClusterKind::ThreatActor)
    } else {
        None
    }
}

/// MISP has MITRE's tactics among its techniques.
fn is_tactic(external_id: &str) -> bool {
    external_id.starts_with("TA")
}

/// The actor that a tag names: `misp-galaxy:mitre-intrusion-set="APT29 - G0016"` is `APT29`. For an
/// instance's own clusters that is a uuid.
pub fn actor(tag: &str) -> Option<&str> {
    let (galaxy, value) = tag.strip_prefix("misp-galaxy:")?.split_once('=')?;
    let named = kind(galaxy.trim()) == Some(ClusterKind::ThreatActor);
    let name = without_number(value.trim().trim_matches('"').trim());
    (named && !name.is_empty()).then_some(name)
}

/// MITRE's names end with their number: `Phishing - T1566`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once(" - ") {
        Some((name, number)) if is_number(number) => name.trim_end(),
        _ => name,
    }
}

/// `T1566.001`, `G0016`, `MOB-T1057`, `AML.T0000`.
fn is_number(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-.".contains(&b))
}

/// MITRE's page of it, else the first page that MISP names.
fn url(external_id: Option<&str>, refs: &[Cow<'_, str>]) -> Option<String> {
    let page = |folder: &str, id: &str| format!("https://attack.mitre.org/{folder}/{id}");
    match external_id {
        Some(id) if is_of(id, 'T') => Some(page("techniques", &id.replace('.', "/"))),
        Some(id) if is_of(id, 'G') => Some(page("groups", id)),
        _ => refs.iter().map(|page| page.trim()).find(|page| is_web(page)).map(str::to_owned),
    }
}

/// `T` or `G` and four digits, a sub-technique with three more behind a dot.
fn is_of(id: &str, letter: char) -> bool {
    let Some(digits) = id.strip_prefix(letter) else { return false };
    let (number, sub) = digits.split_once('.').unwrap_or((digits, "000"));
    let is =
        |digits: &str, count| digits.len() == count && digits.bytes().all(|b| b.is_ascii_digit());
    is(number, 4) && is(sub, 3)
}

fn is_web(page: &str) -> bool {
    page.starts_with("https://") || page.starts_with("http://")
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_DESCRIPTION).collect();
    if text.chars().nth(MAX_DESCRIPTION).is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

fn owned<'t>(texts: impl Iterator<Item = &'t Cow<'t, str>>) -> Vec<String> {
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pure::convert::EventFacts;
    use crate::pure::misp::Event;

    /// A technique of MITRE as misp-galaxy has it, but for what `also` says.
    fn technique(also: &Value) -> Value {
        let mut cluster = json!({
            "uuid": "a62a8db3-f23a-4d8f-afd6-9dbc77e7813b",
            "type": "mitre-attack-pattern",
            "tag_name": "misp-galaxy:mitre-attack-pattern=\"Phishing - T1566\"",
            "value": "Phishing - T1566",
            "description": "d",
            "distribution": "3",
            "default": true,
            "meta": {"external_id": ["T1566"], "refs": ["https://attack.mitre.org/techniques/T1566"]},
        });
        for (key, value) in also.as_object().unwrap() {
            cluster[key] = value.clone();
        }
        cluster
    }

    fn facts(event: &Value) -> EventFacts {
        let mut document = json!({"Event": {
            "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "Attribute": [], "Object": [],
        }});
        for (key, value) in event.as_object().unwrap() {
            document["Event"][key] = value.clone();
        }
        Event::parse(document.to_string().as_bytes()).unwrap().facts()
    }

    fn read(clusters: &[Value]) -> Vec<ClusterFacts> {
        facts(&json!({"Galaxy": [{"type": "x", "GalaxyCluster": clusters}]})).clusters
    }

    #[test]
    fn a_technique_has_mitres_uuid_number_and_page() {
        let said = read(&[technique(&json!({}))]).remove(0);
        assert_eq!(said.uuid.to_string(), "a62a8db3-f23a-4d8f-afd6-9dbc77e7813b");
        assert_eq!((said.kind, said.name.as_str()), (ClusterKind::AttackPattern, "Phishing"));
        assert_eq!(said.external_id.as_deref(), Some("T1566"));
        for (meta, url) in [
            // MISP writes one text or a list of them.
            (
                json!({"external_id": "T1566.001"}),
                Some("https://attack.mitre.org/techniques/T1566/001"),
            ),
            (json!({"external_id": ["G0016"]}), Some("https://attack.mitre.org/groups/G0016")),
            (
                json!({"external_id": "AML.T0000", "refs": ["", "https://atlas.mitre.org/a"]}),
                Some("https://atlas.mitre.org/a"),
            ),
            (
                json!({"external_id": "T15AB", "refs": "https://t.example"}),
                Some("https://t.example"),
            ),
            (
                json!({"external_id": "T15661", "refs": "http://t.example"}),
                Some("http://t.example"),
            ),
            (json!({"external_id": "T1566.1"}), None),
            (json!({"external_id": "T156.001"}), None),
            (json!({"refs": "javascript:alert(1)"}), None),
            (json!([]), None),
            (Value::Null, None),
        ] {
            let said = read(&[technique(&json!({"meta": meta}))]);
            assert_eq!(said[0].url.as_deref(), url, "{meta}");
        }
    }

    #[test]
    fn a_name_ends_before_mitres_number_and_keeps_all_else() {
        for (value, name) in [
            ("Phishing - T1566.001", "Phishing"),
            ("APT29 - G0016", "APT29"),
            ("Exploit - MOB-T1057", "Exploit"),
            ("Evade - AML.T0015", "Evade"),
            ("Operation - 2019", "Operation - 2019"),
            ("Lazarus - GROUP", "Lazarus - GROUP"),
            ("Tool - Alpha1", "Tool - Alpha1"),
            ("Tool", "Tool"),
        ] {
            assert_eq!(read(&[technique(&json!({"value": value}))])[0].name, name);
        }
    }

    #[test]
    fn phases_and_synonyms_are_told_that_say_something() {
        let meta = json!({
            "kill_chain": ["mitre-attack:initial-access", " "],
            "synonyms": (1..30).map(|n| format!(" synonym {n} ")).collect::<Vec<_>>(),
        });
        let said = read(&[technique(&json!({"meta": meta}))]).remove(0);
        assert_eq!(said.kill_chain, ["mitre-attack:initial-access"]);
        let first: Vec<_> = (1..=20).map(|n| format!("synonym {n}")).collect();
        assert_eq!(said.synonyms, first);
    }

    #[test]
    fn of_more_than_a_hundred_clusters_the_same_ones_are_told_whatever_their_order() {
        let tags = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<String> {
            let clusters: Vec<_> =
                numbers.map(|n| technique(&json!({"tag_name": format!("tag {n:03}")}))).collect();
            read(&clusters).into_iter().map(|cluster| cluster.tag).collect()
        };
        let named = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<String> {
            numbers.map(|n| format!("tag {n:03}")).collect()
        };
        assert_eq!(tags(&mut (0..100).rev()), named(&mut (0..100).rev()), "as MISP has them");
        assert_eq!(tags(&mut (0..101).rev()), named(&mut (0..100)));
        assert_eq!(tags(&mut (0..101)), named(&mut (0..100)));
    }

    #[test]
    fn what_is_no_technique_or_actor_or_not_for_all_is_not_told() {
        for (also, told) in [
            (json!({"type": "threat-actor"}), true),
            (json!({"type": "mitre-intrusion-set"}), true),
            (json!({"type": "microsoft-activity-group"}), true),
            (json!({"type": "tool"}), false),
            (json!({"meta": {"external_id": "TA0001"}}), false),
            (json!({"default": false, "distribution": "0"}), false),
            (json!({"default": false, "distribution": 4}), false),
            (json!({"default": false, "distribution": "1"}), true),
            (json!({"default": "1", "distribution": "0"}), true),
            (json!({"deleted": true}), false),
            (json!({"uuid": "0"}), false),
            (json!({"tag_name": null}), false),
        ] {
            assert_eq!(!read(&[technique(&also)]).is_empty(), told, "{also}");
        }
        assert!(read(&[json!(7), json!([]), json!({"meta": 7})]).is_empty());
    }

    #[test]
    fn clusters_of_attributes_and_of_objects_are_told_once() {
        let own = |number: u32| {
            let tag = format!("misp-galaxy:threat-actor=\"{number}\"");
            let galaxies = json!([{"GalaxyCluster": [technique(&json!({
                "type": "threat-actor", "tag_name": tag,
            }))]}]);
            json!({"uuid": "5ae1b1cd-98b2-4651-b416-f406f54bf730", "Galaxy": galaxies})
        };
        let said = facts(&json!({
            "Galaxy": [{"GalaxyCluster": [technique(&json!({}))]}],
            "Attribute": [own(1), own(2), own(1)],
            "Object": [{"name": "file", "Attribute": [own(3)]}],
        }));
        let tags: Vec<_> = said.clusters.iter().map(|cluster| cluster.tag.as_str()).collect();
        let actors = [1, 2, 3].map(|number| format!("misp-galaxy:threat-actor=\"{number}\""));
        assert_eq!(tags[0], "misp-galaxy:mitre-attack-pattern=\"Phishing - T1566\"");
        assert_eq!(tags[1..], actors);
        assert!(facts(&json!({"Galaxy": "none"})).clusters.is_empty());
    }

    #[test]
    fn a_tag_names_its_actor() {
        for (tag, name) in [
            ("misp-galaxy:threat-actor=\"APT29\"", Some("APT29")),
            ("misp-galaxy:threat-actor=\"Lazarus Group\"", Some("Lazarus Group")),
            ("misp-galaxy:mitre-intrusion-set=\"APT29 - G0016\"", Some("APT29")),
            ("misp-galaxy:mitre-intrusion-set=\"APT-C-36 - G0099\"", Some("APT-C-36")),
            ("misp-galaxy:microsoft-activity-group=\"Amethyst Rain\"", Some("Amethyst Rain")),
            ("misp-galaxy:mitre-attack-pattern=\"Phishing - T1566\"", None),
            ("misp-galaxy:threat-actor=\"\"", None),
            ("threat-actor=\"APT29\"", None),
        ] {
            assert_eq!(actor(tag), name, "{tag}");
        }
    }

    #[test]
    fn descriptions_are_cut() {
        let long = technique(&json!({"description": "é".repeat(501)}));
        assert_eq!(read(&[long])[0].description, "é".repeat(499) + "…");
    }
}
