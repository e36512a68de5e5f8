//! Tests with two MISPs, `a` and `b`, that share an event. The ledger came to know `a` first.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::config::Guard;
use crate::config::{LedgerConfig, OnUnpublish};
use crate::ledger::apply::Application;
use crate::ledger::begin::{self, Begun};
use crate::ledger::judgement::Asked;
use crate::ledger::snapshot::{self, Chunk, Source};
use crate::ledger::sql::{ParameterType, Statement, values};
use crate::ledger::tables::claims::ClaimGroup;
use crate::ledger::tables::events::{self, DeletedAt, ShownHead};
use crate::ledger::tables::packed::UnpackedBody;
use crate::ledger::withdraw::{self, Ending};
use crate::ledger::{Adopted, InForce, Ledger, Member, Unit, Views, beside, load_warninglists};
use crate::ledger::{ForgottenSource, Telling};
use crate::pure::explain::{ExplainLine, Teller};
use crate::pure::stix::{Identity, Withdraw};
use crate::pure::warninglist::{List, ListHead, ListKind, Lists, Texts};

const NOW: i64 = 1_795_000_000_000;

/// When everything was said first, Unix seconds.
const FIRST: i64 = NOW / 1_000 - 10_000;

const EVENT: &str = "58634bba-6203-49db-85e0-06c10dc6430e";

static LIVE: Statement = Statement::new(
    "SELECT observable, version, body FROM wanted
     WHERE view = $1 AND kind = 'indicator' AND version <> 0 ORDER BY observable",
    &[ParameterType::Text],
);
static REGISTER: Statement = Statement::new(
    "INSERT INTO targets (target, view, mode, workspace, sourcesystem)
     VALUES ($1, $1, 'live', 'w', 's')",
    &[ParameterType::Text],
);

fn uuid(attribute: u8) -> Uuid {
    some_uuid(u128::from(attribute))
}

fn some_uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x5863_4bba_6203_49db_85e0_06c1_0dc6_0000 + number)
}

fn event_key(source: &str) -> EventKey<'_> {
    EventKey::new(source, Uuid::try_parse(EVENT).unwrap())
}

/// A domain, `later` than [`FIRST`] by so many seconds.
fn domain(attribute: u8, name: &str, later: i64) -> Value {
    json!({"id": attribute.to_string(), "uuid": uuid(attribute), "type": "domain",
           "category": "Network activity", "to_ids": true, "distribution": "5",
           "sharing_group_id": "0", "timestamp": (FIRST + later).to_string(),
           "deleted": false, "comment": "", "value": format!("{name}.example")})
}

/// The same with other members.
fn with(mut attribute: Value, members: &Value) -> Value {
    let members = members.as_object().unwrap().clone();
    attribute.as_object_mut().unwrap().extend(members);
    attribute
}

fn tagged(attribute: Value, tag: &str) -> Value {
    with(attribute, &json!({"Tag": [{"id": "1", "name": tag, "local": false}]}))
}

fn sighted(attribute: Value, sightings: &[(u128, &str, i64)]) -> Value {
    let sightings = sightings.iter().map(|(uuid, kind, at)| {
        json!({"id": "1", "uuid": some_uuid(1_000 + *uuid), "type": kind,
               "date_sighting": at.to_string(), "source": ""})
    });
    with(attribute, &json!({"Sighting": sightings.collect::<Vec<_>>()}))
}

/// How MISP shows an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Pushed,
    Read,
    /// Since the publication it was edited.
    ReadUnpublished,
    /// The search of the source does not select it.
    ReadUnselected,
    /// By a key with another view than the one that filled the ledger.
    ReadOfOtherView,
}

/// A withdrawal of an attribute, so many seconds after the first publication.
fn ending(attribute: u8, later: i64) -> Ending {
    let group = ClaimGroup::OfAttribute(uuid(attribute));
    let (ids_only, for_good, why) = (false, false, "deleted");
    Ending { group, timestamp: FIRST + later, keep: None, ids_only, for_good, why }
}

struct World {
    ledger: Ledger,
    views: Views,
    now: i64,
    folder: tempfile::TempDir,
}

