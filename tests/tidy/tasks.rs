//! Tests that every task and thread has an owner that waits for its end. Only the files named here may start
//! one.

use super::source::{Source, none, product};

/// Starts a task that nobody waits for.
const DETACHED: [&str; 2] = ["tokio::spawn", "spawn_local"];

/// Starts a task or a thread, or holds those that are started.
const STARTS: [&str; 6] = [
    "JoinSet::new",
    "JoinSet::default",
    "TaskTracker::new",
    "spawn_blocking",
    "std::thread",
    "thread::spawn",
];

/// Who may. Those of `intake`, `rest`, `ledger` and the commands wait for what they start before they
/// return; the others stop what they hold.
const OWNERS: [&str; 14] = [
    "src/admin/control.rs",
    "src/app/mod.rs",
    "src/app/reading.rs",
    "src/app/tasks.rs",
    "src/commands/check/mod.rs",
    "src/intake/webhook/request.rs",
    "src/intake/zmq/mod.rs",
    "src/ledger/open.rs",
    "src/ledger/snapshot.rs",
    "src/ledger/thread.rs",
    "src/ledger/warninglists/file.rs",
    "src/misp_api/reply.rs",
    "src/misp_api/spooling.rs",
    "src/sandbox/mod.rs",
];

fn offences(sources: &[Source], owners: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for source in sources {
        let is_owner = owners.contains(&source.path.as_str());
        let forbidden = DETACHED.iter().chain(STARTS.iter().filter(|_| !is_owner));
        for (number, line) in source.code() {
            let named = forbidden.clone().filter(|word| line.contains(*word));
            offences.extend(named.map(|word| format!("{}:{number}: {word}", source.path)));
        }
    }
    offences
}

#[test]
fn only_named_files_start_tasks() {
    none(&offences(&product(), &OWNERS));
}

#[test]
fn every_named_file_starts_tasks() {
    for owner in OWNERS {
        let others: Vec<&str> = OWNERS.into_iter().filter(|other| *other != owner).collect();
        let found = offences(&product(), &others);
        assert!(found.iter().any(|place| place.starts_with(owner)), "{owner} starts nothing");
    }
}

#[test]
fn a_start_is_found() {
    let file = |text: &str| Source { path: "src/a.rs".to_owned(), text: text.to_owned() };
    for start in ["tokio::spawn(x);", "let t = JoinSet::new();", "std::thread::sleep(x)"] {
        assert_eq!(offences(&[file(start)], &[]).len(), 1, "{start}");
    }
    let owned = [file("let t = JoinSet::new();\ntokio::spawn(x);")];
    assert_eq!(offences(&owned, &["src/a.rs"]), ["src/a.rs:2: tokio::spawn"]);
    assert_eq!(offences(&[file("// tokio::spawn(x)")], &[]), [""; 0]);
}
