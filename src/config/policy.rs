//! Reads the section `[policy]`, which `[target.NAME.policy]` can override.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::mapping;
use super::mistake::Problem;
use super::overlay::{Overlay, overlaid};
use super::reader::{Reader, shown};
use super::values::{MILLISECOND, uuid};
use crate::pure::policy::{CHATHAM_HOUSE, Mark, OnHit, Policy, Tlp, Untagged};

/// Reads the policy of `section`. `base` is the policy for all targets if `section` is a target's. The common
/// policy must be read before `misp.key` and the endpoints, since `is_feed_only` looks at keys not yet taken.
pub(super) fn read(reader: &mut Reader, section: String, base: Option<&Policy>) -> Policy {
    let mut keys = Overlay { reader, section, base };
    overlaid!(Policy, keys, own {
        tlp_max: |reader, key| reader.word(key, Tlp::Clear),
        tlp_untagged: untagged,
        tlp_tags: tlp_tags,
        sources: Reader::texts,
        warninglists_from: Reader::texts,
        to_ids: Reader::flag,
        allow_non_routable: Reader::flag,
        min_prefix_ipv4: |reader, key| reader.number(key, 0..=32),
        min_prefix_ipv6: |reader, key| reader.number(key, 0..=128),
        org_without_key: uuids,
        tags_include: Reader::texts,
        tags_exclude: Reader::texts,
        orgs_include: Reader::texts,
        orgs_exclude: Reader::texts,
        types_include: mapping::type_names,
        types_exclude: mapping::type_names,
        categories_include: mapping::category_names,
        categories_exclude: mapping::category_names,
        threat_levels: |reader, key| reader.numbers(key, 1..=4),
        analysis: |reader, key| reader.numbers(key, 0..=2),
        distributions: |reader, key| reader.numbers(key, 0..=4),
        sharing_groups: Reader::texts,
        false_positive_tags: Reader::texts,
        max_age: |reader, key| reader.optional_duration(key, MILLISECOND),
        never: Reader::texts,
        warninglists: |reader, key| reader.word(key, OnHit::Enforce),
        shared_host_lists: Reader::texts,
    } common {
        switches: mapping::switches,
        withdraw_at: |reader| reader.number("sightings.withdraw_at", 0..=1_000_000),
        decay: |reader| reader.each_source(|reader| reader.flag("misp.decay")).contains(&true),
        without_decay: |reader| named_sources(reader, |reader| !reader.flag("misp.decay")),
        is_feed_only: |reader| !reader.each_source(is_feed_only).contains(&false),
        feed_only: feed_only,
    })
}

fn is_feed_only(reader: &mut Reader) -> bool {
    let has_key = reader.is_filled("misp.key") || reader.is_filled("misp.key_file");
    !has_key && reader.is_filled("misp.zeromq.endpoints")
}

/// Returns the sources without a key, if others have one.
fn feed_only(reader: &mut Reader) -> Vec<String> {
    named_sources(reader, is_feed_only)
}

/// Returns the sources of which this is true, if it is not true of all.
fn named_sources(reader: &mut Reader, is_one: impl Fn(&mut Reader) -> bool) -> Vec<String> {
    let named = |reader: &mut Reader| {
        let name = reader.source_name().map(str::to_owned);
        name.filter(|_| is_one(reader))
    };
    let sources = reader.each_source(named);
    let are_all = sources.iter().all(Option::is_some);
    sources.into_iter().flatten().filter(|_| !are_all).collect()
}

fn untagged(reader: &mut Reader, key: &str) -> Untagged {
    let levels = Tlp::ALL.map(|tlp| (tlp.name(), Untagged::Counts(tlp)));
    let words = [&levels[..], &[("unmarked", Untagged::Unmarked)]].concat();
    reader.one_of(key, &words, Untagged::Counts(Tlp::Red))
}

/// Reads the table of tags with the level that each stands for, or `none`.
fn tlp_tags(reader: &mut Reader, key: &str) -> BTreeMap<String, Option<Mark>> {
    let levels = Tlp::ALL.map(Tlp::name).join(", ");
    let allowed = format!(
        "a table of tags, each with {levels}, {CHATHAM_HOUSE} or none; in the environment a JSON object"
    );
    let table = reader.table(key, &allowed);
    let mut known: HashMap<String, String> = HashMap::new();
    reader.lines(key, &allowed, table, |tag, value| {
        mapping::tag(tag)?;
        let without_case = tag.to_lowercase();
        if let Some(twin) = known.get(&without_case) {
            let problem = Problem::new(format!("{twin:?} and {tag:?} differ only in case"));
            return Err(problem.hint("a tag has no case: keep one of the two lines"));
        }
        let word = value.as_str().unwrap_or_default();
        let mark = Mark::from_name(word);
        if mark.is_none() && !word.eq_ignore_ascii_case("none") {
            return Err(format!("{value} is no level").into());
        }
        known.insert(without_case, tag.to_owned());
        Ok(mark)
    })
}

fn uuids(reader: &mut Reader, key: &str) -> Vec<Uuid> {
    const ALLOWED: &str = "a list of uuids of organisations";
    reader.list(key, ALLOWED, |item| {
        uuid(item.as_str().ok_or_else(|| format!("{} is no text", shown(item)))?)
    })
}
