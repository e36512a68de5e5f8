//! Finds the warninglists that a claim is on. It looks up the attribute's type and value as MISP has them,
//! and also the value that is sent, under its own type: most lists of host names do not cover the type
//! `hostname|port`, but of such an attribute the host name is sent.

use super::{ListOfSource, OnLists};
use crate::pure::convert::{self, ClaimFacts};
use crate::pure::stix::Observable;
use crate::pure::warninglist::Lists;

impl OnLists {
    /// Adds the lists of a source that a claim is on, whichever source makes the claim.
    pub fn add(
        &mut self,
        source: &str,
        lists: &Lists,
        claim: &ClaimFacts,
        observable: &Observable,
    ) {
        let of_source =
            |name: &str| ListOfSource { source: source.to_owned(), name: name.to_owned() };
        self.attribute.extend(listed(lists, claim, observable).into_iter().map(of_source));
        let host = observable.url_host().into_iter().flat_map(|host| lists.holding(host));
        self.host.extend(host.map(|list| of_source(&list.head.name)));
    }
}

/// The names of the lists that a claim is on, each once, in MISP's order.
///
/// It asks the lists about the attribute as it is in MISP, and about an attribute that holds only the claim's value,
/// under that value's own type: 45 of MISP's 46 lists of host names leave `hostname|port` out, but the host name is
/// what is sent. If a list withholds a URL in the form that requests have, it withholds the written form too.
fn listed<'l>(lists: &'l Lists, claim: &ClaimFacts, observable: &Observable) -> Vec<&'l str> {
    let mut found = names(lists, &claim.kind, claim.written(observable));
    let mut add = |value: &str| {
        for kind in becomes(&claim.kind, &observable.path) {
            for name in names(lists, kind, value) {
                if !found.contains(&name) {
                    found.push(name);
                }
            }
        }
    };
    let is_plain = plain_types(&observable.path).contains(&claim.kind.as_ref());
    if claim.raw.is_some() || !is_plain {
        add(&observable.value);
    }
    if let Some(wire) = convert::on_the_wire(observable) {
        add(&wire.value);
    }
    found
}

fn names<'l>(lists: &'l Lists, kind: &str, value: &str) -> Vec<&'l str> {
    lists.hits(kind, value).map(|hit| hit.list.head.name.as_str()).collect()
}

/// The types that an attribute of the type `kind` would have if it held the value at `path` alone.
fn becomes<'k>(kind: &'k str, path: &str) -> Vec<&'k str> {
    let plain = plain_types(path);
    if plain.contains(&kind) { vec![kind] } else { plain.to_vec() }
}

