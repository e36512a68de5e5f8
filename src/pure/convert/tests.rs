//! Tests which observables MISP's values become. The expected values are written by hand, from the RFCs and
//! STIX 2.1.

use proptest::prelude::*;

use super::{Reason, claims};
use crate::pure::misp::Event;

/// Converts one attribute to `path value` lines, or the reason why not.
fn convert(kind: &str, value: &str) -> Result<Vec<String>, Reason> {
    convert_at(kind, value, 1_700_000_000)
}

fn convert_at(kind: &str, value: &str, timestamp: i64) -> Result<Vec<String>, Reason> {
    let attribute = serde_json::json!({
        "uuid": "58634bba-6203-49db-85e0-06c10dc6430e",
        "type": kind,
        "value": value,
        "timestamp": timestamp,
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
fn what_misp_wrote_is_kept_where_the_observable_says_it_otherwise() {
    let written = |kind: &str, value: &str| {
        let attribute = serde_json::json!({
            "uuid": "58634bba-6203-49db-85e0-06c10dc6430e",
            "type": kind,
            "value": value,
            "timestamp": "1700000000",
        });
        let document = serde_json::json!({"Event": {
            "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd",
            "Attribute": [attribute],
        }});
        let document = document.to_string();
        let claims = super::event(&Event::parse(document.as_bytes()).unwrap()).claims;
        for claim in &claims {
            assert_eq!(claim.facts.written(&claim.observable), value);
        }
        claims.into_iter().map(|claim| claim.facts.raw).collect::<Vec<_>>()
    };
    assert_eq!(written("domain", "evil.example"), [None]);
    assert_eq!(written("domain", "Evil.Example"), [Some("Evil.Example".to_owned())]);
    let both = "evil.example|198.51.100.7";
    assert_eq!(written("domain|ip", both), [Some(both.to_owned()), Some(both.to_owned())]);
}

#[test]
fn addresses_are_in_their_shortest_form() {
    let cases = [
        ("198.51.100.7", "ipv4-addr:value 198.51.100.7"),
        (" 198.51.100.7\n", "ipv4-addr:value 198.51.100.7"),
        ("198.51.100.7 ", "ipv4-addr:value 198.51.100.7"),
        (" 198.51.100.7", "ipv4-addr:value 198.51.100.7"),
        ("198[.]51[.]100[.]7", "ipv4-addr:value 198.51.100.7"),
        ("198.51.100.7/32", "ipv4-addr:value 198.51.100.7"),
        ("198.51.100.0/24", "ipv4-addr:value 198.51.100.0/24"),
        ("198.51.100.7/24", "ipv4-addr:value 198.51.100.0/24"),
        // RFC 5952: leading zeros, the longest run of zeros, the first of equal runs, lower case.
        ("2001:0DB8:0000:0000:0000:0000:0000:00AB", "ipv6-addr:value 2001:db8::ab"),
        ("2001:db8:0:1:1:1:1:1", "ipv6-addr:value 2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "ipv6-addr:value 2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "ipv6-addr:value 2001:db8::1:0:0:1"),
        // Logs show IPv4 addresses as IPv4.
        ("::FFFF:198.51.100.7", "ipv4-addr:value 198.51.100.7"),
        ("::ffff:198.51.100.0/120", "ipv4-addr:value 198.51.100.0/24"),
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
    assert_invalid("ip-dst", &["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"]);
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
    assert_converts("domain", &[("localhost", "domain-name:value localhost")]);
    for defanged in ["evil(.)example", "evil[dot]example", "evil{.}example", "evil(dot)example"] {
        assert_converts("domain", &[(defanged, "domain-name:value evil.example")]);
    }
    assert_converts("domain", &[(&long, &format!("domain-name:value {long}"))]);
}

#[test]
fn what_is_no_domain_name_is_invalid() {
    let label = format!("{}.example", "a".repeat(64));
    let whole = format!("{}example", "abcdefg.".repeat(31));
    let values = [
        "",
        ".",
        "evil..example",
        ".evil.example",
        "-evil.example",
        "evil-.example",
        "evil .example",
        "*.evil.example",
        "evil.example/path",
        "http://evil.example",
        "198.51.100",
        "evil.example.198",
        "198.51.100.0/24",
        "evil'.example",
        &label,
        &whole,
    ];
    assert_eq!(whole.len(), 255);
    assert_invalid("domain", &values);
    assert_invalid("hostname", &values);
}

#[test]
fn an_address_that_is_typed_as_a_name_is_an_address() {
    let cases = [
        ("198.51.100.77", "ipv4-addr:value 198.51.100.77"),
        ("198[.]51[.]100[.]77", "ipv4-addr:value 198.51.100.77"),
        ("198.51.100.77.", "ipv4-addr:value 198.51.100.77"),
        ("2001:DB8::1", "ipv6-addr:value 2001:db8::1"),
    ];
    assert_converts("domain", &cases);
    assert_converts("hostname", &cases);
    assert_converts(
        "hostname|port",
        &[
            ("198.51.100.79|443", "ipv4-addr:value 198.51.100.79"),
            ("[2001:DB8::1]|443", "ipv6-addr:value 2001:db8::1"),
        ],
    );
    // Of an address in both halves there is one claim.
    assert_converts("domain|ip", &[("198.51.100.7|198.51.100.7", "ipv4-addr:value 198.51.100.7")]);
}

#[test]
fn a_timestamp_that_is_no_time_in_seconds_is_told() {
    let at = |timestamp| convert_at("domain", "evil.example", timestamp);
    // 2001, and the last second of 32 bits.
    for sound in [1_000_000_000, 4_294_967_295] {
        assert!(at(sound).is_ok(), "{sound}");
    }
    // Milliseconds and microseconds of 2023, none, before 1970.
    for absurd in [1_700_000_000_000, 1_700_000_000_000_000, 0, -1, i64::MAX] {
        assert_eq!(at(absurd), Err(Reason::InvalidTimestamp), "{absurd}");
    }
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
        ("https://evil.example/A/b?X=%20Y", "url:value https://evil.example/A/b?X=%20Y"),
        ("HTTPS://Evil.EXAMPLE/Path", "url:value https://evil.example/Path"),
        ("evil.example/no-scheme/x.exe", "url:value http://evil.example/no-scheme/x.exe"),
        ("Evil.example:8080/X", "url:value http://evil.example:8080/X"),
        ("//evil.example/x", "url:value http://evil.example/x"),
        ("hxxp://evil[.]example/defanged[.]x", "url:value http://evil.example/defanged[.]x"),
        ("hXXps://evil.example/", "url:value https://evil.example/"),
        ("hxxps[:]//evil[.]example/", "url:value https://evil.example/"),
        ("http://203.0.113.9:8081/gate.php", "url:value http://203.0.113.9:8081/gate.php"),
        ("http://[2001:DB8::1]:8080/X", "url:value http://[2001:db8::1]:8080/X"),
        ("ftp://User:Pa@ss@Evil.example/", "url:value ftp://User:Pa@ss@evil.example/"),
        ("http://bücher.example/ü", "url:value http://xn--bcher-kva.example/ü"),
        ("evil.example/?next=http://X/", "url:value http://evil.example/?next=http://X/"),
        ("http://intranet/x", "url:value http://intranet/x"),
        ("http://evil.example/it's|a\\b", "url:value http://evil.example/it's|a\\b"),
        ("tcp://Evil.example:4444", "url:value tcp://evil.example:4444"),
        // The scheme's own port says nothing (RFC 3986, 6.2.3).
        ("http://evil.example:80/a", "url:value http://evil.example/a"),
        ("https://evil.example:443/a", "url:value https://evil.example/a"),
        ("http://evil.example:/a", "url:value http://evil.example/a"),
        ("https://evil.example:80/a", "url:value https://evil.example:80/a"),
        ("http://[2001:DB8::1]:80/X", "url:value http://[2001:db8::1]/X"),
        ("http://[2001:DB8::]/X", "url:value http://[2001:db8::]/X"),
        ("ftp://evil.example:21/a", "url:value ftp://evil.example/a"),
        ("ftps://evil.example:21/a", "url:value ftps://evil.example:21/a"),
    ];
    assert_converts("url", &cases);
}

/// Requests have a path and no fragment (RFC 9112, 3.2); mails have what was written.
#[test]
fn a_url_that_requests_have_otherwise_is_claimed_in_both_forms() {
    for (value, written, wire) in [
        ("http://evil.example", "http://evil.example", "http://evil.example/"),
        ("hxxps://Evil[.]example:443", "https://evil.example", "https://evil.example/"),
        ("evil.example", "http://evil.example", "http://evil.example/"),
        ("http://evil.example?x=1", "http://evil.example?x=1", "http://evil.example/?x=1"),
        ("http://evil.example/a#Victim", "http://evil.example/a#Victim", "http://evil.example/a"),
        ("http://evil.example#v", "http://evil.example#v", "http://evil.example/"),
        ("http://evil.example/?a#", "http://evil.example/?a#", "http://evil.example/?a"),
        ("http://evil.example/ #v", "http://evil.example/ #v", "http://evil.example/"),
        ("http://evil.example/a\u{a0} #", "http://evil.example/a\u{a0} #", "http://evil.example/a"),
        (
            "http://evil.example?next=http://X/",
            "http://evil.example?next=http://X/",
            "http://evil.example/?next=http://X/",
        ),
    ] {
        let expected = [written, wire].map(|form| format!("url:value {form}"));
        assert_eq!(convert("url", value).as_deref(), Ok(&expected[..]), "{value}");
        assert_eq!(convert("uri", value).as_deref(), Ok(&expected[..]), "{value}");
        let pattern = format!("[url:value = '{written}']");
        assert_eq!(convert("stix2-pattern", &pattern).as_deref(), Ok(&expected[..]), "{value}");
    }
    // No request has these.
    assert_converts("url", &[("tcp://evil.example#a", "url:value tcp://evil.example#a")]);
}

#[test]
fn a_mistyped_scheme_is_mended_where_it_can_mean_one_thing_only() {
    for (value, mended) in [
        (r"https:\\evil.example\a", "https://evil.example/a"),
        (r"hxxp:\\evil.example\e", "http://evil.example/e"),
        (r"http:\/\/evil.example/f", "http://evil.example/f"),
        (r"http:\\evil.example\a?x=\b", r"http://evil.example/a?x=\b"),
        ("http:/evil.example/b", "http://evil.example/b"),
        ("http:///evil.example/b", "http://evil.example/b"),
        ("http//evil.example/c", "http://evil.example/c"),
        ("hxxps//evil.example/c", "https://evil.example/c"),
        ("http;//evil.example/c", "http://evil.example/c"),
        ("http:://evil.example/c", "http://evil.example/c"),
        ("http:// evil.example/c", "http://evil.example/c"),
        ("http://http://evil.example/d", "http://evil.example/d"),
        ("http://https://evil.example/d", "https://evil.example/d"),
        ("http://hxxp[:]//evil[.]example/d", "http://evil.example/d"),
        ("http://http//evil.example/d", "http://evil.example/d"),
        ("http[:/]/evil.example/g", "http://evil.example/g"),
        (r"http:\\http://evil.example\d", "http://evil.example/d"),
        ("hxxp[:]//evil.example/g", "http://evil.example/g"),
        ("hxxp[://]evil.example/g", "http://evil.example/g"),
        ("hxxps(:)//evil.example/g", "https://evil.example/g"),
        ("h[tt]p://evil.example/g", "http://evil.example/g"),
        ("h**ps://evil.example/g", "https://evil.example/g"),
        ("meow://evil.example/g", "http://evil.example/g"),
        ("htp://evil.example/h", "http://evil.example/h"),
        ("htttps://evil.example/h", "https://evil.example/h"),
        ("ttp://203.0.113.9/h", "http://203.0.113.9/h"),
        ("fxp://evil.example/h", "ftp://evil.example/h"),
    ] {
        let expected = format!("url:value {mended}");
        assert_converts("url", &[(value, &expected)]);
    }
    // What begins like a scheme and is a host.
    for host in ["http.evil.example/a", "https-login.example/a", "ftp.evil.example/a"] {
        assert_converts("url", &[(host, &format!("url:value http://{host}"))]);
    }
    let unclear = [
        "http:evil.example/a",
        "http:::/evil.example/a",
        "http: //evil.example/a",
        "http/evil.example/a",
        "https:443/a",
        "http://http/a",
        "http://http://intranet/a",
        "https//intranet/a",
        "http:/intranet/a",
        "http://https:/a",
    ];
    assert_invalid("url", &unclear);
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
        ("sha3-224", 56, "file:hashes.'SHA3-224'"),
        ("sha3-256", 64, "file:hashes.'SHA3-256'"),
        ("sha3-384", 96, "file:hashes.'SHA3-384'"),
        ("sha3-512", 128, "file:hashes.'SHA3-512'"),
        ("authentihash", 64, "file:hashes.AUTHENTIHASH"),
        ("imphash", 32, "file:hashes.IMPHASH"),
        ("pehash", 40, "file:hashes.PEHASH"),
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
        let name = "file:name C:\\a|b \"quoted\".exe".to_owned();
        assert_eq!(convert(&format!("filename|{kind}"), &with_name), Ok(vec![expected, name]));
        assert_invalid(
            kind,
            &[value.get(1..).unwrap(), &format!("{value}0"), &"g".repeat(digits), &with_name],
        );
        assert_invalid(&format!("filename|{kind}"), &[&value, "name|", "name|name"]);
    }
    assert_eq!(
        convert("malware-sample", "mal.exe|F3F0456428B06F87A9CBEBC38DD3B2E2"),
        Ok(vec![
            "file:hashes.MD5 f3f0456428b06f87a9cbebc38dd3b2e2".to_owned(),
            "file:name mal.exe".to_owned()
        ])
    );
    // Without a name there is still the hash.
    assert_converts(
        "filename|md5",
        &[(
            "|D41D8CD98F00B204E9800998ECF8427E",
            "file:hashes.MD5 d41d8cd98f00b204e9800998ecf8427e",
        )],
    );
}

#[test]
fn e_mail_addresses_are_in_lower_case() {
    for kind in ["email", "email-src", "email-dst", "email-reply-to", "dns-soa-email"] {
        assert_converts(
            kind,
            &[
                ("Phisher@Evil.EXAMPLE", "email-addr:value phisher@evil.example"),
                ("o'hara+x@bücher.example", "email-addr:value o'hara+x@xn--bcher-kva.example"),
                ("phisher@evil[.]example", "email-addr:value phisher@evil.example"),
                ("phisher[@]evil[.]example", "email-addr:value phisher@evil.example"),
                ("phisher[at]evil[dot]example", "email-addr:value phisher@evil.example"),
            ],
        );
        let invalid =
            ["", "evil.example", "@evil.example", "a@", "a b@evil.example", "a@localhost"];
        assert_invalid(kind, &invalid);
        assert_invalid(kind, &["A <a@evil.example>", "a@b@evil.example"]);
    }
}

#[test]
fn types_that_are_not_in_the_table_are_unknown() {
    for kind in ["ip", "sha", "ip-dst ", "IP-DST", "as", "ip-dst|port|x", ""] {
        assert_eq!(convert(kind, "198.51.100.7"), Err(Reason::UnknownType));
    }
}

#[test]
fn deleted_attributes_and_those_of_deleted_objects_claim_nothing() {
    let attribute = |deleted: &str| {
        format!(
            r#"{{"uuid":"58634bba-6203-49db-85e0-06c10dc6430e","type":"ip-dst",
            "value":"198.51.100.7","timestamp":"1700000000","deleted":{deleted}}}"#
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
fn every_attribute_is_claimed_or_counted() {
    let attributes = [
        ("domain|ip", "evil.example|198.51.100.7"),
        ("domain", "evil.example"),
        ("comment", "x"),
        ("domain", "no name"),
        ("ip-dst", "nor this"),
    ];
    let attributes = attributes.map(|(kind, value)| {
        serde_json::json!({
            "uuid": "58634bba-6203-49db-85e0-06c10dc6430e", "type": kind, "value": value,
            "timestamp": 1_700_000_000, "category": "Network activity",
        })
    });
    let mut list: Vec<serde_json::Value> = attributes.into();
    list.push(serde_json::json!(7));
    let document = serde_json::json!({"Event": {
        "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "Attribute": list,
    }});
    let document = document.to_string();
    let conversion = super::event(&Event::parse(document.as_bytes()).unwrap());
    assert_eq!((conversion.attributes, conversion.claims.len()), (6, 3));
    let skipped = conversion.skipped;
    let counts = [(Reason::Context, 1), (Reason::InvalidValue, 2), (Reason::Malformed, 1)];
    assert_eq!(skipped.iter().collect::<Vec<_>>(), counts);
    assert_eq!((skipped.total(), skipped.of(Reason::InvalidValue)), (4, 2));
    assert_eq!(skipped.of(Reason::Deleted), 0);
}

#[test]
fn a_reason_has_a_word_and_a_sentence_of_its_own() {
    let mut sentences = std::collections::BTreeSet::new();
    for (reason, word) in [
        (Reason::UnknownType, "unknown_type"),
        (Reason::InvalidValue, "invalid_value"),
        (Reason::TlpTooStrict, "tlp_too_strict"),
        (Reason::Expired, "expired"),
    ] {
        assert_eq!(reason.word(), word);
        assert_eq!(serde_json::json!(reason), word);
        assert!(reason.sentence().contains(' ') && sentences.insert(reason.sentence()), "{word}");
    }
}

/// MISP's core format, with what stands at each level.
#[test]
fn facts_are_what_misp_says_of_event_object_and_attribute() {
    let group = |name: &str| serde_json::json!({"uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "name": name});
    let attribute = |category: &str| {
        serde_json::json!({
            "uuid": "58634bba-6203-49db-85e0-06c10dc6430e", "type": "domain",
            "value": "evil.example", "timestamp": 1_700_000_000, "category": category,
            "SharingGroup": group("of the attribute"),
            "Tag": [{"name": "own", "local": true}, {"name": "other"}],
        })
    };
    let document = serde_json::json!({"Event": {
        "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "SharingGroup": group("of the event"),
        "Tag": [{"name": "tlp:green"}],
        "Object": [{
            "uuid": "9d19ba7f-706f-4cb2-acfc-7ea26e0e3d42", "name": "domain-ip",
            "first_seen": "2026-10-05T00:00:00.000000+00:00", "SharingGroup": group("of the object"),
            "Attribute": [attribute("Network activity"), attribute("One of our own")],
        }],
    }});
    let document = document.to_string();
    let event = Event::parse(document.as_bytes()).unwrap();
    let facts = event.facts();
    assert_eq!(facts.sharing_group.unwrap().name, "of the event");
    assert_eq!(facts.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["tlp:green"]);
    let claims = super::event(&event).claims;
    let categories: Vec<_> = claims.iter().map(|one| one.facts.category.as_ref()).collect();
    assert_eq!(categories, ["Network activity", "One of our own"]);
    for claim in claims {
        let tags: Vec<_> = claim.facts.tags.iter().map(|tag| (&*tag.name, tag.local)).collect();
        assert_eq!(tags, [("own", true), ("other", false)]);
        assert_eq!(claim.facts.sharing_group.unwrap().name, "of the attribute");
        assert_eq!(claim.facts.object.unwrap().sharing_group.unwrap().name, "of the object");
        assert_eq!(claim.facts.first_seen, Some(1_791_158_400_000_000));
    }
}

#[test]
fn a_row_says_what_its_type_claims_or_why_not() {
    let row = |name| super::table::find(name).unwrap();
    let names = ["domain-name:value", "ipv4-addr:value", "ipv6-addr:value"];
    assert_eq!(row("domain|ip").paths(), names);
    assert_eq!(
        (row("domain|ip").skipped(), row("comment").skipped()),
        (None, Some(Reason::Context))
    );
    assert_eq!(row("comment").trust(), None);
    let trust = |name| row(name).trust().unwrap().word();
    assert_eq!([trust("ip-dst"), trust("onion-address"), trust("uri")], ["high", "medium", "low"]);
    assert!(super::roles().iter().any(|role| role.name() == "ddos.ip-dst"));
}

#[test]
fn a_form_of_a_url_is_that_of_its_own_attribute() {
    use super::UrlForm::{Wire, Written};
    let facts = super::ClaimFacts {
        kind: "url".into(),
        raw: Some("http://evil.example".into()),
        ..super::ClaimFacts::default()
    };
    for (value, form) in [
        ("http://evil.example", Some(Written)),
        ("http://evil.example/", Some(Wire)),
        ("http://another.example/", None),
    ] {
        let observable = crate::pure::stix::Observable::new("url:value", value);
        assert_eq!(super::url_form(&facts, &observable), form, "{value}");
    }
}

#[test]
fn no_type_is_in_the_table_twice() {
    let mut names: Vec<_> = super::types().iter().map(|row| row.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn hashes_that_resemble_are_checked_by_their_own_forms() {
    let digits = "a4c1d5e2f6".repeat(7);
    let cases = [
        (
            "ssdeep",
            "3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C",
            "file:hashes.SSDEEP 3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C",
        ),
        (
            "vhash",
            "115056655D15151138z66hz1021z55z66z3",
            "file:hashes.VHASH 115056655d15151138z66hz1021z55z66z3",
        ),
    ];
    for (kind, value, expected) in cases {
        assert_converts(kind, &[(value, expected)]);
    }
    for kind in ["tlsh", "telfhash"] {
        let expected = format!("file:hashes.{} t1{digits}", kind.to_uppercase());
        assert_converts(kind, &[(&digits, &expected), (&format!("T1{digits}"), &expected)]);
        assert_invalid(kind, &["", "t1", digits.get(1..).unwrap(), &format!("t2{digits}")]);
    }
    assert_invalid("ssdeep", &["", "3:", ":a:b", "3:a", "3:a:b:c", "x:a:b", "3:a b:c"]);
    assert_invalid("vhash", &["", "a-b"]);
}

#[test]
fn fingerprints_may_have_colons() {
    let colons = ["AB"; 20].join(":");
    let expected = format!("x509-certificate:hashes.'SHA-1' {}", "ab".repeat(20));
    assert_converts(
        "x509-fingerprint-sha1",
        &[(&colons, &expected), (&"AB".repeat(20), &expected)],
    );
    let shifted = format!("{}A", colons.get(1..).unwrap());
    assert_invalid("x509-fingerprint-sha1", &[&shifted, &colons.replace(':', "-")]);
}

#[test]
fn autonomous_systems_have_letters_or_none() {
    let path = "autonomous-system:number";
    for (value, number) in [
        ("64500", "64500"),
        ("AS64500", "64500"),
        ("as64500", "64500"),
        ("ASN64500", "64500"),
        ("AS 064500", "64500"),
        // RFC 5396: 1 * 65536 + 10.
        ("1.10", "65546"),
        ("AS65535.65535", "4294967295"),
    ] {
        assert_converts("AS", &[(value, &format!("{path} {number}"))]);
    }
    assert_invalid(
        "AS",
        &["", "AS", "0", "-1", "4294967296", "1.65536", "AS64500 Evil Inc", "1.2.3"],
    );
}

#[test]
fn registry_keys_have_their_hives_in_full() {
    let cases = [
        (r"HKLM\SOFTWARE\Evil", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
        (r"hklm\Software\Evil\", r"HKEY_LOCAL_MACHINE\Software\Evil"),
        (r"HKLM:\SOFTWARE\Evil", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
        (r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
        (r"HKCU\Software\Evil", r"HKEY_CURRENT_USER\Software\Evil"),
        (r"HKCR\.evil", r"HKEY_CLASSES_ROOT\.evil"),
        (r"HKU\S-1-5-21\Evil", r"HKEY_USERS\S-1-5-21\Evil"),
        (r"HKCC\Evil", r"HKEY_CURRENT_CONFIG\Evil"),
        (r"\REGISTRY\MACHINE\SOFTWARE\Evil", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
        (r"\Registry\User\S-1-5-21\Evil", r"HKEY_USERS\S-1-5-21\Evil"),
        (r"Computer\HKLM\SOFTWARE\\Evil", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
        (r"HKLM\SOFTWARE\Evil\ \", r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil"),
    ];
    for (value, key) in cases {
        let expected = format!("windows-registry-key:key {key}");
        assert_converts("regkey", &[(value, &expected)]);
        assert_converts("regkey|value", &[(&format!("{value}|\"C:\\evil.exe\" | x"), &expected)]);
        assert_invalid("regkey|value", &[value]);
    }
    assert_invalid(
        "regkey",
        &["", "HKLM", r"HKLM\", r"SOFTWARE\Evil", r"HKXX\Evil", r"HKLMX\Evil", "HKLM\\a\u{1}b"],
    );
}

#[test]
fn mac_addresses_are_in_lower_case_with_colons() {
    for value in ["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e", "001A2B3C4D5E"] {
        assert_converts("mac-address", &[(value, "mac-addr:value 00:1a:2b:3c:4d:5e")]);
    }
    assert_invalid(
        "mac-address",
        &["", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:6f", "00:1g:2b:3c:4d:5e"],
    );
}

#[test]
fn text_stays_as_it_is() {
    const AGENT: &str = "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'";
    let cases = [
        ("mutex", r"Global\{8F6F}", "mutex:name"),
        ("user-agent", "Mozilla/5.0 (\"x\")", AGENT),
        ("email-subject", "RE: Überfällig №42 – \"urgent\"", "email-message:subject"),
        ("email-x-mailer", "The Bat!", "email-message:additional_header_fields.'X-Mailer'"),
        ("email-src-display-name", "The Boss", "email-message:from_ref.display_name"),
        ("email-attachment", "invoice's.pdf", "email-message:body_multipart[*].body_raw_ref.name"),
        (
            "windows-service-name",
            "EvilSvc",
            "process:extensions.'windows-service-ext'.service_name",
        ),
        ("filename", r"%PUBLIC%\evil.dll", "file:name"),
        ("github-username", "Evil", "user-account:account_login"),
    ];
    for (kind, value, path) in cases {
        assert_converts(kind, &[(value, &format!("{path} {value}"))]);
        assert_invalid(kind, &["", " ", "a\nb", "a\0"]);
    }
}

#[test]
fn what_has_a_form_of_its_own_is_brought_into_it() {
    let cases = [
        ("named pipe", r"evil", r"file:name \\.\pipe\evil"),
        ("named pipe", r"\\.\PIPE\evil", r"file:name \\.\pipe\evil"),
        ("named pipe", r"\evil", r"file:name \\.\pipe\evil"),
        ("email-message-id", "<1@evil.example>", "email-message:message_id 1@evil.example"),
        ("port", "0443", "network-traffic:dst_port 443"),
        ("size-in-bytes", "4096", "file:size 4096"),
        ("phone-number", "+352 (247) 88-444", "phone-number:value +35224788444"),
        ("phone-number", "0035224788444", "phone-number:value +35224788444"),
        ("iban", "gb82 west 1234 5698 7654 32", "bank-account:iban GB82WEST12345698765432"),
        ("bic", "cccclulL", "bank-account:bic CCCCLULL"),
        (
            "btc",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "cryptocurrency-wallet:value 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        ),
        (
            "uri",
            "/gate.php?id=1",
            "network-traffic:extensions.'http-request-ext'.request_value /gate.php?id=1",
        ),
        ("uri", "hxxp://Evil.example/Gate", "url:value http://evil.example/Gate"),
    ];
    for (kind, value, expected) in cases {
        assert_converts(kind, &[(value, expected)]);
    }
    assert_invalid("port", &["", "0", "65536", "http"]);
    assert_invalid("size-in-bytes", &["", "-1", "4kB"]);
    assert_invalid("phone-number", &["", "+", "call me", "+0123456"]);
    assert_invalid("iban", &["", "GB83WEST12345698765432", "GB82", "GB82WEST+2345698765432"]);
    // Their check digits are sound: no letters in front, fewer than 15 characters, more than 34.
    let (short, long) = ("GB57WEST123456", format!("GB07W{}", "0".repeat(30)));
    assert_invalid("iban", &["8235WEST12345698765432", "G187WEST12345698765432", short, &long]);
    let longest = format!("GB46W{}", "0".repeat(29));
    for sound in ["GB68WEST1234569", "AT611904300234573201", &longest] {
        assert_converts("iban", &[(sound, &format!("bank-account:iban {sound}"))]);
    }
    assert_invalid("bic", &["", "CCCCLU", "CCCCLUL+"]);
    assert_invalid("btc", &["", "1A1z P1"]);
    assert_invalid("email-message-id", &["", "<>", "a b"]);
}

#[test]
fn an_onion_address_has_its_suffix() {
    let name = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx";
    let expected = format!("domain-name:value {name}.onion");
    assert_converts("onion-address", &[(name, &expected), (&format!("{name}.ONION"), &expected)]);
    assert_invalid("onion-address", &["", "evil.example", "abc"]);
}

#[test]
fn rules_are_their_own_pattern() {
    let rule = "rule Evil {\n\tstrings: $a = \"it's\\\\\"\n\tcondition: $a\n}";
    for language in ["yara", "sigma", "snort", "suricata"] {
        let said = super::said(language, rule);
        let [observable] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!((observable.pattern_type(), observable.pattern().as_str()), (language, rule));
    }
    assert_invalid("yara", &["", "a\0b"]);
}

#[test]
fn numbers_are_compared_as_numbers() {
    let pattern = |kind, value| super::said(kind, value)[0].pattern();
    assert_eq!(pattern("AS", "AS64500"), "[autonomous-system:number = 64500]");
    assert_eq!(pattern("size-in-bytes", "4096"), "[file:size = 4096]");
    assert_eq!(pattern("port", "443"), "[network-traffic:dst_port = 443]");
}

#[test]
fn a_stix_pattern_of_one_comparison_is_what_it_compares() {
    let cases = [
        ("[ipv4-addr:value = '198.51.100.7/32']", "ipv4-addr:value 198.51.100.7"),
        ("[ domain-name:value='Evil.EXAMPLE' ]", "domain-name:value evil.example"),
        (r"[file:name = 'it\'s \\ here']", r"file:name it's \ here"),
        ("[file:hashes.SHA-256 = 'AA']", ""),
        ("[autonomous-system:number = 64500]", "autonomous-system:number 64500"),
    ];
    for (value, expected) in cases.into_iter().filter(|(_, expected)| !expected.is_empty()) {
        assert_converts("stix2-pattern", &[(value, expected)]);
    }
    let hash = format!("[file:hashes.SHA-256 = '{}']", "AB".repeat(32));
    let expected = format!("file:hashes.'SHA-256' {}", "ab".repeat(32));
    assert_converts("stix2-pattern", &[(&hash, &expected)]);
    assert_invalid("stix2-pattern", &["[ipv4-addr:value = 'evil']", cases[3].0]);
    for complex in [
        "",
        "ipv4-addr:value = '198.51.100.7'",
        "[ipv4-addr:value = '198.51.100.7' OR ipv4-addr:value = '198.51.100.8']",
        "[ipv4-addr:value != '198.51.100.7']",
        "[ipv4-addr:value IN ('198.51.100.7')]",
        "[x-thing:value = 'a']",
        r"[file:name = 'a\']",
        r"[file:name = 'a\b']",
        "[yara = 'x']",
    ] {
        assert_eq!(convert("stix2-pattern", complex), Err(Reason::ComplexPattern), "{complex}");
    }
}

/// Values that look like those of every type, and values that look like nothing.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[A-Za-z0-9.:/@_\\-\\[\\]()#?|=\\\\' üΣİß]{1,40}",
        "[0-9.]{7,15}(/[0-9]{1,2})?(\\|[0-9]{1,5})?",
        "[0-9A-Fa-f:]{2,39}(/[0-9]{1,3})?",
        "(\\PC{1,9}\\|)?([0-9A-F]{32}|[0-9a-f]{40}|[0-9a-f]{64}|(T1|t1)?[0-9A-F]{70})",
        "[a-zA-Z]{1,9}(\\[\\.\\]|\\.)[a-zü]{2,5}\\.?",
        "\\PC{1,9}(@|\\[at\\])[A-Za-zÜ]{1,9}\\.[a-z]{2}",
        "(HKLM|hkcu|HKEY_USERS|\\\\REGISTRY\\\\MACHINE)(\\\\[a-z \\\\]{0,6}){1,3}(\\|.{0,5})?",
        "(\\+|00)?[0-9 ()./-]{5,18}",
        "\\[[a-z0-9-]{3,12}:[a-z_.]{4,9} ?= ?'\\PC{0,9}'\\]",
        "hxxps?(://|\\[:\\]//)[a-z0-9.@:\\[\\]]{1,12}(/\\PC{0,9})?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever a type's value is, it becomes valid patterns or a reason.
    #[test]
    fn every_pattern_is_one_valid_comparison(
        kind in prop::sample::select(super::types()).prop_map(|row| row.name),
        value in anything(),
    ) {
        let row = super::types().iter().find(|row| row.name == kind).unwrap();
        match convert(kind, &value) {
            Ok(_) => {
                let paths = row.paths();
                for observable in super::said(kind, &value) {
                    let pattern = observable.pattern();
                    match observable.pattern_type() {
                        "stix" => prop_assert_eq!(grammar(&pattern), Ok(()), "{}", pattern),
                        language => prop_assert_eq!(language, kind),
                    }
                    let named = kind == "stix2-pattern" || paths.contains(&observable.path.as_ref());
                    prop_assert!(named, "{} is not in the row of {}", observable.path, kind);
                }
            }
            Err(reason) => {
                let of_value = matches!(reason, Reason::InvalidValue | Reason::ComplexPattern);
                prop_assert!(of_value || Some(reason) == row.skipped(), "{reason:?}");
            }
        }
    }

    /// Else one observable would have two ids.
    #[test]
    fn a_canonical_value_is_its_own_canonical_value(
        row in prop::sample::select(super::types()),
        value in anything(),
    ) {
        let converted = convert(row.name, &value).unwrap_or_default();
        for (path, canonical) in converted.iter().filter_map(|one| one.split_once(' ')) {
            if let Some(whole) = whole(row.name, path) {
                // Behind it a URL as it was written has the form that requests have.
                let again = convert(whole, canonical).map(|said| said[0].clone());
                prop_assert_eq!(again, Ok(format!("{path} {canonical}")));
            }
        }
    }
}

/// The type whose whole value is what `kind` has at `path`.
fn whole<'k>(kind: &'k str, path: &str) -> Option<&'k str> {
    match (kind, path) {
        ("stix2-pattern", _) => None,
        ("malware-sample", "file:name") => Some("filename"),
        ("malware-sample", _) => Some("md5"),
        ("regkey|value", _) => Some("regkey"),
        ("domain|ip", "domain-name:value") => Some("domain"),
        ("domain|ip", _) => Some("ip-dst"),
        _ => match kind.split_once('|') {
            None => Some(kind),
            Some((before, "port")) => Some(before),
            Some((before, _)) if path == "file:name" => Some(before),
            Some((_, behind)) => Some(behind),
        },
    }
}

/// One comparison as STIX 2.1, 9.8 and its ANTLR grammar have it: `[type:path = constant]`.
fn grammar(pattern: &str) -> Result<(), String> {
    let inside = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = inside.ok_or("no brackets")?;
    let (path, constant) = inside.split_once(" = ").ok_or("no comparison")?;
    let (object, property) = path.split_once(':').ok_or("no object type")?;
    let is_type = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if object.is_empty() || !object.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!("object type {object}"));
    }
    if !object.chars().all(is_type) {
        return Err(format!("object type {object}"));
    }
    for step in property.split('.') {
        let step = step.strip_suffix("[*]").unwrap_or(step);
        let quoted = step.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let sound = match quoted {
            Some(key) => !key.is_empty() && !key.contains(['\'', '\\']),
            None => step.starts_with(|c: char| c.is_ascii_alphabetic()) && step.chars().all(bare),
        };
        if !sound {
            return Err(format!("step {step}"));
        }
    }
    if constant.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = constant == "0" || !constant.starts_with('0');
        return if number { Ok(()) } else { Err(format!("number {constant}")) };
    }
    let text = constant.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let mut characters = text.ok_or("no string")?.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => return Err("a bare quote".to_owned()),
            '\\' if !matches!(characters.next(), Some('\'' | '\\')) => {
                return Err("a bare backslash".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}
