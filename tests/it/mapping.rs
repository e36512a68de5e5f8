//! Compares the relay's table of attribute types with MISP's own list, the recorded answer of describeTypes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use misp_sentinel_relay::pure::convert::{self, TypeRow};
use serde_json::Value;

use crate::recordings::{elements, http, recording};
use crate::support::publisher::recorded_frames;
use crate::support::scene::Scene;

/// Written down for each type of MISP: whether it is on by default, off, or skipped; and its object
/// paths, or the reason.
pub(crate) const FATES: &[(&str, &str, &str)] = &[
    // Addresses, names and URLs.
    ("ip-dst", "on", "ipv4-addr:value ipv6-addr:value"),
    ("ip-src", "on", "ipv4-addr:value ipv6-addr:value"),
    ("domain", "on", "domain-name:value ipv4-addr:value ipv6-addr:value"),
    ("hostname", "on", "domain-name:value ipv4-addr:value ipv6-addr:value"),
    ("url", "on", "url:value"),
    ("ip-dst|port", "on", "ipv4-addr:value ipv6-addr:value"),
    ("ip-src|port", "on", "ipv4-addr:value ipv6-addr:value"),
    ("hostname|port", "on", "domain-name:value ipv4-addr:value ipv6-addr:value"),
    ("domain|ip", "on", "domain-name:value ipv4-addr:value ipv6-addr:value"),
    ("onion-address", "on", "domain-name:value"),
    ("uri", "on", "url:value network-traffic:extensions.'http-request-ext'.request_value"),
    ("port", "off", "network-traffic:dst_port"),
    ("AS", "on", "autonomous-system:number"),
    ("mac-address", "on", "mac-addr:value"),
    ("mac-eui-64", "skip", "no_observable"),
    (
        "user-agent",
        "on",
        "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'",
    ),
    ("http-method", "off", "network-traffic:extensions.'http-request-ext'.request_method"),
    ("cookie", "off", "network-traffic:extensions.'http-request-ext'.request_header.Cookie"),
    // Files, by their hashes; of a name with a hash the name too, where file names are on.
    ("sha256", "on", "file:hashes.'SHA-256'"),
    ("sha1", "on", "file:hashes.'SHA-1'"),
    ("md5", "on", "file:hashes.MD5"),
    ("sha224", "on", "file:hashes.'SHA-224'"),
    ("sha384", "on", "file:hashes.'SHA-384'"),
    ("sha512", "on", "file:hashes.'SHA-512'"),
    ("sha3-224", "on", "file:hashes.'SHA3-224'"),
    ("sha3-256", "on", "file:hashes.'SHA3-256'"),
    ("sha3-384", "on", "file:hashes.'SHA3-384'"),
    ("sha3-512", "on", "file:hashes.'SHA3-512'"),
    ("sha512/224", "skip", "no_hash_name"),
    ("sha512/256", "skip", "no_hash_name"),
    ("authentihash", "on", "file:hashes.AUTHENTIHASH"),
    ("imphash", "on", "file:hashes.IMPHASH"),
    ("pehash", "on", "file:hashes.PEHASH"),
    ("vhash", "on", "file:hashes.VHASH"),
    ("ssdeep", "on", "file:hashes.SSDEEP"),
    ("tlsh", "on", "file:hashes.TLSH"),
    ("telfhash", "on", "file:hashes.TELFHASH"),
    ("impfuzzy", "skip", "no_hash_name"),
    ("cdhash", "skip", "no_hash_name"),
    ("filename", "off", "file:name"),
    ("filename|sha256", "on", "file:hashes.'SHA-256' file:name"),
    ("filename|sha1", "on", "file:hashes.'SHA-1' file:name"),
    ("filename|md5", "on", "file:hashes.MD5 file:name"),
    ("malware-sample", "on", "file:hashes.MD5 file:name"),
    ("filename|sha224", "on", "file:hashes.'SHA-224' file:name"),
    ("filename|sha384", "on", "file:hashes.'SHA-384' file:name"),
    ("filename|sha512", "on", "file:hashes.'SHA-512' file:name"),
    ("filename|sha3-224", "on", "file:hashes.'SHA3-224' file:name"),
    ("filename|sha3-256", "on", "file:hashes.'SHA3-256' file:name"),
    ("filename|sha3-384", "on", "file:hashes.'SHA3-384' file:name"),
    ("filename|sha3-512", "on", "file:hashes.'SHA3-512' file:name"),
    ("filename|sha512/224", "skip", "no_hash_name"),
    ("filename|sha512/256", "skip", "no_hash_name"),
    ("filename|authentihash", "on", "file:hashes.AUTHENTIHASH file:name"),
    ("filename|imphash", "on", "file:hashes.IMPHASH file:name"),
    ("filename|pehash", "on", "file:hashes.PEHASH file:name"),
    ("filename|vhash", "on", "file:hashes.VHASH file:name"),
    ("filename|ssdeep", "on", "file:hashes.SSDEEP file:name"),
    ("filename|tlsh", "on", "file:hashes.TLSH file:name"),
    ("filename|impfuzzy", "skip", "no_hash_name"),
    ("size-in-bytes", "off", "file:size"),
    ("mime-type", "off", "file:mime_type"),
    ("attachment", "skip", "context"),
    ("pdb", "skip", "no_observable"),
    // What runs on a machine.
    ("mutex", "on", "mutex:name"),
    ("named pipe", "off", "file:name"),
    ("regkey", "on", "windows-registry-key:key"),
    ("regkey|value", "off", "windows-registry-key:key"),
    ("windows-service-name", "on", "process:extensions.'windows-service-ext'.service_name"),
    ("windows-service-displayname", "on", "process:extensions.'windows-service-ext'.display_name"),
    ("windows-scheduled-task", "skip", "no_observable"),
    ("process-state", "skip", "no_observable"),
    ("mobile-application-id", "skip", "no_observable"),
    ("azure-application-id", "skip", "no_observable"),
    ("chrome-extension-id", "skip", "no_observable"),
    // Electronic mail.
    ("email", "on", "email-addr:value"),
    ("email-src", "on", "email-addr:value"),
    ("email-dst", "off", "email-addr:value"),
    ("email-reply-to", "on", "email-addr:value"),
    ("email-subject", "on", "email-message:subject"),
    ("email-message-id", "on", "email-message:message_id"),
    ("email-attachment", "on", "email-message:body_multipart[*].body_raw_ref.name"),
    ("email-x-mailer", "on", "email-message:additional_header_fields.'X-Mailer'"),
    ("email-src-display-name", "on", "email-message:from_ref.display_name"),
    ("email-dst-display-name", "off", "email-message:to_refs[*].display_name"),
    ("email-thread-index", "off", "email-message:additional_header_fields.'Thread-Index'"),
    ("dkim-signature", "off", "email-message:additional_header_fields.'DKIM-Signature'"),
    ("email-mime-boundary", "skip", "no_observable"),
    ("email-header", "skip", "not_exact"),
    ("email-body", "skip", "not_exact"),
    ("dkim", "skip", "no_observable"),
    ("whois-registrant-email", "off", "email-addr:value"),
    ("dns-soa-email", "off", "email-addr:value"),
    // Certificates and fingerprints of connections.
    ("x509-fingerprint-sha1", "on", "x509-certificate:hashes.'SHA-1'"),
    ("x509-fingerprint-sha256", "on", "x509-certificate:hashes.'SHA-256'"),
    ("x509-fingerprint-md5", "on", "x509-certificate:hashes.MD5"),
    ("ja3-fingerprint-md5", "off", "ja3:value"),
    ("jarm-fingerprint", "off", "jarm:value"),
    ("hassh-md5", "off", "hassh:value"),
    ("hasshserver-md5", "off", "hassh-server:value"),
    ("favicon-mmh3", "skip", "no_observable"),
    ("dom-hash", "skip", "no_observable"),
    ("community-id", "skip", "no_observable"),
    ("ssh-fingerprint", "skip", "no_observable"),
    // Accounts and money.
    ("btc", "off", "cryptocurrency-wallet:value"),
    ("dash", "off", "cryptocurrency-wallet:value"),
    ("xmr", "off", "cryptocurrency-wallet:value"),
    ("iban", "off", "bank-account:iban"),
    ("bic", "off", "bank-account:bic"),
    ("bank-account-nr", "off", "bank-account:account_number"),
    ("phone-number", "off", "phone-number:value"),
    ("prtn", "off", "phone-number:value"),
    ("aba-rtn", "skip", "no_observable"),
    ("bin", "skip", "no_observable"),
    ("cc-number", "skip", "personal_data"),
    ("eppn", "off", "user-account:account_login"),
    ("jabber-id", "off", "user-account:account_login"),
    ("twitter-id", "off", "user-account:account_login"),
    ("github-username", "off", "user-account:account_login"),
    ("github-repository", "skip", "no_observable"),
    ("github-organisation", "skip", "no_observable"),
    // Rules and patterns.
    ("yara", "off", "yara"),
    ("sigma", "off", "sigma"),
    ("snort", "off", "snort"),
    ("suricata", "off", "suricata"),
    ("stix2-pattern", "on", "stix"),
    ("bro", "skip", "no_pattern_type"),
    ("zeek", "skip", "no_pattern_type"),
    ("gene", "skip", "no_pattern_type"),
    ("kusto-query", "skip", "no_pattern_type"),
    ("pattern-in-file", "skip", "not_exact"),
    ("pattern-in-traffic", "skip", "not_exact"),
    ("pattern-in-memory", "skip", "not_exact"),
    ("filename-pattern", "skip", "not_exact"),
    // What tells of an event and matches nothing.
    ("link", "skip", "context"),
    ("comment", "skip", "context"),
    ("text", "skip", "context"),
    ("other", "skip", "context"),
    ("hex", "skip", "context"),
    ("float", "skip", "context"),
    ("integer", "skip", "context"),
    ("counter", "skip", "context"),
    ("boolean", "skip", "context"),
    ("datetime", "skip", "context"),
    ("anonymised", "skip", "context"),
    ("cortex", "skip", "context"),
    ("git-commit-id", "skip", "context"),
    ("vulnerability", "skip", "context"),
    ("weakness", "skip", "context"),
    ("cpe", "skip", "context"),
    ("threat-actor", "skip", "context"),
    ("campaign-name", "skip", "context"),
    ("campaign-id", "skip", "context"),
    ("malware-type", "skip", "context"),
    ("whois-registrant-phone", "skip", "context"),
    ("whois-registrant-name", "skip", "context"),
    ("whois-registrant-org", "skip", "context"),
    ("whois-registrar", "skip", "context"),
    ("whois-creation-date", "skip", "context"),
    ("pgp-public-key", "skip", "context"),
    ("pgp-private-key", "skip", "context"),
    // Who or what was attacked.
    ("target-user", "skip", "victim"),
    ("target-email", "skip", "victim"),
    ("target-machine", "skip", "victim"),
    ("target-org", "skip", "victim"),
    ("target-location", "skip", "victim"),
    ("target-external", "skip", "victim"),
    // Persons.
    ("identity-card-number", "skip", "personal_data"),
    ("first-name", "skip", "personal_data"),
    ("middle-name", "skip", "personal_data"),
    ("last-name", "skip", "personal_data"),
    ("full-name", "skip", "personal_data"),
    ("date-of-birth", "skip", "personal_data"),
    ("place-of-birth", "skip", "personal_data"),
    ("gender", "skip", "personal_data"),
    ("passport-number", "skip", "personal_data"),
    ("passport-country", "skip", "personal_data"),
    ("passport-expiration", "skip", "personal_data"),
    ("redress-number", "skip", "personal_data"),
    ("nationality", "skip", "personal_data"),
    ("visa-number", "skip", "personal_data"),
    ("issue-date-of-the-visa", "skip", "personal_data"),
    ("primary-residence", "skip", "personal_data"),
    ("country-of-residence", "skip", "personal_data"),
    ("special-service-request", "skip", "personal_data"),
    ("frequent-flyer-number", "skip", "personal_data"),
    ("travel-details", "skip", "personal_data"),
    ("payment-details", "skip", "personal_data"),
    ("place-port-of-original-embarkation", "skip", "personal_data"),
    ("place-port-of-clearance", "skip", "personal_data"),
    ("place-port-of-onward-foreign-destination", "skip", "personal_data"),
    ("passenger-name-record-locator-number", "skip", "personal_data"),
];

