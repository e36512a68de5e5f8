//! The table of all attribute types of MISP (`describeTypes`). A row says what the type claims, whether it is
//! on by default and how well the observable fits the attribute's meaning, or else why the type claims
//! nothing. The table of types in `docs/reference/mapping.md` is generated from it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::hashes;
use super::kind::ValueKind::{self, At, Domain, Email, Ip, Onion, Rule, Uri, Url};
use super::skipped::Reason::{
    self, Context, NoHashName, NoObservable, NoPatternType, NotExact, PersonalData, Victim,
};
use super::text;
use super::type_row::Fidelity::{self, High, Low, Medium};
use super::type_row::Shape::{self, Before, BeforeFirst, Both, Named, Whole};
use super::type_row::{Claimed, TypeRow};

const USER_AGENT: ValueKind =
    At("network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'", text::text);
const COOKIE: ValueKind =
    At("network-traffic:extensions.'http-request-ext'.request_header.Cookie", text::text);
const METHOD: ValueKind =
    At("network-traffic:extensions.'http-request-ext'.request_method", text::token);
const SERVICE: ValueKind = At("process:extensions.'windows-service-ext'.service_name", text::text);
const SERVICE_DISPLAY: ValueKind =
    At("process:extensions.'windows-service-ext'.display_name", text::text);
const ATTACHMENT: ValueKind = At("email-message:body_multipart[*].body_raw_ref.name", text::text);
const MAILER: ValueKind = At("email-message:additional_header_fields.'X-Mailer'", text::text);
const THREAD_INDEX: ValueKind =
    At("email-message:additional_header_fields.'Thread-Index'", text::text);
const DKIM: ValueKind = At("email-message:additional_header_fields.'DKIM-Signature'", text::text);
const SENDER: ValueKind = At("email-message:from_ref.display_name", text::text);
const RECIPIENT: ValueKind = At("email-message:to_refs[*].display_name", text::text);
const AUTONOMOUS_SYSTEM: ValueKind = At("autonomous-system:number", text::autonomous_system);
const PIPE: ValueKind = At("file:name", text::pipe);
const NAME: ValueKind = At("file:name", text::text);
const REGISTRY: ValueKind = At("windows-registry-key:key", text::registry_key);
const WALLET: ValueKind = At("cryptocurrency-wallet:value", text::token);
const PHONE: ValueKind = At("phone-number:value", text::phone);
const ACCOUNT: ValueKind = At("user-account:account_login", text::text);

const fn on(name: &'static str, shape: Shape, trust: Fidelity, note: &'static str) -> TypeRow {
    TypeRow { name, note, claimed: Ok(Claimed { shape, on: true, trust }) }
}

/// Makes claims that count once `[convert.types]` says so.
const fn off(name: &'static str, shape: Shape, trust: Fidelity, note: &'static str) -> TypeRow {
    TypeRow { name, note, claimed: Ok(Claimed { shape, on: false, trust }) }
}

const fn skip(name: &'static str, reason: Reason, note: &'static str) -> TypeRow {
    TypeRow { name, note, claimed: Err(reason) }
}

