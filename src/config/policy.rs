//! `[policy]`, and what `[target.NAME.policy]` lays over it.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::mapping;
use super::mistake::Problem;
use super::reader::{Reader, shown};
use super::values::{MILLISECOND, uuid};
use crate::pure::policy::{CHATHAM_HOUSE, Mark, OnHit, Policy, Switches, Tlp, Untagged};

/// What is the same for all targets.
struct Common {
    switches: Switches,
    withdraw_at: u32,
    decay: bool,
    is_feed_only: bool,
}

/// `[policy]`. It is read before the keys of MISP that say whether there is more than the feed.
pub(super) fn read(reader: &mut Reader) -> Policy {
    let has_key = reader.is_filled("misp.key") || reader.is_filled("misp.key_file");
    let common = Common {
        switches: mapping::switches(reader),
        withdraw_at: reader.number("sightings.withdraw_at", 0..=1_000_000),
        decay: reader.flag("misp.decay"),
        is_feed_only: !has_key && reader.is_filled("misp.zeromq.endpoints"),
    };
    let prefix = "policy".to_owned();
    section(&mut PolicySection { reader, prefix, base: None }, common)
}

/// The policy of a target: `base`, but for the keys that its own section sets.
pub(super) fn of_target(reader: &mut Reader, name: &str, base: &Policy) -> Policy {
    let prefix = format!("target.{name}.policy");
    let Policy { withdraw_at, decay, is_feed_only, .. } = *base;
    let common = Common { switches: base.switches.clone(), withdraw_at, decay, is_feed_only };
    section(&mut PolicySection { reader, prefix, base: Some(base) }, common)
}

/// A section of policy's keys, and what its missing ones are taken from.
struct PolicySection<'r, 'p> {
    reader: &'r mut Reader,
    prefix: String,
    base: Option<&'p Policy>,
}

impl PolicySection<'_, '_> {
    fn get<T: Clone>(
        &mut self,
        leaf: &str,
        inherited: impl Fn(&Policy) -> &T,
        read: impl Fn(&mut Reader, &str) -> T,
    ) -> T {
        let key = format!("{}.{leaf}", self.prefix);
        match self.base {
            Some(base) if !self.reader.holds(&key) => inherited(base).clone(),
            _ => read(self.reader, &key),
        }
    }
}

fn section(keys: &mut PolicySection<'_, '_>, common: Common) -> Policy {
    let Common { switches, withdraw_at, decay, is_feed_only } = common;
    Policy {
        tlp_max: keys.get("tlp_max", |p| &p.tlp_max, tlp),
        tlp_untagged: keys.get("tlp_untagged", |p| &p.tlp_untagged, untagged),
        tlp_tags: keys.get("tlp_tags", |p| &p.tlp_tags, tlp_tags),
        to_ids: keys.get("to_ids", |p| &p.to_ids, Reader::flag),
        allow_non_routable: keys.get("allow_non_routable", |p| &p.allow_non_routable, Reader::flag),
        min_prefix_ipv4: keys.get("min_prefix_ipv4", |p| &p.min_prefix_ipv4, prefix(32)),
        min_prefix_ipv6: keys.get("min_prefix_ipv6", |p| &p.min_prefix_ipv6, prefix(128)),
        switches,
        withdraw_at,
        decay,
        is_feed_only,
        org_without_key: keys.get("org_without_key", |p| &p.org_without_key, uuids),
        tags_include: keys.get("tags_include", |p| &p.tags_include, Reader::texts),
        tags_exclude: keys.get("tags_exclude", |p| &p.tags_exclude, Reader::texts),
        orgs_include: keys.get("orgs_include", |p| &p.orgs_include, Reader::texts),
        orgs_exclude: keys.get("orgs_exclude", |p| &p.orgs_exclude, Reader::texts),
        types_include: keys.get("types_include", |p| &p.types_include, mapping::type_names),
        types_exclude: keys.get("types_exclude", |p| &p.types_exclude, mapping::type_names),
        categories_include: keys.get(
            "categories_include",
            |p| &p.categories_include,
            mapping::category_names,
        ),
        categories_exclude: keys.get(
            "categories_exclude",
            |p| &p.categories_exclude,
            mapping::category_names,
        ),
        threat_levels: keys.get("threat_levels", |p| &p.threat_levels, numbers(1, 4)),
        analysis: keys.get("analysis", |p| &p.analysis, numbers(0, 2)),
        distributions: keys.get("distributions", |p| &p.distributions, numbers(0, 4)),
        sharing_groups: keys.get("sharing_groups", |p| &p.sharing_groups, Reader::texts),
        false_positive_tags: keys.get(
            "false_positive_tags",
            |p| &p.false_positive_tags,
            Reader::texts,
        ),
        max_age: keys.get(
            "max_age",
            |p| &p.max_age,
            |reader, key| reader.optional_duration(key, MILLISECOND),
        ),
        never: keys.get("never", |p| &p.never, Reader::texts),
        warninglists: keys.get("warninglists", |p| &p.warninglists, on_hit),
        shared_host_lists: keys.get("shared_host_lists", |p| &p.shared_host_lists, Reader::texts),
    }
}

