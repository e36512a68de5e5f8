//! Galaxy clusters, as MISP writes them out beside an event's and an attribute's tags.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Event;
use super::lenient::{self, Flag, Maybe, Number, Text, TolerantList};

/// What is put out where an attribute has clusters, and nowhere else in it.
const CLUSTERS: &str = "\"GalaxyCluster\"";

/// A cluster of a galaxy: a technique, an actor, and much else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster<'a> {
    /// The tag that puts it on an event or attribute: `misp-galaxy:threat-actor="APT29"`.
    pub tag: Cow<'a, str>,
    /// The galaxy's type, e.g. `mitre-attack-pattern`.
    pub kind: Cow<'a, str>,
    pub uuid: Uuid,
    /// Its name.
    pub value: Cow<'a, str>,
    pub description: Cow<'a, str>,
    /// Made by MISP's community, not on an instance: for all to see, whatever `distribution` says.
    pub is_default: bool,
    /// 0 to 4.
    pub distribution: i64,
    /// `meta`, as far as it is read.
    pub external_id: Vec<Cow<'a, str>>,
    pub refs: Vec<Cow<'a, str>>,
    pub kill_chain: Vec<Cow<'a, str>>,
    pub synonyms: Vec<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClusterFields<'a> {
    #[serde(borrow)]
    tag_name: Text<'a>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    uuid: Text<'a>,
    #[serde(borrow)]
    value: Text<'a>,
    #[serde(borrow)]
    description: Text<'a>,
    #[serde(rename = "default")]
    is_default: Flag,
    distribution: Number,
    deleted: Flag,
    #[serde(borrow)]
    meta: Maybe<Meta<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta<'a> {
    #[serde(borrow)]
    external_id: TextOrList<'a>,
    #[serde(borrow)]
    refs: TextOrList<'a>,
    #[serde(borrow)]
    kill_chain: TextOrList<'a>,
    #[serde(borrow)]
    synonyms: TextOrList<'a>,
}

/// A text or a list of texts.
#[derive(Debug, Default)]
struct TextOrList<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for TextOrList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: &'de RawValue = Deserialize::deserialize(deserializer)?;
        let texts = if raw.get().starts_with('"') {
            serde_json::from_str(raw.get()).map(|text: Text<'a>| vec![text.0])
        } else {
            serde_json::from_str(raw.get()).map(|TolerantList(texts): TolerantList<Text<'a>>| {
                texts.into_iter().map(|text| text.0).collect()
            })
        };
        // What says nothing that is understood says nothing.
        Ok(Self(texts.unwrap_or_default()))
    }
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
    #[must_use]
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
    clusters.filter_map(|raw| cluster(serde_json::from_str(raw.get()).ok()?))
}

fn cluster(fields: ClusterFields<'_>) -> Option<Cluster<'_>> {
    let meta = fields.meta.0.unwrap_or_default();
    let cluster = Cluster {
        tag: fields.tag_name.0,
        kind: fields.kind.0,
        uuid: lenient::uuid(&fields.uuid.0)?,
        value: fields.value.0,
        description: fields.description.0,
        is_default: fields.is_default.0,
        distribution: fields.distribution.or_zero(),
        external_id: meta.external_id.0,
        refs: meta.refs.0,
        kill_chain: meta.kill_chain.0,
        synonyms: meta.synonyms.0,
    };
    (!fields.deleted.0 && !cluster.tag.is_empty()).then_some(cluster)
}
