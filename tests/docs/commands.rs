//! Tests that `docs/reference/commands.md` repeats the help text of each command, and that the command lines
//! on all other pages are valid.

use std::fmt::Write;

use clap::{Command, CommandFactory, Parser};
use misp_sentinel_relay::commands::Cli;

use crate::page;

/// Commands in the order of the help, those of `ledger` as `ledger check`.
fn commands(parent: &mut Command, prefix: &str, visit: &mut impl FnMut(&str, &mut Command)) {
    for command in parent.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = format!("{prefix}{}", command.get_name());
        visit(&name, command);
        commands(command, &format!("{name} "), visit);
    }
}

fn root() -> Command {
    // As wide as the page, however wide the terminal of this test is.
    let mut root = Cli::command().term_width(100);
    root.build();
    root
}

fn overview(root: &mut Command) -> String {
    let mut text = "| command | what it does |\n|---|---|\n".to_owned();
    commands(root, "", &mut |name, command| {
        let about = command.get_about().unwrap().to_string();
        let anchor = name.replace(' ', "-");
        writeln!(text, "| [`{name}`](#{anchor}) | {about} |").unwrap();
    });
    text
}

/// The rows below "Exit codes:" in the program's own help.
fn exit_codes(root: &Command) -> String {
    let help = root.get_after_long_help().unwrap().to_string();
    let (_, rows) = help.split_once("Exit codes:\n").unwrap();
    let mut text = "| command | exit codes |\n|---|---|\n".to_owned();
    for row in rows.lines().map(str::trim) {
        match row.split_once(": ") {
            Some((command, codes)) => writeln!(text, "| `{command}` | {codes} |").unwrap(),
            None => writeln!(text, "| any | {row} |").unwrap(),
        }
    }
    text
}

fn help(root: &mut Command) -> String {
    let mut text = String::new();
    commands(root, "", &mut |name, command| {
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        writeln!(text, "### {name}\n\n```text\n{}\n```\n", lines.join("\n").trim()).unwrap();
    });
    text
}

#[test]
fn the_page_of_commands_is_their_help() {
    let mut root = root();
    let parts = [
        ("commands", overview(&mut root)),
        ("exit codes", exit_codes(&root)),
        ("help", help(&mut root)),
    ];
    page::holds("docs/reference/commands.md", &parts);
}

/// The words of a command line up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<String>>(),
        _ => vec![part.to_owned()],
    });
    words.take_while(|word| !matches!(word.as_str(), "#" | ">" | "|")).collect()
}

#[test]
fn every_command_line_on_a_page_is_one() {
    let mut lines = Vec::new();
    for file in page::all() {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks = text.split("```").skip(1).step_by(2);
        let all = blocks.flat_map(str::lines).map(str::trim_start);
        let all = all.map(|line| line.trim_start_matches("$ ").trim_start_matches("sudo "));
        let ours = all.filter(|line| line.starts_with("misp-sentinel-relay "));
        lines.extend(ours.map(|line| (file.clone(), line.to_owned())));
    }
    assert!(lines.len() > 30, "only {} command lines", lines.len());
    let wrong = lines.iter().filter_map(|(file, line)| {
        let error = Cli::try_parse_from(words(line)).err()?;
        Some(format!("{}: {line}\n{error}", file.display()))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
