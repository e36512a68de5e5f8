//! Tests that merging the claims in memory gives the same result as reading all claims back from the ledger, and that
//! whatever one source says of an attribute has its copies in the other one merged again.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::begin::{self, Begun};
use super::super::beside::{self, DecayTold, Sighted};
use super::super::copies;
use super::super::sql::{ParameterType, Statement, values};
use super::super::tables::packed::UnpackedBody;
use super::super::withdraw::{self, Ending};
use super::super::{Ledger, Member, Moment, Settlement, Views, tags};
use super::*;
use crate::config::LedgerConfig;
use crate::ledger::refresh::refresh;
use crate::ledger::snapshot::SilentAttribute;
use crate::ledger::tables::events::DeletedAt;
use crate::notice::TagChange;
use crate::pure::convert::{ClusterFacts, ClusterKind, TagFacts};
use crate::pure::misp::{Decay, Sighting, SightingKind};
use crate::pure::stix::{ContextKind, ExpireFrom, Identity, Observable, Withdraw};
use claims::ClaimGroup;

const NOW: i64 = 1_795_000_000_000;

static REGISTER: Statement = Statement::new(
    "INSERT INTO targets (target, view, mode, workspace, sourcesystem)
     VALUES ($1, $2, 'live', 'w', 's')",
    &[ParameterType::Text, ParameterType::Text],
);
static DELIVER: Statement = Statement::new(
    "INSERT INTO delivered
         (target, object, created, modified, accepted, accepted_at, valid_until, revoked, context)
     SELECT t.target, w.object, 1, 1, w.version, 1, w.valid_until,
         CASE WHEN w.version = 0 AND w.revoke THEN 2 ELSE 0 END, w.kind <> 'indicator'
     FROM targets t JOIN wanted w ON w.view = t.view WHERE TRUE
     ON CONFLICT (target, object) DO UPDATE SET accepted = excluded.accepted,
         revoked = CASE WHEN excluded.revoked > delivered.revoked THEN excluded.revoked
                   ELSE delivered.revoked END",
    &[],
);

static WANTED: Statement = Statement::new(
    "SELECT view, object, key, observable, version, body FROM wanted ORDER BY view, object",
    &[],
);

type Wanted = (String, Uuid, Uuid, Uuid, i64, UnpackedBody);

/// An attribute of a snapshot.
#[derive(Debug, Clone)]
struct ShownAttribute {
    attribute: u8,
    value: u8,
    /// It is a URL, with a second form.
    is_url: bool,
    tag: u8,
    to_ids: bool,
    timestamp: i64,
    /// It makes no claim (any more).
    is_silent: bool,
}

#[derive(Debug, Clone)]
enum Step {
    /// Something else may happen between two chunks.
    Publish {
        event: u8,
        tag: u8,
        chunks: [Vec<ShownAttribute>; 2],
        between: Small,
    },
    Small(Small),
}

#[derive(Debug, Clone)]
enum Small {
    Sighted { event: u8, attribute: u8, is_expiration: bool, value: Option<u8> },
    Decayed { event: u8, attribute: u8, score: Option<u8> },
    Suppress(u8),
    Unsuppress(u8),
    TagAttribute { event: u8, attribute: u8, tag: u8, attached: bool },
    TagEvent { event: u8, tag: u8, attached: bool },
    Withdraw { event: u8, attribute: u8 },
    Delete { event: u8 },
    Deliver,
}

fn shown() -> impl Strategy<Value = ShownAttribute> {
    let is_silent = proptest::bool::weighted(0.15);
    (0..4_u8, 0..3_u8, any::<bool>(), 0..5_u8, any::<bool>(), 0..3_i64, is_silent).prop_map(
        |(attribute, value, is_url, tag, to_ids, timestamp, is_silent)| ShownAttribute {
            attribute,
            value,
            is_url,
            tag,
            to_ids,
            timestamp,
            is_silent,
        },
    )
}