static TABLE: &[TypeRow] = &[
    // Addresses, names and URLs.
    on("ip-dst", Whole(Ip), High, ""),
    on("ip-src", Whole(Ip), High, ""),
    on("domain", Whole(Domain), High, "an address is an address all the same"),
    on("hostname", Whole(Domain), High, "an address is an address all the same"),
    on(
        "url",
        Whole(Url),
        High,
        "a URL without a scheme gets `http://`; see below for its two forms",
    ),
    on("ip-dst|port", Before(Ip), High, "the port is left out"),
    on("ip-src|port", Before(Ip), High, "the port is left out"),
    on("hostname|port", Before(Domain), High, "the port is left out"),
    on("domain|ip", Both(Domain, Ip), High, ""),
    on("onion-address", Whole(Onion), Medium, "seen where a resolver or proxy logs it"),
    on("uri", Whole(Uri), Low, "a path alone is a request's value"),
    off("port", Whole(At("network-traffic:dst_port", text::port)), Low, "noise"),
    on("AS", Whole(AUTONOMOUS_SYSTEM), Low, "no log of Sentinel names it"),
    on("mac-address", Whole(At("mac-addr:value", text::mac)), Medium, ""),
    skip("mac-eui-64", NoObservable, "STIX knows MAC-48 only"),
    on("user-agent", Whole(USER_AGENT), Medium, ""),
    off("http-method", Whole(METHOD), Low, "noise"),
    off("cookie", Whole(COOKIE), Low, "the whole header"),
    // Files, by their hashes; of a name with a hash the name too, where file names are on.
    on("sha256", Whole(hashes::SHA256), High, ""),
    on("sha1", Whole(hashes::SHA1), High, ""),
    on("md5", Whole(hashes::MD5), High, ""),
    on("sha224", Whole(hashes::SHA224), Medium, ""),
    on("sha384", Whole(hashes::SHA384), Medium, ""),
    on("sha512", Whole(hashes::SHA512), Medium, ""),
    on("sha3-224", Whole(hashes::SHA3_224), Medium, ""),
    on("sha3-256", Whole(hashes::SHA3_256), Medium, ""),
    on("sha3-384", Whole(hashes::SHA3_384), Medium, ""),
    on("sha3-512", Whole(hashes::SHA3_512), Medium, ""),
    skip("sha512/224", NoHashName, "misp-stix calls it SHA-224, which it is not"),
    skip("sha512/256", NoHashName, "misp-stix calls it SHA-256, which it is not"),
    on("authentihash", Whole(hashes::AUTHENTIHASH), Low, "named as misp-stix does"),
    on("imphash", Whole(hashes::IMPHASH), Low, "named as misp-stix does; many files share one"),
    on("pehash", Whole(hashes::PEHASH), Low, "named as misp-stix does; many files share one"),
    on("vhash", Whole(hashes::VHASH), Low, "named as misp-stix does; many files share one"),
    on("ssdeep", Whole(hashes::SSDEEP), Low, "found only where it is equal"),
    on("tlsh", Whole(hashes::TLSH), Low, "found only where it is equal"),
    on(
        "telfhash",
        Whole(hashes::TELFHASH),
        Low,
        "named as misp-stix does; found only where it is equal",
    ),
    off("filename", Whole(NAME), Low, "common names alarm; no built-in rule compares them"),
    on("filename|sha256", Named(hashes::SHA256, NAME), High, ""),
    on("filename|sha1", Named(hashes::SHA1, NAME), High, ""),
    on("filename|md5", Named(hashes::MD5, NAME), High, ""),
    on("malware-sample", Named(hashes::MD5, NAME), High, ""),
    on("filename|sha224", Named(hashes::SHA224, NAME), Medium, ""),
    on("filename|sha384", Named(hashes::SHA384, NAME), Medium, ""),
    on("filename|sha512", Named(hashes::SHA512, NAME), Medium, ""),
    on("filename|sha3-224", Named(hashes::SHA3_224, NAME), Medium, ""),
    on("filename|sha3-256", Named(hashes::SHA3_256, NAME), Medium, ""),
    on("filename|sha3-384", Named(hashes::SHA3_384, NAME), Medium, ""),
    on("filename|sha3-512", Named(hashes::SHA3_512, NAME), Medium, ""),
    skip("filename|sha512/224", NoHashName, "as sha512/224"),
    skip("filename|sha512/256", NoHashName, "as sha512/256"),
    on("filename|authentihash", Named(hashes::AUTHENTIHASH, NAME), Low, "as authentihash"),
    on("filename|imphash", Named(hashes::IMPHASH, NAME), Low, "as imphash"),
    on("filename|pehash", Named(hashes::PEHASH, NAME), Low, "as pehash"),
    on("filename|vhash", Named(hashes::VHASH, NAME), Low, "as vhash"),
    on("filename|ssdeep", Named(hashes::SSDEEP, NAME), Low, "as ssdeep"),
    on("filename|tlsh", Named(hashes::TLSH, NAME), Low, "as tlsh"),
    off("size-in-bytes", Whole(At("file:size", text::size)), Low, "noise"),
    off("mime-type", Whole(At("file:mime_type", text::text)), Low, "noise"),
    skip("attachment", Context, "a document for the reader"),
    // What runs on a machine.
    on("mutex", Whole(At("mutex:name", text::text)), Medium, ""),
    off("named pipe", Whole(PIPE), Low, "STIX has no pipes; the path of one is a file name"),
    on("regkey", Whole(REGISTRY), Medium, "hives in full"),
    off(
        "regkey|value",
        BeforeFirst(REGISTRY),
        Low,
        "the key alone, which says little without the value",
    ),
    on("windows-service-name", Whole(SERVICE), Low, "no built-in rule compares it"),
    on("windows-service-displayname", Whole(SERVICE_DISPLAY), Low, "no built-in rule compares it"),
    // Electronic mail.
    on("email", Whole(Email), High, ""),
    on("email-src", Whole(Email), High, ""),
    off(
        "email-dst",
        Whole(Email),
        Medium,
        "the one attacked; Sentinel's rules compare it with recipients and sign-in names",
    ),
    on("email-reply-to", Whole(Email), Medium, "found where somebody replied"),
    on("email-subject", Whole(At("email-message:subject", text::text)), Medium, ""),
    on("email-message-id", Whole(At("email-message:message_id", text::message_id)), Medium, ""),
    on("email-attachment", Whole(ATTACHMENT), Medium, ""),
    on("email-x-mailer", Whole(MAILER), Low, ""),
    on("email-src-display-name", Whole(SENDER), Low, ""),
    off("email-dst-display-name", Whole(RECIPIENT), Low, "often the one attacked"),
    off("email-thread-index", Whole(THREAD_INDEX), Low, "no log of Sentinel names it"),
    off("dkim-signature", Whole(DKIM), Low, "no log of Sentinel names it"),
    skip("email-mime-boundary", NoObservable, "part of a header"),
    skip("email-header", NotExact, "free text"),
    skip("email-body", NotExact, "free text"),
    off(
        "whois-registrant-email",
        Whole(Email),
        Low,
        "who registered a name; seldom who writes mail",
    ),
    off("dns-soa-email", Whole(Email), Low, "who keeps a zone; seldom who writes mail"),
    // Certificates and fingerprints of connections.
    on("x509-fingerprint-sha1", Whole(hashes::CERTIFICATE_SHA1), Medium, ""),
    on("x509-fingerprint-sha256", Whole(hashes::CERTIFICATE_SHA256), Medium, ""),
    on("x509-fingerprint-md5", Whole(hashes::CERTIFICATE_MD5), Medium, ""),
    off(
        "ja3-fingerprint-md5",
        Whole(hashes::JA3),
        Low,
        "no object of STIX; named as misp2sentinel does",
    ),
    off("jarm-fingerprint", Whole(hashes::JARM), Low, "no object of STIX"),
    off("hassh-md5", Whole(hashes::HASSH), Low, "no object of STIX"),
    off("hasshserver-md5", Whole(hashes::HASSH_SERVER), Low, "no object of STIX"),
    // Accounts and money. STIX has no objects for money; the names are those of OpenCTI.
    off("btc", Whole(WALLET), Low, ""),
    off("dash", Whole(WALLET), Low, ""),
    off("xmr", Whole(WALLET), Low, ""),
    off("iban", Whole(At("bank-account:iban", text::iban)), Low, ""),
    off("bic", Whole(At("bank-account:bic", text::bic)), Low, ""),
    off("bank-account-nr", Whole(At("bank-account:account_number", text::text)), Low, ""),
    off("phone-number", Whole(PHONE), Low, ""),
    off("prtn", Whole(PHONE), Low, ""),
    off("eppn", Whole(ACCOUNT), Low, ""),
    off("jabber-id", Whole(ACCOUNT), Low, ""),
    off("twitter-id", Whole(ACCOUNT), Low, ""),
    off("github-username", Whole(ACCOUNT), Low, ""),
    // Rules and patterns.
    off("yara", Whole(Rule("yara")), Low, "the rule is the pattern"),
    off("sigma", Whole(Rule("sigma")), Low, "the rule is the pattern"),
    off("snort", Whole(Rule("snort")), Low, "the rule is the pattern"),
    off("suricata", Whole(Rule("suricata")), Low, "the rule is the pattern; no type of MISP 2.5.1"),
    on("stix2-pattern", Shape::Pattern, Medium, "one comparison with a path of this table"),
    skip("link", Context, "leads to a report"),
];