/// How many claims an attribute of a type makes, values being sound; `None`: it is skipped.
pub(crate) fn claims(kind: &str) -> Option<u64> {
    let (_, fate, _) = FATES.iter().find(|(name, ..)| *name == kind)?;
    let halves = kind == "domain|ip" || kind == "malware-sample" || kind.starts_with("filename|");
    (*fate != "skip").then_some(1 + u64::from(halves))
}

/// What the row of a type says, in the words of [`FATES`].
fn said(row: &TypeRow) -> (&'static str, String) {
    match row.skipped() {
        Some(reason) => ("skip", reason.word().to_owned()),
        None => (if row.is_on() { "on" } else { "off" }, row.paths().join(" ")),
    }
}

fn described() -> Value {
    let (_, body) = http(&recording("lists-and-settings/describeTypes.response.http"));
    serde_json::from_slice::<Value>(&body).unwrap()["result"].clone()
}

#[test]
fn every_type_that_misp_describes_has_its_row() {
    let described = described();
    let types: Vec<&str> = elements(&described["types"]).map(|one| one.as_str().unwrap()).collect();
    assert_eq!(types.len(), 191);
    for kind in &types {
        let row = convert::types().iter().find(|row| row.name == *kind);
        let row = row.unwrap_or_else(|| panic!("{kind} has no row"));
        let fate = FATES.iter().find(|(name, ..)| name == kind);
        let (_, fate, says) = fate.unwrap_or_else(|| panic!("nothing was written down for {kind}"));
        assert_eq!(said(row), (*fate, (*says).to_owned()), "{kind}");
        assert_eq!(row.trust().is_none(), *fate == "skip", "{kind}");
    }
    // misp-stix converts it, and later releases of MISP may have it.
    let more: Vec<&str> =
        convert::types().iter().map(|row| row.name).filter(|name| !types.contains(name)).collect();
    assert_eq!(more, ["suricata"]);
}