fn small() -> impl Strategy<Value = Small> {
    let event = || 0..EVENTS;
    let attribute = || 0..5_u8;
    prop_oneof![
        (event(), attribute(), any::<bool>(), proptest::option::of(0..4_u8)).prop_map(
            |(event, attribute, is_expiration, value)| Small::Sighted {
                event,
                attribute,
                is_expiration,
                value
            }
        ),
        (event(), attribute(), proptest::option::of(0..=10_u8))
            .prop_map(|(event, attribute, score)| Small::Decayed { event, attribute, score }),
        (0..4_u8).prop_map(Small::Suppress),
        (0..4_u8).prop_map(Small::Unsuppress),
        (event(), attribute(), 0..5_u8, any::<bool>()).prop_map(
            |(event, attribute, tag, attached)| Small::TagAttribute {
                event,
                attribute,
                tag,
                attached
            }
        ),
        (event(), 0..5_u8, any::<bool>()).prop_map(|(event, tag, attached)| Small::TagEvent {
            event,
            tag,
            attached
        }),
        (event(), attribute()).prop_map(|(event, attribute)| Small::Withdraw { event, attribute }),
        event().prop_map(|event| Small::Delete { event }),
        Just(Small::Deliver),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let chunk = || proptest::collection::vec(shown(), 0..5);
    let publish = (0..EVENTS, 0..5_u8, chunk(), chunk(), small()).prop_map(
        |(event, tag, first, second, between)| Step::Publish {
            event,
            tag,
            chunks: [first, second],
            between,
        },
    );
    prop_oneof![3 => publish, 1 => small().prop_map(Step::Small)]
}

fn tag(number: u8) -> Option<TagFacts> {
    let names =
        ["tlp:red", "tlp:clear", "false-positive:confirmed=\"true\"", "misp-galaxy:x=\"1\""];
    let name = (*names.get(usize::from(number))?).to_owned();
    Some(TagFacts { name, ..TagFacts::default() })
}

/// Two of each source. The first source's first event is synchronised with the second source's first one, and likewise
/// the second ones.
const EVENTS: u8 = 4;

fn attribute_uuid(event: u8, attribute: u8) -> Uuid {
    Uuid::from_u128(u128::from(event % 2) * 100 + u128::from(attribute) + 1_000)
}

fn event_uuid(event: u8) -> Uuid {
    Uuid::from_u128(u128::from(event % 2) + 1)
}

fn source_of(event: u8) -> &'static str {
    if event < 2 { "misp" } else { "sector" }
}

fn event_key(event: u8) -> EventKey<'static> {
    EventKey::new(source_of(event), event_uuid(event))
}

/// Some time ago, a little later, or in the future: that counts as when it was heard.
fn timestamp_of(shown: &ShownAttribute) -> i64 {
    let later = if shown.timestamp == 2 { 50 } else { shown.timestamp * 5_000 };
    NOW / 1_000 - 100 + later
}

fn observable(value: u8, is_url: bool, part: u8) -> Observable {
    match (is_url, part) {
        (false, _) => Observable::new("domain-name:value", format!("evil{value}.example")),
        (true, 0) => Observable::new("url:value", format!("http://evil{value}.example/a b")),
        (true, _) => Observable::new("url:value", format!("http://evil{value}.example/a%20b")),
    }
}

fn claims_of_attribute(event: u8, shown: &ShownAttribute) -> impl Iterator<Item = Claim> {
    let facts = ClaimFacts {
        attribute_id: i64::from(event) * 100 + i64::from(shown.attribute) + 1,
        kind: if shown.is_url { "url".into() } else { "domain".into() },
        to_ids: shown.to_ids,
        timestamp: timestamp_of(shown),
        tags: tag(shown.tag).into_iter().collect(),
        ..ClaimFacts::default()
    };
    let (attribute, value, is_url) =
        (attribute_uuid(event, shown.attribute), shown.value, shown.is_url);
    (0..=u8::from(is_url)).map(move |part| Claim {
        attribute,
        part,
        observable: observable(value, is_url, part),
        facts: facts.clone(),
    })
}

fn chunk_of(event: u8, shown: Vec<ShownAttribute>) -> Arc<Chunk> {
    let (silent, claiming): (Vec<_>, Vec<_>) = shown.into_iter().partition(|shown| shown.is_silent);
    let silent = silent.iter().map(|shown| SilentAttribute {
        attribute: attribute_uuid(event, shown.attribute),
        timestamp: timestamp_of(shown),
    });
    let claims = claiming.iter().flat_map(|shown| claims_of_attribute(event, shown));
    let (claims, silent) = (claims.collect(), silent.collect());
    Arc::new(Chunk { claims, silent, ..Chunk::default() })
}

struct SmallWorld {
    ledger: Ledger,
    views: Views,
    /// Unix seconds.
    published: i64,
    now: i64,
    /// Where the ledger is.
    _folder: tempfile::TempDir,
}

