//! Parses the galaxy clusters that MISP writes beside the tags of an event and of its attributes.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Event;
use super::lenient::{self, Text, TolerantList};

/// What is put out where an attribute has clusters, and nowhere else in it.
const CLUSTERS: &str = "\"GalaxyCluster\"";

/// A cluster of a galaxy: a technique, an actor, and much else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cluster<'a> {
    /// The tag that puts it on an event or attribute: `misp-galaxy:threat-actor="APT29"`.
    #[serde(borrow, rename = "tag_name", deserialize_with = "lenient::borrowed")]
    pub tag: Cow<'a, str>,
    /// The galaxy's type, e.g. `mitre-attack-pattern`.
    #[serde(borrow, rename = "type", deserialize_with = "lenient::borrowed")]
    pub kind: Cow<'a, str>,
    #[serde(deserialize_with = "lenient::uuid_or_nil")]
    pub uuid: Uuid,
    /// Its name.
    #[serde(borrow, deserialize_with = "lenient::borrowed")]
    pub value: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "lenient::borrowed")]
    pub description: Cow<'a, str>,
    /// Made by MISP's community, not on an instance: for all to see, whatever `distribution` says.
    #[serde(rename = "default", deserialize_with = "lenient::flag")]
    pub is_default: bool,
    /// 0 to 4.
    #[serde(deserialize_with = "lenient::number")]
    pub distribution: i64,
    #[serde(deserialize_with = "lenient::flag")]
    deleted: bool,
    #[serde(borrow, deserialize_with = "lenient::or_default")]
    pub meta: ClusterMeta<'a>,
}

/// What is read of a cluster's `meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterMeta<'a> {
    #[serde(borrow, deserialize_with = "text_or_list")]
    pub external_id: Vec<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text_or_list")]
    pub refs: Vec<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text_or_list")]
    pub kill_chain: Vec<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text_or_list")]
    pub synonyms: Vec<Cow<'a, str>>,
}

/// A text or a list of texts.
fn text_or_list<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Cow<'a, str>>, D::Error> {
    let raw: &'de RawValue = Deserialize::deserialize(deserializer)?;
    let texts = if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).map(|text: Text<'a>| vec![text.0])
    } else {
        serde_json::from_str(raw.get()).map(|TolerantList(texts): TolerantList<Text<'a>>| {
            texts.into_iter().map(|text| text.0).collect()
        })
    };
    // What says nothing that is understood says nothing.
    Ok(texts.unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Galaxy<'a> {
    #[serde(borrow, rename = "GalaxyCluster")]
    clusters: TolerantList<&'a RawValue>,
}

/// An attribute, as far as its galaxies go.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Holder<'a> {
    #[serde(borrow, rename = "Galaxy")]
    galaxies: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// The clusters of the event and of its attributes, each once. Those that are deleted, or cannot
    /// be read, are none: their tags remain.
    pub fn clusters(&self) -> Vec<Cluster<'a>> {
        let clusters = memchr::memmem::Finder::new(CLUSTERS);
        let held = self.objects.iter().flatten().flat_map(|object| &object.attributes);
        let attributes = self.attributes.iter().chain(held);
        let of_attributes = attributes
            .filter(|raw| clusters.find(raw.get().as_bytes()).is_some())
            .filter_map(|raw| serde_json::from_str::<Holder<'a>>(raw.get()).ok()?.galaxies);
        let mut seen = HashSet::new();
        let all = self.galaxies.into_iter().chain(of_attributes).flat_map(read);
        all.filter(|cluster| seen.insert(cluster.tag.clone())).collect()
    }
}

/// The clusters of a list of galaxies.
fn read<'a>(galaxies: &'a RawValue) -> impl Iterator<Item = Cluster<'a>> {
    let TolerantList(galaxies): TolerantList<&RawValue> =
        serde_json::from_str(galaxies.get()).unwrap_or_default();
    let clusters = galaxies.into_iter().flat_map(|raw| {
        let galaxy: Galaxy<'a> = serde_json::from_str(raw.get()).unwrap_or_default();
        galaxy.clusters.0
    });
    let is_one = |cluster: &Cluster<'_>| {
        !cluster.deleted && !cluster.tag.is_empty() && !cluster.uuid.is_nil()
    };
    clusters.filter_map(|raw| serde_json::from_str(raw.get()).ok()).filter(is_one)
}