impl World {
    /// With two targets: `soc` has the common policy, and `sector` hears `b` alone.
    async fn with(settings: &str) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        let ledger = Ledger::open(&config).await.unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, settings).unwrap();
        let mut rules = crate::config::load_rules(Some(&file), std::iter::empty()).unwrap();
        let urls = ["a", "b"].map(|name| (name.to_owned(), format!("https://{name}.example")));
        rules.rendering.public_urls = urls.into_iter().collect();
        let mut sector = rules.policy.clone();
        sector.sources = vec!["b".to_owned()];
        let member = |name: &'static str, policy| Member {
            target: name.to_owned(),
            name,
            enabled: true,
            policy,
            identity: Identity::Observable,
            withdraw: Withdraw::Expire,
            only_indicators: false,
        };
        let members = [member("default", &rules.policy), member("sector", &sector)];
        let views = Views::new(&members, &rules.policy, &rules.rendering);
        let register = |unit: &Unit<'_>| {
            unit.execute_each(&REGISTER, ["default", "sector"].map(|name| values![name]))
        };
        ledger.write(register).await.unwrap();
        ledger.register_sources(&["a".to_owned(), "b".to_owned()]).await.unwrap();
        ledger.reevaluate(&views, NOW, |_| {}).await.unwrap();
        Self { ledger, views, now: NOW, folder }
    }

    async fn new() -> Self {
        Self::with("").await
    }

    async fn work<T: Send + 'static>(
        &mut self,
        work: impl Fn(&Unit<'_>, &mut Change<'_>) -> Result<T> + Send + 'static,
    ) -> T {
        self.now += 10_000;
        let (views, now) = (self.views.clone(), self.now);
        let unit = self.ledger.write(move |unit| work(unit, &mut Change::new(&views, None, now)));
        unit.await.unwrap()
    }

    /// Has a source show the event, edited last `later` than [`FIRST`]. Returns whether that changed what is wanted.
    async fn show(
        &mut self,
        source: &'static str,
        how: How,
        later: i64,
        shown: Vec<Value>,
    ) -> bool {
        self.show_with(source, how, later, shown, json!([])).await
    }

    /// The same with MISP objects.
    async fn show_with(
        &mut self,
        source: &'static str,
        how: How,
        later: i64,
        shown: Vec<Value>,
        objects: Value,
    ) -> bool {
        let timestamp = (FIRST + later).to_string();
        let published = how != How::ReadUnpublished;
        let publication = if published { timestamp.clone() } else { FIRST.to_string() };
        let event = json!({"Event": {"id": "1", "uuid": EVENT, "info": "an event",
            "date": "2026-01-01", "threat_level_id": "4", "analysis": "0", "distribution": "3",
            "sharing_group_id": "0", "published": published, "timestamp": timestamp,
            "publish_timestamp": publication,
            "Orgc": {"id": "1", "name": "CERT", "uuid": some_uuid(7_000)},
            "Tag": [], "Attribute": shown, "Object": objects}});
        self.take_in(source, how, &event).await
    }

    async fn take_in(&mut self, source: &'static str, how: How, event: &Value) -> bool {
        self.now += 10_000;
        let stored = self.ledger.read(move |tx| events::stored(tx, event_key(source))).await;
        let sequence = stored.unwrap().map_or(0, |stored| stored.sequence);
        let began = self.now;
        let asked = Asked {
            began,
            sequence,
            date: began / 1_000,
            selected: how != How::ReadUnselected,
            of_our_view: how != How::ReadOfOtherView,
            sees_all: true,
        };
        let shown = match how {
            How::Pushed => Source::Push { weigh: false, received: began / 1_000 },
            How::Read | How::ReadUnpublished | How::ReadUnselected | How::ReadOfOtherView => {
                Source::Read(asked, OnUnpublish::Keep)
            }
        };
        let document = axum::body::Bytes::from(event.to_string());
        let read = snapshot::read(document, self.folder.path(), 7, shown).await;
        let mut snapshot = read.unwrap_or_else(|refusal| panic!("{refusal}"));
        let mut chunks: Vec<Chunk> = Vec::new();
        while let Some(chunk) = snapshot.chunks.next().await {
            chunks.push(chunk);
        }
        let chunk = Arc::new(chunks.pop().unwrap());
        let head = Arc::clone(&snapshot.head);
        self.work(move |unit, change| {
            let begun = begin::begin(unit, source, &head.facts, head.content, head.origin)?;
            let application: Box<Application> = match begun {
                Begun::Started(application) => application,
                Begun::Unchanged => return Ok(false),
                other @ (Begun::Stale | Begun::Deleted | Begun::Overtaken) => panic!("{other:?}"),
            };
            let Some(added) = application.add(unit, &chunk, change)? else { panic!("it is alone") };
            beside::take_in_sightings(unit, event_key(source), &chunk.sighted, change)?;
            let mut ending = application.judge_absent(unit, &added, None, change)?;
            while !ending.end_some(unit, change)? {}
            ending.finish(unit, head.content, "{}")?;
            if head.origin.is_read() {
                let timestamp = head.facts.timestamp;
                let date = began / 1_000;
                let shown = ShownHead { timestamp, publication: timestamp, published: true, date };
                events::note_read(unit, event_key(source), shown)?;
            }
            Ok(!change.is_empty())
        })
        .await
    }

    /// A frame says that an attribute was taken back.
    async fn take_back(&mut self, source: &'static str, attribute: u8, later: i64, ids_only: bool) {
        self.end(source, Ending { ids_only, ..ending(attribute, later) }).await;
    }

    /// A frame says that an attribute was deleted for good.
    async fn delete_for_good(&mut self, source: &'static str, attribute: u8, later: i64) {
        self.end(source, Ending { for_good: true, ..ending(attribute, later) }).await;
    }

    async fn end(&mut self, source: &'static str, ending: Ending) {
        self.work(move |unit, change| {
            withdraw::remember(unit, source, &ending, change)?;
            withdraw::withdraw(unit, event_key(source), &ending, change).map(drop)
        })
        .await;
    }

    async fn delete_event(&mut self, source: &'static str) {
        let heard = self.now;
        self.work(move |unit, change| {
            let key = event_key(source);
            events::delete(unit, key, DeletedAt { timestamp: NOW / 1_000, heard })?;
            let_go(unit, key, |_| true, i64::MAX, change)?;
            while withdraw::end_claims(unit, key, change)? {}
            Ok(())
        })
        .await;
    }

    /// What is live in a view, as STIX, and proof that judging everything anew would change nothing.
    async fn bodies(&self, view: &'static str) -> Vec<Value> {
        let (tell, mut told) = mpsc::channel(100);
        self.ledger.check(&self.views, self.now, tell).await.unwrap();
        while let Some(finding) = told.recv().await {
            let is_judged = finding.invariant == "wanted-is-what-claims-give";
            assert!(!is_judged || finding.holds(), "{finding:?}");
            assert!(!is_judged || finding.left_out.is_none(), "{finding:?}");
        }
        let rows: Vec<(Uuid, i64, UnpackedBody)> =
            self.ledger.read(move |tx| tx.rows(&LIVE, &values![view])).await.unwrap();
        rows.iter().map(|(_, _, body)| serde_json::from_str(&body.0).unwrap()).collect()
    }

    async fn live_in(&self, view: &'static str) -> Vec<String> {
        let name = |body: &Value| {
            let pattern = body["pattern"].as_str().unwrap();
            let name = pattern.trim_start_matches("[domain-name:value = '");
            name.trim_end_matches(".example']").to_owned()
        };
        let mut live: Vec<String> = self.bodies(view).await.iter().map(name).collect();
        live.sort();
        live
    }

    async fn live(&self) -> Vec<String> {
        self.live_in("default").await
    }

    async fn body(&self) -> Value {
        let mut bodies = self.bodies("default").await;
        assert_eq!(bodies.len(), 1);
        bodies.remove(0)
    }
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn the_newest_version_counts_whichever_comes_first() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut world = World::new().await;
        for source in order {
            let shown = match source {
                "a" => domain(1, "old", 0),
                _ => domain(1, "new", 5),
            };
            world.show(source, How::Pushed, 5, vec![shown]).await;
        }
        assert_eq!(world.live().await, ["new"], "{order:?}");
        assert_eq!(world.live_in("sector").await, ["new"]);
        // Where the newer statement is gone, the older one counts again.
        world.delete_event("b").await;
        assert_eq!(world.live().await, ["old"]);
        assert_eq!(world.live_in("sector").await, NONE);
    }
}

