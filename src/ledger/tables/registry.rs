//! All statements of the program, for the tests that prepare every one of them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::ledger::sql::{Connection, Options, ParameterType, Statement};

/// The schema of the file.
const SCHEMA: &str = include_str!("../schema.sql");

/// Lists modules of this folder with their statements.
macro_rules! files {
    ($($file:ident $(:: $part:ident)?),+ $(,)?) => {
        &[$((
            concat!(stringify!($file) $(, "/", stringify!($part))?),
            super::$file $(::$part)?::STATEMENTS,
        )),+]
    };
}

static FILES: &[(&str, &[&Statement])] = files![
    alert_cursors,
    announced,
    claims,
    claims::copies,
    claims::merging,
    claims::naming,
    claims::of_event,
    claims::times,
    claims::walk,
    counters,
    cursors,
    decay,
    delivered,
    delivered::deletions,
    delivered::mending,
    delivered::requests,
    dump,
    event_tags,
    events,
    events::unfinished,
    gaps,
    held,
    hits,
    inferred,
    invariants,
    of_source,
    own_sightings,
    pending,
    queue,
    reads,
    settings,
    sightings,
    standings,
    suppressed,
    tag_changes,
    targets,
    tombstones,
    wanted,
    wanted::at_target,
    wanted::context,
    wanted::counts,
    wanted::indicators,
    wanted::views,
    wanted::withdrawn,
];

fn all() -> impl Iterator<Item = &'static Statement> {
    FILES.iter().flat_map(|(_, statements)| statements.iter().copied())
}

/// Modules without statements.
const WITHOUT: [&str; 5] = ["keys", "mod", "packed", "registry", "shortened"];

/// The modules below a folder.
fn modules(folder: &Path, under: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{under}{}", path.file_stem().unwrap().to_str().unwrap());
        if path.is_dir() {
            found.extend(modules(&path, &format!("{name}/")));
        } else {
            found.push(name.strip_suffix("/mod").unwrap_or(&name).to_owned());
        }
    }
    found
}

#[test]
fn every_module_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/tables");
    let mut found = modules(&folder, "");
    found.retain(|module| !WITHOUT.contains(&module.as_str()));
    found.sort();
    let listed: Vec<&str> = FILES.iter().map(|(file, _)| *file).collect();
    assert_eq!(found, listed);
}

/// The tables that grow with MISP, by all names that statements give them.
const LARGE: [&str; 8] = ["claims", "c", "named", "form", "delivered", "d", "wanted", "w"];

/// The statements that go through a whole table or index of these: counts, the export, what a wrong clock left
/// behind, and the repair of a damaged ledger.
const SCANS: [&str; 14] = [
    "claims: SCAN claims USING COVERING INDEX claims_by_value",
    "claims: SCAN claims USING COVERING INDEX claims_by_object",
    "claims: SCAN claims",
    "claims/times: SCAN claims USING INDEX claims_by_object",
    "claims/times: SCAN claims USING INDEX claims_of_the_future",
    "delivered: SCAN delivered",
    "delivered/deletions: SCAN delivered USING INDEX delivered_deletion",
    "dump: SCAN claims",
    "dump: SCAN wanted",
    "dump: SCAN delivered",
    "wanted/counts: SCAN wanted USING COVERING INDEX wanted_indicators",
    "wanted/counts: SCAN wanted USING COVERING INDEX wanted_withdrawn",
    "wanted/counts: SCAN wanted USING INDEX wanted_context",
    "wanted/counts: SCAN wanted USING INDEX wanted_context",
];

#[test]
fn sqlite_prepares_every_statement_and_finds_its_rows_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { fsync: false, cache: 1_000 };
    let mut connection = Connection::open(&folder.path().join("ledger.db"), options).unwrap();
    connection.run(SCHEMA).unwrap();
    let transaction = connection.snapshot().unwrap();
    let is_scan = |step: &String| {
        let mut words = step.split(' ');
        words.next() == Some("SCAN") && words.next().is_some_and(|name| LARGE.contains(&name))
    };
    let mut scans = Vec::new();
    // The rules of `ledger check` go through whole tables by their nature.
    for (file, statements) in FILES.iter().filter(|(file, _)| *file != "invariants") {
        for statement in *statements {
            let plan = transaction.plan(statement);
            let plan = plan.unwrap_or_else(|error| panic!("{statement:?}: {error}"));
            scans.extend(plan.into_iter().filter(is_scan).map(|step| format!("{file}: {step}")));
        }
    }
    assert_eq!(scans, SCANS);
}

/// `POSTGRES_URL` names a PostgreSQL. The tables exist for this session alone, and nothing is executed.
#[test]
fn postgresql_prepares_every_statement() {
    let Ok(url) = std::env::var("POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "POSTGRES_URL names no PostgreSQL");
        eprintln!("skipped: POSTGRES_URL names no PostgreSQL");
        return;
    };
    let mut script = format!(
        "SET search_path = pg_temp;\n{}\n",
        SCHEMA.replace("BLOB", "BYTEA").replace("INTEGER", "BIGINT")
    );
    for (number, statement) in all().enumerate() {
        let types: Vec<&str> = statement.parameters().iter().map(postgresql_type).collect();
        let types =
            if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
        writeln!(script, "PREPARE statement_{number} {types} AS {};", statement.sql()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statements.sql");
    std::fs::write(&file, script).unwrap();
    let told = Command::new("psql").args(["-X", "-q", "-f"]).arg(file).arg(url).output().unwrap();
    let errors = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && errors.is_empty(), "{errors}");
}

fn postgresql_type(kind: &ParameterType) -> &'static str {
    match kind {
        ParameterType::Integer => "BIGINT",
        ParameterType::Boolean => "BOOLEAN",
        ParameterType::Text => "TEXT",
        ParameterType::Bytes => "BYTEA",
    }
}
