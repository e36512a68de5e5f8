//! Tests docker/customize_misp.sh, which misp-docker runs at each start of MISP. A `sudo` of the test stands
//! before MISP's console: it notes each setting, and refuses those that the test names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use super::support::program::bare;

const CONSOLE: &str = r#"#!/bin/bash
# sudo -u www-data .../cake Admin setSetting -q NAME VALUE
[ "$*" = "-u www-data /var/www/MISP/app/Console/cake Admin setSetting -q $7 $8" ] || exit 99
case " $REFUSED " in
    *" $7 "*) echo "Setting change rejected." >&2; exit 1 ;;
esac
echo "$7=$8" >>"$SET"
"#;

struct Misp {
    folder: TempDir,
}

impl Misp {
    /// MISP's container with the password of the feed, as compose mounts it.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let sudo = folder.path().join("sudo");
        fs::write(&sudo, CONSOLE).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("zeromq_password"), "feed-password\n").unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the script, while MISP refuses the settings named.
    fn customize(&self, refused: &str, webhook: &str) -> Output {
        let folder = self.folder.path().display();
        bare(script().to_str().unwrap())
            .env("PATH", format!("{folder}:/usr/bin:/bin"))
            .env("SET", self.file("set"))
            .env("REFUSED", refused)
            .env("RELAY_SECRETS", self.folder.path())
            .env("RELAY_WEBHOOK", webhook)
            .output()
            .unwrap()
    }

    /// What is set, in the order of the commands.
    fn settings(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("set")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/customize_misp.sh")
}

/// The feed that README.md describes, by name.
const SWITCHES: [&str; 6] = ["event", "object", "attribute", "tag", "sighting", "warninglist"];

fn switches() -> impl Iterator<Item = String> {
    SWITCHES.iter().map(|topic| format!("Plugin.ZeroMQ_{topic}_notifications_enable=true"))
}

/// What the script says, and its exit code.
fn told(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code())
}

#[test]
fn misp_gets_all_settings_and_the_feed_last() {
    let misp = Misp::new();
    let (told, code) = told(&misp.customize("", ""));
    assert_eq!(code, Some(0), "{told}");
    let settings = misp.settings();
    for switch in switches() {
        assert!(settings.contains(&switch), "no {switch} in {settings:?}");
    }
    assert!(settings.contains(&"Plugin.ZeroMQ_password=feed-password".to_owned()));
    assert!(settings.contains(&"Plugin.ZeroMQ_host=0.0.0.0".to_owned()));
    assert_eq!(settings.last().unwrap(), "Plugin.ZeroMQ_enable=true");
    assert!(!settings.iter().any(|setting| setting.contains("arbitrary_urls")), "{settings:?}");
}

#[test]
fn a_refused_setting_keeps_no_other_from_being_set_and_is_listed() {
    let misp = Misp::new();
    let refused = "Plugin.ZeroMQ_sighting_notifications_enable Plugin.ZeroMQ_port";
    let (told, code) = told(&misp.customize(refused, ""));
    assert_eq!(code, Some(1), "{told}");
    let settings = misp.settings();
    for switch in switches().filter(|switch| !switch.contains("sighting")) {
        assert!(settings.contains(&switch), "no {switch} in {settings:?}");
    }
    assert_eq!(settings.last().unwrap(), "Plugin.ZeroMQ_enable=true");
    let listed: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(listed, ["Plugin.ZeroMQ_port", "Plugin.ZeroMQ_sighting_notifications_enable"]);
}

/// MISP's publisher accepts anybody who reaches it while it has no password.
#[test]
fn the_feed_is_opened_only_with_a_password() {
    let without_file = Misp::new();
    fs::remove_file(without_file.file("zeromq_password")).unwrap();
    let refusing = Misp::new();
    for (misp, refused) in [
        (&without_file, ""),
        (&refusing, "Plugin.ZeroMQ_password"),
        (&refusing, "Plugin.ZeroMQ_username"),
    ] {
        let (told, code) = told(&misp.customize(refused, ""));
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("Plugin.ZeroMQ_host: ") && told.contains("stays closed"), "{told}");
        let settings = misp.settings();
        let opened = settings.iter().any(|setting| setting.starts_with("Plugin.ZeroMQ_host"));
        assert!(!opened, "{settings:?}");
        assert_eq!(settings.last().unwrap(), "Plugin.ZeroMQ_enable=true");
    }
}

#[test]
fn the_webhook_gets_its_settings_when_it_is_wanted() {
    let misp = Misp::new();
    assert_eq!(told(&misp.customize("", "true")).1, Some(0));
    let settings = misp.settings();
    for wanted in ["Plugin.Workflow_enable=true", "Security.rest_client_enable_arbitrary_urls=true"]
    {
        assert!(settings.iter().any(|setting| setting == wanted), "{settings:?}");
    }
}

/// misp-docker skips the script without a word if it is not executable, and so would these tests fail.
#[test]
fn misp_docker_finds_the_script_executable() {
    let mode = fs::metadata(script()).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
}
