//! Checks everything that the relay sends with Python's `stix2` and `stix2-patterns`, which share no code
//! with this project. They are installed into a virtual environment under `target/` at first use. Without
//! Python or its package index these tests report that they were skipped, and fail in `.ci/run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::mapping::FATES;
use crate::recordings::elements;
use crate::support::program::program;

const PACKAGES: [&str; 2] = ["stix2==3.0.2", "stix2-patterns==2.1.2"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that has the libraries, or why there is none.
fn installed() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(install).clone()
}

fn install() -> Result<PathBuf, String> {
    let folder = root().join("target/stix-libraries");
    let python = folder.join("bin/python");
    let works = |python: &Path| run(python, &["-c", "import stix2, stix2patterns"]).is_ok();
    if works(&python) {
        return Ok(python);
    }
    run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()])?;
    let pip = ["-m", "pip", "install", "-q", "--timeout", "10", "--retries", "1"];
    run(&python, &[&pip[..], &PACKAGES].concat())?;
    Ok(python)
}

/// By the true clock: under a faked one the certificate of the package index may be out of its time.
fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).env_remove("LD_PRELOAD").output();
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Also when the test passes.
fn tell(words: &str) {
    writeln!(std::io::stderr(), "{words}").unwrap();
}

/// Says that a check was not made. In `.ci/run`, which sets the variable, that is a failure.
pub(crate) fn skipped(what: &str, why: &str) {
    let told = format!("SKIPPED: {what}: {why}");
    assert!(std::env::var_os("CI").is_none(), "{told}");
    tell(&told);
}

/// Fails with everything that the libraries find wrong.
fn judge(what: &str, objects: &[Value]) {
    let python = match installed() {
        Ok(python) => python,
        Err(why) => {
            skipped(&format!("{what}, judged by stix2 and stix2-patterns"), &why);
            return;
        }
    };
    let mut child = Command::new(python)
        .arg(root().join("tests/it/support/validate_stix.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["objects"], objects.len(), "all were read");
    let stix = objects.iter().filter(|object| object["pattern_type"] == "stix").count();
    assert_eq!(verdict["patterns"], stix);
    let wrong: Vec<_> = elements(&verdict["wrong"]).map(Value::to_string).collect();
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    let count = objects.len();
    tell(&format!(
        "stix2, stix2-patterns: {what}: {count} objects, {stix} STIX patterns, all sound"
    ));
}

/// The recorded kitchen sink, an event with an actor of the instance's own, and attributes with
/// galaxies of theirs.
#[test]
fn context_objects_are_sound() {
    let mut objects = Vec::new();
    for document in crate::context::recorded() {
        let converted = crate::context::everything(&document);
        objects.extend(converted.all().into_iter().filter(|one| one["type"] != "indicator"));
    }
    for kind in ["identity", "attack-pattern", "threat-actor", "relationship"] {
        assert!(objects.iter().any(|object| object["type"] == kind), "{kind}");
    }
    judge("context objects", &objects);
}

#[test]
fn the_golden_set_is_sound() {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".stix.json") {
            let bundle: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            objects.extend(elements(&bundle["objects"]).cloned());
        }
    }
    assert!(objects.len() >= 70, "{}", objects.len());
    judge("the golden set", &objects);
}

/// A value for every type that is converted; what hurts patterns is in the texts.
const HURTFUL: &str = r#"it's a "quoted" \ back\\slash [*] = 'x' AND ünï № $%{}()"#;
const NAME: &str = r"C:\it's\[a].exe";