#[tokio::test]
async fn to_ids_off_in_the_newer_copy_ends_the_older_one_and_of_one_time_all_count() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    let off = |later| with(domain(1, "evil", later), &json!({"to_ids": false}));
    world.show("b", How::Pushed, 0, vec![off(0)]).await;
    assert_eq!(world.live().await, ["evil"], "of one time each copy is judged by itself");
    world.show("b", How::Pushed, 5, vec![off(5)]).await;
    assert_eq!(world.live().await, NONE);
    // The synchronisation brings the same to the other MISP, and then a newer version.
    world.show("a", How::Pushed, 5, vec![off(5)]).await;
    assert_eq!(world.live().await, NONE);
    world.show("a", How::Pushed, 9, vec![domain(1, "evil", 9)]).await;
    assert_eq!(world.live().await, ["evil"]);
}

#[tokio::test]
async fn a_deletion_that_a_read_shows_ends_the_older_copy() {
    for how in [How::Read, How::ReadUnpublished] {
        let mut world = World::new().await;
        world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
        let deleted = with(domain(1, "evil", 5), &json!({"deleted": true}));
        world.show("b", how, 5, vec![deleted]).await;
        assert_eq!(world.live().await, NONE);
        // An age ends what nobody needs any more, and this is needed.
        world.ledger.forget_notes(i64::MAX, i64::MAX).await.unwrap();
        world.show("a", How::Pushed, 7, vec![domain(1, "evil", 0), domain(2, "more", 7)]).await;
        assert_eq!(world.live().await, ["more"]);
        // Brought back, it is newer.
        world.show("b", How::Read, 9, vec![domain(1, "evil", 9)]).await;
        assert_eq!(world.live().await, ["evil", "more"]);
    }
}

