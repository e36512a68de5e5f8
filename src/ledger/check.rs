//! What must be true of a ledger at any moment, whatever was killed and when: each invariant has a
//! name, and a remedy for when it does not hold.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::delivered::queue_everything;
use super::judged::Judging;
use super::queue::UNSETTLED;
use super::wanted::refresh;
use super::{Ledger, Views, Writing, export, start};

/// Examples told of a broken invariant.
pub(super) const EXAMPLES: usize = 5;

/// How an invariant fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name, e.g. `claims-have-events`.
    pub invariant: String,
    /// How many rows break it.
    pub broken: u64,
    /// The first few of them, each a JSON object.
    pub examples: Vec<String>,
    /// What to do if it is broken.
    pub remedy: String,
    /// Why it could not be judged now.
    pub left_out: Option<String>,
}

impl Finding {
    pub(super) fn new(invariant: &str, remedy: &str) -> Self {
        Self { invariant: invariant.into(), remedy: remedy.into(), ..Self::default() }
    }

    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.broken += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken == 0
    }
}

/// An invariant that a query can break: `rows` are those that break it, shown by `columns`.
struct Rule {
    invariant: &'static str,
    columns: &'static str,
    rows: &'static str,
    remedy: &'static str,
}

const REREAD: &str = "`resync --event UUID` reads the event anew";
const REPAIR: &str = "`ledger check --repair`, then restart the relay: it judges every claim anew and compares each target with the result";

const RULES: [Rule; 13] = [
    Rule {
        invariant: "claims-have-events",
        columns: "c.source, c.event, c.attribute, c.part",
        rows: "FROM claims c LEFT JOIN events e ON e.source = c.source AND e.event = c.event
               WHERE e.event IS NULL",
        remedy: REREAD,
    },
    Rule {
        invariant: "deleted-events-claim-nothing",
        columns: "c.source, c.event, c.attribute, c.part",
        rows: "FROM events e JOIN claims c ON c.source = e.source AND c.event = e.event
               WHERE e.deleted_at IS NOT NULL AND e.unfinished = 0",
        remedy: REREAD,
    },
    Rule {
        invariant: "wanted-objects-are-claimed",
        columns: "w.view, w.object, w.stix_id",
        rows: "FROM wanted w WHERE w.version <> 0 AND w.kind = 'indicator'
               AND NOT EXISTS (SELECT 1 FROM claims c
                               WHERE c.object = COALESCE(w.observable, w.claimed, w.object))",
        remedy: REPAIR,
    },
    Rule {
        invariant: "observables-are-of-views-by-attribute",
        columns: "w.view, w.object, w.observable",
        rows: "FROM wanted w WHERE w.version <> 0
               AND (w.observable IS NOT NULL) <> (w.kind = 'indicator' AND EXISTS
                   (SELECT 1 FROM targets t WHERE t.view = w.view AND t.identity = 'attribute'))",
        remedy: REPAIR,
    },
    // Where an id is not that of the object, the index has them in order.
    Rule {
        invariant: "no-id-twice",
        columns: "a.view, a.stix_id, a.object",
        rows: "FROM wanted a WHERE a.version <> 0 AND a.stix_id <> a.object
               AND EXISTS (SELECT 1 FROM wanted b WHERE b.view = a.view AND b.stix_id = a.stix_id
                           AND b.kind = a.kind AND b.stix_id <> b.object AND b.object <> a.object AND b.version <> 0)",
        remedy: REPAIR,
    },
    Rule {
        invariant: "only-the-newest-generation-lives",
        columns: "a.view, a.object, a.claimed, a.generation",
        rows: "FROM wanted b JOIN wanted a ON a.view = b.view AND a.object <> b.object
                   AND (a.object = b.claimed OR a.claimed = b.claimed)
               WHERE b.claimed IS NOT NULL AND a.version <> 0 AND a.generation <= b.generation",
        remedy: REPAIR,
    },
    Rule {
        invariant: "relationships-have-their-ends",
        columns: "w.view, w.object, w.source",
        rows: "FROM wanted w WHERE w.kind = 'relationship' AND w.version <> 0
               AND (w.source IS NULL OR NOT EXISTS
                   (SELECT 1 FROM wanted i WHERE i.view = w.view AND i.object = w.source
                    AND i.kind = 'indicator' AND i.version <> 0))",
        remedy: REPAIR,
    },
    Rule {
        invariant: "only-relationships-end",
        columns: "w.view, w.object, w.kind",
        rows: "FROM wanted w WHERE w.kind NOT IN ('indicator', 'relationship') AND w.version = 0
               OR w.kind = 'relationship' AND w.version = 0 AND NOT w.revoke",
        remedy: REPAIR,
    },
    Rule {
        invariant: "delivered-rows-have-targets",
        columns: "d.target, d.object",
        rows: "FROM delivered d WHERE d.target NOT IN (SELECT target FROM targets)",
        remedy: "configure a target of that name once, or take the name's rows for lost: its indicators stay in Sentinel until their valid_until",
    },
    Rule {
        invariant: "queues-have-targets",
        columns: "q.target, q.change, q.lane",
        rows: "FROM queue q WHERE q.target NOT IN (SELECT target FROM targets)
               OR q.lane NOT IN (0, 1, 2) OR q.change < 0",
        remedy: "restart the relay: it drops the queues of unknown targets",
    },
    Rule {
        invariant: "changes-are-counted",
        columns: "w.view, w.object, w.change",
        rows: "FROM wanted w WHERE w.change > (SELECT value FROM counters WHERE name = 'change')",
        remedy: REPAIR,
    },
    Rule {
        invariant: "held-claims-exist",
        columns: "h.source, h.event, h.attribute, h.part",
        rows: "FROM held h LEFT JOIN claims c ON c.source = h.source AND c.event = h.event
                   AND c.attribute = h.attribute AND c.part = h.part
               WHERE c.event IS NULL",
        remedy: REREAD,
    },
    Rule {
        invariant: "reads-are-sound",
        columns: "r.source, r.event, r.lane, r.asked, r.attempts, r.weight",
        rows: "FROM reads r WHERE r.lane NOT IN (0, 1, 2, 3) OR r.asked < 1 OR r.attempts < 0
               OR r.weight < 0 OR r.due_at < 0",
        remedy: REREAD,
    },
];