fn sample(kind: &str) -> String {
    let hex = |digits: usize| "aB".repeat(digits / 2);
    let digits = |hash: &str| match hash {
        "md5"
        | "imphash"
        | "ja3-fingerprint-md5"
        | "hassh-md5"
        | "hasshserver-md5"
        | "x509-fingerprint-md5" => 32,
        "sha1" | "pehash" | "x509-fingerprint-sha1" => 40,
        "sha224" | "sha3-224" => 56,
        "sha256" | "sha3-256" | "authentihash" | "x509-fingerprint-sha256" => 64,
        "jarm-fingerprint" => 62,
        "tlsh" | "telfhash" => 70,
        "sha384" | "sha3-384" => 96,
        "sha512" | "sha3-512" => 128,
        _ => 0,
    };
    if let Some(hash) = kind.strip_prefix("filename|") {
        return format!("{NAME}|{}", sample(hash));
    }
    match kind {
        _ if digits(kind) > 0 => hex(digits(kind)),
        "malware-sample" => format!("{NAME}|{}", hex(32)),
        "ip-dst" => "198.51.100.0/24".into(),
        "ip-src" => "2001:DB8::1".into(),
        "ip-dst|port" | "ip-src|port" => "198.51.100.7|443".into(),
        "domain" | "hostname" => "_x.bücher.example".into(),
        "hostname|port" => "c2.example|443".into(),
        "domain|ip" => "drop.example|198.51.100.8".into(),
        "onion-address" => "a".repeat(56),
        "url" => r"http://u:p'@evil.example/it's\a?b='c'".into(),
        "uri" => "/it's?a=\\".into(),
        "AS" => "AS64500".into(),
        "mac-address" => "00-1A-2B-3C-4D-5E".into(),
        "http-method" => "POST".into(),
        "port" => "443".into(),
        "size-in-bytes" => "4096".into(),
        "ssdeep" => "3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C".into(),
        "vhash" => "115056655d15151138z66hz1021z55z66z3".into(),
        "regkey" => r"HKLM\Software\it's".into(),
        "regkey|value" => r"HKCU\Software\it's|x".into(),
        "email-message-id" => "<1'2@evil.example>".into(),
        "btc" | "dash" | "xmr" => "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".into(),
        "iban" => "GB82WEST12345698765432".into(),
        "bic" => "CCCCLULL".into(),
        "phone-number" | "prtn" => "+352 247 88444".into(),
        "email"
        | "email-src"
        | "email-dst"
        | "email-reply-to"
        | "whois-registrant-email"
        | "dns-soa-email" => "o'hara@evil.example".into(),
        "stix2-pattern" => "[mutex:name = 'a pattern\\'s']".into(),
        _ => HURTFUL.into(),
    }
}

#[test]
fn every_type_gives_sound_indicators() {
    let converted: Vec<&str> =
        FATES.iter().filter(|(_, fate, _)| *fate != "skip").map(|(kind, ..)| *kind).collect();
    let attributes: Vec<Value> = converted
        .iter()
        .enumerate()
        .map(|(number, kind)| {
            json!({
                "uuid": Uuid::from_u128(0x5000_8000_0000_0000_0000 + number as u128), "type": kind,
                "category": "Other", "value": sample(kind), "to_ids": true, "timestamp": 1,
            })
        })
        .collect();
    let event = json!({"Event": {
        "uuid": Uuid::from_u128(0x4000_8000_0000_0000_0000), "info": HURTFUL,
        "Orgc": {"uuid": Uuid::from_u128(0x4001_8000_0000_0000_0000)}, "threat_level_id": "1",
        "Tag": [{"name": "kill-chain:Delivery"}, {"name": HURTFUL}],
        "Attribute": attributes, "Object": [],
    }});
    let mut child = program()
        .args(["convert", "-", "--no-expiry"])
        .env("MSR_POLICY__ALLOW_NON_ROUTABLE", "true")
        .env("MSR_MISP__PUBLIC_URL", "https://misp.example")
        .env("MSR_CONVERT__TYPES", r#"{"*": true}"#)
        // So that equal values of several types stay apart.
        .env("MSR_INDICATOR__IDENTITY", "attribute")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let skipped = String::from_utf8(output.stderr).unwrap();
    assert_eq!(skipped, "", "every sample is converted");
    let bundle: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = elements(&bundle["objects"]).filter(|object| object["type"] == "indicator");
    let objects: Vec<Value> = objects.cloned().collect();
    let claims: u64 = converted.iter().filter_map(|kind| crate::mapping::claims(kind)).sum();
    assert_eq!(objects.len() as u64, claims);
    judge("a sample of every type", &objects);
}
