//! Tests `status --watch`: on a terminal it draws the same text in place, piped it prints one after the other, and
//! Ctrl-C ends it with exit code 0.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use misp_sentinel_relay::sandbox::{Sandbox, Settings};
use serde_json::Value;

use super::support::event::{publication, then};
use super::support::program::program;
use super::support::publisher::Publisher;
use super::support::relay::{Relay, held};
use super::support::sandbox::eventually;
use super::support::terminal::Terminal;

async fn relay(sandbox: &Sandbox, publisher: &Publisher) -> Relay {
    let relay = Relay::start(sandbox, publisher, &[]).await;
    publisher.send(&publication(then(), &[(1, "evil.example", &[][..])])).await;
    eventually(sandbox, |sandbox| !held(sandbox).is_empty()).await;
    relay
}

#[tokio::test]
async fn on_a_terminal_the_status_is_drawn_again_until_ctrl_c() {
    let (sandbox, publisher) =
        (Sandbox::start(Settings::default()).await.unwrap(), Publisher::bind());
    let mut relay = relay(&sandbox, &publisher).await;
    let mut command = program();
    command.args(["status", "--watch", "1"]);
    command.envs(relay.settings());
    let mut terminal = Terminal::start(100, command);
    terminal.wait_for("\u{1b}[?1049h").await;
    // Drawn again and again from the upper left corner, and never longer than the screen.
    for _ in 0..2 {
        let drawn = terminal.wait_for("make the window higher").await;
        assert!(drawn.contains("\u{1b}[H\u{1b}[J") && drawn.contains("process"), "{drawn}");
        assert!(drawn.lines().count() <= 24, "{drawn}");
    }
    // A relay that is stopped does not end it.
    relay.stop();
    terminal.wait_for("no relay is running").await;
    terminal.interrupt();
    let (code, text) = terminal.end().await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("\u{1b}[?1049l"), "the terminal is as it was: {text:?}");
}

#[tokio::test]
async fn piped_it_is_printed_one_after_the_other() {
    let (sandbox, publisher) =
        (Sandbox::start(Settings::default()).await.unwrap(), Publisher::bind());
    let relay = relay(&sandbox, &publisher).await;
    for (arguments, is_json) in
        [(&["status", "--watch", "1"][..], false), (&["status", "--watch", "1", "--json"], true)]
    {
        let mut watching = relay.start_command(arguments, Stdio::piped());
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut statuses = lines.filter(|line| match is_json {
            true => serde_json::from_str::<Value>(line).unwrap()["version"].is_string(),
            false => line.starts_with("misp-sentinel-relay "),
        });
        for _ in 0..3 {
            let line = statuses.next().unwrap();
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        let process = watching.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &process]).status().unwrap().success());
        assert_eq!(watching.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

/// The last line of the status says what is worth doing next.
#[tokio::test]
async fn the_status_ends_with_what_is_worth_doing() {
    let (sandbox, mut publisher) =
        (Sandbox::start(Settings::default()).await.unwrap(), Publisher::bind());
    let mut relay = relay(&sandbox, &publisher).await;
    let last = |relay: &Relay| {
        let text = String::from_utf8(relay.command(&["status"]).stdout).unwrap();
        text.trim_end().lines().last().unwrap().to_owned()
    };
    assert!(last(&relay).starts_with("Next: Set misp.key"), "{}", last(&relay));
    publisher.stop();
    relay.stop();
    assert_eq!(last(&relay), "Next: Start the relay with `misp-sentinel-relay run`.");
    relay.restart_alone().await;
    assert!(last(&relay).contains("`misp-sentinel-relay check`"), "{}", last(&relay));
}