/// What a source may not add is no part of it, so it takes back nothing of others either.
#[tokio::test]
async fn what_lies_beyond_the_search_or_the_view_ends_no_copy_of_another_source() {
    for how in [How::ReadUnselected, How::ReadOfOtherView] {
        let mut world = World::new().await;
        let both = vec![domain(1, "evil", 0), domain(2, "more", 0), domain(3, "third", 0)];
        world.show("a", How::Pushed, 0, both).await;
        let deleted = with(domain(1, "evil", 5), &json!({"deleted": true}));
        let comment = with(domain(2, "more", 5), &json!({"type": "comment", "category": "Other"}));
        world.show("b", how, 5, vec![deleted, comment, domain(3, "other", 5)]).await;
        assert_eq!(world.live().await, ["evil", "more", "third"]);
    }
}

/// The ledger keeps no deletion of what nobody claims. When somebody does, it has the event read anew.
#[tokio::test]
async fn a_deletion_that_was_read_before_the_other_copy_came_ends_it_too() {
    let mut world = World::new().await;
    let deleted = || vec![with(domain(1, "evil", 5), &json!({"deleted": true}))];
    world.show("b", How::Read, 5, deleted()).await;
    world.show("a", How::Pushed, 3, vec![domain(1, "evil", 0)]).await;
    let due = world.ledger.due_reads("b", world.now, 10).await.unwrap();
    let due: Vec<Uuid> = due.iter().map(|read| read.event).collect();
    assert_eq!(due, [event_key("b").event]);
    world.show("b", How::Read, 5, deleted()).await;
    assert_eq!(world.live().await, NONE);
    // What is newer than all that the other MISP has is no reason to ask it.
    let mut world = World::new().await;
    world.show("b", How::Read, 5, deleted()).await;
    world.show("a", How::Pushed, 9, vec![domain(2, "more", 9)]).await;
    assert!(world.ledger.due_reads("b", world.now, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_value_that_makes_no_claim_any_more_ends_the_older_copy() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    let comment = with(domain(1, "evil", 5), &json!({"type": "comment", "category": "Other"}));
    world.show("b", How::Pushed, 5, vec![comment]).await;
    assert_eq!(world.live().await, NONE);
    let milliseconds = with(domain(2, "more", 0), &json!({"timestamp": NOW.to_string()}));
    world.show("a", How::Pushed, 6, vec![domain(2, "more", 6)]).await;
    world.show("b", How::Pushed, 7, vec![milliseconds]).await;
    assert_eq!(world.live().await, ["more"], "what tells no time is not newer");
}

#[tokio::test]
async fn an_edit_that_waits_for_its_publication_ends_the_older_copy_of_what_it_changes() {
    let mut world = World::new().await;
    let both = || vec![domain(1, "evil", 0), domain(2, "more", 0), domain(3, "off", 0)];
    world.show("a", How::Pushed, 0, both()).await;
    world.show("b", How::Pushed, 0, both()).await;
    let off = with(domain(3, "off", 5), &json!({"to_ids": false}));
    let edited =
        vec![domain(1, "other", 5), with(domain(2, "more", 5), &json!({"comment": "x"})), off];
    world.show("b", How::ReadUnpublished, 5, edited).await;
    assert_eq!(world.live().await, ["more"]);
}

#[tokio::test]
async fn a_withdrawal_by_a_frame_ends_the_older_copy() {
    for (later, ids_only, live) in [
        (5, false, vec![]),
        (5, true, vec![]),
        (0, false, vec![]),
        (0, true, vec!["evil"]),
        (-1, false, vec!["evil"]),
    ] {
        let mut world = World::new().await;
        world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
        world.take_back("b", 1, later, ids_only).await;
        assert_eq!(world.live().await, live, "{later} {ids_only}");
        world.show("a", How::Pushed, 1, vec![domain(1, "evil", 0), domain(2, "more", 1)]).await;
        assert_eq!(world.live().await, [live, vec!["more"]].concat(), "{later} {ids_only}");
    }
}

#[tokio::test]
async fn what_is_gone_for_good_says_nothing_any_more() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0), domain(2, "more", 0)]).await;
    world.take_back("b", 1, 5, false).await;
    world.take_back("b", 2, 5, false).await;
    assert_eq!(world.live().await, NONE);
    // The read shows the second one as deleted, and the first one not at all.
    let deleted = with(domain(2, "more", 5), &json!({"deleted": true}));
    world.show("b", How::Read, 6, vec![deleted, domain(3, "third", 6)]).await;
    assert_eq!(world.live().await, ["evil", "third"]);
    world.delete_event("b").await;
    assert_eq!(world.live().await, ["evil", "more"]);
}

