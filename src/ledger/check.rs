//! Checks the invariants of a ledger, which must hold at any moment, even if the relay was killed. Each invariant has a
//! name, and a remedy for when it does not hold.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::change::Change;
use super::finding::{EXAMPLES, Finding};
use super::judged::Judging;
use super::refresh::refresh;
use super::sql::{Result, Transaction};
use super::tables::claims::{self, STEP_ROWS};
use super::tables::invariants::{self, REPAIR, RULES, Rule, RuleBreach};
use super::tables::targets::{self, RegisteredTarget, TargetView};
use super::tables::{counters, events, queue, settings, wanted};
use super::{Ledger, Views, start};

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
            if !judged(snapshot, &views, now)?.into_iter().all(tell) {
                return Ok(());
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
            settings::forget_all_judged(unit)?;
            claims::delete_orphans(unit)?;
            // A number that is in use must not be given once more.
            counters::raise(unit)?;
            for known in targets::present(unit)? {
                queue::open_everything(unit, &known.entry.target, now)?;
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
        self.write_step(move |unit| {
            let unclaimed = wanted::unclaimed(unit, &view, STEP_ROWS)?;
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
    let RuleBreach { count, examples } = rule.broken(tx, most_examples())?;
    Ok(Finding { broken: count, examples, ..Finding::new(rule.invariant, rule.remedy) })
}

fn most_examples() -> i64 {
    i64::try_from(EXAMPLES).unwrap_or(i64::MAX)
}

/// Every wanted object is what its claims give now, and the other way round.
fn judged(tx: &Transaction<'_>, views: &Views, now: i64) -> Result<Vec<Finding>> {
    let are_current = start::unjudged(tx, views)?.is_empty();
    let mut judging =
        Judging::new(events::unfinished_of_all(tx)?.into_iter().collect::<HashSet<_>>(), now);
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
    for RegisteredTarget { entry, view } in targets::present(tx)? {
        let seeing = TargetView { target: &entry.target, view: &view };
        let RuleBreach { count, examples } =
            invariants::unqueued(tx, seeing, now, most_examples())?;
        finding.broken += count;
        finding.examples.extend(examples);
    }
    Ok(finding)
}
