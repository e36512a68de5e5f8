//! What a snapshot means for the copies of its attributes in other sources. With one source none of this costs anything.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::{Added, Application};
use crate::ledger::change::Change;
use crate::ledger::copies;
use crate::ledger::judgement::Origin;
use crate::ledger::refresh::refresh;
use crate::ledger::sql::{Result, Transaction};
use crate::ledger::tables::claims::{self, AttributeCopy};
use crate::ledger::tables::events::{self, LastRead};
use crate::ledger::tables::keys::EventKey;
use crate::ledger::tables::reads::{self, Asking};
use crate::ledger::tables::tombstones::{self, Tombstone};
use crate::pure::convert::{Claim, ClaimFacts};

/// What a snapshot says of an attribute without claiming that. It is deleted, its value makes no claim any more, or it
/// was edited and not published yet.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// MISP's time of it, Unix seconds.
    pub timestamp: i64,
    /// The observables that the attribute goes on naming.
    pub kept: Vec<Uuid>,
    /// Whether only `to_ids` is off.
    pub ids_only: bool,
}

/// What a chunk says that may matter to copies.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// By attribute.
    pub statements: HashMap<Uuid, Statement>,
    /// New and altered claims: their attributes, each with its timestamp.
    pub altered: Vec<(Uuid, i64)>,
    /// Other attributes whose copies are to be judged again.
    pub touched: Vec<Uuid>,
}

impl Spoken {
    /// Takes in an attribute that was edited since its publication. `object`: what it claims by now.
    pub(super) fn hear_edit(&mut self, claim: &Claim, object: Uuid) {
        let ClaimFacts { timestamp, to_ids, .. } = claim.facts;
        let statement = self.statements.entry(claim.attribute).or_insert_with(|| Statement {
            timestamp,
            kept: Vec::new(),
            ids_only: !to_ids,
        });
        if to_ids {
            statement.kept.push(object);
        }
    }
}

impl Statement {
    /// Whether the copy is older and says something else.
    fn overrules(&self, copy: &AttributeCopy) -> bool {
        let is_older =
            copy.timestamp < self.timestamp || copy.timestamp == self.timestamp && !self.ids_only;
        is_older && !self.kept.contains(&copy.object)
    }
}

impl Application {
    /// Judges the copies of the chunk's attributes again. `merged`: the observables that were merged already.
    pub(super) fn speak(
        &self,
        tx: &Transaction<'_>,
        spoken: &Spoken,
        merged: &[Uuid],
        change: &mut Change<'_>,
    ) -> Result<()> {
        let all = spoken.statements.keys().copied().chain(spoken.touched.iter().copied());
        let all: HashSet<Uuid> =
            all.chain(spoken.altered.iter().map(|(attribute, _)| *attribute)).collect();
        let mut copies = claims::copies_of(tx, all)?;
        copies.retain(|copy| copy.event.source != self.source);
        let merged: HashSet<&Uuid> = merged.iter().collect();
        let mut objects = BTreeSet::new();
        for copy in &copies {
            let statement = spoken.statements.get(&copy.attribute);
            if let Some(statement) = statement.filter(|statement| statement.overrules(copy)) {
                self.overrule(tx, statement, copy, change)?;
            } else if merged.contains(&copy.object) {
                continue;
            }
            objects.insert(copy.object);
        }
        self.ask_for_missing(tx, spoken, &copies, change)?;
        refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change)
    }

    /// Remembers a statement that no claim shows.
    fn overrule(
        &self,
        tx: &Transaction<'_>,
        Statement { timestamp, kept, ids_only }: &Statement,
        copy: &AttributeCopy,
        change: &Change<'_>,
    ) -> Result<()> {
        let object = if kept.is_empty() { Uuid::nil() } else { copy.object };
        let tombstone = Tombstone::of(copy.attribute, *timestamp);
        let tombstone = Tombstone { object, ids_only: *ids_only, ..tombstone };
        tombstones::bury(tx, &self.source, &tombstone, change.opened_at)
    }

    /// Has another source's copy of the event read if that was changed later than an attribute here, and claims nothing
    /// by it: the attribute may be deleted there. The ledger keeps no such statement before there is a copy that it
    /// overrules.
    fn ask_for_missing(
        &self,
        tx: &Transaction<'_>,
        spoken: &Spoken,
        copies: &[AttributeCopy],
        change: &Change<'_>,
    ) -> Result<()> {
        let event = self.head.facts.uuid;
        if spoken.altered.is_empty() {
            return Ok(());
        }
        for other in change.sources(tx)?.others(&self.source) {
            let last = events::last_reads(tx, other, &[event])?;
            // A source that was never read over REST cannot be asked.
            let Some(LastRead { timestamp, .. }) =
                last.into_iter().find(|last| !last.is_deleted && last.date > 0)
            else {
                continue;
            };
            let shown = copies.iter().filter(|copy| copy.event.source == other);
            let shown: HashSet<Uuid> = shown.map(|copy| copy.attribute).collect();
            let is_missing =
                |(attribute, at): &(Uuid, i64)| *at < timestamp && !shown.contains(attribute);
            if spoken.altered.iter().any(is_missing) {
                let key = EventKey::new(other, event);
                // The answer may be what the ledger holds already, and still tell of the attribute.
                events::forget_content(tx, key)?;
                reads::ask(tx, key, Asking::at_once(change.opened_at), change.opened_at)?;
            }
        }
        Ok(())
    }

    /// Forgets the withdrawals of attributes that a read does not show at all, not even as deleted: they are gone for
    /// good, so this source says nothing of them any more. Only a key that sees all shows what is deleted.
    pub(super) fn let_go(
        &self,
        tx: &Transaction<'_>,
        last: &Added,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let Origin::Read(read) = self.origin else { return Ok(()) };
        if !read.of_our_view || !read.sees_all {
            return Ok(());
        }
        let shown: HashSet<&Uuid> = self.shown.iter().chain(&last.shown).collect();
        let is_gone = |attribute: &Uuid| !shown.contains(attribute);
        copies::let_go(tx, self.key(), is_gone, read.began, change)
    }
}