/// Types that claim nothing and need no note, by the reason.
static SKIPPED: &[(Reason, &str)] = &[
    (
        NoObservable,
        "pdb windows-scheduled-task process-state mobile-application-id azure-application-id \
         chrome-extension-id dkim favicon-mmh3 dom-hash community-id ssh-fingerprint aba-rtn \
         bin github-repository github-organisation",
    ),
    (NoHashName, "impfuzzy cdhash filename|impfuzzy"),
    (
        Context,
        "comment text other hex float integer counter boolean datetime anonymised cortex \
         git-commit-id vulnerability weakness cpe threat-actor campaign-name campaign-id \
         malware-type whois-registrant-phone whois-registrant-name whois-registrant-org \
         whois-registrar whois-creation-date pgp-public-key pgp-private-key",
    ),
    (NotExact, "pattern-in-file pattern-in-traffic pattern-in-memory filename-pattern"),
    (
        PersonalData,
        "cc-number identity-card-number first-name middle-name last-name full-name \
         date-of-birth place-of-birth gender passport-number passport-country \
         passport-expiration redress-number nationality visa-number issue-date-of-the-visa \
         primary-residence country-of-residence special-service-request frequent-flyer-number \
         travel-details payment-details place-port-of-original-embarkation \
         place-port-of-clearance place-port-of-onward-foreign-destination \
         passenger-name-record-locator-number",
    ),
    (NoPatternType, "bro zeek gene kusto-query"),
    (Victim, "target-user target-email target-machine target-org target-location target-external"),
];

static TYPES: LazyLock<Vec<TypeRow>> = LazyLock::new(|| {
    let skipped = SKIPPED
        .iter()
        .flat_map(|(reason, names)| names.split_whitespace().map(|name| skip(name, *reason, "")));
    TABLE.iter().copied().chain(skipped).collect()
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeRow>> =
    LazyLock::new(|| types().iter().map(|row| (row.name, row)).collect());

/// The row of a type; types are spelled as in the table.
pub(super) fn find(kind: &str) -> Option<&'static TypeRow> {
    BY_NAME.get(kind).copied()
}

/// Every type that has a row.
pub fn types() -> &'static [TypeRow] {
    &TYPES
}
