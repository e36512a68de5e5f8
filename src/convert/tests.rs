//! What values become. Expected values are by hand, from the RFCs and from STIX 2.1.

use proptest::prelude::*;

use super::{Reason, claims};
use crate::misp::Event;

/// Converts one attribute to `path value` lines, or the reason why not.
fn convert(kind: &str, value: &str) -> Result<Vec<String>, Reason> {
    let attribute = serde_json::json!({
        "uuid": "58634bba-6203-49db-85e0-06c10dc6430e",
        "type": kind,
        "value": value,
    });
    convert_json(&attribute.to_string(), "{}")
}

/// As [`convert`], for an attribute's JSON and its object's head.
fn convert_json(attribute: &str, object: &str) -> Result<Vec<String>, Reason> {
    let mut object: serde_json::Value = serde_json::from_str(object).unwrap();
    object["Attribute"] =
        serde_json::json!([serde_json::from_str::<serde_json::Value>(attribute).unwrap()]);
    let document = serde_json::json!({
        "Event": {"uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "Object": [object]},
    })
    .to_string();
    let event = Event::parse(document.as_bytes()).unwrap();
    let (attribute, object) = event.attributes().next().unwrap().unwrap();
    let claims = claims(&attribute, object)?;
    Ok(claims
        .into_iter()
        .map(|claim| format!("{} {}", claim.observable.path, claim.observable.value))
        .collect())
}

fn assert_converts(kind: &str, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(convert(kind, value).as_deref(), Ok(&[(*expected).to_owned()][..]), "{value:?}");
    }
}

fn assert_invalid(kind: &str, values: &[&str]) {
    for value in values {
        assert_eq!(convert(kind, value), Err(Reason::InvalidValue), "{kind} {value:?}");
    }
}

#[test]
fn addresses_are_in_their_shortest_form() {
    let cases = [
        ("198.51.100.7", "ipv4-addr:value 198.51.100.7"),
        (" 198.51.100.7\n", "ipv4-addr:value 198.51.100.7"),
        ("198[.]51[.]100[.]7", "ipv4-addr:value 198.51.100.7"),
        ("198.51.100.7/32", "ipv4-addr:value 198.51.100.7"),
        ("198.51.100.0/24", "ipv4-addr:value 198.51.100.0/24"),
        ("198.51.100.7/24", "ipv4-addr:value 198.51.100.0/24"),
        // RFC 5952: leading zeros, the longest run of zeros, the first of equal runs, lower case.
        ("2001:0DB8:0000:0000:0000:0000:0000:00AB", "ipv6-addr:value 2001:db8::ab"),
        ("2001:db8:0:1:1:1:1:1", "ipv6-addr:value 2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "ipv6-addr:value 2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "ipv6-addr:value 2001:db8::1:0:0:1"),
        ("::FFFF:198.51.100.7", "ipv6-addr:value ::ffff:198.51.100.7"),
        ("[2001:db8::1]", "ipv6-addr:value 2001:db8::1"),
        ("2001:db8::1/128", "ipv6-addr:value 2001:db8::1"),
        ("2001:DB8:ABCD::1/48", "ipv6-addr:value 2001:db8:abcd::/48"),
    ];
    assert_converts("ip-dst", &cases);
    assert_converts("ip-src", &cases);
}

#[test]
fn what_is_no_address_is_invalid() {
    let values =
        ["", "198.51.100", "198.51.100.256", "198.51.100.07", "198.51.100.7/33", "fe80::1%eth0"];
    assert_invalid("ip-dst", &values);
    assert_invalid("ip-dst", &["evil.example", "2001:db8::/129", "2001:db8::1::2", "|", "[::1"]);
}

#[test]
fn an_address_with_a_port_claims_the_address() {
    for kind in ["ip-src|port", "ip-dst|port"] {
        assert_converts(
            kind,
            &[
                ("203.0.113.46|8443", "ipv4-addr:value 203.0.113.46"),
                ("2001:DB8::77|443", "ipv6-addr:value 2001:db8::77"),
            ],
        );
        assert_invalid(kind, &["203.0.113.46", "|443", "evil.example|443"]);
    }
    assert_converts(
        "hostname|port",
        &[("C2.evil.example|8080", "domain-name:value c2.evil.example")],
    );
}