#[tokio::test]
async fn what_is_deleted_for_good_by_a_frame_ends_its_own_copy_alone() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    world.show("b", How::Pushed, 1, vec![domain(1, "evil", 1), domain(2, "more", 1)]).await;
    world.delete_for_good("b", 1, 1).await;
    world.delete_for_good("b", 2, 1).await;
    assert_eq!(world.live().await, ["evil"]);
    // A publication of "b" from before comes late. It brings nothing back there.
    world.show("b", How::Pushed, 1, vec![domain(2, "more", 1)]).await;
    assert_eq!(world.live().await, ["evil"]);
    // A soft deletion is passed on, until the attribute is gone for good too.
    world.take_back("b", 1, 5, false).await;
    assert_eq!(world.live().await, NONE);
    world.delete_for_good("b", 1, 5).await;
    assert_eq!(world.live().await, ["evil"]);
}

#[tokio::test]
async fn an_object_that_is_deleted_for_good_by_a_frame_ends_its_own_copy_alone() {
    for (for_good, live) in [(true, vec!["evil"]), (false, vec![])] {
        let mut world = World::new().await;
        let object = |later: i64| {
            json!([{"id": "1", "uuid": uuid(9), "name": "domain-ip", "deleted": false,
                    "meta-category": "network", "distribution": "5", "sharing_group_id": "0",
                    "timestamp": (FIRST + later).to_string(), "comment": "",
                    "Attribute": [domain(1, "evil", later)], "ObjectReference": []}])
        };
        world.show_with("a", How::Pushed, 0, vec![], object(0)).await;
        world.show_with("b", How::Pushed, 0, vec![], object(0)).await;
        assert_eq!(world.live().await, ["evil"]);
        let group = ClaimGroup::OfMispObject(uuid(9));
        world.end("b", Ending { group, for_good, ..ending(1, 5) }).await;
        assert_eq!(world.live().await, live, "{for_good}");
    }
}

#[tokio::test]
async fn a_source_that_is_forgotten_says_nothing_any_more() {
    let mut world = World::new().await;
    let disputed = sighted(domain(2, "more", 0), &[(1, "1", 1)]);
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0), domain(2, "more", 0)]).await;
    world.show("b", How::Pushed, 0, vec![disputed]).await;
    world.take_back("b", 1, 5, false).await;
    assert_eq!(world.live().await, ["more"]);
    let World { ledger, views, .. } = &world;
    let forgotten = ledger.forget_source(views, "b", &["a".to_owned()]).await.unwrap();
    assert!(matches!(forgotten, ForgottenSource::Done { events: 1, .. }), "{forgotten:?}");
    assert_eq!(world.live().await, ["evil", "more"]);
    let bodies = world.bodies("default").await;
    assert!(bodies.iter().all(|body| body["confidence"] == 51), "{bodies:?}");
}

