//! Picking a batch of 100 from a ledger of 1,000,000 objects in 200 changes: what a sender does
//! before each request. `cargo bench --bench queue`; building the ledger takes about a minute.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use misp_sentinel_relay::config::LedgerConfig;
use misp_sentinel_relay::ledger::{Ledger, PendingPage, SqlResult};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const VIEW: &str = "default";
const TARGET: &str = "soc";
const BATCH: i64 = 100;

/// A million objects with keys as random as UUIDv5, 5,000 to a change, with bodies of 800 bytes; the
/// target was sent those of the second half.
const FILL: [&str; 4] = [
    "INSERT INTO targets (target, view, mode, workspace, sourcesystem)
     VALUES ('soc', 'default', 'live', 'w', 's')",
    "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999999)
     INSERT INTO wanted
        (view, object, kind, stix_id, body, valid_from, valid_until, version, change)
     SELECT 'default', randomblob(16), 'indicator', randomblob(16), hex(randomblob(400)),
        1, 9000000000000, n + 1, 1 + n / 5000 FROM numbers",
    "INSERT INTO delivered
        (target, object, created, modified, accepted, valid_until, accepted_at)
     SELECT 'soc', object, 1, 1, version, valid_until, 1 FROM wanted WHERE change > 100",
    "INSERT INTO queue (target, change, lane, opened_at, summary)
     SELECT DISTINCT 'soc', change, 1, 1, '{}' FROM wanted",
];

async fn filled(folder: &TempDir) -> anyhow::Result<Ledger> {
    let config = LedgerConfig {
        data_dir: folder.path().to_owned(),
        fsync: false,
        tombstones: Duration::from_secs(86_400),
    };
    Ledger::open(&config).await?.close().await;
    fill(&folder.path().join("ledger.db"))?;
    Ok(Ledger::open(&config).await?)
}

fn fill(file: &Path) -> rusqlite::Result<()> {
    let ledger = rusqlite::Connection::open(file)?;
    ledger.pragma_update(None, "synchronous", "off")?;
    for statement in FILL {
        ledger.execute(statement, [])?;
    }
    Ok(())
}

fn picking(criterion: &mut Criterion) {
    #[expect(clippy::expect_used, reason = "without a ledger there is nothing to measure")]
    let (folder, runtime) = (TempDir::new().expect("a folder"), Runtime::new().expect("a runtime"));
    #[expect(clippy::expect_used, reason = "without a ledger there is nothing to measure")]
    let ledger = runtime.block_on(filled(&folder)).expect("a ledger");
    let half = Some(Uuid::from_u128(u128::MAX / 2));
    let mut group = criterion.benchmark_group("1000000_objects");
    for (name, change, after, found) in [
        ("first_change_from_its_start", 1, None, 100),
        ("hundredth_change_from_its_middle", 100, half, 100),
        ("change_that_was_sent_already", 150, None, 0),
        ("everything_from_its_start", 0, None, 100),
        ("everything_from_its_middle", 0, half, 100),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let page = runtime.block_on(pick(&ledger, change, after));
                assert_eq!(black_box(page).map(|page| page.found.len()).ok(), Some(found));
            });
        });
    }
    group.finish();
}

async fn pick(ledger: &Ledger, change: i64, after: Option<Uuid>) -> SqlResult<PendingPage> {
    ledger.page(VIEW, TARGET, change, after, Ledger::now(), BATCH).await
}

criterion_group!(benches, picking);
criterion_main!(benches);