/// A type that MISP itself marks for detection by default is not skipped for being mere context.
#[test]
fn what_misp_marks_for_detection_is_converted_or_cannot_be() {
    let described = described();
    let skipped: BTreeSet<&str> = described["sane_defaults"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, default)| default["to_ids"] == 1)
        .filter_map(|(kind, _)| {
            let (_, fate, reason) = FATES.iter().find(|(name, ..)| name == kind)?;
            (*fate == "skip").then_some(*reason)
        })
        .collect();
    let cannot = ["no_hash_name", "no_observable", "no_pattern_type", "not_exact", "personal_data"];
    assert_eq!(skipped, BTreeSet::from(cannot));
}

/// The roles that must be off by default, after the templates of misp-objects, with an example of what a
/// pattern of relations covers.
const ROLES: [(&str, &str, &str); 21] = [
    ("victim", "domain", "victim"),
    ("victim", "ip-address", "victim"),
    ("ddos", "ip-dst", "victim"),
    ("ddos", "domain-dst", "victim"),
    ("target-system", "targeted_ip_of_system", "victim"),
    ("cowrie", "dst_ip", "victim"),
    ("attack-step", "dst-ip", "victim"),
    ("attack-step", "dst-domain", "victim"),
    ("intelmq_event", "destination.ip", "victim"),
    ("intelmq_event", "destination.fqdn", "victim"),
    ("intelmq_event", "destination.url", "victim"),
    ("authentication-failure-report", "ip-dst", "victim"),
    ("email", "to", "victim"),
    ("email", "cc", "victim"),
    ("email", "bcc", "victim"),
    ("email", "received-header-ip", "bystander"),
    ("email", "received-header-hostname", "bystander"),
    ("dns-record", "ns-record", "bystander"),
    ("dns-record", "mx-record", "bystander"),
    ("dns-record", "soa-record", "bystander"),
    ("whois", "nameserver", "bystander"),
];