#[tokio::test]
async fn the_strictest_marking_of_any_copy_decides_and_is_sent() {
    let mut world = World::new().await;
    let amber = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";
    world.show("a", How::Pushed, 0, vec![tagged(domain(1, "evil", 0), "tlp:green")]).await;
    world.show("b", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    assert!(world.body().await["labels"].as_array().unwrap().contains(&"tlp:green".into()));
    world.show("b", How::Pushed, 1, vec![tagged(domain(1, "evil", 0), "tlp:amber")]).await;
    assert_eq!(world.body().await["object_marking_refs"], json!([amber]));
    // An older version with another value forbids too.
    world.show("a", How::Pushed, 2, vec![tagged(domain(1, "evil", 2), "tlp:green")]).await;
    assert_eq!(world.body().await["object_marking_refs"], json!([amber]));
    world.show("b", How::Pushed, 3, vec![tagged(domain(1, "other", 0), "tlp:red")]).await;
    assert_eq!(world.live().await, NONE);
    world.show("b", How::Pushed, 4, vec![domain(1, "other", 0)]).await;
    assert_eq!(world.live().await, ["evil"]);
    // What a view does not hear decides on the marking all the same.
    world.show("b", How::Pushed, 5, vec![domain(1, "evil", 2)]).await;
    assert_eq!(world.live_in("sector").await, ["evil"]);
    world.show("a", How::Pushed, 6, vec![tagged(domain(1, "evil", 2), "tlp:red")]).await;
    assert_eq!(world.live_in("sector").await, NONE);
}

#[tokio::test]
async fn a_sibling_is_told_only_where_every_source_lets_it_be_told() {
    let mut world = World::new().await;
    let file = |later: i64, sibling: Value| {
        let hash = json!({"type": "sha256", "value": "a".repeat(64), "object_relation": "sha256"});
        json!([{"id": "1", "uuid": some_uuid(500), "name": "file", "comment": "",
                "distribution": "5", "sharing_group_id": "0", "deleted": false,
                "timestamp": (FIRST + later).to_string(),
                "Attribute": [with(domain(1, "x", 0), &hash), sibling]}])
    };
    let name = |later| {
        let name =
            json!({"type": "filename", "value": "dropper.exe", "object_relation": "filename"});
        with(domain(2, "x", later), &name)
    };
    let mut descriptions = Vec::new();
    for (source, later, sibling) in [
        ("a", 0, name(0)),
        ("b", 0, name(0)),
        ("b", 1, tagged(name(1), "tlp:red")),
        ("b", 2, name(2)),
    ] {
        world.show_with(source, How::Pushed, later, vec![], file(later, sibling)).await;
        descriptions.push(world.body().await["description"].as_str().unwrap().to_owned());
    }
    let told = "file (filename: dropper.exe) - an event";
    assert_eq!(descriptions, [told, told, "file - an event", told]);
}

#[tokio::test]
async fn other_tags_count_with_their_own_copy_but_a_false_positive_for_all() {
    let mut world = World::with("[policy]\ntags_exclude = [\"mine:*\"]\n").await;
    world.show("a", How::Pushed, 0, vec![tagged(domain(1, "evil", 0), "mine:no")]).await;
    assert_eq!(world.live().await, NONE);
    world.show("b", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    assert_eq!(world.live().await, ["evil"]);
    let url = world.body().await["external_references"][0]["url"].clone();
    assert_eq!(url, format!("https://b.example/events/view/{EVENT}"));
    let disputed = tagged(domain(1, "evil", 0), "false-positive:confirmed=\"true\"");
    world.show("a", How::Pushed, 1, vec![disputed]).await;
    assert_eq!(world.live().await, NONE);
}

#[tokio::test]
async fn never_and_suppress_withhold_whoever_claims() {
    let mut world = World::with("[policy]\nnever = [\"never.example\"]\n").await;
    for source in ["a", "b"] {
        let shown = vec![domain(1, "never", 0), domain(2, "evil", 0)];
        world.show(source, How::Pushed, 0, shown).await;
    }
    assert_eq!(world.live().await, ["evil"]);
    let World { ledger, views, now, .. } = &world;
    ledger.suppress(views, "evil.example", "", None, *now).await.unwrap();
    assert_eq!(world.live().await, NONE);
}

#[tokio::test]
async fn a_sighting_counts_once_and_for_each_copy() {
    let false_positive = |attribute| sighted(attribute, &[(1, "1", NOW / 1_000)]);
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![false_positive(domain(1, "evil", 0))]).await;
    assert_eq!(world.body().await["confidence"], 41);
    world.show("b", How::Pushed, 0, vec![false_positive(domain(1, "evil", 0))]).await;
    assert_eq!(world.body().await["confidence"], 41, "it is the same sighting");
    let two = sighted(domain(1, "evil", 0), &[(1, "1", 1), (2, "1", 1)]);
    world.show("b", How::Pushed, 1, vec![two]).await;
    assert_eq!(world.body().await["confidence"], 31);
    // The attribute is gone from the source that was told of the second one, and its copy remembers that.
    world.delete_event("b").await;
    assert_eq!(world.body().await["confidence"], 31);
    let end = NOW / 1_000 + 86_400;
    let expiring = sighted(domain(2, "more", 0), &[(3, "2", end)]);
    let mut world = World::new().await;
    world.show("b", How::Pushed, 0, vec![domain(2, "more", 0)]).await;
    world.show("a", How::Pushed, 0, vec![expiring]).await;
    world.delete_event("a").await;
    assert_eq!(world.live().await, ["more"]);
    let until = world.ledger.read(|tx| tx.row::<i64>(&VALID_UNTIL, &[])).await.unwrap();
    assert_eq!(until, Some(end * 1_000));
}

static VALID_UNTIL: Statement =
    Statement::new("SELECT valid_until FROM wanted WHERE view = 'default' AND version <> 0", &[]);

#[tokio::test]
async fn a_source_that_shows_the_same_changes_nothing_that_was_sent() {
    let settings = "[expiry]\nfrom = \"first_seen_by_relay\"\n";
    let mut world = World::with(settings).await;
    let shown = || vec![domain(1, "evil", 0), tagged(domain(2, "more", 0), "tlp:green")];
    assert!(world.show("a", How::Pushed, 0, shown()).await);
    let before = world.bodies("default").await;
    world.now += 86_400_000;
    let is_news = world.show("b", How::Read, 0, vec![domain(1, "evil", 0), domain(2, "more", 0)]);
    // In the view that hears this source alone it is.
    assert!(is_news.await);
    assert_eq!(world.bodies("default").await, before);
    let references: HashSet<String> =
        before.iter().map(|body| body["external_references"].to_string()).collect();
    assert_eq!(references.len(), 1);
    assert!(references.iter().all(|one| one.contains("https://a.example/")), "{references:?}");
    // Only where the first one shows it no longer does the other one speak.
    world.delete_event("a").await;
    let after = world.bodies("default").await;
    assert!(after.iter().all(|body| body.to_string().contains("https://b.example/")), "{after:?}");
}

#[tokio::test]
async fn an_event_of_two_sources_is_one_reference() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    world.show("b", How::Pushed, 5, vec![domain(1, "evil", 0), domain(2, "evil", 5)]).await;
    let references = world.body().await["external_references"].clone();
    let url = format!("https://a.example/events/view/{EVENT}");
    assert_eq!(references.as_array().unwrap().len(), 1, "{references}");
    assert_eq!(references[0]["url"], url);
}

