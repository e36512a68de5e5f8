//! Decides whether `[convert]` switches a claim off: by its attribute type, by its role in an object, or by
//! the form of its URL.

use std::collections::{BTreeMap, HashMap, HashSet};

use wildmatch::WildMatch;

use super::lists::Ranked;
use crate::pure::convert::{self, ClaimFacts, ObjectFacts, Reason, UrlForm};
use crate::pure::stix::Observable;

/// The type whose switch the names in composites are under, and their object path.
const NAMES: (&str, &str) = ("filename", "file:name");

/// The type whose values are patterns of other types' observables.
const STIX_PATTERN: &str = "stix2-pattern";

/// `[convert]`: the operator's decisions over the tables of types and roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Switches {
    /// Attribute types, with wildcards. A name outranks wildcards, a longer wildcard a shorter one.
    pub types: BTreeMap<String, bool>,
    /// `template.relation`, with wildcards, ranked in the same way.
    pub roles: BTreeMap<String, bool>,
    pub urls: UrlForms,
}

/// Which forms of a URL count, where logs may have two.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum UrlForms {
    #[default]
    Both,
    #[strum(serialize = "as-written")]
    Written,
    Wire,
}

impl UrlForms {
    fn has(self, form: UrlForm) -> bool {
        match form {
            UrlForm::Written => self != Self::Wire,
            UrlForm::Wire => self != Self::Written,
        }
    }
}

/// The switches made ready to judge many claims.
#[derive(Debug, Clone)]
pub(super) struct Switched {
    /// Attribute types that are off.
    off: HashSet<&'static str>,
    /// Object paths that some type which is on claims.
    paths_on: HashSet<&'static str>,
    /// By template: the relations that are off by default.
    roles: HashMap<String, Vec<(WildMatch, Reason)>>,
    /// The operator's switches of roles.
    role_switches: Ranked<bool>,
    urls: UrlForms,
}

impl Switched {
    pub(super) fn new(switches: &Switches) -> Self {
        let types = Ranked::new(&switches.types);
        let is_on = |row: &convert::TypeRow| types.says(row.name).unwrap_or_else(|| row.is_on());
        let off = convert::types().iter().filter(|row| !is_on(row)).map(|row| row.name);
        let off: HashSet<&'static str> = off.collect();
        let claimed = |row: &convert::TypeRow| {
            let mut paths = row.paths();
            paths.retain(|path| !is_off(&off, row.name, path));
            paths
        };
        let paths_on = convert::types().iter().flat_map(claimed).collect();
        let mut roles: HashMap<String, Vec<(WildMatch, Reason)>> = HashMap::new();
        for role in convert::roles() {
            let relation = WildMatch::new_case_insensitive(role.relation);
            let template = roles.entry(role.template.to_owned()).or_default();
            template.push((relation, role.reason));
        }
        let role_switches = Ranked::new(&switches.roles);
        Self { off, paths_on, roles, role_switches, urls: switches.urls }
    }

    /// Returns the reason why a claim is switched off, if it is.
    pub(super) fn objection(&self, claim: &ClaimFacts, observable: &Observable) -> Option<Reason> {
        if self.has_type_off(claim, observable) {
            return Some(Reason::TypeOff);
        }
        let role = claim.object.as_deref().and_then(|object| self.role(object));
        role.or_else(|| self.url_form(claim, observable))
    }

    /// A STIX pattern may compare anything: what it compares must be on for some other type, too.
    fn has_type_off(&self, claim: &ClaimFacts, observable: &Observable) -> bool {
        let path = observable.path.as_ref();
        is_off(&self.off, &claim.kind, path)
            || claim.kind == STIX_PATTERN && !self.paths_on.contains(path)
    }

    fn role(&self, object: &ObjectFacts) -> Option<Reason> {
        let relations = self.roles.get(object.name.to_ascii_lowercase().as_str());
        let of_relation = |relations: &Vec<(WildMatch, Reason)>| {
            let found = relations.iter().find(|(relation, _)| relation.matches(&object.relation));
            found.map(|(_, reason)| *reason)
        };
        let by_default = relations.and_then(of_relation);
        if self.role_switches.is_empty() {
            return by_default;
        }
        match self.role_switches.says(&format!("{}.{}", object.name, object.relation)) {
            Some(true) => None,
            Some(false) => Some(by_default.unwrap_or(Reason::RoleOff)),
            None => by_default,
        }
    }

    fn url_form(&self, claim: &ClaimFacts, observable: &Observable) -> Option<Reason> {
        if self.urls == UrlForms::Both {
            return None;
        }
        let form = convert::url_form(claim, observable)?;
        (!self.urls.has(form)).then_some(Reason::UrlForm)
    }
}

