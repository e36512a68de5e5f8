//! Tests the rules for every file, such as a header and a maximum length.

use super::source::{collect, none, root, sources};

const LONGEST_FILE: usize = 400;

const LONGEST_HEADER: usize = 4;

#[test]
fn every_file_says_what_it_is_for() {
    let bare = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(&bare.map(|source| format!("{}: begins without //!", source.path)).collect::<Vec<_>>());
}

#[test]
fn no_header_is_long() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
        (lines > LONGEST_HEADER).then(|| format!("{}: {lines} lines of header", source.path))
    });
    none(&long.collect::<Vec<_>>());
}

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.production().lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", source.path))
    });
    none(&long.collect::<Vec<_>>());
}

/// A program that loses the variables of faketime would live on another day than its test.
#[test]
fn tests_start_the_program_in_one_place() {
    let mut files = Vec::new();
    collect(&root().join("tests/it"), &mut files);
    assert!(files.len() > 40, "only {} files in tests/it", files.len());
    let place = "tests/it/support/program.rs";
    let elsewhere = files.iter().filter(|source| source.path != place);
    let offences = elsewhere.flat_map(|source| {
        let words = ["CARGO_BIN_EXE", "env_clear"].into_iter();
        let found = words.filter(|word| source.text.contains(word));
        found.map(|word| format!("{}: {word} belongs into {place}", source.path))
    });
    none(&offences.collect::<Vec<_>>());
}

#[test]
fn metrics_are_recorded_in_one_file_only() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.path != "src/metrics.rs") {
        for macros in ["counter!(", "gauge!(", "histogram!("] {
            let used = source.code().filter(|(_, line)| line.contains(macros));
            offences.extend(used.map(|(number, _)| format!("{}:{number}", source.path)));
        }
    }
    none(&offences);
}
