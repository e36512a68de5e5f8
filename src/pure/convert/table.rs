//! The table: every attribute type of MISP (`describeTypes`), what it claims, whether that is on, how
//! far to trust it, or why it claims nothing. `docs/reference/mapping.md` is made of it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::file;
use super::kind::ValueKind::{self, At, Domain, Email, Hash, Ip, Onion, Rule, Uri, Url};
use super::skipped::Reason::{
    self, Context, NoHashName, NoObservable, NoPatternType, NotExact, PersonalData, Victim,
};
use super::text;
use super::types::Fidelity::{self, High, Low, Medium};
use super::types::Shape::{self, Before, BeforeFirst, Both, Named, Whole};
use super::types::{Fate, TypeRow};

const USER_AGENT: &str =
    "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'";
const COOKIE: &str = "network-traffic:extensions.'http-request-ext'.request_header.Cookie";
const METHOD: &str = "network-traffic:extensions.'http-request-ext'.request_method";
const SERVICE: &str = "process:extensions.'windows-service-ext'.service_name";
const SERVICE_DISPLAY: &str = "process:extensions.'windows-service-ext'.display_name";
const ATTACHMENT: &str = "email-message:body_multipart[*].body_raw_ref.name";
const MAILER: &str = "email-message:additional_header_fields.'X-Mailer'";
const THREAD_INDEX: &str = "email-message:additional_header_fields.'Thread-Index'";
const DKIM: &str = "email-message:additional_header_fields.'DKIM-Signature'";
const NAME: ValueKind = At("file:name", text::text);
const REGISTRY: ValueKind = At("windows-registry-key:key", text::registry_key);
const WALLET: ValueKind = At("cryptocurrency-wallet:value", text::token);
const PHONE: ValueKind = At("phone-number:value", text::phone);
const ACCOUNT: ValueKind = At("user-account:account_login", text::text);

const fn on(name: &'static str, shape: Shape, trust: Fidelity, note: &'static str) -> TypeRow {
    TypeRow { name, note, fate: Fate::Converted { shape, on: true, trust } }
}

/// Makes claims that count once `[convert.types]` says so.
const fn off(name: &'static str, shape: Shape, trust: Fidelity, note: &'static str) -> TypeRow {
    TypeRow { name, note, fate: Fate::Converted { shape, on: false, trust } }
}