#[test]
fn domain_names_are_in_lower_case_and_ascii() {
    let long = format!("{}.example", "a".repeat(63));
    let cases = [
        ("Evil.EXAMPLE", "domain-name:value evil.example"),
        ("evil.example.", "domain-name:value evil.example"),
        ("evil[.]example", "domain-name:value evil.example"),
        ("bücher.example", "domain-name:value xn--bcher-kva.example"),
        ("BÜCHER.example", "domain-name:value xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "domain-name:value xn--bcher-kva.example"),
        ("_dmarc.evil.example", "domain-name:value _dmarc.evil.example"),
        ("r3---sn-x.evil.example", "domain-name:value r3---sn-x.evil.example"),
    ];
    assert_converts("hostname", &cases);
    assert_converts("domain", &cases);
    assert_converts("domain", &[(&long, &format!("domain-name:value {long}"))]);
}

#[test]
fn what_is_no_domain_name_is_invalid() {
    let label = format!("{}.example", "a".repeat(64));
    let whole = format!("{}example", "abcdefg.".repeat(31));
    let values = [
        "",
        ".",
        "localhost",
        "evil..example",
        ".evil.example",
        "-evil.example",
        "evil-.example",
        "evil .example",
        "*.evil.example",
        "evil.example/path",
        "http://evil.example",
        "198.51.100.7",
        "evil'.example",
        &label,
        &whole,
    ];
    assert_eq!(whole.len(), 255);
    assert_invalid("domain", &values);
    assert_invalid("hostname", &values);
}

#[test]
fn a_domain_with_an_address_claims_both_or_nothing() {
    assert_eq!(
        convert("domain|ip", "Drop.evil.example|2001:DB8::1"),
        Ok(vec![
            "domain-name:value drop.evil.example".to_owned(),
            "ipv6-addr:value 2001:db8::1".to_owned()
        ])
    );
    assert_invalid("domain|ip", &["drop.evil.example", "drop.evil.example|", "|203.0.113.50"]);
}

#[test]
fn a_url_has_a_scheme_and_its_path_stays_as_it_is() {
    let cases = [
        ("https://evil.example/A/b?X=%20Y#Z", "url:value https://evil.example/A/b?X=%20Y#Z"),
        ("HTTPS://Evil.EXAMPLE/Path", "url:value https://evil.example/Path"),
        ("evil.example/no-scheme/x.exe", "url:value http://evil.example/no-scheme/x.exe"),
        ("Evil.example:8080/X", "url:value http://evil.example:8080/X"),
        ("//evil.example/x", "url:value http://evil.example/x"),
        ("hxxp://evil[.]example/defanged[.]x", "url:value http://evil.example/defanged[.]x"),
        ("hXXps://evil.example", "url:value https://evil.example"),
        ("hxxps[:]//evil[.]example/", "url:value https://evil.example/"),
        ("http://203.0.113.9:8081/gate.php", "url:value http://203.0.113.9:8081/gate.php"),
        ("http://[2001:DB8::1]:80/X", "url:value http://[2001:db8::1]:80/X"),
        ("ftp://User:Pa@ss@Evil.example/", "url:value ftp://User:Pa@ss@evil.example/"),
        ("http://bücher.example/ü", "url:value http://xn--bcher-kva.example/ü"),
        ("http://evil.example?next=http://X/", "url:value http://evil.example?next=http://X/"),
        ("evil.example/?next=http://X/", "url:value http://evil.example/?next=http://X/"),
        ("http://intranet/x", "url:value http://intranet/x"),
        ("http://evil.example/it's|a\\b", "url:value http://evil.example/it's|a\\b"),
    ];
    assert_converts("url", &cases);
}

#[test]
fn what_is_no_url_is_invalid() {
    let values = [
        "",
        "http://",
        "http:///path",
        "/gate.php?id=1",
        "http://evil.example:port/",
        "http://[2001:db8::1/",
        "http://evil example/",
        "mailto:phisher@evil.example",
        "http://evil.example/a\nb",
        "http://*.evil.example/",
    ];
    assert_invalid("url", &values);
}

#[test]
fn hashes_are_of_their_algorithms_length_and_in_lower_case() {
    let cases = [
        ("md5", 32, "file:hashes.MD5"),
        ("sha1", 40, "file:hashes.'SHA-1'"),
        ("sha224", 56, "file:hashes.'SHA-224'"),
        ("sha256", 64, "file:hashes.'SHA-256'"),
        ("sha384", 96, "file:hashes.'SHA-384'"),
        ("sha512", 128, "file:hashes.'SHA-512'"),
    ];
    for (kind, digits, path) in cases {
        let (value, lower) = ("Ab".repeat(digits / 2), "ab".repeat(digits / 2));
        let expected = format!("{path} {lower}");
        assert_converts(kind, &[(&value, &expected)]);
        let with_name = format!("C:\\a|b \"quoted\".exe|{value}");
        assert_converts(&format!("filename|{kind}"), &[(&with_name, &expected)]);
        assert_invalid(
            kind,
            &[value.get(1..).unwrap(), &format!("{value}0"), &"g".repeat(digits), &with_name],
        );
        assert_invalid(&format!("filename|{kind}"), &[&value, "name|", "name|name"]);
    }
    assert_converts(
        "malware-sample",
        &[(
            "mal.exe|F3F0456428B06F87A9CBEBC38DD3B2E2",
            "file:hashes.MD5 f3f0456428b06f87a9cbebc38dd3b2e2",
        )],
    );
}

#[test]
fn e_mail_addresses_are_in_lower_case() {
    for kind in ["email", "email-src", "email-dst"] {
        assert_converts(
            kind,
            &[
                ("Phisher@Evil.EXAMPLE", "email-addr:value phisher@evil.example"),
                ("o'hara+x@bücher.example", "email-addr:value o'hara+x@xn--bcher-kva.example"),
                ("phisher@evil[.]example", "email-addr:value phisher@evil.example"),
            ],
        );
        let invalid =
            ["", "evil.example", "@evil.example", "a@", "a b@evil.example", "a@localhost"];
        assert_invalid(kind, &invalid);
        assert_invalid(kind, &["A <a@evil.example>", "a@b@evil.example"]);
    }
}

#[test]
fn types_that_are_not_in_the_table_are_unsupported() {
    for kind in ["uri", "filename", "ssdeep", "email-subject", "ip-dst ", "IP-DST", ""] {
        assert_eq!(convert(kind, "198.51.100.7"), Err(Reason::UnsupportedType));
    }
}

#[test]
fn deleted_attributes_and_those_of_deleted_objects_claim_nothing() {
    let attribute = |deleted: &str| {
        format!(
            r#"{{"uuid":"58634bba-6203-49db-85e0-06c10dc6430e","type":"ip-dst",
            "value":"198.51.100.7","deleted":{deleted}}}"#
        )
    };
    for deleted in ["true", "1", "\"1\""] {
        assert_eq!(convert_json(&attribute(deleted), "{}"), Err(Reason::Deleted));
    }
    for deleted in ["false", "0", "\"0\"", "null", "\"\""] {
        assert!(convert_json(&attribute(deleted), "{}").is_ok(), "{deleted}");
    }
    assert_eq!(convert_json(&attribute("0"), r#"{"deleted":"1"}"#), Err(Reason::Deleted));
}

#[test]
fn no_type_is_in_the_table_twice() {
    let mut names: Vec<_> = super::types::names().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

proptest! {
    /// Else one observable would have two ids.
    #[test]
    fn a_canonical_value_is_its_own_canonical_value(
        kind in prop::sample::select(vec!["ip-dst", "domain", "url", "md5", "email"]),
        value in "[A-Za-z0-9.:/@_\\-\\[\\]#?üΣİß]{1,24}|[0-9.]{7,15}(/[0-9]{1,2})?|\
            [0-9A-Fa-f:]{2,39}(/[0-9]{1,3})?|[0-9A-F]{32}|\
            [a-zA-Z]{1,9}(\\[\\.\\]|\\.)[a-zü]{2,5}\\.?|\\PC{1,9}@[A-Za-zÜ]{1,9}\\.[a-z]{2}",
    ) {
        if let Ok(converted) = convert(kind, &value) {
            let canonical = converted[0].split_once(' ').unwrap().1;
            prop_assert_eq!(convert(kind, canonical), Ok(converted.clone()));
        }
    }
}
