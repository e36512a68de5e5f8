//! Tests what commands show on a terminal of 80 columns, the usual width: whole words, and what matters.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use misp_sentinel_relay::commands::Cli;
use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use regex::Regex;

use super::support::event::{publication, then};
use super::support::program::program;
use super::support::publisher::Publisher;
use super::support::relay::{Relay, held};
use super::support::sandbox::eventually;
use super::support::terminal::Terminal;

const COLUMNS: u16 = 80;

async fn shown(arguments: &[&str], environment: &[(String, String)]) -> String {
    let mut command = program();
    command.args(arguments).envs(environment.iter().cloned());
    let (_, text) = Terminal::start(COLUMNS, command).end().await;
    // Bold and underlined titles take no room.
    let styles = Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    styles.replace_all(&text, "").replace("\r\n", "\n")
}

fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(COLUMNS), "too wide: {line:?}\n{text}");
    }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

#[tokio::test]
async fn every_help_fits_and_breaks_no_word() {
    let mut root = Cli::command().term_width(1_000);
    root.build();
    let mut asked = vec![(Vec::new(), root.render_long_help().to_string())];
    for command in root.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        asked.push((vec![name.clone()], command.render_long_help().to_string()));
        for inner in command.get_subcommands_mut() {
            let path = vec![name.clone(), inner.get_name().to_owned()];
            asked.push((path, inner.render_long_help().to_string()));
        }
    }
    asked.retain(|(path, _)| path.iter().all(|name| name != "help"));
    assert!(asked.len() > 25, "{}", asked.len());
    for (path, wide) in asked {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let text = shown(&arguments, &[]).await;
        fits(&text);
        let (narrow, wide): (Vec<&str>, Vec<&str>) =
            (text.split_whitespace().collect(), wide.split_whitespace().collect());
        assert_eq!(narrow, wide, "{path:?}");
    }
}

#[tokio::test]
async fn the_status_fits_and_breaks_no_word() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let publisher = Publisher::bind();
    let relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&publication(then(), &[(1, "evil.example", &[][..])])).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 1).await;
    let data_dir = ("MSR_LEDGER__DATA_DIR".to_owned(), relay.folder().display().to_string());
    let piped = relay.command(&["status"]).stdout;
    let piped = String::from_utf8(piped).unwrap();
    assert!(piped.lines().any(|line| line.chars().count() > 100), "nothing to fit:\n{piped}");
    let text = shown(&["status"], &[data_dir]).await;
    fits(&text);
    for column in ["Feed", "Publisher's age", "Delivered", "In flight", "Last accepted", "Next try"]
    {
        assert!(text.contains(column), "no {column}:\n{text}");
    }
    // Ages may differ by then, and nothing else.
    let is_word = |word: &&&str| !word.starts_with(|sign: char| sign.is_ascii_digit());
    let (narrow, wide) = (words(&text), words(&piped));
    let broken: Vec<_> = narrow.difference(&wide).filter(is_word).collect();
    assert!(broken.is_empty(), "{broken:?}\n{text}");
}

/// Where the README's picture comes from. The docs test draws it from this recording.
const RECORDING: &str = "tests/golden/demo.txt";

/// What is different each time: times, ports, and how many gaps and requests a machine's pace makes.
fn without_chance(screen: &str) -> Vec<String> {
    let chance = Regex::new(r"\d+\.\d+|:\d{4,5}\b|\b(gaps noted|requests used) +\d+").unwrap();
    let lines = screen.lines().map(|line| chance.replace_all(line, "#").into_owned());
    // A time of one more digit moves what follows.
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn the_demo_shows_its_proof_and_is_as_in_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["demo", "--once"]).envs([("HOME", folder.path()), ("TMPDIR", folder.path())]);
    let (code, screen) = Terminal::start(COLUMNS, command).screen().await;
    assert_eq!(code, Some(0), "{screen}");
    fits(&screen);
    assert!(screen.contains("accepted   after"), "{screen}");
    let bulk =
        Regex::new(r"250 attributes +Bulk import +250 +\+250 +250 new +\d\.\d\d s +✓").unwrap();
    assert!(bulk.is_match(&screen), "{screen}");
    assert!(screen.contains("left out: 13 attributes (13 context), 32 claims (17 type_off +"));
    assert_eq!(screen.matches('✓').count(), 21, "{screen}");

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{screen}\n")).unwrap();
    }
    let recorded = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        without_chance(&recorded),
        without_chance(&screen),
        "{RECORDING} is behind the program; `UPDATE_DOCS=1 cargo test --test it terminal`, then `UPDATE_DOCS=1 cargo test --test docs` rewrite it and the picture"
    );
}