impl SmallWorld {
    async fn new() -> Self {
        Self::with(&["expires", "revokes", "each"], &["misp", "sector"]).await
    }

    /// With these targets, each with a view of its own, and these sources.
    async fn with(targets: &[&str], sources: &[&str]) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let config = LedgerConfig {
            data_dir: folder.path().to_owned(),
            fsync: false,
            tombstones: Duration::from_secs(1),
        };
        let ledger = Ledger::open(&config).await.unwrap();
        let none = tempfile::NamedTempFile::new().unwrap();
        let mut rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        rules.policy.decay = true;
        rules.rendering.expiry.from = ExpireFrom::FirstSeenByRelay;
        rules.rendering.context = [ContextKind::Identity, ContextKind::ThreatActor].into();
        let member = |name: &'static str, identity, withdraw| Member {
            target: name.to_owned(),
            name,
            enabled: true,
            policy: &rules.policy,
            identity,
            withdraw,
            only_indicators: false,
        };
        let members = [
            member("expires", Identity::Observable, Withdraw::Expire),
            member("revokes", Identity::Observable, Withdraw::Revoke),
            member("each", Identity::Attribute, Withdraw::Revoke),
        ];
        let members: Vec<Member<'_>> =
            members.into_iter().filter(|member| targets.contains(&member.name)).collect();
        let views = Views::new(&members, &rules.policy, &rules.rendering);
        let names: Vec<(String, String)> =
            views.iter().map(|view| (view.targets[0].clone(), view.name.clone())).collect();
        assert_eq!(names.len(), targets.len());
        let register = move |unit: &super::super::Unit<'_>| {
            unit.execute_each(&REGISTER, names.iter().map(|(target, view)| values![target, view]))
        };
        ledger.write(register).await.unwrap();
        let sources: Vec<String> = sources.iter().map(|source| (*source).to_owned()).collect();
        ledger.register_sources(&sources).await.unwrap();
        let published = NOW / 1_000 - 1_000;
        Self { ledger, views, published, now: NOW, _folder: folder }
    }

    /// Runs a unit of work with a change.
    async fn work<T: Send + 'static>(
        &self,
        work: impl Fn(&super::super::Unit<'_>, &mut Change<'_>) -> Result<T> + Send + 'static,
    ) -> T {
        let (views, now) = (self.views.clone(), self.now);
        let unit = self.ledger.write(move |unit| work(unit, &mut Change::new(&views, None, now)));
        unit.await.unwrap()
    }

    async fn go(&mut self, step: Step) {
        self.now += 1_000;
        match step {
            Step::Publish { event, tag, chunks, between } => {
                self.publish(event, tag, chunks, between).await;
            }
            Step::Small(small) => self.go_small(small).await,
        }
    }

    async fn publish(
        &mut self,
        event: u8,
        tagged: u8,
        chunks: [Vec<ShownAttribute>; 2],
        between: Small,
    ) {
        self.published += 1;
        let timestamp = self.published;
        let facts = EventFacts {
            id: i64::from(event) + 1,
            uuid: event_uuid(event),
            org_uuid: Some(Uuid::from_u128(7)),
            org_name: format!("CERT {tagged}"),
            timestamp,
            tags: tag(tagged).into_iter().collect(),
            clusters: vec![ClusterFacts {
                tag: "misp-galaxy:x=\"1\"".into(),
                uuid: Uuid::from_u128(8),
                kind: ClusterKind::ThreatActor,
                is_default: true,
                distribution: 0,
                name: "actor".into(),
                description: String::new(),
                external_id: None,
                url: None,
                kill_chain: vec![],
                synonyms: vec![],
            }],
            ..EventFacts::default()
        };
        let [first, second] = chunks.map(|shown| chunk_of(event, shown));
        let begun = self
            .work(move |unit, change| {
                let origin = Origin::Push { received: NOW / 1_000 };
                let begun = begin::begin(unit, source_of(event), &facts, timestamp, origin)?;
                let mut application = match begun {
                    Begun::Started(application) => application,
                    Begun::Deleted => return Ok(None),
                    other @ (Begun::Unchanged | Begun::Stale | Begun::Overtaken) => {
                        panic!("it is newer: {other:?}")
                    }
                };
                let added = application.add(unit, &first, change)?;
                application.advance(&added.unwrap());
                Ok(Some(application))
            })
            .await;
        let Some(application) = begun else { return };
        self.go_small(between).await;
        self.work(move |unit, change| {
            let Some(added) = application.add(unit, &second, change)? else { return Ok(()) };
            let mut ending = application.judge_absent(unit, &added, None, change)?;
            while !ending.end_some(unit, change)? {}
            ending.finish(unit, timestamp, "{}")
        })
        .await;
    }

    async fn go_small(&self, small: Small) {
        match small {
            Small::Sighted { event, attribute, is_expiration, value } => {
                let kind = match is_expiration {
                    true => SightingKind::Expiration,
                    false => SightingKind::FalsePositive,
                };
                let uuid = Uuid::from_u128(u128::from(attribute) + 500);
                let sighting = Sighting { uuid, number: 1, kind, at: NOW / 1_000 + 86_400 };
                let values = value.map(|value| observable(value, false, 0).value);
                let values = values.into_iter().collect();
                let attribute = attribute_uuid(event, attribute);
                self.work(move |unit, change| {
                    let key = event_key(event);
                    let one = Sighted { attribute, sighting, values: Vec::clone(&values) };
                    beside::take_in_sightings(unit, key, &[one], change)
                })
                .await;
            }
            Small::Decayed { event, attribute, score } => self.decay(event, attribute, score).await,
            Small::Suppress(value) => {
                let value = observable(value, value % 2 == 0, value % 3).value;
                self.ledger.suppress(&self.views, &value, "", None, self.now).await.unwrap();
            }
            Small::Unsuppress(value) => {
                let value = observable(value, value % 2 == 0, value % 3).value;
                self.ledger.unsuppress(&self.views, &value, self.now).await.unwrap();
            }
            Small::TagAttribute { event, attribute, tag: number, attached } => {
                let id = i64::from(event) * 100 + i64::from(attribute) + 1;
                self.tag(event, Some(id), number, attached).await;
            }
            Small::TagEvent { event, tag: number, attached } => {
                self.tag(event, None, number, attached).await;
            }
            Small::Withdraw { event, attribute } => {
                let group = ClaimGroup::OfAttribute(attribute_uuid(event, attribute));
                let timestamp = NOW / 1_000 - 99;
                self.work(move |unit, change| {
                    let key = event_key(event);
                    let ending = Ending {
                        group,
                        timestamp,
                        keep: None,
                        ids_only: false,
                        for_good: false,
                        why: "deleted",
                    };
                    withdraw::withdraw(unit, key, &ending, change).map(drop)
                })
                .await;
            }
            Small::Delete { event } => self.delete(event).await,
            Small::Deliver => self.work(|unit, _| unit.execute(&DELIVER, &[]).map(drop)).await,
        }
    }

    async fn delete(&self, event: u8) {
        let heard = self.now;
        self.work(move |unit, change| {
            let key = event_key(event);
            events::delete(unit, key, DeletedAt { timestamp: NOW / 1_000, heard })?;
            copies::let_go(unit, key, |_| true, i64::MAX, change)?;
            while withdraw::end_claims(unit, key, change)? {}
            Ok(())
        })
        .await;
    }

    async fn decay(&self, event: u8, attribute: u8, score: Option<u8>) {
        let attribute = attribute_uuid(event, attribute);
        let decay = score.map(|tens| Decay { decayed: tens < 3, score: tens * 10 });
        self.work(move |unit, change| {
            let told = DecayTold { attribute, decay };
            beside::take_in_decay(unit, event_key(event), &[told], change)
        })
        .await;
    }

    async fn tag(&self, event: u8, attribute_id: Option<i64>, number: u8, attached: bool) {
        let Some(TagFacts { name, .. }) = tag(number) else { return };
        let frame = TagChange {
            event_id: i64::from(event) + 1,
            attribute_id,
            tag: name,
            local: false,
            attached,
        };
        self.work(move |unit, change| {
            let key = event_key(event);
            if events::stored(unit, key)?.is_none() {
                return Ok(());
            }
            match tags::apply(unit, key, &frame, NOW / 1_000)? {
                tags::Affected::Nothing => Ok(()),
                tags::Affected::Objects(objects) => refresh(unit, &objects, change),
                tags::Affected::Event => tags::refresh_event(unit, key, None, change).map(drop),
            }
        })
        .await;
    }

    /// What reading everything back and merging it anew would change.
    async fn differs(&self) -> String {
        let forms = [(false, 0), (true, 0), (true, 1)];
        let observables = (0..4).flat_map(|value| {
            forms.map(|(is_url, part)| self.views.object_key(&observable(value, is_url, part)))
        });
        let mut objects: Vec<Uuid> = observables.collect();
        objects.sort_unstable();
        self.work(move |unit, change| {
            // What no target was sent goes without a change.
            let before: Vec<Wanted> = unit.rows(&WANTED, &[])?;
            refresh(unit, &objects, change)?;
            let after: Vec<Wanted> = unit.rows(&WANTED, &[])?;
            let is_same = change.is_empty() && before == after;
            Ok(if is_same { String::new() } else { format!("{before:?} {after:?} {change:?}") })
        })
        .await
    }
}

