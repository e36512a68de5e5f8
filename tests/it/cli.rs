//! Tests the built binary: its exit codes, its output and the command `healthcheck`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use clap::CommandFactory;
use misp_sentinel_relay::commands::Cli;

use super::support::port::free_address;
use super::support::program::{bare, program};

const LEAST: &[(&str, &str)] = &[
    ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
    ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
    ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
    ("MSR_TARGET__SOC__TENANT_ID", "example.onmicrosoft.com"),
    ("MSR_TARGET__SOC__CLIENT_ID", "66666666-7777-4888-9999-000000000000"),
    ("MSR_TARGET__SOC__CLIENT_SECRET", "canary-3f9c"),
];

fn relay(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program().args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_valid_configuration_is_reported_with_exit_0_and_without_secrets() {
    let output = relay(&["check-config"], LEAST);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(out.contains("valid") && out.contains("tcp://misp-core:50000"), "{out}");
    assert!(!out.contains("canary"), "{out}");
    // Where it comes from: variables by name.
    assert!(out.contains("file     none"), "{out}");
    assert!(out.contains("variable MSR_TARGET__SOC__CLIENT_SECRET\n"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let out = text(&relay(&["check-config", "--config", file], LEAST).stdout);
    assert!(out.contains(&format!("file     {file}\n")), "{out}");
}

#[test]
fn without_any_configuration_a_command_names_the_one_that_writes_it() {
    for command in ["check-config", "run", "status"] {
        let output = relay(&[command], &[]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {told}");
        assert!(told.contains("configuration: there is none"), "{command}: {told}");
        assert!(told.contains("`misp-sentinel-relay init`"), "{command}: {told}");
    }
    // Somebody began one.
    let told = text(&relay(&["check-config"], &[("MSR_LOG__FORMAT", "json")]).stderr);
    assert!(told.contains("misp.public_url") && !told.contains("there is none"), "{told}");
}

#[test]
fn broken_toml_is_shown_with_its_place_and_without_what_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "[target.soc]\nclient_secret = \"canary-3f9c\n").unwrap();
    let output = relay(&["check-config", "--config", file.to_str().unwrap()], &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("line 2, column "), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    let at = lines.iter().position(|line| line.contains("| client_secret = \"···")).expect(&told);
    assert!(lines[at + 1].trim_start().starts_with('|') && lines[at + 1].ends_with('^'), "{told}");
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn mistakes_end_every_command_that_needs_the_configuration_with_exit_2() {
    for command in ["check-config", "run", "status", "retry-rejected"] {
        let output = relay(&[command], &[("MSR_LOG__FORMAT", "xml")]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {told}");
        for key in ["log.format", "misp.zeromq.endpoints", "misp.public_url", "target"] {
            assert!(told.contains(key), "{command}: no {key} in {told}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_usage_is_exit_2_and_help_and_version_are_exit_0() {
    assert_eq!(relay(&["rum"], &[]).status.code(), Some(2));
    assert_eq!(relay(&[], &[]).status.code(), Some(2));
    assert_eq!(relay(&["convert"], &[]).status.code(), Some(2));
    let version = relay(&["--version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    let expected = format!("misp-sentinel-relay {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&version.stdout), expected);
    let help = text(&relay(&["--help"], &[]).stdout);
    for command in ["run", "demo", "convert", "status", "retry-rejected", "sandbox"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn status_before_the_first_start_is_exit_3_and_says_that_no_relay_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let data = [("MSR_LEDGER__DATA_DIR", folder.path().to_str().unwrap())];
    for arguments in [&["status"][..], &["status", "--json"]] {
        let output = relay(arguments, &[LEAST, &data].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.starts_with("no relay is running, and there is no ledger"), "{told}");
        assert!(told.contains("hint: `run` makes it"), "{told}");
        assert!(output.stdout.is_empty());
    }
    assert!(!folder.path().join("ledger.db").exists(), "asking makes no ledger");
}

/// Answers one request with `answer`, and gives the request line back.
fn answer_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        text(&buffer[..length]).lines().next().unwrap().to_owned()
    });
    (address, server)
}

fn healthcheck(arguments: &[&str], listen: &str) -> Output {
    let environment: Vec<_> =
        LEAST.iter().copied().chain([("MSR_ADMIN__LISTEN", listen)]).collect();
    relay(arguments, &environment)
}

#[test]
fn the_health_check_follows_the_answer_of_the_listener() {
    let (address, server) = answer_once("HTTP/1.0 200 OK\r\n\r\nok");
    assert_eq!(healthcheck(&["healthcheck"], &address).status.code(), Some(0));
    assert_eq!(server.join().unwrap(), "GET /livez HTTP/1.1");

    let refused = "HTTP/1.1 503 Service Unavailable\r\n\r\nledger not writable";
    let (address, server) = answer_once(refused);
    let output = healthcheck(&["healthcheck", "--ready"], &address);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("503 Service Unavailable ledger not writable"));
    assert_eq!(server.join().unwrap(), "GET /readyz HTTP/1.1");
}

#[test]
fn the_health_check_fails_where_nothing_listens() {
    let free = free_address().to_string();
    let output = healthcheck(&["healthcheck"], &free);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&free));
}

#[test]
fn a_listener_on_all_interfaces_is_asked_over_loopback() {
    let (address, server) = answer_once("HTTP/1.0 200 OK\r\n\r\n");
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(healthcheck(&["healthcheck"], &everywhere).status.code(), Some(0));
    server.join().unwrap();
}

#[test]
fn any_address_can_be_checked_without_a_configuration() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let check = format!("--connect={}", listener.local_addr().unwrap());
    assert_eq!(relay(&["healthcheck", &check], &[]).status.code(), Some(0));
    drop(listener);
    assert_eq!(relay(&["healthcheck", &check], &[]).status.code(), Some(1));
}

/// As a Kubernetes secret that was made with `echo`, and an editor's mark.
#[test]
fn secrets_and_ids_that_copying_damaged_are_told_with_key_and_remedy() {
    for (key, value, told) in [
        (
            "MSR_TARGET__SOC__CLIENT_SECRET",
            "sandbox-secret\n",
            "target.soc.client_secret has white space at its end",
        ),
        (
            "MSR_TARGET__SOC__CLIENT_SECRET",
            "\u{feff}secret",
            "target.soc.client_secret has a byte order mark at its beginning",
        ),
        ("MSR_TARGET__SOC__CLIENT_ID", "my app", "target.soc.client_id = \"my app\" is no id"),
        (
            "MSR_TARGET__SOC__TENANT_ID",
            "common",
            "target.soc.tenant_id = \"common\" names no tenant",
        ),
    ] {
        let mut settings = LEAST.to_vec();
        settings.push((key, value));
        let output = relay(&["check-config"], &settings);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(out.contains(told), "{out}");
        assert!(!out.contains("sandbox-secret"), "{out}");
    }
}

#[test]
fn one_port_for_two_listeners_is_a_mistake() {
    for webhook in ["127.0.0.1:9477", "0.0.0.0:9477"] {
        let mut settings = LEAST.to_vec();
        settings.push(("MSR_MISP__WEBHOOK__LISTEN", webhook));
        settings.push(("MSR_MISP__WEBHOOK__SECRET", "0123456789abcdef"));
        let output = relay(&["check-config"], &settings);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("misp.webhook.listen") && told.contains("admin.listen"), "{told}");
    }
}

#[test]
fn how_to_tell_needs_what_to_tell() {
    for option in ["--json", "--stix"] {
        let output = relay(&["convert", option, "event.json"], &[]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("--explain"), "{told}");
    }
}

#[test]
fn a_busy_port_of_the_sandbox_is_told_once() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let output = relay(&["sandbox", "--listen", &address], &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("in use").count(), 1, "{told}");
}

#[test]
fn a_python_file_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.py");
    std::fs::write(&file, "import os\nclient_id = os.environ['X']\nDEBUG = True\n").unwrap();
    let output = relay(&["import-config", file.to_str().unwrap()], &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("holds no setting of misp2sentinel") && output.stdout.is_empty());
}

