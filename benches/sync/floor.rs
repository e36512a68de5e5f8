//! Measures what SQLite alone needs for a first sync: the rows of `floor.sql`, written and read once by single
//! prepared statements on one thread, with everything synced to the disk.

use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

const SCHEMA: &str = include_str!("floor.sql");

/// Objects in an upload.
const BATCH: i64 = 100;

/// Claims that are written in one transaction.
const CHUNK: usize = 5_000;

/// Facts as long as those of the sync's attributes.
const FACTS: &str = r#"{"attribute_id":100000,"type":"ip-dst","category":"Network activity","comment":"seen in campaign 100","to_ids":true,"distribution":5,"timestamp":1795995993}"#;

/// An indicator as long as those of the sync's attributes, without its value and id.
const BODY: &str = r#"{"type":"indicator","spec_version":"2.1","id":"indicator--d013cecf-67a1-5b34-b23a-1b40a966caff","created_by_ref":"identity--4028eff6-8b64-45f8-ac36-ff18b327dc76","labels":["misp:threat-level=\"low-risk\"","tlp:green","type:OSINT"],"confidence":51,"external_references":[{"source_name":"MISP","description":"MISP event: Phishing wave 100 against banks","url":"https://misp.example/events/view/ab41506a-6ecb-49d0-b3fb-7bb15a49d387","external_id":"ab41506a-6ecb-49d0-b3fb-7bb15a49d387"}],"object_marking_refs":["marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"],"name":"Phishing wave 100 against banks","description":"seen in campaign 100","indicator_types":["malicious-activity"],"pattern":"[ipv4-addr:value = '11.100.207.204']","pattern_type":"stix","pattern_version":"2.1","kill_chain_phases":[{"kill_chain_name":"misp-category","phase_name":"network-activity"}],"valid_from":"2026-11-29T23:46:33.000Z"}"#;

const CLAIM: &str = "INSERT INTO claims VALUES (?1, ?2, ?3, 0, ?4, ?5, NULL, 'ipv4-addr:value', ?6, ?7, ?8, ?9, ?10, ?8)";
const CLAIMS_OF: &str = "SELECT * FROM claims WHERE object = ?1";
const WANTED: &str =
    "INSERT INTO wanted VALUES ('default', ?1, 'indicator', ?1, ?2, ?3, ?4, ?5, ?6)";
const PICK: &str = "SELECT w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version FROM wanted w
    LEFT JOIN delivered d ON d.target = 'soc' AND d.object = w.object
    WHERE w.change = ?1 AND w.object > ?2 AND w.version <> COALESCE(d.accepted, 0) ORDER BY w.object LIMIT ?3";
const MARK: &str = "INSERT INTO delivered VALUES ('soc', ?1, ?2, ?2, ?3, NULL, ?4, NULL, 51)
    ON CONFLICT (target, object) DO UPDATE SET sending = excluded.sending";
const SETTLE: &str = "UPDATE delivered SET accepted = sending, sending = NULL, accepted_at = ?2
    WHERE target = 'soc' AND object = ?1";

/// Unix milliseconds.
const NOW: i64 = 1_795_997_001_071;

/// CPU seconds of this thread for so many events of so many attributes each.
pub(crate) fn seconds(events: usize, attributes: usize) -> f64 {
    let folder = TempDir::new().unwrap();
    let mut ledger = open(&folder);
    let (began, mut change) = (cpu(), 0);
    for event in 0_i64..events.try_into().unwrap() {
        let uuid = Uuid::new_v4();
        ledger
            .execute(
                "INSERT INTO events VALUES ('misp', ?1, ?2, 0, ?3)",
                params![uuid, event, FACTS],
            )
            .unwrap();
        for first in (0..attributes).step_by(CHUNK) {
            change += 1;
            write(&mut ledger, uuid, CHUNK.min(attributes - first), change);
        }
    }
    for change in 1..=change {
        deliver(&mut ledger, change);
    }
    let used = cpu() - began;
    let sent = "SELECT count(accepted) FROM delivered";
    let sent: i64 = ledger.query_row(sent, [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(sent).unwrap(), events * attributes);
    used
}

fn open(folder: &TempDir) -> Connection {
    let ledger = Connection::open(folder.path().join("floor.db")).unwrap();
    ledger.pragma_update(None, "journal_mode", "wal").unwrap();
    ledger.pragma_update(None, "synchronous", "full").unwrap();
    ledger.pragma_update(None, "cache_size", -8_000).unwrap();
    ledger.execute_batch(SCHEMA).unwrap();
    ledger
}

/// Writes claims and what they add up to, in one transaction.
fn write(ledger: &mut Connection, event: Uuid, count: usize, change: i64) {
    let tx = ledger.transaction().unwrap();
    let objects: Vec<Uuid> = std::iter::repeat_with(Uuid::new_v4).take(count).collect();
    let mut claim = tx.prepare_cached(CLAIM).unwrap();
    for (number, object) in (0_i64..).zip(&objects) {
        let (attribute, value) =
            (Uuid::new_v4(), format!("11.{change}.{}.{}", number >> 8, number & 255));
        let seconds = NOW / 1_000;
        claim
            .execute(params![
                "misp", event, attribute, object, number, value, seconds, NOW, number, FACTS
            ])
            .unwrap();
    }
    let mut claims_of = tx.prepare_cached(CLAIMS_OF).unwrap();
    for object in &objects {
        let facts: String = claims_of.query_row([object], |row| row.get("facts")).unwrap();
        assert_eq!(facts.len(), FACTS.len());
    }
    let mut wanted = tx.prepare_cached(WANTED).unwrap();
    for (version, object) in (1_i64..).zip(&objects) {
        wanted.execute(params![object, BODY, NOW, NOW * 2, version, change]).unwrap();
    }
    drop((claim, claims_of, wanted));
    tx.commit().unwrap();
}

/// Picks, marks and settles what a change wants, batch by batch.
fn deliver(ledger: &mut Connection, change: i64) {
    let mut last = Uuid::nil();
    loop {
        let batch: Vec<(Uuid, i64, String)> = {
            let mut pick = ledger.prepare_cached(PICK).unwrap();
            let rows = pick.query_map(params![change, last, BATCH], |row| {
                Ok((row.get("object")?, row.get("version")?, row.get("body")?))
            });
            rows.unwrap().map(Result::unwrap).collect()
        };
        let Some((object, ..)) = batch.last() else { return };
        last = *object;
        let tx = ledger.transaction().unwrap();
        let mut mark = tx.prepare_cached(MARK).unwrap();
        for (object, version, body) in &batch {
            assert_eq!(body.len(), BODY.len());
            mark.execute(params![object, NOW, version, NOW * 2]).unwrap();
        }
        drop(mark);
        tx.commit().unwrap();
        let tx = ledger.transaction().unwrap();
        let mut settle = tx.prepare_cached(SETTLE).unwrap();
        for (object, ..) in &batch {
            settle.execute(params![object, NOW]).unwrap();
        }
        drop(settle);
        tx.commit().unwrap();
    }
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    used.tv_sec() as f64 + used.tv_nsec() as f64 / 1e9
}
