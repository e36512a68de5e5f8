//! What must hold of whatever a document says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use misp_sentinel_relay::config;
use misp_sentinel_relay::pure::convert::{self, Claim, ClaimFacts, EventFacts};
use misp_sentinel_relay::pure::misp::{self, Event};
use misp_sentinel_relay::pure::policy::{Judge};
use misp_sentinel_relay::pure::stix::{Admitted, ClaimSource, ClaimTimes, ContextKind, Memo, Merger, Sight};
use serde_json::Value;
use uuid::Uuid;

/// Everything on, so that everything is reached.
static MERGER: LazyLock<Merger> = LazyLock::new(|| {
    let mut rules = config::load_rules(Some(Path::new("/dev/null")), std::iter::empty()).unwrap();
    rules.rendering.context =
        BTreeSet::from([ContextKind::Identity, ContextKind::AttackPattern, ContextKind::ThreatActor]);
    Merger::new(&rules.rendering, &Judge::new(&rules.policy))
});

pub(crate) fn document(bytes: &[u8]) {
    let _ = Event::parse(bytes);
    let _ = misp::event_uuid(bytes);
    let Ok(events) = misp::events(bytes) else { return };
    for event in events.take(64).flatten() {
        sound(&event);
    }
}

fn sound(event: &Event<'_>) {
    let facts = event.facts();
    let conversion = convert::event(event);
    let _ = event.is_restricted();
    event.content(|_| {});
    assert!(conversion.attributes >= conversion.skipped.total(), "an attribute is skipped once");
    let claiming = conversion.claims.iter().filter(|claim| claim.part == 0).count() as u64;
    assert_eq!(claiming + conversion.skipped.total(), conversion.attributes, "none is lost");
    let stored = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<EventFacts>(&stored).unwrap(), facts);

    // As in the ledger: an attribute that stands in a document twice is what it says last.
    let unique: BTreeMap<(Uuid, u8), &Claim> =
        conversion.claims.iter().map(|claim| ((claim.attribute, claim.part), claim)).collect();
    let mut objects: BTreeMap<Uuid, Vec<&Claim>> = BTreeMap::new();
    for claim in unique.into_values() {
        let stored = serde_json::to_string(&claim.facts).unwrap();
        assert_eq!(serde_json::from_str::<ClaimFacts>(&stored).unwrap(), claim.facts);
        let key = MERGER.object_key(&claim.observable, claim.attribute);
        objects.entry(key).or_default().push(claim);
    }
    let mut memo = Memo::default();
    for (key, claims) in objects {
        let admitted: Vec<Admitted<'_>> =
            claims.iter().map(|claim| admitted(&facts, claim)).collect();
        let observable = &claims[0].observable;
        let merged = MERGER.merge(&mut memo, key, observable, &admitted).unwrap();
        let reversed: Vec<_> = admitted.iter().rev().cloned().collect();
        let anew = MERGER.merge(&mut Memo::default(), key, observable, &reversed).unwrap();
        assert_eq!(merged, anew, "the same claims in any order give the same bytes");
        let body: Value = serde_json::from_str(&merged.body).unwrap();
        assert_eq!(body["pattern"].as_str(), Some(observable.pattern().as_str()));
        assert!(merged.valid_until > merged.valid_from && merged.fingerprint != 0);
        for needed in MERGER.needed(key, &admitted) {
            let object: Value = serde_json::from_str(&needed.render().unwrap().body).unwrap();
            assert_eq!(object["type"], needed.kind.word());
        }
    }
}

fn admitted<'a>(event: &'a EventFacts, claim: &'a Claim) -> Admitted<'a> {
    let times = ClaimTimes::of(&claim.facts, Sight::first(i64::MAX), None);
    let (attribute, side_facts) = (claim.attribute, SideFacts::default());
    let tags = MERGER.read_tags(event, &claim.facts);
    let source = ClaimSource::default();
    Admitted { event, attribute, source, claim: &claim.facts, times, side_facts, tags }
}