/// Statements are most of what a claim costs. These are its own row, the looks at who else claims its observable and at
/// what is wanted of it, the wanted row, and of its delivery the look at requests in doubt, the mark and the settlement.
#[tokio::test]
async fn a_new_claim_takes_seven_statements_until_it_is_delivered() {
    const CLAIMS: u128 = 1_000;
    let world = SmallWorld::with(&["expires"], &["misp"]).await;
    let count = async || world.ledger.write(|unit| Ok(unit.executed())).await.unwrap();
    let claim = |number: u128| Claim {
        attribute: Uuid::from_u128(number),
        part: 0,
        observable: Observable::new("domain-name:value", format!("host{number}.example")),
        facts: ClaimFacts { kind: "domain".into(), to_ids: true, ..ClaimFacts::default() },
    };
    let chunk = Arc::new(Chunk { claims: (1..=CLAIMS).map(claim).collect(), ..Chunk::default() });
    let before = count().await;
    world
        .work(move |unit, change| {
            let facts = EventFacts { id: 1, uuid: event_uuid(1), ..EventFacts::default() };
            let origin = Origin::Push { received: NOW / 1_000 };
            let begun = begin::begin(unit, "misp", &facts, 1, origin)?;
            let Begun::Started(application) = begun else { panic!("it is new") };
            application.add(unit, &chunk, change).map(drop)
        })
        .await;
    let (view, target) = (&world.views.iter().next().unwrap().name, "expires");
    let pending = world.ledger.pending(view, target, 0, None, NOW, 10_000).await.unwrap();
    assert_eq!(pending.len(), 1_000);
    let moment = Moment::by_our_clock(NOW);
    let sent = world.ledger.mark_sending(target, &pending, moment).await.unwrap();
    let objects: Vec<Uuid> = sent.iter().map(|one| one.object).collect();
    let accepted = [Settlement::Accepted(&objects)];
    world.ledger.settle(target, &accepted, NOW, NOW).await.unwrap();
    let each = (count().await - before) as f64 / CLAIMS as f64;
    assert!(each <= 7.1, "{each} statements a claim");
}

