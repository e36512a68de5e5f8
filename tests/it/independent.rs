//! Compares the number of observables in each recorded publication with the count of a script that reads
//! MISP's JSON and does not use the converter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use misp_sentinel_relay::config;
use misp_sentinel_relay::pure::convert;
use misp_sentinel_relay::pure::misp::Event;
use misp_sentinel_relay::pure::policy::{Judge, SideFacts};

use crate::libraries::skipped;
use crate::recordings::{files, frame};

fn judge() -> Judge {
    let none = tempfile::NamedTempFile::new().unwrap();
    let anywhere = [("MSR_POLICY__ALLOW_NON_ROUTABLE".to_owned(), "true".to_owned())];
    Judge::new(&config::load_rules(Some(none.path()), anywhere.into_iter()).unwrap().policy)
}

fn converted(judge: &Judge, path: &Path) -> usize {
    let document = frame(path);
    let event = Event::parse(&document).unwrap();
    let facts = event.facts();
    let claims = convert::event(&event).claims.into_iter();
    let admitted = claims.filter(|claim| {
        judge.admit(&facts, &claim.facts, &claim.observable, &SideFacts::default()).is_ok()
    });
    admitted.map(|claim| claim.observable).collect::<BTreeSet<_>>().len()
}

fn counted(paths: &[PathBuf]) -> std::io::Result<BTreeMap<PathBuf, usize>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/count_observables.py");
    let output = Command::new("python3").arg(script).args(paths).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn each_recorded_event_has_as_many_observables_as_its_json() {
    let folders = ["zmq", "zmq-more", "zmq-variants"].into_iter();
    let paths: Vec<PathBuf> = folders.flat_map(|folder| files(folder, "_misp_json.bin")).collect();
    assert!(paths.len() >= 65, "{}", paths.len());
    let counted = match counted(&paths) {
        Ok(counted) => counted,
        Err(why) => {
            skipped("the observables of the recordings, counted by a script", &why.to_string());
            return;
        }
    };
    let judge = judge();
    let mut all = 0;
    for path in &paths {
        let found = converted(&judge, path);
        assert_eq!(found, counted[path], "{}", path.display());
        all += found;
    }
    eprintln!(
        "{} recorded publications hold {all} observables, as counted by a script",
        paths.len()
    );
}
