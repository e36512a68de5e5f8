//! All claims judged and merged once more, for `ledger check`: what is wanted has to be the result.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use super::check::Finding;
use super::claimed::{ClaimRow, Claimed, claims_of, load_events};
use super::context;
use super::generations::{self, Newest, newest};
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::{Merged, WITHDRAWN, merge};
use super::{View, Views};

statements! {
    OBJECTS(Bytes, Integer) = "SELECT DISTINCT object FROM claims
         WHERE object > $1 ORDER BY object LIMIT $2";
    WANTED(Text, Bytes) = "SELECT COALESCE(claimed, object), COALESCE(observable, claimed, object),
             object, stix_id, body, valid_from, valid_until, version
         FROM wanted WHERE view = $1 AND object = $2";
}

/// Objects at a time.
const CHUNK: i64 = 500;

/// The invariants that need a look at every claim.
#[derive(Debug)]
pub(super) struct Judging {
    pub keys: Finding,
    pub readable: Finding,
    pub wanted: Finding,
    pub context: Finding,
    /// Events whose claims are being merged anew: they may differ for a while.
    unfinished: HashSet<(String, Uuid)>,
    /// Unix milliseconds.
    now: i64,
}

row! {
    #[derive(Debug)]
    pub(super) struct WantedRow {
        key: Uuid,
        /// The key of its claims.
        pub observable: Uuid,
        pub object: Uuid,
        pub stix_id: Uuid,
        pub body: String,
        pub valid_from: i64,
        pub valid_until: i64,
        pub version: i64,
    }
}

impl WantedRow {
    fn is(&self, merged: &Merged) -> bool {
        let indicator = &merged.indicator;
        self.version == indicator.fingerprint
            && self.object == merged.place.object
            && self.stix_id == merged.place.stix_id
            && self.body == indicator.body
            && self.valid_from == indicator.valid_from
            && self.valid_until == indicator.valid_until
    }
}

impl Judging {
    pub(super) fn new(unfinished: HashSet<(String, Uuid)>, now: i64) -> Self {
        Self {
            keys: Finding::new(
                "claims-have-their-keys",
                "set indicator.namespace back, or start once with --rehome",
            ),
            readable: Finding::new(
                "claims-are-readable",
                "`resync --event UUID` reads the event anew",
            ),
            wanted: Finding::new(
                "wanted-is-what-claims-give",
                "`ledger check --repair`, then restart the relay: it judges every claim anew",
            ),
            context: Finding::new(
                "context-is-what-indicators-need",
                "`ledger check --repair`, then restart the relay: it judges every claim anew",
            ),
            unfinished,
            now,
        }
    }

    /// Goes through all claims in the order of their objects.
    pub(super) fn go(&mut self, tx: &Transaction<'_>, views: &Views) -> Result<()> {
        let mut after = Uuid::nil();
        loop {
            let objects: Vec<Uuid> = tx.rows(&OBJECTS, &values![after, CHUNK])?;
            let Some(last) = objects.last() else { return Ok(()) };
            after = *last;
            let claims = claims_of(tx, &objects, views)?;
            self.look_at(views, &claims);
            let views = views.iter().filter(|_| self.wanted.left_out.is_none());
            for view in views.collect::<Vec<_>>() {
                self.compare(tx, view, &objects, &claims)?;
            }
        }
    }

    fn look_at(&mut self, views: &Views, claims: &[Claimed]) {
        for Claimed { row: claim, facts, .. } in claims {
            let place = || {
                json!({"source": claim.source, "event": claim.event, "attribute": claim.attribute,
                       "part": claim.part, "object": claim.object})
                .to_string()
            };
            if views.object_key(&claim.observable()) != claim.object {
                self.keys.add(place);
            }
            if facts.is_none() {
                self.readable.add(place);
            }
        }
    }

    fn compare(
        &mut self,
        tx: &Transaction<'_>,
        view: &View,
        objects: &[Uuid],
        claims: &[Claimed],
    ) -> Result<()> {
        let mut events = HashMap::new();
        load_events(tx, claims, &mut events)?;
        let newest = newest(tx, view, (objects, claims))?;
        let place =
            |key: Uuid, first: &ClaimRow| generations::place(view, first, newest.get(&key), false);
        let outcome = merge(view, claims, &events, place);
        let merged = outcome.merged.into_iter();
        let mut merged: HashMap<Uuid, Merged> = merged.map(|one| (one.key, one)).collect();
        let wanted = wanted_of(tx, &view.name, &newest)?;
        let moving: BTreeSet<Uuid> = claims
            .iter()
            .map(|claim| &claim.row)
            .filter(|claim| self.unfinished.contains(&(claim.source.clone(), claim.event)))
            .map(|claim| view.key(claim))
            .chain(outcome.waiting)
            .collect();
        let standing: Vec<&Merged> =
            merged.values().filter(|one| !moving.contains(&one.key)).collect();
        for (object, needed) in context::astray(tx, view, &standing, self.now)? {
            let example = json!({"view": view.name, "object": object, "context": needed});
            self.context.add(|| example.to_string());
        }
        let keys: BTreeSet<Uuid> = merged.keys().chain(wanted.keys()).copied().collect();
        for object in keys.difference(&moving) {
            let (merged, wanted) = (merged.remove(object), wanted.get(object));
            let holds = match (&merged, wanted) {
                (Some(merged), Some(wanted)) => wanted.is(merged),
                (None, Some(wanted)) => wanted.version == WITHDRAWN,
                (Some(_), None) => false,
                (None, None) => true,
            };
            if !holds {
                self.wanted.add(|| {
                    json!({"view": view.name, "object": object,
                           "stix_id": wanted.map(|wanted| wanted.stix_id),
                           "wanted": wanted.map(|wanted| wanted.version),
                           "claims_give": merged.map(|merged| merged.indicator.fingerprint)})
                    .to_string()
                });
            }
        }
        Ok(())
    }
}

/// The newest objects, by the key of their claims.
pub(super) fn wanted_of(
    tx: &Transaction<'_>,
    view: &str,
    newest: &HashMap<Uuid, Newest>,
) -> Result<HashMap<Uuid, WantedRow>> {
    let objects = newest.values().map(|known| values![view, known.object]);
    let rows: Vec<WantedRow> = tx.rows_each(&WANTED, objects)?;
    Ok(rows.into_iter().map(|row| (row.key, row)).collect())
}
