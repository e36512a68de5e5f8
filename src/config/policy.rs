//! `[policy]`, and what `[target.NAME.policy]` lays over it.

use super::load::MILLISECOND;
use super::mapping;
use super::reader::Reader;
use crate::policy::{OnHit, Policy, Switches, Tlp};

/// `[policy]`.
pub(super) fn read(reader: &mut Reader) -> Policy {
    let common = Common {
        switches: mapping::switches(reader),
        withdraw_at: reader.number("sightings.withdraw_at", 0..=1_000_000),
        decay: reader.flag("misp.decay"),
    };
    let prefix = "policy".to_owned();
    section(&mut Section { reader, prefix, base: None }, common)
}

/// The policy of a target: `base`, but for the keys that its own section sets.
pub(super) fn of_target(reader: &mut Reader, name: &str, base: &Policy) -> Policy {
    let prefix = format!("target.{name}.policy");
    let (switches, withdraw_at, decay) = (base.switches.clone(), base.withdraw_at, base.decay);
    let common = Common { switches, withdraw_at, decay };
    section(&mut Section { reader, prefix, base: Some(base) }, common)
}

/// A section of policy's keys, and what its missing ones are taken from.
struct Section<'r, 'p> {
    reader: &'r mut Reader,
    prefix: String,
    base: Option<&'p Policy>,
}

impl Section<'_, '_> {
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

/// What is the same for all targets.
struct Common {
    switches: Switches,
    withdraw_at: u32,
    decay: bool,
}

fn section(keys: &mut Section<'_, '_>, common: Common) -> Policy {
    let Common { switches, withdraw_at, decay } = common;
    Policy {
        tlp_max: keys.get("tlp_max", |p| &p.tlp_max, tlp),
        tlp_untagged: keys.get("tlp_untagged", |p| &p.tlp_untagged, tlp),
        to_ids: keys.get("to_ids", |p| &p.to_ids, Reader::flag),
        allow_non_routable: keys.get("allow_non_routable", |p| &p.allow_non_routable, Reader::flag),
        min_prefix_ipv4: keys.get("min_prefix_ipv4", |p| &p.min_prefix_ipv4, prefix(32)),
        min_prefix_ipv6: keys.get("min_prefix_ipv6", |p| &p.min_prefix_ipv6, prefix(128)),
        switches,
        withdraw_at,
        decay,
        tags_include: keys.get("tags_include", |p| &p.tags_include, Reader::texts),
        tags_exclude: keys.get("tags_exclude", |p| &p.tags_exclude, Reader::texts),
        orgs_include: keys.get("orgs_include", |p| &p.orgs_include, Reader::texts),
        orgs_exclude: keys.get("orgs_exclude", |p| &p.orgs_exclude, Reader::texts),
        types_include: keys.get("types_include", |p| &p.types_include, Reader::texts),
        types_exclude: keys.get("types_exclude", |p| &p.types_exclude, Reader::texts),
        categories_include: keys.get(
            "categories_include",
            |p| &p.categories_include,
            Reader::texts,
        ),
        categories_exclude: keys.get(
            "categories_exclude",
            |p| &p.categories_exclude,
            Reader::texts,
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
    }
}

fn numbers(low: i64, high: i64) -> impl Fn(&mut Reader, &str) -> Vec<i64> {
    move |reader, key| reader.numbers(key, low..=high)
}

fn prefix(most: u8) -> impl Fn(&mut Reader, &str) -> u8 {
    move |reader, key| reader.number(key, 0..=most)
}

fn on_hit(reader: &mut Reader, key: &str) -> OnHit {
    let words = [("enforce", OnHit::Enforce), ("label", OnHit::Label), ("off", OnHit::Off)];
    reader.word(key, &words, OnHit::Enforce)
}

fn tlp(reader: &mut Reader, key: &str) -> Tlp {
    let words = [
        ("clear", Tlp::Clear),
        ("green", Tlp::Green),
        ("amber", Tlp::Amber),
        ("amber+strict", Tlp::AmberStrict),
        ("red", Tlp::Red),
    ];
    reader.word(key, &words, Tlp::Clear)
}
