//! What must be true of a ledger at any moment, whatever was killed and when: each invariant has a
//! name, and a remedy for when it does not hold.

pub(super) mod rules;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::rules::{REPAIR, RULES, Rule};
use super::apply::STEP;
use super::change::Change;
use super::delivered::queue_everything;
use super::export::Object;
use super::judged::Judging;
use super::queue::unsettled;
use super::sql::{Result, SqlError, Transaction, statements, values};
use super::wanted::refresh;
use super::{Ledger, Views, start};

/// What is [`unsettled`] at a target and in no change of its queue.
macro_rules! unqueued {
    () => {
        concat!(
            "FROM wanted w LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
             WHERE w.view = $3 AND ",
            unsettled!(),
            " AND NOT EXISTS (SELECT 1 FROM queue q
                              WHERE q.target = $2 AND q.change IN (0, w.change))"
        )
    };
}

statements! {
    RAISE_CHANGE() = "UPDATE counters SET value = (SELECT COALESCE(MAX(change), 0) FROM wanted)
        WHERE name = 'change' AND value < (SELECT MAX(change) FROM wanted)";
    PRESENT() = "SELECT target FROM targets WHERE mode <> 'absent'";
    PRESENT_WITH_VIEWS() = "SELECT target, view FROM targets WHERE mode <> 'absent'";
    UNCLAIMED(Text, Integer) = "SELECT COALESCE(w.observable, w.claimed, w.object) FROM wanted w
        WHERE w.view = $1 AND w.version <> 0 AND w.kind = 'indicator' AND NOT EXISTS
            (SELECT 1 FROM claims c WHERE c.object = COALESCE(w.observable, w.claimed, w.object))
        LIMIT $2";
    UNFINISHED() = "SELECT source, event FROM events WHERE unfinished <> 0";
    UNQUEUED(Integer, Text, Text) = concat!("SELECT count(*) ", unqueued!());
    UNQUEUED_EXAMPLES(Integer, Text, Text, Integer) = concat!(
        "SELECT CAST($2 AS TEXT) AS target, w.object, w.stix_id, w.change ",
        unqueued!(),
        " LIMIT $4"
    );
}

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

impl Ledger {
    /// Judges every invariant on one snapshot, the cheap ones last, and tells each as it is done.
    /// The writer is not held up; memory stays small whatever the size of the ledger.
    pub async fn check(
        &self,
        views: &Views,
        now: i64,
        findings: mpsc::Sender<Finding>,
    ) -> Result<()> {
        let views = views.clone();
        self.read_long(move |snapshot| {
            // Whoever asked may be gone: the next check ends early then.
            let tell = |finding: Finding| findings.blocking_send(finding).is_ok();
            if !tell(sound(snapshot)?) {
                return Ok(());
            }
            for finding in judged(snapshot, &views, now)? {
                tell(finding);
            }
            for rule in RULES {
                if !tell(apply(snapshot, rule)?) {
                    return Ok(());
                }
            }
            tell(queued(snapshot, now)?);
            Ok(())
        })
        .await
    }

    /// Has the next start judge all claims anew and compare every target with the result; what
    /// nothing claims is withdrawn at once.
    pub async fn judge_anew(&self, views: &Views, now: i64) -> Result<()> {
        self.write(move |unit| {
            start::forget_views(unit)?;
            unit.execute(&RAISE_CHANGE, &values![])?;
            let targets: Vec<String> = unit.rows(&PRESENT, &values![])?;
            for target in targets {
                queue_everything(unit, &target, now)?;
            }
            Ok(())
        })
        .await?;
        for view in views.iter() {
            while self.withdraw_unclaimed(views, &view.name, now).await? {}
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// A step of it in one of the views; whether there may be more.
    async fn withdraw_unclaimed(&self, views: &Views, view: &str, now: i64) -> Result<bool> {
        let (views, view) = (views.clone(), view.to_owned());
        let step = i64::try_from(STEP).unwrap_or(i64::MAX);
        self.write(move |unit| {
            let unclaimed: Vec<Uuid> = unit.rows(&UNCLAIMED, &values![&view, step])?;
            let mut change = Change::new(&views, None, now);
            refresh(unit, &unclaimed, &mut change)?;
            Ok(!unclaimed.is_empty())
        })
        .await
    }
}

/// SQLite's own check of the file.
fn sound(tx: &Transaction<'_>) -> Result<Finding> {
    let mut finding = Finding::new(
        "file-is-sound",
        "stop the relay and restore ledger.db from a backup, or move it away: a resync rebuilds it and the ids stay the same",
    );
    for words in tx.damage()? {
        finding.add(|| words);
    }
    Ok(finding)
}

fn apply(tx: &Transaction<'_>, rule: &Rule) -> Result<Finding> {
    let mut finding = Finding::new(rule.invariant, rule.remedy);
    let broken: i64 = tx.row(&rule.count, &values![])?.ok_or(SqlError::NoRow)?;
    finding.broken = broken.unsigned_abs();
    if broken > 0 {
        let found: Vec<Object> = tx.rows(&rule.examples, &values![most_examples()])?;
        finding.examples = found.into_iter().map(|Object(json)| json).collect();
    }
    Ok(finding)
}

fn most_examples() -> i64 {
    i64::try_from(EXAMPLES).unwrap_or(i64::MAX)
}

/// Every wanted object is what its claims give now, and the other way round.
fn judged(tx: &Transaction<'_>, views: &Views, now: i64) -> Result<Vec<Finding>> {
    let unfinished: Vec<(String, Uuid)> = tx.rows(&UNFINISHED, &values![])?;
    let are_current = start::unjudged(tx, views)?.is_empty();
    let mut judging = Judging::new(unfinished.into_iter().collect::<HashSet<_>>(), now);
    if !are_current {
        judging.wanted.left_out = Some(
            "the configuration is not the one of the last run, or its claims are still being judged anew: the next start does that first".into(),
        );
    }
    judging.context.left_out.clone_from(&judging.wanted.left_out);
    judging.go(tx, views)?;
    Ok(vec![judging.keys, judging.readable, judging.wanted, judging.context])
}

/// What a target has still to be sent is where its sender looks for it.
fn queued(tx: &Transaction<'_>, now: i64) -> Result<Finding> {
    let mut finding = Finding::new("pending-objects-are-queued", REPAIR);
    let targets: Vec<(String, String)> = tx.rows(&PRESENT_WITH_VIEWS, &values![])?;
    for (target, view) in targets {
        let broken: Option<i64> = tx.row(&UNQUEUED, &values![now, &target, &view])?;
        let broken = broken.ok_or(SqlError::NoRow)?;
        finding.broken += broken.unsigned_abs();
        if broken == 0 {
            continue;
        }
        let values = values![now, &target, &view, most_examples()];
        let found: Vec<Object> = tx.rows(&UNQUEUED_EXAMPLES, &values)?;
        finding.examples.extend(found.into_iter().map(|Object(json)| json));
    }
    Ok(finding)
}
