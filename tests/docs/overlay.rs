//! Tests that `docker/compose.monitoring.yaml`, Prometheus' configuration and Grafana's provisioning agree with each other
//! and with the files of the repository.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::page;

fn read(path: impl AsRef<Path>) -> String {
    let path = page::root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder or file of the repository, and where a container of the overlay finds it.
struct Mount {
    source: PathBuf,
    place: String,
}

/// What `docker/compose.monitoring.yaml` mounts from the repository.
fn mounts() -> Vec<Mount> {
    let overlay = read("docker/compose.monitoring.yaml");
    let lines = overlay.lines().filter_map(|line| line.trim().strip_prefix("- ${RELAY:-..}/"));
    let mounts = lines.map(|line| {
        let mut parts = line.split(':');
        let source = PathBuf::from(parts.next().unwrap());
        Mount { source, place: parts.next().unwrap().to_owned() }
    });
    mounts.collect()
}

/// Where the repository has what a container finds at this path.
fn behind(place: &str) -> PathBuf {
    let mounts = mounts();
    let under = mounts.iter().filter_map(|mount| {
        let rest = place.strip_prefix(&mount.place)?;
        let is_itself = rest.is_empty();
        Some(if is_itself {
            mount.source.clone()
        } else {
            mount.source.join(rest.strip_prefix('/')?)
        })
    });
    let found: Vec<PathBuf> = under.filter(|path| page::root().join(path).exists()).collect();
    found.into_iter().next().unwrap_or_else(|| panic!("nothing is mounted at {place}"))
}

/// The values of a key in YAML that has one key a line.
fn values<'y>(yaml: &'y str, key: &str) -> Vec<&'y str> {
    let lines = yaml.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    lines.collect()
}

/// No container engine is asked: what the files say of each other must agree.
#[test]
fn what_the_overlay_mounts_is_what_its_programs_look_for() {
    assert_eq!(mounts().len(), 4);
    for Mount { source, .. } in mounts() {
        assert!(page::root().join(&source).exists(), "{}", source.display());
    }
    let overlay = read("docker/compose.monitoring.yaml");
    // Prometheus: its configuration, and the rules beside it.
    let [config] = overlay
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --config.file="))
        .collect::<Vec<_>>()[..]
    else {
        panic!("no --config.file")
    };
    let prometheus = read(behind(config));
    let (_, rules) = prometheus.split_once("rule_files:\n  - ").unwrap();
    let rules = rules.lines().next().unwrap();
    let folder = config.rsplit_once('/').unwrap().0;
    assert!(read(behind(&format!("{folder}/{rules}"))).contains("alert:"), "{rules}");
    assert!(prometheus.contains("targets: [relay-admin:9477]"));
    assert!(overlay.contains("aliases: [relay-admin]"));
    // Grafana: the boards, the first of them, and the data source.
    let provisioning = mounts().into_iter().find(|one| one.place == "/etc/grafana/provisioning");
    let provisioning = provisioning.unwrap().source;
    let boards = read(provisioning.join("dashboards/boards.yml"));
    for path in values(&boards, "path") {
        let files = std::fs::read_dir(page::root().join(behind(path))).unwrap();
        let is_board = |file: &Path| file.extension().is_some_and(|ext| ext == "json");
        let count = files.filter(|file| is_board(&file.as_ref().unwrap().path())).count();
        assert_eq!(count, 2, "{path}");
    }
    let [home] = values(&overlay, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")[..] else {
        panic!("no first board")
    };
    assert!(serde_json::from_str::<Value>(&read(behind(home))).is_ok(), "{home}");
    let sources = read(provisioning.join("datasources/prometheus.yml"));
    assert_eq!(values(&sources, "url"), ["http://prometheus:9090"]);
    assert!(overlay.contains("\n  prometheus:\n"), "the service has another name");
}
