//! Tests whether Sentinel's built-in rules can alarm on what the relay sends: each form of an indicator
//! against each rule and the values in its log. `cargo test --test it rules -- --nocapture` prints the
//! matrix.

mod model;

use std::io::Write;

use serde_json::{Value, json};

use super::convert::convert;
use model::{Fact, Indicator, RULES, Rule};

/// A value as MISP usually spells it, and how the world's logs came to hold it.
struct Case {
    kind: &'static str,
    value: &'static str,
    fact: Fact,
}

const fn case(kind: &'static str, value: &'static str, fact: Fact) -> Case {
    Case { kind, value, fact }
}

const MD5: &str = "0123456789abcdef0123456789ABCDEF";
const SHA1: &str = "0123456789abcdef0123456789ABCDEF01234567";

static CASES: &[Case] = &[
    case("url", "http://evil.example", Fact::Url("http://evil.example")),
    case("url", "http://evil.example", Fact::Url("http://evil.example/")),
    case("url", "https://evil.example/", Fact::Url("https://evil.example/")),
    case("url", "http://evil.example?x=1", Fact::Url("http://evil.example?x=1")),
    case("url", "http://evil.example/load.exe", Fact::Url("http://evil.example/load.exe")),
    case("url", "https://evil.example/a?x=%41", Fact::Url("https://evil.example/a?x=%41")),
    case("url", "http://evil.example/Load.EXE", Fact::Url("http://evil.example/Load.EXE")),
    case("url", "http://evil.example/a#victim", Fact::Url("http://evil.example/a#victim")),
    case("url", "http://evil.example:80/a", Fact::Url("http://evil.example:80/a")),
    case("url", "http://evil.example:8080/a", Fact::Url("http://evil.example:8080/a")),
    case("url", "evil.example/gate.php", Fact::Url("http://evil.example/gate.php")),
    case("url", "hxxp://evil[.]example/b", Fact::Url("http://evil.example/b")),
    case("domain", "Evil.example", Fact::Host("evil.example")),
    case("hostname", "www.evil.example", Fact::Host("www.evil.example")),
    case("hostname|port", "c2.evil.example|8443", Fact::Host("c2.evil.example")),
    case("domain", "münchen.example", Fact::Host("xn--mnchen-3ya.example")),
    case("ip-dst", "45.83.64.1", Fact::Address("45.83.64.1")),
    case("ip-src", "10.20.30.40", Fact::Address("10.20.30.40")),
    case("ip-dst|port", "45.83.64.2|443", Fact::Address("45.83.64.2")),
    case("ip-dst", "::ffff:45.83.64.3", Fact::Address("45.83.64.3")),
    case("ip-dst", "2001:470::1", Fact::Address("2001:470::1")),
    case("ip-dst", "2001:470::A", Fact::Address("2001:470::a")),
    case("domain", "45.83.64.4", Fact::Address("45.83.64.4")),
    case("email-src", "CEO@Evil.example", Fact::Mailbox("CEO@Evil.example")),
    case("email-reply-to", "a.b@evil.example", Fact::Mailbox("a.b@evil.example")),
    case("md5", MD5, Fact::Md5(MD5)),
    case("sha1", SHA1, Fact::Sha1(SHA1)),
    case(
        "filename|sha256",
        "a.exe|0123456789abcdef0123456789abcdef0123456701234567890ABCDEF0123456",
        Fact::Sha256("0123456789abcdef0123456789abcdef0123456701234567890ABCDEF0123456"),
    ),
    case("malware-sample", "a.exe|0123456789abcdef0123456789abcdef", Fact::Md5(MD5)),
];

/// One log form of one rule, and whether an indicator of the case meets it.
struct Pair {
    case: &'static Case,
    rule: &'static Rule,
    log: String,
    met: bool,
}

fn pairs(indicators: impl Fn(&Case) -> Vec<Indicator>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for case in CASES {
        let sent = indicators(case);
        for rule in RULES {
            for log in (rule.logs)(case.fact) {
                let met = sent.iter().any(|one| rule.matches(one, &log));
                pairs.push(Pair { case, rule, log, met });
            }
        }
    }
    pairs
}

/// What the built program makes of an attribute with this comment.
fn sent(case: &Case, comment: &str) -> Vec<Indicator> {
    let attribute = json!({
        "uuid": "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d011", "type": case.kind, "value": case.value,
        "category": "Network activity", "to_ids": true, "distribution": "5",
        "timestamp": "1790000000", "comment": comment
    });
    let event = json!({"Event": {
        "uuid": "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001", "id": "1", "info": "Campaign",
        "distribution": "3", "published": true, "timestamp": "1790000000",
        "publish_timestamp": "1790000000", "Attribute": [attribute]
    }});
    let settings = [("MSR_POLICY__ALLOW_NON_ROUTABLE", "true")];
    let converted = convert(event.to_string().as_bytes(), &["--no-expiry"], &settings);
    converted.objects().iter().filter_map(Indicator::read).collect()
}

