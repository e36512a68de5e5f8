//! Tests that pure code uses no I/O, no clock and no log.

use std::collections::BTreeSet;

use super::source::{Source, none, sources};

/// No I/O, no clock, no log: the same input gives the same output.
const PURE: [&str; 24] = [
    "src/pure/",
    "src/azure/reply",
    "src/commands/check/clock",
    "src/commands/check/diagnosis",
    "src/commands/wrap",
    "src/deliver/backlog",
    "src/deliver/clock",
    "src/deliver/state/",
    "src/deliver/outcome",
    "src/intake/frame",
    "src/intake/rest/plan",
    "src/intake/zmq/watch",
    "src/intake/zmq/wire",
    "src/misp_api/elements",
    "src/misp_api/key",
    "src/misp_api/limit",
    "src/misp_api/listing",
    "src/misp_api/pace",
    "src/misp_api/page",
    "src/misp_api/refusal",
    "src/misp_api/search",
    "src/sandbox/life",
    "src/sandbox/quota",
    "src/sandbox/validate",
];

/// What a pure room does not name.
const IMPURE: [&str; 20] = [
    "tokio",
    "rusqlite",
    "reqwest",
    "zeromq",
    "zmq::",
    "tracing",
    "metrics::",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::thread",
    "std::process",
    "crate::ledger",
    "Instant::now",
    "SystemTime::now",
    "Utc::now",
    "new_v4",
];

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|room| path.starts_with(room))
}

/// What pure files name that they must not.
fn offences(sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| is_pure(&source.path)) {
        for (number, line) in source.code() {
            let named = IMPURE.iter().filter(|word| line.contains(*word));
            offences.extend(named.map(|word| format!("{}:{number}: {word}", source.path)));
        }
    }
    offences
}

/// Files that say of themselves that they are pure, and are not on the list.
fn unlisted(sources: &[Source]) -> Vec<String> {
    let says_so = |source: &&Source| {
        let mut header = source.text.lines().take_while(|line| line.starts_with("//!"));
        header.any(|line| line.contains("Pure"))
    };
    let unlisted = sources.iter().filter(|source| !is_pure(&source.path)).filter(says_so);
    unlisted.map(|source| format!("{}: is not in PURE", source.path)).collect()
}

#[test]
fn pure_rooms_touch_nothing_outside() {
    none(&offences(&sources()));
}

#[test]
fn what_says_that_it_is_pure_is_on_the_list() {
    none(&unlisted(&sources()));
}

#[test]
fn what_is_not_pure_is_found() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    for text in
        ["use tokio::sync;", "let now = Utc::now();", "std::fs::read(x)", "use tracing::info;"]
    {
        assert_eq!(offences(&[file("src/pure/new/a.rs", text)]).len(), 1, "{text}");
        assert_eq!(offences(&[file("src/deliver/sender.rs", text)]), [""; 0], "{text}");
    }
    let header = "//! Counts things. Pure.\nfn f() {}";
    assert_eq!(unlisted(&[file("src/deliver/new.rs", header)]).len(), 1);
    assert_eq!(unlisted(&[file("src/pure/new.rs", header)]), [""; 0]);
}

/// A rename must not switch a rule off. A folder with nothing but its `mod.rs` is still to be
/// built.
#[test]
fn the_rules_name_rooms_that_exist() {
    let files: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
    for room in PURE {
        let (folder, _) = room.rsplit_once('/').unwrap();
        let built = files.iter().filter(|file| file.starts_with(folder)).count() > 1;
        assert!(!built || files.iter().any(|file| file.starts_with(room)), "{room}");
    }
}