/// Of the same templates, what names the attacker.
const ATTACKERS: [(&str, &str); 6] = [
    ("ddos", "ip-src"),
    ("cowrie", "src_ip"),
    ("attack-step", "source-ip"),
    ("intelmq_event", "source.ip"),
    ("email", "from-domain"),
    ("dns-record", "a-record"),
];

#[test]
fn victims_and_bystanders_in_objects_are_no_indicators_unless_asked_for() {
    let object = |(number, (template, relation)): (usize, (&str, &str))| {
        let uuid = |kind: u128| uuid::Uuid::from_u128(kind << 64 | 0x8000 << 48 | number as u128);
        serde_json::json!({"uuid": uuid(0x4001), "name": template, "Attribute": [{
            "uuid": uuid(0x4002), "type": "domain", "object_relation": relation, "to_ids": true,
            "value": format!("n{number}.evil.example"), "timestamp": "1700000000",
        }]})
    };
    let roles = ROLES.iter().map(|(template, relation, _)| (*template, *relation));
    let objects: Vec<Value> = roles.chain(ATTACKERS).enumerate().map(object).collect();
    let event = serde_json::json!({"Event": {
        "uuid": "62724408-1cb5-4198-8ceb-3e542ad28bcd", "info": "roles", "Object": objects,
    }});
    let converted = |settings: &[(&'static str, &'static str)]| {
        crate::convert::convert(event.to_string().as_bytes(), &["--no-expiry"], settings)
    };
    let by_default = converted(&[]);
    assert_eq!(by_default.objects().len(), ATTACKERS.len(), "{}", by_default.bundle);
    let lines: Vec<Value> =
        by_default.skipped.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&str> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ROLES.map(|(.., reason)| reason));
    // All of them, and then all but one.
    let on = r#"{"*": true}"#;
    assert_eq!(converted(&[("MSR_CONVERT__ROLES", on)]).skipped, "");
    let but_one = r#"{"*": true, "cowrie.src_ip": false}"#;
    let skipped = converted(&[("MSR_CONVERT__ROLES", but_one)]).skipped;
    assert_eq!(skipped.lines().count(), 1, "{skipped}");
    assert!(skipped.contains("role_off"), "{skipped}");
}