/// Whether what a type claims at `path` is off. A composite's file name also needs file names to be on.
fn is_off(off: &HashSet<&str>, kind: &str, path: &str) -> bool {
    let is_name = path == NAMES.1 && (kind.starts_with("filename|") || kind == "malware-sample");
    off.contains(kind) || is_name && off.contains(NAMES.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(switches: &Switches, template: &str, relation: &str) -> Option<Reason> {
        let object = ObjectFacts {
            name: template.into(),
            relation: relation.into(),
            ..ObjectFacts::default()
        };
        let claim = ClaimFacts {
            kind: "ip-dst".into(),
            object: Some(object.into()),
            ..ClaimFacts::default()
        };
        Switched::new(switches).objection(&claim, &Observable::new("ipv4-addr:value", "9.9.9.9"))
    }

    #[test]
    fn a_role_is_on_or_off_as_the_table_says_until_it_is_switched() {
        let none = Switches::default();
        assert_eq!(objection(&none, "ddos", "ip-dst"), Some(Reason::Victim));
        assert_eq!(objection(&none, "ddos", "ip-src"), None);
        assert_eq!(objection(&none, "domain-ip", "ip-dst"), None, "another template");
        assert_eq!(objection(&none, "DDoS", "IP-dst"), Some(Reason::Victim));
        assert_eq!(objection(&none, "intelmq_event", "destination.ip"), Some(Reason::Victim));
        assert_eq!(objection(&none, "dns-record", "ns-record"), Some(Reason::Bystander));
        let switched = |roles: &[(&str, bool)], template, relation| {
            let roles = roles.iter().map(|(role, on)| ((*role).to_owned(), *on)).collect();
            objection(&Switches { roles, ..Switches::default() }, template, relation)
        };
        assert_eq!(switched(&[("ddos.ip-dst", true)], "ddos", "ip-dst"), None);
        assert_eq!(switched(&[("ddos.ip-dst", true)], "ddos", "domain-dst"), Some(Reason::Victim));
        let several = [("*", true), ("ddos.*", false), ("ddos.ip-dst", true)];
        assert_eq!(switched(&several, "victim", "domain"), None);
        assert_eq!(switched(&several, "ddos", "domain-dst"), Some(Reason::Victim));
        assert_eq!(switched(&several, "ddos", "ip-src"), Some(Reason::RoleOff));
        assert_eq!(switched(&several, "ddos", "ip-dst"), None);
    }

    #[test]
    fn a_stix_pattern_of_what_is_off_is_off() {
        let of = |types: &[(&str, bool)], path: &'static str| {
            let types = types.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
            let switches = Switches { types, ..Switches::default() };
            let claim = ClaimFacts { kind: "stix2-pattern".into(), ..ClaimFacts::default() };
            Switched::new(&switches).objection(&claim, &Observable::new(path, "x"))
        };
        // By default file names and ports are off, and addresses and hashes on.
        for off in ["file:name", "network-traffic:dst_port"] {
            assert_eq!(of(&[], off), Some(Reason::TypeOff), "{off}");
            assert_eq!(of(&[("stix2-pattern", true)], off), Some(Reason::TypeOff), "{off}");
        }
        for on in ["ipv4-addr:value", "file:hashes.MD5"] {
            assert_eq!(of(&[], on), None, "{on}");
        }
        assert_eq!(of(&[("port", true)], "network-traffic:dst_port"), None);
        assert_eq!(of(&[("filename", true)], "file:name"), None);
        let but_one = [("*md5", false), ("malware-sample", false)];
        assert_eq!(of(&but_one, "file:hashes.MD5"), Some(Reason::TypeOff));
        assert_eq!(of(&but_one[..1], "file:hashes.MD5"), None, "a malware-sample still has it");
    }

    #[test]
    fn of_a_urls_two_forms_those_count_that_are_asked_for() {
        let of = |urls, raw: Option<&str>, value: &str| {
            let claim = ClaimFacts {
                kind: "url".into(),
                raw: raw.map(str::to_owned),
                ..ClaimFacts::default()
            };
            let switched = Switched::new(&Switches { urls, ..Switches::default() });
            switched.objection(&claim, &Observable::new("url:value", value)).is_none()
        };
        let root = "http://evil.example";
        for (urls, written, wire) in [
            (UrlForms::Both, true, true),
            (UrlForms::Written, true, false),
            (UrlForms::Wire, false, true),
        ] {
            assert_eq!(of(urls, None, root), written, "{urls:?}");
            assert_eq!(of(urls, Some("hxxp://evil[.]example"), root), written, "{urls:?}");
            assert_eq!(of(urls, Some(root), "http://evil.example/"), wire, "{urls:?}");
            // Here the two forms are one.
            assert!(of(urls, None, "http://evil.example/"), "{urls:?}");
            assert!(of(urls, None, "http://evil.example/a?b"), "{urls:?}");
        }
    }
}