const TOMBSTONES: Rule = Rule {
    invariant: "tombstones-are-sound",
    columns: "t.source, t.attribute, t.object, t.timestamp, t.withdrawn_at",
    rows: "FROM tombstones t WHERE t.timestamp < 0 OR t.withdrawn_at <= 0",
    remedy: "none needed: such a tombstone ends by itself",
};

impl Ledger {
    /// Judges every invariant on one snapshot, the cheap ones last, and tells each as it is done.
    /// The writer is not held up; memory stays small whatever the size of the ledger.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn check(
        &self,
        views: &Views,
        now: i64,
        findings: mpsc::Sender<Finding>,
    ) -> sqlx::Result<()> {
        let mut snapshot = self.readers.begin().await?;
        // Whoever asked may be gone: the next check ends early then.
        let tell = async |finding: Finding| findings.send(finding).await.is_ok();
        if !tell(sound(&mut snapshot).await?).await {
            return Ok(());
        }
        for finding in judged(&mut snapshot, views, now).await? {
            tell(finding).await;
        }
        for rule in RULES.iter().chain([&TOMBSTONES]) {
            if !tell(apply(&mut snapshot, rule).await?).await {
                return Ok(());
            }
        }
        tell(queued(&mut snapshot, now).await?).await;
        Ok(())
    }

    /// Has the next start judge all claims anew and compare every target with the result; what
    /// nothing claims is withdrawn at once.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn judge_anew(&self, views: &Views, now: i64) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        start::forget_views(&mut tx).await?;
        sqlx::query(
            "UPDATE counters SET value = (SELECT COALESCE(MAX(change), 0) FROM wanted)
             WHERE name = 'change' AND value < (SELECT MAX(change) FROM wanted)",
        )
        .execute(&mut *tx)
        .await?;
        let targets: Vec<String> =
            sqlx::query_scalar("SELECT target FROM targets WHERE mode <> 'absent'")
                .fetch_all(&mut *tx)
                .await?;
        for target in targets {
            queue_everything(&mut tx, &target, now).await?;
        }
        tx.commit().await?;
        for view in views.iter() {
            while self.withdraw_unclaimed(views, &view.name, now).await? {}
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// A step of it in one of the views; whether there may be more.
    async fn withdraw_unclaimed(&self, views: &Views, view: &str, now: i64) -> sqlx::Result<bool> {
        let mut tx = self.begin().await?;
        let unclaimed: Vec<Uuid> = sqlx::query_scalar(
            "SELECT COALESCE(w.observable, w.claimed, w.object) FROM wanted w
             WHERE w.view = $1 AND w.version <> 0 AND w.kind = 'indicator' AND NOT EXISTS
                 (SELECT 1 FROM claims c
                  WHERE c.object = COALESCE(w.observable, w.claimed, w.object))
             LIMIT $2",
        )
        .bind(view)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        let mut change = Change::new(views, None, now);
        refresh(&mut tx, &unclaimed, &mut change).await?;
        tx.commit().await?;
        Ok(!unclaimed.is_empty())
    }
}