const fn skip(name: &'static str, reason: Reason, note: &'static str) -> TypeRow {
    TypeRow { name, note, fate: Fate::Skipped(reason) }
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
    on(
        "AS",
        Whole(At("autonomous-system:number", text::autonomous_system)),
        Low,
        "no log of Sentinel names it",
    ),
    on("mac-address", Whole(At("mac-addr:value", text::mac)), Medium, ""),
    skip("mac-eui-64", NoObservable, "STIX knows MAC-48 only"),
    on("user-agent", Whole(At(USER_AGENT, text::text)), Medium, ""),
    off("http-method", Whole(At(METHOD, text::token)), Low, "noise"),
    off("cookie", Whole(At(COOKIE, text::text)), Low, "the whole header"),
    // Files, by their hashes; of a name with a hash the name too, where file names are on.
    on("sha256", Whole(Hash(&file::SHA256)), High, ""),
    on("sha1", Whole(Hash(&file::SHA1)), High, ""),
    on("md5", Whole(Hash(&file::MD5)), High, ""),
    on("sha224", Whole(Hash(&file::SHA224)), Medium, ""),
    on("sha384", Whole(Hash(&file::SHA384)), Medium, ""),
    on("sha512", Whole(Hash(&file::SHA512)), Medium, ""),
    on("sha3-224", Whole(Hash(&file::SHA3_224)), Medium, ""),
    on("sha3-256", Whole(Hash(&file::SHA3_256)), Medium, ""),
    on("sha3-384", Whole(Hash(&file::SHA3_384)), Medium, ""),
    on("sha3-512", Whole(Hash(&file::SHA3_512)), Medium, ""),
    skip("sha512/224", NoHashName, "misp-stix calls it SHA-224, which it is not"),
    skip("sha512/256", NoHashName, "misp-stix calls it SHA-256, which it is not"),
    on("authentihash", Whole(Hash(&file::AUTHENTIHASH)), Low, "named as misp-stix does"),
    on(
        "imphash",
        Whole(Hash(&file::IMPHASH)),
        Low,
        "named as misp-stix does; many files share one",
    ),
    on("pehash", Whole(Hash(&file::PEHASH)), Low, "named as misp-stix does; many files share one"),
    on(
        "vhash",
        Whole(At("file:hashes.VHASH", file::vhash)),
        Low,
        "named as misp-stix does; many files share one",
    ),
    on(
        "ssdeep",
        Whole(At("file:hashes.SSDEEP", file::ssdeep)),
        Low,
        "found only where it is equal",
    ),
    on("tlsh", Whole(At("file:hashes.TLSH", file::tlsh)), Low, "found only where it is equal"),
    on(
        "telfhash",
        Whole(At("file:hashes.TELFHASH", file::tlsh)),
        Low,
        "named as misp-stix does; found only where it is equal",
    ),
    skip("impfuzzy", NoHashName, ""),
    skip("cdhash", NoHashName, ""),
    off("filename", Whole(NAME), Low, "common names alarm; no built-in rule compares them"),
    on("filename|sha256", Named(Hash(&file::SHA256), NAME), High, ""),
    on("filename|sha1", Named(Hash(&file::SHA1), NAME), High, ""),
    on("filename|md5", Named(Hash(&file::MD5), NAME), High, ""),
    on("malware-sample", Named(Hash(&file::MD5), NAME), High, ""),
    on("filename|sha224", Named(Hash(&file::SHA224), NAME), Medium, ""),
    on("filename|sha384", Named(Hash(&file::SHA384), NAME), Medium, ""),
    on("filename|sha512", Named(Hash(&file::SHA512), NAME), Medium, ""),
    on("filename|sha3-224", Named(Hash(&file::SHA3_224), NAME), Medium, ""),
    on("filename|sha3-256", Named(Hash(&file::SHA3_256), NAME), Medium, ""),
    on("filename|sha3-384", Named(Hash(&file::SHA3_384), NAME), Medium, ""),
    on("filename|sha3-512", Named(Hash(&file::SHA3_512), NAME), Medium, ""),
    skip("filename|sha512/224", NoHashName, "as sha512/224"),
    skip("filename|sha512/256", NoHashName, "as sha512/256"),
    on("filename|authentihash", Named(Hash(&file::AUTHENTIHASH), NAME), Low, "as authentihash"),
    on("filename|imphash", Named(Hash(&file::IMPHASH), NAME), Low, "as imphash"),
    on("filename|pehash", Named(Hash(&file::PEHASH), NAME), Low, "as pehash"),
    on("filename|vhash", Named(At("file:hashes.VHASH", file::vhash), NAME), Low, "as vhash"),
    on("filename|ssdeep", Named(At("file:hashes.SSDEEP", file::ssdeep), NAME), Low, "as ssdeep"),
    on("filename|tlsh", Named(At("file:hashes.TLSH", file::tlsh), NAME), Low, "as tlsh"),
    skip("filename|impfuzzy", NoHashName, ""),
    off("size-in-bytes", Whole(At("file:size", text::size)), Low, "noise"),
    off("mime-type", Whole(At("file:mime_type", text::text)), Low, "noise"),
    skip("attachment", Context, "a document for the reader"),
    skip("pdb", NoObservable, ""),
    // What runs on a machine.
    on("mutex", Whole(At("mutex:name", text::text)), Medium, ""),
    off(
        "named pipe",
        Whole(At("file:name", text::pipe)),
        Low,
        "STIX has no pipes; the path of one is a file name",
    ),
    on("regkey", Whole(REGISTRY), Medium, "hives in full"),
    off(
        "regkey|value",
        BeforeFirst(REGISTRY),
        Low,
        "the key alone, which says little without the value",
    ),
    on("windows-service-name", Whole(At(SERVICE, text::text)), Low, "no built-in rule compares it"),
    on(
        "windows-service-displayname",
        Whole(At(SERVICE_DISPLAY, text::text)),
        Low,
        "no built-in rule compares it",
    ),
    skip("windows-scheduled-task", NoObservable, ""),
    skip("process-state", NoObservable, ""),
    skip("mobile-application-id", NoObservable, ""),
    skip("azure-application-id", NoObservable, ""),
    skip("chrome-extension-id", NoObservable, ""),
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
    on("email-attachment", Whole(At(ATTACHMENT, text::text)), Medium, ""),
    on("email-x-mailer", Whole(At(MAILER, text::text)), Low, ""),
    on(
        "email-src-display-name",
        Whole(At("email-message:from_ref.display_name", text::text)),
        Low,
        "",
    ),
    off(
        "email-dst-display-name",
        Whole(At("email-message:to_refs[*].display_name", text::text)),
        Low,
        "often the one attacked",
    ),
    off(
        "email-thread-index",
        Whole(At(THREAD_INDEX, text::text)),
        Low,
        "no log of Sentinel names it",
    ),
    off("dkim-signature", Whole(At(DKIM, text::text)), Low, "no log of Sentinel names it"),
    skip("email-mime-boundary", NoObservable, "part of a header"),
    skip("email-header", NotExact, "free text"),
    skip("email-body", NotExact, "free text"),
    skip("dkim", NoObservable, ""),
    off(
        "whois-registrant-email",
        Whole(Email),
        Low,
        "who registered a name; seldom who writes mail",
    ),
    off("dns-soa-email", Whole(Email), Low, "who keeps a zone; seldom who writes mail"),
    // Certificates and fingerprints of connections.
    on("x509-fingerprint-sha1", Whole(Hash(&file::CERTIFICATE_SHA1)), Medium, ""),
    on("x509-fingerprint-sha256", Whole(Hash(&file::CERTIFICATE_SHA256)), Medium, ""),
    on("x509-fingerprint-md5", Whole(Hash(&file::CERTIFICATE_MD5)), Medium, ""),
    off(
        "ja3-fingerprint-md5",
        Whole(Hash(&file::JA3)),
        Low,
        "no object of STIX; named as misp2sentinel does",
    ),
    off("jarm-fingerprint", Whole(Hash(&file::JARM)), Low, "no object of STIX"),
    off("hassh-md5", Whole(Hash(&file::HASSH)), Low, "no object of STIX"),
    off("hasshserver-md5", Whole(Hash(&file::HASSH_SERVER)), Low, "no object of STIX"),
    skip("favicon-mmh3", NoObservable, ""),
    skip("dom-hash", NoObservable, ""),
    skip("community-id", NoObservable, ""),
    skip("ssh-fingerprint", NoObservable, ""),
    // Accounts and money. STIX has no objects for money; the names are those of OpenCTI.
    off("btc", Whole(WALLET), Low, ""),
    off("dash", Whole(WALLET), Low, ""),
    off("xmr", Whole(WALLET), Low, ""),
    off("iban", Whole(At("bank-account:iban", text::iban)), Low, ""),
    off("bic", Whole(At("bank-account:bic", text::bic)), Low, ""),
    off("bank-account-nr", Whole(At("bank-account:account_number", text::text)), Low, ""),
    off("phone-number", Whole(PHONE), Low, ""),
    off("prtn", Whole(PHONE), Low, ""),
    skip("aba-rtn", NoObservable, ""),
    skip("bin", NoObservable, ""),
    skip("cc-number", PersonalData, ""),
    off("eppn", Whole(ACCOUNT), Low, ""),
    off("jabber-id", Whole(ACCOUNT), Low, ""),
    off("twitter-id", Whole(ACCOUNT), Low, ""),
    off("github-username", Whole(ACCOUNT), Low, ""),
    skip("github-repository", NoObservable, ""),
    skip("github-organisation", NoObservable, ""),
    // Rules and patterns.
    off("yara", Whole(Rule("yara")), Low, "the rule is the pattern"),
    off("sigma", Whole(Rule("sigma")), Low, "the rule is the pattern"),
    off("snort", Whole(Rule("snort")), Low, "the rule is the pattern"),
    off("suricata", Whole(Rule("suricata")), Low, "the rule is the pattern; no type of MISP 2.5.1"),
    on("stix2-pattern", Shape::Pattern, Medium, "one comparison with a path of this table"),
    skip("bro", NoPatternType, ""),
    skip("zeek", NoPatternType, ""),
    skip("gene", NoPatternType, ""),
    skip("kusto-query", NoPatternType, ""),
    skip("pattern-in-file", NotExact, ""),
    skip("pattern-in-traffic", NotExact, ""),
    skip("pattern-in-memory", NotExact, ""),
    skip("filename-pattern", NotExact, ""),
    // What tells of an event and matches nothing.
    skip("link", Context, "leads to a report"),
    skip("comment", Context, ""),
    skip("text", Context, ""),
    skip("other", Context, ""),
    skip("hex", Context, ""),
    skip("float", Context, ""),
    skip("integer", Context, ""),
    skip("counter", Context, ""),
    skip("boolean", Context, ""),
    skip("datetime", Context, ""),
    skip("anonymised", Context, ""),
    skip("cortex", Context, ""),
    skip("git-commit-id", Context, ""),
    skip("vulnerability", Context, ""),
    skip("weakness", Context, ""),
    skip("cpe", Context, ""),
    skip("threat-actor", Context, ""),
    skip("campaign-name", Context, ""),
    skip("campaign-id", Context, ""),
    skip("malware-type", Context, ""),
    skip("whois-registrant-phone", Context, ""),
    skip("whois-registrant-name", Context, ""),
    skip("whois-registrant-org", Context, ""),
    skip("whois-registrar", Context, ""),
    skip("whois-creation-date", Context, ""),
    skip("pgp-public-key", Context, ""),
    skip("pgp-private-key", Context, ""),
    // Who or what was attacked.
    skip("target-user", Victim, ""),
    skip("target-email", Victim, ""),
    skip("target-machine", Victim, ""),
    skip("target-org", Victim, ""),
    skip("target-location", Victim, ""),
    skip("target-external", Victim, ""),
    // Persons.
    skip("identity-card-number", PersonalData, ""),
    skip("first-name", PersonalData, ""),
    skip("middle-name", PersonalData, ""),
    skip("last-name", PersonalData, ""),
    skip("full-name", PersonalData, ""),
    skip("date-of-birth", PersonalData, ""),
    skip("place-of-birth", PersonalData, ""),
    skip("gender", PersonalData, ""),
    skip("passport-number", PersonalData, ""),
    skip("passport-country", PersonalData, ""),
    skip("passport-expiration", PersonalData, ""),
    skip("redress-number", PersonalData, ""),
    skip("nationality", PersonalData, ""),
    skip("visa-number", PersonalData, ""),
    skip("issue-date-of-the-visa", PersonalData, ""),
    skip("primary-residence", PersonalData, ""),
    skip("country-of-residence", PersonalData, ""),
    skip("special-service-request", PersonalData, ""),
    skip("frequent-flyer-number", PersonalData, ""),
    skip("travel-details", PersonalData, ""),
    skip("payment-details", PersonalData, ""),
    skip("place-port-of-original-embarkation", PersonalData, ""),
    skip("place-port-of-clearance", PersonalData, ""),
    skip("place-port-of-onward-foreign-destination", PersonalData, ""),
    skip("passenger-name-record-locator-number", PersonalData, ""),
];

static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeRow>> =
    LazyLock::new(|| TABLE.iter().map(|row| (row.name, row)).collect());

/// The row of a type; types are spelled as in the table.
pub(super) fn find(kind: &str) -> Option<&'static TypeRow> {
    BY_NAME.get(kind).copied()
}

/// Every type that has a row.
#[must_use]
pub fn types() -> &'static [TypeRow] {
    TABLE
}