/// The relay never hears of the event again: the claims are kept, on or off.
#[tokio::test(flavor = "multi_thread")]
async fn switching_types_and_routability_needs_no_word_from_misp() {
    let mut scene = Scene::set(&[]).await;
    let sink = recorded_frames("zmq").into_iter().find(|frame| frame.name.starts_with("000332"));
    scene.publisher.send(&sink.unwrap().frame).await;
    scene.settle().await;
    let before: BTreeSet<String> = scene.live().into_keys().collect();
    assert_eq!(before.len(), 61);
    let at = |path: &str| before.iter().filter(|one| one.contains(path)).cloned().collect();
    // Attributes 1 to 9, 14, 69, 76, 77, 88, 89, 95 and 101, and the URL of 19; not 8.8.8.8.
    let mut local: BTreeSet<String> = at("-addr:value = '");
    local.retain(|one| !one.contains("email") && !one.contains("8.8.8.8"));
    local.extend(at("url:value = 'http://203.0.113.9:8081/gate.php'"));
    assert_eq!(local.len(), 18);
    let md5: BTreeSet<String> = at("hashes.MD5 = '");
    assert_eq!(md5.len(), 5, "of three types");
    // That of a malware-sample is off with it.
    let names =
        [r#"evil "quoted" name.exe"#, r"%PUBLIC%\\evil.dll", "invoice.pdf.exe", "dropper.exe"]
            .map(|name| format!("[file:name = '{name}']"));

    let off = r#"{"*md5": false, "malware-sample": false, "filename": true}"#;
    let steps = [(off, "false"), ("", "true")];
    for (types, routable) in steps {
        scene.relay.stop();
        scene.relay.set("MSR_CONVERT__TYPES", types);
        scene.relay.set("MSR_POLICY__ALLOW_NON_ROUTABLE", routable);
        scene.relay.restart(&scene.publisher).await;
        scene.settle().await;
        let mut expected = before.clone();
        if routable == "false" {
            expected.retain(|one| !local.contains(one) && !md5.contains(one));
            expected.extend(names.clone());
        }
        let live = || scene.live().into_keys().collect::<BTreeSet<String>>();
        // In the backlog, behind the probe.
        let deadline = Instant::now() + Duration::from_secs(5);
        while live() != expected {
            let wrong: Vec<String> = live().symmetric_difference(&expected).cloned().collect();
            assert!(Instant::now() < deadline, "{types}: {wrong:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
