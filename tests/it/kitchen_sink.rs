//! Tests the conversion of the large test event's first publication. The expected claims were written by hand
//! from MISP's values.

use std::collections::BTreeSet;

use misp_sentinel_relay::pure::convert::{self, Reason};
use misp_sentinel_relay::pure::misp::Event;

use crate::recordings::publication;

const REQUEST: &str = "network-traffic:extensions.'http-request-ext'.request_value";
const USER_AGENT: &str =
    "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'";
const COOKIE: &str = "network-traffic:extensions.'http-request-ext'.request_header.Cookie";
const PORT: &str = "network-traffic:dst_port";
const REGISTRY: &str = "windows-registry-key:key";

/// MISP's number of the attribute, and what it claims.
const EXPECTED: &[(i64, &str, &str)] = &[
    (1, "ipv4-addr:value", "198.51.100.7"),
    (2, "ipv4-addr:value", "203.0.113.45"),
    (3, "ipv6-addr:value", "2001:db8::dead:beef"),
    (4, "ipv6-addr:value", "2001:db8::ab"),
    (5, "ipv4-addr:value", "203.0.113.0/24"),
    (6, "ipv6-addr:value", "2001:db8:abcd::/48"),
    (7, "ipv4-addr:value", "203.0.113.46"),
    (8, "ipv6-addr:value", "2001:db8::77"),
    (9, "ipv4-addr:value", "198.51.100.8"),
    (10, "domain-name:value", "evil.example"),
    (11, "domain-name:value", "xn--bcher-phish-thb.example"),
    (12, "domain-name:value", "evil-upper.example"),
    (13, "domain-name:value", "c2.evil.example"),
    (14, "domain-name:value", "drop.evil.example"),
    (14, "ipv4-addr:value", "203.0.113.50"),
    (15, "domain-name:value", "c2.evil.example"),
    (16, "url:value", "https://evil.example/path/a.php?x=1&y=%20\"q\"#frag"),
    (16, "url:value", "https://evil.example/path/a.php?x=1&y=%20\"q\""),
    (17, "url:value", "http://evil.example/no-scheme/x.exe"),
    (18, "url:value", "http://evil.example/defanged"),
    (19, "url:value", "http://203.0.113.9:8081/gate.php"),
    (20, REQUEST, "/gate.php?id=1"),
    (21, "file:hashes.MD5", "0cc175b9c0f1b6a831c399e269772661"),
    (22, "file:hashes.MD5", "92eb5ffee6ae2fec3ad71c777531578f"),
    (23, "file:hashes.'SHA-1'", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    (24, "file:hashes.'SHA-224'", "abd37534c7d9a2efb9465de931cd7055ffdb8879563ae98078d6d6d5"),
    (
        25,
        "file:hashes.'SHA-256'",
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    ),
    (
        26,
        "file:hashes.'SHA-384'",
        "54a59b9f22b0b80880d8427e548b7c23abd873486e1f035dce9cd697e85175033caa88e6d57bc35efae0b5afd3145f31",
    ),
    (
        27,
        "file:hashes.'SHA-512'",
        "1f40fc92da241694750979ee6cf582f2d5d7d28e18335de05abc54d0560e0f5302860c652bf08d560252aa5e74210546f369fbbbce8c12cfc7957b2652fe9a75",
    ),
    (
        28,
        "file:hashes.SSDEEP",
        "96:sTRVLUNFiM6z5P6tWqCuRTBLdVfVPDHp2EKHmBgl:sTgFiM6NPdqCuRTBLvd2XHmBg",
    ),
    (
        29,
        "file:hashes.TLSH",
        "t1a4c1d5e2f6b3a2918d5e4c3b2a190807f6e5d4c3b2a19081726354453627180910a1b2",
    ),
    (30, "file:hashes.IMPHASH", "72bb0a20dbae84efcc752cb287357197"),
    (
        31,
        "file:hashes.AUTHENTIHASH",
        "bdf49c3c3882102fc017ffb661108c63a836d065888a4093994398cc55c2ea2f",
    ),
    (32, "file:name", "evil \"quoted\" name.exe"),
    (33, "file:name", "%PUBLIC%\\evil.dll"),
    (34, "file:hashes.MD5", "8fa14cdd754f91cc6554c9e71929cce7"),
    (34, "file:name", "invoice.pdf.exe"),
    (35, "file:hashes.'SHA-1'", "4a0a19218e082a343a1b17e5333409af9d98f0f5"),
    (35, "file:name", "invoice.pdf.exe"),
    (
        36,
        "file:hashes.'SHA-256'",
        "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111",
    ),
    (36, "file:name", "invoice.pdf.exe"),
    (37, "email-addr:value", "phisher@evil.example"),
    (38, "email-addr:value", "victim@victim.example"),
    (39, "email-message:subject", "RE: Überfällige Rechnung №42 – \"urgent\""),
    (40, "mutex:name", "Global\\{8F6F0AC4-B9A1-45fd-A8CF-727220DE7100}"),
    (41, REGISTRY, r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\Evil"),
    (42, REGISTRY, r"HKEY_CURRENT_USER\Software\Evil"),
    (43, USER_AGENT, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) EvilBot/1.0 \"x\""),
    (44, "autonomous-system:number", "64500"),
    (45, "ja3:value", "6407eab466f27556146fdaefcf768231"),
    (46, "jarm:value", "2ad2ad16d2ad2ad00042d42d00042ddb04deffa1705e2edc44cae1ed24a4da"),
    (47, "hassh:value", "5b9cce2e35e99538573d774bfda7acc1"),
    (
        48,
        "yara",
        "rule Evil {\n  strings:\n    $a = \"evil\\\\path\" ascii\n    $b = { 4D 5A 90 }\n  condition:\n    all of them\n}",
    ),
    (
        49,
        "sigma",
        "title: Evil\nid: 5f113a8f-8b61-41ca-b90f-d374fa7e4a39\ndetection:\n  sel:\n    Image|endswith: '\\evil.exe'\n  condition: sel",
    ),
    (
        50,
        "snort",
        "alert tcp any any -> 203.0.113.45 443 (msg:\"Evil C2; \\\"x\\\"\"; content:\"|90 90|\"; sid:1000001; rev:1;)",
    ),
    (51, "bank-account:iban", "GB82WEST12345698765432"),
    (52, "cryptocurrency-wallet:value", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (53, "mac-addr:value", "00:1a:2b:3c:4d:5e"),
    (54, "x509-certificate:hashes.'SHA-1'", "0b48d5df660d7eae4d751fb0902c903ec767443b"),
    (
        55,
        "x509-certificate:hashes.'SHA-256'",
        "5f9039b4bf56cdefd3e2d319e9f7c2bc8d69e394fcda6c0e6477a24a4b0a48ae",
    ),
    (56, PORT, "8443"),
    (62, "file:size", "123456"),
    (67, COOKIE, "SESSID=abc; path=/"),
    (68, "ipv4-addr:value", "8.8.8.8"),
    (69, "ipv4-addr:value", "192.168.1.10"),
    (70, "domain-name:value", "google.com"),
    (71, "domain-name:value", "benign-cdn.example"),
    (72, "ipv4-addr:value", "203.0.113.77"),
    (73, "domain-name:value", "disable-corr.example"),
    (74, "ipv4-addr:value", "203.0.113.99"),
    (75, "domain-name:value", "galaxy-attr.example"),
    (76, "ipv4-addr:value", "203.0.113.120"),
    (77, "ipv4-addr:value", "203.0.113.121"),
    (78, "file:hashes.MD5", "f3f0456428b06f87a9cbebc38dd3b2e2"),
    (78, "file:name", "mal.exe"),
    (80, "file:name", "dropper.exe"),
    (81, "file:hashes.MD5", "d95679752134a2d9eb61dbd7b91c4bcc"),
    (82, "file:hashes.'SHA-1'", "7a81af3e591ac713f81ea1efe93dcf36157d8376"),
    (
        83,
        "file:hashes.'SHA-256'",
        "65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2",
    ),
    (84, "file:hashes.SSDEEP", "3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C"),
    (85, "file:size", "4096"),
    (87, "domain-name:value", "obj.evil.example"),
    (88, "ipv4-addr:value", "203.0.113.201"),
    (89, "ipv6-addr:value", "2001:db8::201"),
    (90, PORT, "443"),
    (91, "url:value", "http://obj.evil.example:8080/a/b.bin"),
    (92, "domain-name:value", "obj.evil.example"),
    (93, PORT, "8080"),
    (94, "ipv4-addr:value", "198.51.100.9"),
    (95, "ipv4-addr:value", "203.0.113.210"),
    (96, PORT, "9001"),
    (98, "email-addr:value", "boss@evil.example"),
    (99, "email-addr:value", "cfo@victim.example"),
    (100, "email-message:subject", "Wire transfer"),
    (101, "ipv4-addr:value", "203.0.113.220"),
];

#[test]
fn each_attribute_claims_exactly_what_misp_says() {
    let document = publication("000332");
    let conversion = convert::event(&Event::parse(&document).unwrap());
    let claimed: Vec<_> = conversion
        .claims
        .iter()
        .map(|claim| {
            let observable = &claim.observable;
            (claim.facts.attribute_id, observable.path.as_ref(), observable.value.as_str())
        })
        .collect();
    assert_eq!(claimed, EXPECTED);
    let attributes: BTreeSet<_> = EXPECTED.iter().map(|(number, ..)| number).collect();
    let skipped = 102 - attributes.len() as u64;
    // vulnerability, comment, link, threat-actor, boolean, datetime, counter, attachment, two floats
    // and three texts.
    assert_eq!(skipped, 13);
    assert_eq!(conversion.skipped.of(Reason::Context), skipped);
    assert_eq!(conversion.skipped.total(), skipped);
}

#[test]
fn the_halves_of_a_composite_are_parts_of_one_attribute() {
    let document = publication("000332");
    let conversion = convert::event(&Event::parse(&document).unwrap());
    let halves: Vec<_> = conversion
        .claims
        .iter()
        .filter(|claim| claim.facts.kind == "domain|ip")
        .map(|claim| (claim.part, claim.observable.path.as_ref()))
        .collect();
    assert_eq!(halves, [(0, "domain-name:value"), (1, "ipv4-addr:value")]);
}

#[test]
fn what_stands_behind_the_attributes_counts_for_the_event() {
    let document = publication("000332");
    let event = Event::parse(&document).unwrap();
    let facts = event.facts();
    assert_eq!(facts.id, 1);
    assert_eq!(facts.uuid.to_string(), "62724408-1cb5-4198-8ceb-3e542ad28bcd");
    assert_eq!(facts.info, "Kitchen sink – ünï \"quotes\" \\ back / slash");
    assert_eq!(facts.date, "2026-11-20");
    assert_eq!(facts.org_uuid.unwrap().to_string(), "4028eff6-8b64-45f8-ac36-ff18b327dc76");
    assert_eq!(facts.org_name, "TESTORG");
    assert_eq!((facts.threat_level, facts.analysis, facts.distribution), (1, 2, 1));
    assert_eq!((facts.timestamp, facts.publish_timestamp), (1_795_499_521, 0));
    assert!(!event.published);
    let tags: Vec<_> = facts.tags.iter().map(|tag| (tag.name.as_str(), tag.local)).collect();
    assert_eq!(
        tags,
        [
            ("tlp:amber", false),
            ("misp:confidence-level=\"fairly-confident\"", false),
            ("kill-chain:Delivery", false),
            ("sentinel-threattype:Botnet", false),
            ("workflow:state=\"complete\"", false),
            ("misp-galaxy:threat-actor=\"APT29\"", false),
            ("misp-galaxy:mitre-attack-pattern=\"Phishing - T1566\"", false),
            ("relay:local-event-tag", true),
        ]
    );
}

#[test]
fn a_claim_carries_the_facts_of_its_attribute_and_object() {
    let document = publication("000332");
    let conversion = convert::event(&Event::parse(&document).unwrap());
    let facts = |number| {
        &conversion.claims.iter().find(|claim| claim.facts.attribute_id == number).unwrap().facts
    };

    let seen = facts(2);
    // date -u -d 2026-10-01T10:34:56Z +%s, and so on.
    assert_eq!(seen.first_seen, Some(1_790_850_896_123_456));
    assert_eq!(seen.last_seen, Some(1_793_491_200_000_000));
    assert_eq!((seen.kind.as_ref(), seen.category.as_ref()), ("ip-dst", "Network activity"));
    assert_eq!((seen.distribution, seen.timestamp, seen.to_ids), (5, 1_795_499_521, true));
    assert_eq!(seen.object, None);

    assert!(!facts(72).to_ids);

    let tagged: Vec<_> = facts(74).tags.iter().map(|tag| (tag.name.as_str(), tag.local)).collect();
    assert_eq!(
        tagged,
        [
            ("tlp:red", false),
            ("misp:confidence-level=\"completely-confident\"", false),
            ("kill-chain:Command and Control", false),
            ("sentinel-threattype:C2", false),
            ("attr-local-tag", true),
        ]
    );

    let held = facts(81);
    assert_eq!(held.first_seen, Some(1_791_158_400_000_000), "the object's");
    assert_eq!(held.last_seen, Some(1_791_244_800_000_000), "the object's");
    let object = held.object.as_ref().unwrap();
    assert_eq!(object.uuid.to_string(), "9d19ba7f-706f-4cb2-acfc-7ea26e0e3d42");
    assert_eq!((object.name.as_str(), object.comment.as_str()), ("file", "dropper"));
    assert_eq!((object.relation.as_str(), object.distribution), ("md5", 0));
    let siblings: Vec<_> = object
        .siblings
        .iter()
        .map(|other| (other.relation.as_str(), other.value.as_str()))
        .collect();
    assert_eq!(
        siblings,
        [("filename", "dropper.exe"), ("size-in-bytes", "4096"), ("entropy", "7.5")]
    );
}