fn of_first(attribute: u8) -> Vec<ShownAttribute> {
    vec![ShownAttribute {
        attribute,
        value: attribute,
        is_url: false,
        tag: 4,
        to_ids: true,
        timestamp: 0,
        is_silent: false,
    }]
}

#[tokio::test]
async fn what_changes_between_two_chunks_counts() {
    for between in [
        Small::Deliver,
        Small::TagAttribute { event: 0, attribute: 1, tag: 0, attached: true },
        Small::Withdraw { event: 0, attribute: 1 },
        Small::Decayed { event: 0, attribute: 1, score: Some(1) },
        Small::Sighted { event: 0, attribute: 1, is_expiration: true, value: None },
    ] {
        let mut world = SmallWorld::new().await;
        let told = format!("{between:?}");
        for (tag, between) in [(4, Small::Deliver), (1, between)] {
            let chunks = [of_first(0), of_first(1)];
            world.go(Step::Publish { event: 0, tag, chunks, between }).await;
            assert_eq!(world.differs().await, "", "{told}");
        }
    }
}

/// Rows of the default view that are live and speak of `value`.
async fn live(world: &SmallWorld, value: &str) -> Vec<String> {
    let wanted: Vec<Wanted> = world.work(|unit, _| unit.rows(&WANTED, &[])).await;
    let live = wanted.into_iter().filter(|(view, _, _, _, version, body)| {
        view.starts_with("default") && *version != 0 && body.0.contains(value)
    });
    live.map(|(.., UnpackedBody(body))| body).collect()
}