impl World {
    /// What `explain` tells of the attributes that claim a domain, as text and as JSON.
    async fn explained(&self, name: &str) -> [String; 2] {
        let (tell, mut told) = mpsc::channel(100);
        let telling = Telling { now: self.now, stix: false };
        let value = format!("{name}.example");
        self.ledger.explain(&self.views, &value, telling, tell).await.unwrap();
        let mut tellers = [Teller::new(false), Teller::new(true)];
        let mut texts = [String::new(), String::new()];
        while let Some(line) = told.recv().await {
            let ExplainLine::Story(story) = line else { panic!("{line:?}") };
            for (teller, text) in tellers.iter_mut().zip(&mut texts) {
                text.push_str(&teller.tell(&story));
            }
        }
        texts
    }
}

#[tokio::test]
async fn explain_names_the_sources_and_what_outdates_or_forbids() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0), domain(2, "evil", 0)]).await;
    world.show("b", How::Pushed, 5, vec![domain(1, "more", 5), domain(3, "evil", 5)]).await;
    let [text, json] = world.explained("evil").await;
    let time = crate::pure::explain::time((FIRST + 5) * 1_000);
    let outdated = format!(
        "outdated (another MISP shows a newer version of the attribute; changed in b {time})"
    );
    assert!(text.contains(&outdated), "{text}");
    assert!(text.contains("in MISP     source a, ") && text.contains("in MISP     source b, "));
    assert!(text.contains("\"an event\" of source b"), "{text}");
    assert!(text.contains("kept by the claims of a, b"), "{text}");
    assert!(json.contains(r#""source":"a""#) && json.contains(r#""kept_by":["a","b"]"#), "{json}");
    let red = tagged(domain(1, "evil", 5), "tlp:red");
    world.show("a", How::Pushed, 6, vec![red]).await;
    let [text, _] = world.explained("more").await;
    assert!(text.contains("; marked so in a)"), "{text}");
    world.take_back("a", 1, 9, false).await;
    let [text, _] = world.explained("more").await;
    assert!(text.contains("; taken back in a "), "{text}");
}

/// One list, with one name of a domain.
fn lists(name: &str) -> Arc<Lists> {
    let head = ListHead {
        id: 1,
        name: "Known good".into(),
        kind: ListKind::String,
        category: "false_positive".into(),
        version: "1".into(),
        entries: None,
        types: vec!["domain".into()],
    };
    let entry = format!("{name}.example");
    let list = List::new(head, Texts::of([entry.as_str()]).unwrap()).unwrap();
    Arc::new(Lists::new(vec![Arc::new(list)]))
}

impl World {
    async fn adopt(&self, source: &str, name: &str, most: u64) -> Adopted {
        let window = Duration::from_secs(86_400);
        let guard = Guard { max: most, percent: 0, window };
        let World { ledger, views, .. } = self;
        ledger.adopt(views, lists(name), source, Some(&guard)).await.unwrap()
    }
}

#[tokio::test]
async fn the_warninglists_of_each_source_apply_to_every_claim() {
    let mut world = World::new().await;
    let pending = ["a", "b"].map(|source| (source.to_owned(), InForce::Pending));
    world.views = world.views.under(pending.into_iter().collect());
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0), domain(2, "good", 0)]).await;
    world.show("b", How::Pushed, 0, vec![domain(3, "fine", 0), domain(4, "evil", 0)]).await;
    let live = async |world: &World| {
        let rows = world.ledger.read(|tx| tx.rows(&LIVE, &values!["default"])).await.unwrap();
        let rows: Vec<(Uuid, i64, UnpackedBody)> = rows;
        let has = |name: &str| rows.iter().any(|(.., body)| body.0.contains(name));
        ["evil", "good", "fine"].into_iter().filter(|name| has(name)).collect::<Vec<_>>()
    };
    assert_eq!(live(&world).await, NONE, "all wait");
    // What waits for the lists of its own source alone waits on, and the others do not.
    assert_eq!(world.adopt("a", "good", 5).await, Adopted::First);
    assert_eq!(live(&world).await, ["evil"]);
    assert_eq!(world.adopt("b", "none", 5).await, Adopted::First);
    assert_eq!(live(&world).await, ["evil", "fine"]);
    // The lists of the one replace only its own, and apply to what the other claims.
    let adopted = world.adopt("b", "evil", 5).await;
    assert!(matches!(adopted, Adopted::InForce { .. }), "{adopted:?}");
    assert_eq!(live(&world).await, ["fine"]);
    // The guard holds what would withdraw too much, for each source by itself.
    let adopted = world.adopt("b", "fine", 0).await;
    assert_eq!(adopted, Adopted::Waiting { going: 1, news: true });
    let waiting = world.ledger.waiting_warninglists_of_each().await.unwrap();
    assert_eq!(waiting, [("b".to_owned(), 1)].into());
    assert_eq!(live(&world).await, ["fine"]);
    let World { ledger, views, .. } = &world;
    assert!(ledger.release_warninglists(views, "a").await.unwrap().is_none());
    let adopted = ledger.release_warninglists(views, "b").await.unwrap().unwrap();
    assert!(matches!(adopted, Adopted::InForce { .. }), "{adopted:?}");
    assert_eq!(live(&world).await, ["evil"]);
    assert_eq!(ledger.waiting_warninglists().await.unwrap(), None);
    // After a start each source has its own again.
    let names = ["a".to_owned(), "b".to_owned()];
    let kept = load_warninglists(world.folder.path(), &names);
    let marks: Vec<[u8; 32]> = kept.values().map(|lists| lists.fingerprint()).collect();
    assert_eq!(marks, [lists("good").fingerprint(), lists("fine").fingerprint()]);
}