fn numbers(low: i64, high: i64) -> impl Fn(&mut Reader, &str) -> Vec<i64> {
    move |reader, key| reader.numbers(key, low..=high)
}

fn prefix(most: u8) -> impl Fn(&mut Reader, &str) -> u8 {
    move |reader, key| reader.number(key, 0..=most)
}

fn on_hit(reader: &mut Reader, key: &str) -> OnHit {
    reader.word(key, OnHit::Enforce)
}

fn tlp(reader: &mut Reader, key: &str) -> Tlp {
    reader.word(key, Tlp::Clear)
}

fn untagged(reader: &mut Reader, key: &str) -> Untagged {
    let levels = Tlp::ALL.map(|tlp| (tlp.name(), Untagged::Counts(tlp)));
    let words = [&levels[..], &[("unmarked", Untagged::Unmarked)]].concat();
    reader.one_of(key, &words, Untagged::Counts(Tlp::Red))
}

/// Tags with the level that each says, or `none`.
fn tlp_tags(reader: &mut Reader, key: &str) -> BTreeMap<String, Option<Mark>> {
    let levels = Tlp::ALL.map(Tlp::name).join(", ");
    let allowed = format!(
        "a table of tags, each with {levels}, {CHATHAM_HOUSE} or none; in the environment a JSON object"
    );
    let mut tags = BTreeMap::new();
    for (tag, value) in reader.table(key, &allowed) {
        if let Err(problem) = mapping::tag(&tag) {
            reader.refuse(key, &tag, &allowed, problem);
            continue;
        }
        if let Some(twin) = tags.keys().find(|known: &&String| is_same_but_for_case(known, &tag)) {
            let problem = Problem::new(format!("{twin:?} and {tag:?} differ only in case"));
            let hint = "a tag has no case: keep one of the two lines";
            reader.refuse(key, &tag, &allowed, problem.hint(hint));
            continue;
        }
        let word = value.as_str().unwrap_or_default();
        let mark = if word.eq_ignore_ascii_case("none") {
            Some(None)
        } else {
            Mark::from_name(word).map(Some)
        };
        match mark {
            Some(mark) => drop(tags.insert(tag, mark)),
            None => reader.refuse(key, &tag, &allowed, unknown_level(&value)),
        }
    }
    tags
}

fn is_same_but_for_case(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn unknown_level(value: &Value) -> Problem {
    Problem::new(format!("{value} is no level"))
}

fn uuids(reader: &mut Reader, key: &str) -> Vec<Uuid> {
    const ALLOWED: &str = "a list of uuids of organisations";
    reader.list(key, ALLOWED, |item| {
        let text = item.as_str().ok_or_else(|| Problem::new(format!("{} is no text", shown(item))));
        uuid(text?)
    })
}