/// MISP's types for the bare value at an object path; empty where MISP has none, or no list is for it.
fn plain_types(path: &str) -> &'static [&'static str] {
    match path {
        "ipv4-addr:value" | "ipv6-addr:value" => &["ip-dst", "ip-src"],
        "domain-name:value" => &["domain", "hostname"],
        "url:value" => &["url"],
        "email-addr:value" => &["email", "email-src"],
        "file:hashes.MD5" => &["md5"],
        "file:hashes.'SHA-1'" => &["sha1"],
        "file:hashes.'SHA-224'" => &["sha224"],
        "file:hashes.'SHA-256'" => &["sha256"],
        "file:hashes.'SHA-384'" => &["sha384"],
        "file:hashes.'SHA-512'" => &["sha512"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pure::warninglist::{List, ListHead, ListKind, Texts};

    fn list(id: u64, kind: ListKind, types: &[&str], entry: &str) -> Arc<List> {
        let head = ListHead {
            id,
            name: format!("list {id}"),
            kind,
            category: "false_positive".into(),
            version: "1".into(),
            entries: None,
            types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        Arc::new(List::new(head, Texts::of([entry]).unwrap()).unwrap())
    }

    /// The types of `List of known google domains` and its like in misp-warninglists.
    fn lists() -> Lists {
        Lists::new(vec![
            list(1, ListKind::Hostname, &["domain", "hostname", "domain|ip", "url"], "example.com"),
            list(2, ListKind::Cidr, &["ip-dst", "ip-src", "domain|ip"], "198.51.100.0/24"),
            list(3, ListKind::String, &["md5"], "d41d8cd98f00b204e9800998ecf8427e"),
        ])
    }

    fn on(kind: &'static str, written: &str, path: &'static str, value: &str) -> Vec<String> {
        let raw = (written != value).then(|| written.to_owned());
        let claim = ClaimFacts { kind: kind.into(), raw, ..ClaimFacts::default() };
        let lists = lists();
        let names = listed(&lists, &claim, &Observable::new(path, value));
        names.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_list_for_a_plain_type_counts_for_whatever_becomes_that() {
        const NAME: &str = "domain-name:value";
        for (kind, written, path, value, list) in [
            ("hostname", "www.example.com", NAME, "www.example.com", "list 1"),
            ("hostname|port", "www.example.com|443", NAME, "www.example.com", "list 1"),
            ("stix2-pattern", "[domain-name:value = 'example.com']", NAME, "example.com", "list 1"),
            (
                "uri",
                "https://www.example.com/a",
                "url:value",
                "https://www.example.com/a",
                "list 1",
            ),
            ("url", "http://example.com:80/a", "url:value", "http://example.com/a", "list 1"),
            ("ip-dst|port", "198.51.100.7|443", "ipv4-addr:value", "198.51.100.7", "list 2"),
            ("domain", "198.51.100.7", "ipv4-addr:value", "198.51.100.7", "list 2"),
            (
                "malware-sample",
                "a.exe|d41d8cd98f00b204e9800998ecf8427e",
                "file:hashes.MD5",
                "d41d8cd98f00b204e9800998ecf8427e",
                "list 3",
            ),
        ] {
            assert_eq!(on(kind, written, path, value), [list], "{kind} {written}");
        }
    }

    /// MISP's types for what composites hold.
    #[test]
    fn a_list_for_bare_hashes_or_addresses_counts_for_what_composites_hold() {
        for (plain, composite, path) in [
            ("email", "email-dst", "email-addr:value"),
            ("email-src", "email-dst", "email-addr:value"),
            ("md5", "filename|md5", "file:hashes.MD5"),
            ("sha1", "filename|sha1", "file:hashes.'SHA-1'"),
            ("sha224", "filename|sha224", "file:hashes.'SHA-224'"),
            ("sha256", "filename|sha256", "file:hashes.'SHA-256'"),
            ("sha384", "filename|sha384", "file:hashes.'SHA-384'"),
            ("sha512", "filename|sha512", "file:hashes.'SHA-512'"),
        ] {
            let lists = Lists::new(vec![list(7, ListKind::String, &[plain], "known")]);
            let raw = Some("a|known".to_owned());
            let claim = ClaimFacts { kind: composite.into(), raw, ..ClaimFacts::default() };
            let found = listed(&lists, &claim, &Observable::new(path, "known"));
            assert_eq!(found, ["list 7"], "{composite}");
        }
    }

    #[test]
    fn a_url_is_on_lists_by_misps_word_and_by_its_bare_host() {
        let lists = Lists::new(vec![
            list(1, ListKind::Hostname, &["url"], "example.com"),
            list(2, ListKind::Hostname, &["domain"], "www.example.com"),
        ]);
        let claim = ClaimFacts { kind: "url".into(), ..ClaimFacts::default() };
        let url = Observable::new("url:value", "http://www.example.com/a");
        let mut on = OnLists::default();
        on.add("own", &lists, &claim, &url);
        let of_own = |name: &str| ListOfSource { source: "own".into(), name: name.into() };
        assert_eq!((on.attribute, on.host), (vec![of_own("list 1")], vec![of_own("list 2")]));
    }

    #[test]
    fn what_misp_itself_lets_pass_under_its_own_type_passes() {
        let plain = |kind, path, value| on(kind, value, path, value);
        assert!(plain("ip-src", "ipv4-addr:value", "192.0.2.1").is_empty());
        // MISP compares a host with its port.
        assert!(plain("url", "url:value", "http://example.com:8080/a").is_empty());
        // A mutex is of no plain type that a list is for.
        assert!(
            on("stix2-pattern", "[mutex:name = 'example.com']", "mutex:name", "example.com")
                .is_empty()
        );
    }

    /// MISP reads no host where no slash ends it; the form that requests have has the slash.
    #[test]
    fn a_url_without_a_path_is_on_the_lists_of_its_form_on_the_wire() {
        for value in ["http://example.com?x", "http://example.com#x", "http://example.com?x#y"] {
            assert_eq!(on("url", value, "url:value", value), ["list 1"], "{value}");
            assert_eq!(on("uri", value, "url:value", value), ["list 1"], "{value}");
        }
        let elsewhere = "http://evil.example?example.com";
        assert!(on("url", elsewhere, "url:value", elsewhere).is_empty());
    }

    #[test]
    fn a_list_is_named_once() {
        let names =
            on("domain|ip", "a.example.com|198.51.100.7", "domain-name:value", "a.example.com");
        assert_eq!(names, ["list 1", "list 2"], "MISP judges both halves");
    }
}