/// Returns what bash offers for the last of these words, once it has read the program's own script.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, relay(&["completions", "bash"], &[]).stdout).unwrap();
    let ask = r#"set -e
        source "$0"
        [[ $(complete -p "$1") =~ -F\ ([^ ]+) ]]
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "${BASH_REMATCH[1]}" "$1" "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = bare("/bin/bash");
    let output = bash.args(["-c", ask]).arg(&script).args(words).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(offered(&["misp-sentinel-relay", "stat"]), ["status"]);
    assert_eq!(offered(&["misp-sentinel-relay", "ledger", "va"]), ["vacuum"]);
    assert_eq!(offered(&["misp-sentinel-relay", "verify", "--rep"]), ["--repair"]);
}

#[test]
fn fish_and_zsh_have_a_script_that_knows_the_commands() {
    for (shell, begins) in [("fish", "# Print an optspec"), ("zsh", "#compdef misp-sentinel-relay")]
    {
        let output = relay(&["completions", shell], &[]);
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(script.starts_with(begins) && script.contains("retry-rejected"), "{script}");
    }
    assert_eq!(relay(&["completions", "csh"], &[]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let output = relay(&["man", pages.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut commands = Cli::command();
    commands.build();
    let names = commands.get_subcommands().map(|command| format!("-{}", command.get_name()));
    let names = names.filter(|name| name != "-help").chain([String::new(), "-ledger-check".into()]);
    let names: Vec<String> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let page =
            std::fs::read_to_string(pages.join(format!("misp-sentinel-relay{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH misp-sentinel-relay{name} 1")), "{page}");
    }
}

#[test]
fn manual_pages_that_cannot_be_written_are_exit_1_and_name_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let output = relay(&["man", file.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(file.to_str().unwrap()));
}