#[tokio::test]
async fn the_first_lists_of_another_source_pass_the_guard_too() {
    let mut world = World::new().await;
    let lists = [("a", InForce::Lists(lists("none"))), ("b", InForce::Pending)];
    let lists = lists.map(|(source, lists)| (source.to_owned(), lists));
    world.views = world.views.under(lists.into_iter().collect());
    world.show("a", How::Pushed, 0, vec![domain(1, "evil", 0)]).await;
    let adopted = world.adopt("b", "evil", 0).await;
    assert_eq!(adopted, Adopted::Waiting { going: 1, news: true });
}

/// The files of a release with one source have other names.
#[tokio::test]
async fn the_lists_of_an_earlier_release_are_read_and_then_replaced() {
    let world = World::new().await;
    let folder = world.folder.path();
    let before = folder.join("warninglists");
    let mut file = std::fs::File::create(&before).unwrap();
    lists("good").write(&mut file).unwrap();
    let only = ["a".to_owned()];
    assert_eq!(load_warninglists(folder, &only).len(), 1);
    assert!(load_warninglists(folder, &["a".to_owned(), "b".to_owned()]).is_empty());
    world.adopt("b", "fine", 5).await;
    assert!(before.exists(), "it is the first source's");
    world.adopt("a", "evil", 5).await;
    assert!(!before.exists());
    let kept = load_warninglists(folder, &only);
    assert_eq!(kept["a"].fingerprint(), lists("evil").fingerprint());
}

#[tokio::test]
async fn a_view_hears_the_sources_of_its_policy_alone() {
    let mut world = World::new().await;
    world.show("a", How::Pushed, 5, vec![domain(1, "evil", 5), domain(2, "own", 0)]).await;
    assert_eq!(world.live_in("sector").await, NONE);
    // Outdated by what the view does not hear, it counts there all the same.
    world.show("b", How::Pushed, 5, vec![domain(1, "evil", 0), domain(3, "shared", 0)]).await;
    assert_eq!(world.live_in("sector").await, ["evil", "shared"]);
    assert_eq!(world.live().await, ["evil", "own", "shared"]);
}