/// SQLite's own check of the file.
async fn sound(tx: &mut Writing) -> sqlx::Result<Finding> {
    let mut finding = Finding::new(
        "file-is-sound",
        "stop the relay and restore ledger.db from a backup, or move it away: a resync rebuilds it and the ids stay the same",
    );
    let told: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut **tx).await?;
    for words in told.iter().filter(|words| *words != "ok") {
        finding.add(|| words.clone());
    }
    Ok(finding)
}

async fn apply(tx: &mut Writing, rule: &Rule) -> sqlx::Result<Finding> {
    let Rule { invariant, columns, rows, remedy } = rule;
    let mut finding = Finding::new(invariant, remedy);
    let count = AssertSqlSafe(format!("SELECT count(*) {rows}"));
    let broken: i64 = sqlx::query_scalar(count).fetch_one(&mut **tx).await?;
    finding.broken = broken.unsigned_abs();
    if broken > 0 {
        let some = AssertSqlSafe(format!("SELECT {columns} {rows} LIMIT {EXAMPLES}"));
        let found = sqlx::query(some).fetch_all(&mut **tx).await?;
        finding.examples = found.iter().map(export::object).collect::<sqlx::Result<_>>()?;
    }
    Ok(finding)
}

/// Every wanted object is what its claims give now, and the other way round.
async fn judged(tx: &mut Writing, views: &Views, now: i64) -> sqlx::Result<Vec<Finding>> {
    let unfinished: Vec<(String, Uuid)> =
        sqlx::query_as("SELECT source, event FROM events WHERE unfinished <> 0")
            .fetch_all(&mut **tx)
            .await?;
    let are_current = start::unjudged(tx, views).await?.is_empty();
    let mut judging = Judging::new(unfinished.into_iter().collect::<HashSet<_>>(), now);
    if !are_current {
        judging.wanted.left_out = Some(
            "the configuration is not the one of the last run, or its claims are still being judged anew: the next start does that first".into(),
        );
    }
    judging.context.left_out.clone_from(&judging.wanted.left_out);
    judging.go(tx, views).await?;
    Ok(vec![judging.keys, judging.readable, judging.wanted, judging.context])
}

/// What a target has still to be sent is where its sender looks for it.
async fn queued(tx: &mut Writing, now: i64) -> sqlx::Result<Finding> {
    let mut finding = Finding::new("pending-objects-are-queued", REPAIR);
    let targets: Vec<(String, String)> =
        sqlx::query_as("SELECT target, view FROM targets WHERE mode <> 'absent'")
            .fetch_all(&mut **tx)
            .await?;
    let rows = format!(
        "FROM wanted w LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
         WHERE w.view = $3 AND {UNSETTLED}
         AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.target = $2 AND q.change IN (0, w.change))"
    );
    for (target, view) in targets {
        let broken: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) {rows}")))
            .bind(now)
            .bind(&target)
            .bind(&view)
            .fetch_one(&mut **tx)
            .await?;
        finding.broken += broken.unsigned_abs();
        if broken == 0 {
            continue;
        }
        let columns = "$2 AS target, w.object, w.stix_id, w.change";
        let some = AssertSqlSafe(format!("SELECT {columns} {rows} LIMIT {EXAMPLES}"));
        let found =
            sqlx::query(some).bind(now).bind(&target).bind(&view).fetch_all(&mut **tx).await?;
        for row in &found {
            finding.examples.push(export::object(row)?);
        }
    }
    Ok(finding)
}