fn claim_of(attribute: u128, part: u8, observable: Observable) -> Claim {
    Claim {
        attribute: Uuid::from_u128(attribute),
        part,
        observable,
        facts: ClaimFacts {
            attribute_id: i64::try_from(attribute).unwrap(),
            kind: "url".into(),
            to_ids: true,
            timestamp: NOW / 1_000 - 100,
            tags: tag(1).into_iter().collect(),
            ..ClaimFacts::default()
        },
    }
}

/// A chunk touches more observables than are merged at a time, and the two forms of a URL may be far apart.
#[tokio::test]
async fn a_suppressed_form_of_a_url_withholds_the_other_one_in_a_large_chunk() {
    const URLS: u128 = 40;
    let world = SmallWorld::new().await;
    let url = |number: u128, tail: &str| format!("http://evil{number}.example/a{tail}b");
    for number in 0..URLS {
        let value = url(number, "%20");
        world.ledger.suppress(&world.views, &value, "", None, world.now).await.unwrap();
    }
    let urls = (0..URLS).flat_map(|number| {
        let form = |part, tail| {
            claim_of(number + 1, part, Observable::new("url:value", url(number, tail)))
        };
        [form(0, " "), form(1, "%20")]
    });
    let others = (0..3_000_u128).map(|number| {
        let name = Observable::new("domain-name:value", format!("other{number}.example"));
        claim_of(number + 1_000, 0, name)
    });
    let chunk = Arc::new(Chunk { claims: urls.chain(others).collect(), ..Chunk::default() });
    let facts = EventFacts {
        id: 1,
        uuid: event_uuid(0),
        org_uuid: Some(Uuid::from_u128(7)),
        timestamp: 1,
        ..EventFacts::default()
    };
    world
        .work(move |unit, change| {
            let origin = Origin::Push { received: NOW / 1_000 };
            let begun = begin::begin(unit, "misp", &facts, 1, origin)?;
            let Begun::Started(application) = begun else { panic!("it is new") };
            application.add(unit, &chunk, change).map(drop)
        })
        .await;
    assert_eq!(live(&world, "http://evil").await, [""; 0]);
    assert_eq!(live(&world, "other7.example").await.len(), 1);
}

/// The second chunk alters the attribute that the tag forbids.
#[tokio::test]
async fn a_tag_between_two_chunks_stays_although_the_second_does_not_show_it() {
    let mut world = SmallWorld::new().await;
    let forbids = Small::TagAttribute { event: 0, attribute: 1, tag: 0, attached: true };
    for (timestamp, between) in [(0, Small::Deliver), (-1, forbids)] {
        let second = ShownAttribute {
            attribute: 1,
            value: 1,
            is_url: false,
            tag: 1,
            to_ids: true,
            timestamp,
            is_silent: false,
        };
        let chunks = [of_first(0), vec![second]];
        world.go(Step::Publish { event: 0, tag: 1, chunks, between }).await;
    }
    assert_eq!(live(&world, "evil1.example").await, [""; 0]);
}

/// MISP takes any number as the date of a sighting.
#[tokio::test]
async fn an_expiration_far_ahead_is_one_that_never_comes() {
    let mut world = SmallWorld::new().await;
    let chunks = [of_first(0), of_first(1)];
    world.go(Step::Publish { event: 0, tag: 4, chunks, between: Small::Deliver }).await;
    let attribute = attribute_uuid(0, 0);
    for at in [20_000_000_000_000_000, i64::MAX, i64::MIN] {
        let sighting = Sighting::new(attribute, None, SightingKind::Expiration, 1, at);
        let one = Sighted { attribute, sighting, values: Vec::new() };
        world
            .work(move |unit, change| {
                let key = EventKey::new("misp", event_uuid(0));
                beside::take_in_sightings(unit, key, std::slice::from_ref(&one), change).map(drop)
            })
            .await;
        assert_eq!(world.differs().await, "");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_merged_from_memory_is_what_the_ledger_gives(
        steps in proptest::collection::vec(step(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = SmallWorld::new().await;
            for (number, step) in steps.into_iter().enumerate() {
                let told = format!("{number}: {step:?}");
                world.go(step).await;
                assert_eq!(world.differs().await, "", "after {told}");
            }
            world.ledger.close().await;
        });
    }
}
