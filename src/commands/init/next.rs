//! Writes the last lines of `init`: the files that it wrote, the commands for MISP, and the next commands of the relay.

use std::fmt::Write;
use std::path::Path;

use super::answers::Answers;
use super::page::Written;
use crate::config::DEFAULT_FILE;

/// Returns the text that says what was written and what to do next. No line needs more than 80 columns, so that the
/// operator can copy it. `left` are the variables whose settings the file does not hold.
pub(super) fn words(written: &Written, answers: &Answers, left: &[&str]) -> String {
    let mut text = String::from("\nWritten, for this user alone:\n");
    for file in written.secrets.iter().chain([&written.configuration]) {
        // Writing to a string cannot fail.
        writeln!(text, "  {}", file.display()).ok();
    }
    if !left.is_empty() {
        text.push_str("\nNot in the file, and so still needed in the environment:\n");
    }
    for name in left {
        writeln!(text, "  {name}").ok();
    }
    if answers.holds("misp.zeromq.endpoints") {
        text.push_str(&in_misp(answers));
    }
    let file = &written.configuration;
    let option = match file == Path::new(DEFAULT_FILE) {
        true => String::new(),
        false => format!(" --config {}", quoted(&file.display().to_string())),
    };
    text.push_str("\nThen, as the user that is to run the relay:\n\n");
    for command in ["check", "run"] {
        writeln!(text, "misp-sentinel-relay {command}{option}").ok();
    }
    text
}

/// Returns the commands that switch MISP's feed on.
fn in_misp(answers: &Answers) -> String {
    let mut text = String::from(
        "\nIn MISP: Administration > Server Settings & Maintenance > Plugin > ZeroMQ.\n\
         Or in a shell on its machine (misp-docker: in the container misp-core):\n\n\
         cake=\"sudo -u www-data /var/www/MISP/app/Console/cake\"\n\
         for what in event object attribute tag sighting warninglist; do\n\
         \x20 $cake Admin setSetting -q Plugin.ZeroMQ_${what}_notifications_enable true\n\
         done\n",
    );
    let mut set = |name: &str, value: &str| {
        writeln!(text, "$cake Admin setSetting -q Plugin.ZeroMQ_{name} {value}").ok();
    };
    if !is_local(answers.text("misp.zeromq.endpoints")) {
        set("host", "0.0.0.0");
    }
    if answers.holds("misp.zeromq.username") {
        set("username", &quoted(answers.text("misp.zeromq.username")));
        set("password", "'the password'");
    }
    set("enable", "true");
    text
}

fn is_local(endpoints: &str) -> bool {
    ["//127.", "//localhost:", "//[::1]"].iter().any(|local| endpoints.contains(local))
}

/// Quotes a word for a shell, if it needs that.
fn quoted(word: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "_-./:@,".contains(sign);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