/// What no spelling of ours can meet, by the rule's own nature.
fn is_out_of_reach(pair: &Pair) -> bool {
    let Pair { case, rule, log, .. } = pair;
    let has_capital = log.chars().any(char::is_uppercase);
    match rule.name {
        // They compare in small letters first and as it is written then.
        "URL EmailUrlInfo" | "URL SecurityAlert" | "URL DeviceNetworkEvents" => {
            has_capital || log.contains(":80/")
        }
        // A mail or a text that spells a default port, which nothing on the wire does.
        "URL UrlClickEvents"
        | "URL EmailUrlInfo (domain rule)"
        | "URL CloudAppEvents"
        | "URL Syslog" => log.contains(":80/"),
        // A decrypting firewall's log is compared as http.
        "URL PaloAlto" => case.value.starts_with("https"),
        // Its expression knows no punycode.
        "Domain Syslog" => log.contains("xn--"),
        "IP AppService" | "IP public (11 rules)" => log.starts_with("10.") || log.contains(':'),
        "IP any (sign-ins, network sessions, Duo, Workday, GitHub, CloudAppEvents)"
        | "IP DeviceNetworkEvents"
        | "IP OfficeActivity" => log.contains("::a"),
        "IP imDns" => log.contains(':'),
        // Directories that keep capitals, compared as they are.
        "Email OfficeActivity" | "Email CloudAppEvents" => has_capital,
        _ => false,
    }
}

#[test]
fn every_rule_that_can_match_meets_what_misp_usually_spells() {
    let pairs = pairs(|case| sent(case, ""));
    let met = pairs.iter().filter(|pair| pair.met).count();
    let mut out = std::io::stderr();
    for pair in &pairs {
        let mark = if pair.met { "met    " } else { "not met" };
        let Case { kind, value, .. } = pair.case;
        writeln!(out, "{mark} {:34} {kind} {value}  <>  {}", pair.rule.name, pair.log).unwrap();
    }
    writeln!(out, "{met} of {} pairs of rule and log form are met", pairs.len()).unwrap();
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|pair| pair.met == is_out_of_reach(pair))
        .map(|pair| format!("{}: {} and {}", pair.rule.name, pair.case.value, pair.log))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_comment_of_misp_silences_a_rule() {
    let met = |comment: &str| -> Vec<bool> {
        pairs(|case| sent(case, comment)).iter().map(|pair| pair.met).collect()
    };
    assert_eq!(met("State: inactive; State: falsepos;"), met(""));
}

/// What the published rules do, told by hand: the model must do the same.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_model_does_what_the_rules_do() {
    let indicator = |key: &str, value: &str| {
        let pattern = format!("[{key} = '{value}']");
        Indicator::read(&json!({"pattern": pattern, "confidence": 75})).unwrap()
    };
    let cases: [(&str, &str, &str, &str, bool); 20] = [
        ("URL PaloAlto", "url:value", "http://h.example/", "http://h.example/", true),
        ("URL PaloAlto", "url:value", "http://h.example", "http://h.example/", false),
        ("URL imWebSession", "url:value", "http://h.example/Load", "http://H.example/load", true),
        ("URL EmailUrlInfo", "url:value", "http://h.example/Load", "http://h.example/Load", false),
        (
            "URL DeviceNetworkEvents",
            "url:value",
            "http://h.example/Load",
            "http://h.example/load",
            true,
        ),
        ("URL Syslog", "url:value", "http://h.example", "see http://h.example.", false),
        ("URL Syslog", "url:value", "http://h.example/a", "http://h.example/a#b", true),
        (
            "Domain imWebSession",
            "url:value",
            "http://share.example/evil",
            "https://share.example/good",
            true,
        ),
        (
            "Domain imWebSession",
            "domain-name:value",
            "share.example",
            "https://www.share.example/",
            false,
        ),
        ("Domain DnsEvents", "domain-name:value", "evil.example", "evil.example.", false),
        (
            "Domain SecurityAlert",
            "domain-name:value",
            "evil.example",
            "{\"Url\":\"http://EVIL.example/x\"}",
            true,
        ),
        (
            "Domain Syslog",
            "domain-name:value",
            "evil.example",
            "proxy.corp.example: evil.example",
            false,
        ),
        ("Domain DeviceNetworkEvents", "domain-name:value", "evil.example", "evil.example", false),
        ("IP public (11 rules)", "ipv4-addr:value", "203.0.113.0/24", "203.0.113.9", false),
        ("IP public (11 rules)", "ipv6-addr:value", "2001:470::1", "2001:470::1", false),
        ("IP DeviceNetworkEvents", "ipv6-addr:value", "2001:db8::a", "2001:db8::a", false),
        (
            "Email lower-case logs (5 rules)",
            "email-addr:value",
            "CEO@evil.example",
            "CEO@evil.example",
            false,
        ),
        ("Email EmailEvents", "email-addr:value", "ceo@evil.example", "CEO@Evil.example", true),
        ("Hash DeviceFileEvents", "file:hashes.'SHA-256'", "AB", "ab", false),
        ("Hash SecurityEvent", "x509-certificate:hashes.'SHA-256'", "ab", "AB", false),
    ];
    for (name, key, value, log, expected) in cases {
        let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
        assert_eq!(rule.matches(&indicator(key, value), log), expected, "{name} {value} {log}");
    }
}

#[test]
fn an_even_confidence_and_an_inactive_state_silence_rules() {
    let of = |confidence: i64, description: &str| {
        let stix: Value = json!({"pattern": "[ipv4-addr:value = '45.83.64.1']",
            "confidence": confidence, "description": description});
        Indicator::read(&stix).unwrap()
    };
    let matching = |indicator: &Indicator| {
        RULES.iter().filter(|rule| rule.matches(indicator, "45.83.64.1")).count()
    };
    assert_eq!(matching(&of(51, "")), 6);
    assert_eq!(matching(&of(50, "")), 5, "not AppService");
    assert_eq!(matching(&of(51, "State: inactive;")), 4, "neither devices nor Office");
}
