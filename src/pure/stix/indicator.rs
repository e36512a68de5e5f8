//! Merges the admitted claims of one observable into one indicator. The order of the claims does not matter:
//! the same claims give the same bytes.

use std::collections::BTreeSet;

use rapidhash::v3::rapidhash_v3;
use uuid::Uuid;

use super::body::{
    About, Creator, ExternalReference, IndicatorBody, KillChainPhase, Parts, Phases, Types,
};
use super::description::{UNNAMED, description};
use super::tags::{self, TagReader};
use super::text::{LONGEST_NAME, clean};
use super::{Admitted, Identity, Memo, Observable, Rendering, TagsSaid, Withdraw, marking};
use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::policy::{Judge, Mark, SideFacts, Tlp};

/// STIX has no limit; an indicator claimed by thousands of events must stay small.
const MAX_REFERENCES: usize = 10;

/// `valid_until` must be later than `valid_from` (STIX 2.1, 4.7).
const SHORTEST_LIFE: i64 = 1_000;

/// An indicator as the ledger keeps it. `created`, `modified` and the time of a withdrawal are
/// assigned at the first sending, so they are not in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indicator {
    /// JSON object without `created`, `modified` and `valid_until`.
    pub body: String,
    /// Unix milliseconds.
    pub valid_from: i64,
    pub valid_until: i64,
    /// Of body and `valid_until`; never 0, which stands for a withdrawal.
    pub fingerprint: i64,
}

/// Merges claims into indicators.
#[derive(Debug, Clone)]
pub struct Merger {
    pub(super) rendering: Rendering,
    tags: TagReader,
    pub(super) judge: Judge,
}

impl Merger {
    /// A merger of claims that `judge` admits.
    pub fn new(rendering: &Rendering, judge: &Judge) -> Self {
        let tags = TagReader::new(rendering);
        Self { rendering: rendering.clone(), tags, judge: judge.clone() }
    }

    /// The STIX uuid of a claim's indicator.
    pub fn stix_id(&self, observable: &Observable, attribute: Uuid, part: u8) -> Uuid {
        self.stix_id_of_key(self.object_key(observable, attribute), attribute, part)
    }

    /// As [`Merger::stix_id`], of a claim whose key is known.
    pub fn stix_id_of_key(&self, key: Uuid, attribute: Uuid, part: u8) -> Uuid {
        match (self.rendering.identity, part) {
            (Identity::Attribute, 0) => attribute,
            (Identity::Attribute | Identity::Observable, _) => key,
        }
    }

    /// The key that one indicator has in the ledger. Under `identity = "attribute"` an attribute
    /// whose value changes keeps its STIX id, but the old and the new indicator are two objects:
    /// the old one is withdrawn before the new one is sent.
    pub fn object_key(&self, observable: &Observable, attribute: Uuid) -> Uuid {
        match self.rendering.identity {
            Identity::Observable => observable.id(&self.rendering.namespace),
            Identity::Attribute => observable.id(&attribute),
        }
    }

    /// Id and key of an indicator whose predecessors under the same observable were revoked.
    pub fn successor(&self, observable: &Observable, attribute: Uuid, generation: i16) -> Uuid {
        match self.rendering.identity {
            Identity::Observable => observable.successor(&self.rendering.namespace, generation),
            Identity::Attribute => observable.successor(&attribute, generation),
        }
    }

    pub fn identity(&self) -> Identity {
        self.rendering.identity
    }

    pub fn rendering(&self) -> &Rendering {
        &self.rendering
    }

    pub fn withdraw(&self) -> Withdraw {
        self.rendering.withdraw
    }

    /// What the tags of a claim and of its event say.
    pub fn read_tags(&self, event: &EventFacts, claim: &ClaimFacts) -> TagsSaid {
        let policy = self.judge.read_tags(event, claim);
        TagsSaid { policy, confidence: self.tags.confidence(event, claim), is_raised: false }
    }

    /// Merges these claims of one observable into an indicator. `None`: there is no claim.
    pub fn merge<'a>(
        &self,
        memo: &mut Memo<'a>,
        id: Uuid,
        observable: &Observable,
        claims: &[Admitted<'a>],
    ) -> Option<Indicator> {
        let newest = claims.iter().max_by_key(|claim| by_age(claim))?;
        let expiry = &self.rendering.expiry;
        let valid_from = claims.iter().map(|claim| claim.times.valid_from()).min()?;
        let valid_until =
            claims.iter().map(|claim| claim.times.valid_until(observable, expiry)).max()?;
        // The end is never put off for the sake of the beginning.
        let valid_from = valid_from.min(valid_until.saturating_sub(SHORTEST_LIFE));
        // Most indicators have one claim, and many of these the same tags and event as the one before.
        let parts = match claims {
            [one] if is_plain(one) => memo.parts(one.event, one.claim, || self.parts(claims))?,
            several => self.parts(several)?.into(),
        };
        let valid_from_text = memo.time(valid_from);
        let body = IndicatorBody {
            id,
            parts: &parts,
            confidence: self.confidence(claims)?,
            description: description(newest, &self.judge),
            observable,
            valid_from: &valid_from_text,
        };
        let body = body.json()?;
        let fingerprint = fingerprint(&body, valid_until);
        Some(Indicator { body, valid_from, valid_until, fingerprint })
    }

    /// What tags and events say.
    fn parts(&self, claims: &[Admitted<'_>]) -> Option<Parts> {
        // Of what is unmarked nothing is stricter than nothing.
        let tlp = claims.iter().map(|claim| self.judge.marking(claim.tags.policy)).max()?;
        let named = claims.iter().filter(|claim| !claim.tags.policy.hides_source);
        let named = named.max_by_key(|claim| by_age(claim));
        let name = named.map_or(UNNAMED, |newest| newest.event.info.as_str());
        let creator = self.creator(claims).and_then(|oldest| oldest.event.org_uuid);
        let created_by_ref = creator.map(|uuid| format!("identity--{uuid}"));
        let about = About {
            external_references: self.references(claims),
            object_marking_refs: tlp.map(marking::marking).into_iter().collect(),
            name: &clean(name, LONGEST_NAME),
        };
        Parts::new(
            &Creator { created_by_ref, labels: self.labels(claims, tlp) },
            &about,
            &Types { indicator_types: self.threat_types(claims) },
            &Phases { kill_chain_phases: self.phases(claims) },
        )
    }

    /// The claim whose event's organisation is the creator: the oldest of those that may name it.
    pub(super) fn creator<'c, 'a>(&self, claims: &'c [Admitted<'a>]) -> Option<&'c Admitted<'a>> {
        let named = claims.iter().filter(|claim| !claim.tags.policy.hides_source);
        named.min_by_key(|claim| by_age(claim))
    }

    /// The highest that any claim states; the default only where none does, so that a claim without a
    /// word on it does not raise what another states.
    fn confidence(&self, claims: &[Admitted<'_>]) -> Option<u8> {
        let stated = |claim: &Admitted<'_>| Some(self.doubted(claim, self.stated(claim)?));
        let default = |claim: &Admitted<'_>| self.doubted(claim, self.rendering.default_confidence);
        claims.iter().filter_map(stated).max().or_else(|| claims.iter().map(default).max())
    }

    /// What decaying models, else tags, state.
    fn stated(&self, claim: &Admitted<'_>) -> Option<u8> {
        let score = self.judge.score(&claim.side_facts).map(above_even);
        score.or(claim.tags.confidence)
    }

    /// Less the points for the false positives that were reported of the attribute.
    fn doubted(&self, claim: &Admitted<'_>, confidence: u8) -> u8 {
        let doubts = u8::try_from(claim.side_facts.false_positives).unwrap_or(u8::MAX);
        confidence.saturating_sub(self.rendering.false_positive_points.saturating_mul(doubts))
    }

    /// Those that name an actor stand last: built-in rules take what follows `ActivityGroup:` up to
    /// the next white space of the list's JSON text for the name.
    fn labels(&self, claims: &[Admitted<'_>], tlp: Option<Tlp>) -> Vec<String> {
        let label = |tag: &str| self.tags.label(tag).filter(|_| !self.judge.is_level(tag));
        let mut labels = union(claims, label);
        labels.extend(claims.iter().filter_map(|claim| self.tags.threat_level(claim.event)));
        let lists = claims.iter().flat_map(|claim| self.judge.labels(&claim.side_facts));
        labels.extend(lists.filter_map(|list| self.tags.warninglist(list)));
        let actors = |claim: &Admitted<'_>| self.tags.actors(&self.judge, claim.event, claim.claim);
        labels.extend(claims.iter().flat_map(actors));
        labels.extend(tlp.map(|tlp| Mark::Level(tlp).tag()));
        let (actors, mut ordered): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|label| tags::is_actor(label));
        ordered.extend(actors);
        ordered
    }

    fn threat_types(&self, claims: &[Admitted<'_>]) -> BTreeSet<String> {
        let of = |claim: &Admitted<'_>| {
            let types = self.tags.threat_types(claim.event, claim.claim);
            types.map(str::to_owned).collect::<Vec<_>>()
        };
        let types: BTreeSet<String> = claims.iter().flat_map(of).collect();
        if types.is_empty() {
            return BTreeSet::from([self.tags.default_threat_type().to_owned()]);
        }
        types
    }

    fn phases(&self, claims: &[Admitted<'_>]) -> Vec<KillChainPhase> {
        let mut phases = BTreeSet::new();
        for claim in claims {
            self.tags.phases(claim.event, claim.claim, &mut phases);
        }
        let phase = |(kill_chain_name, phase_name)| KillChainPhase { kill_chain_name, phase_name };
        phases.into_iter().map(phase).collect()
    }

    /// One per event, that of the newest claim first; none for an event whose uuid MISP does not tell
    /// (in objects answers).
    fn references(&self, claims: &[Admitted<'_>]) -> Vec<ExternalReference> {
        // Only so many references are sent, and the newest say most.
        let mut newest_first: Vec<&Admitted<'_>> = claims.iter().collect();
        newest_first.sort_by_key(|claim| std::cmp::Reverse(by_age(claim)));
        let mut seen = BTreeSet::new();
        newest_first.retain(|claim| !claim.event.uuid.is_nil() && seen.insert(claim.event.uuid));
        newest_first.truncate(MAX_REFERENCES);
        // One claim that forbids naming the source is enough, whatever the event's other claims allow.
        let hidden: BTreeSet<Uuid> = claims
            .iter()
            .filter(|claim| claim.tags.policy.hides_source)
            .map(|claim| claim.event.uuid)
            .collect();
        let title = |event: &EventFacts| {
            if hidden.contains(&event.uuid) {
                "MISP event".to_owned()
            } else {
                format!("MISP event: {}", clean(&event.info, LONGEST_NAME))
            }
        };
        // Of an event that stands in several sources, the one that was known first links to it.
        let first = |event: Uuid| {
            claims.iter().filter(|claim| claim.event.uuid == event).min_by_key(|one| one.source)
        };
        let link = |claim: &Admitted<'_>| {
            let url = self.rendering.public_urls.of(claim.source.name)?;
            Some(format!("{url}/events/view/{}", claim.event.uuid))
        };
        let reference = |newest: &Admitted<'_>| ExternalReference {
            source_name: "MISP",
            description: title(newest.event),
            url: first(newest.event.uuid).and_then(link),
            external_id: newest.event.uuid,
        };
        newest_first.into_iter().map(reference).collect()
    }
}

/// One of Sentinel's built-in rules (TI map IP entity to AppServiceHTTPLogs) takes only what has a
/// confidence of more than 50, so an even score would be invisible there.
fn above_even(score: u8) -> u8 {
    if score == 50 { 51 } else { score }
}

/// Whether nothing but its own publication says what it is sent with. Its confidence is never remembered.
fn is_plain(claim: &Admitted<'_>) -> bool {
    let doubted =
        SideFacts { false_positives: claim.side_facts.false_positives, ..SideFacts::default() };
    claim.side_facts == doubted && !claim.tags.is_raised
}

/// By the attribute's timestamp, then the uuids: a total order, so that merging has one result.
fn by_age(claim: &Admitted<'_>) -> (i64, Uuid, Uuid) {
    (claim.claim.timestamp, claim.event.uuid, claim.attribute)
}

/// What the shown tags of all claims and their events say, each once, in order.
fn union(claims: &[Admitted<'_>], of: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let tags = claims.iter().flat_map(|claim| tags::sent_of(claim.event, claim.claim));
    tags.filter_map(|tag| of(&tag.name)).collect()
}

/// Versions are told apart by it; nobody gains by making two alike.
pub(super) fn fingerprint(body: &str, valid_until: i64) -> i64 {
    let content = rapidhash_v3(body.as_bytes());
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&content.to_le_bytes());
    second.copy_from_slice(&valid_until.to_le_bytes());
    match rapidhash_v3(&bytes).cast_signed() {
        // 0 stands for a withdrawal.
        0 => 1,
        fingerprint => fingerprint,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pure::convert::{ClaimFacts, Since, TagFacts};
    use crate::pure::policy::{ListOfSource, OnLists, Warned};
    use crate::pure::stix::{ClaimSource, ClaimTimes, Expiry};
    use crate::pure::stix::{ExpireFrom, TagRules};

    fn merger() -> Merger {
        let rendering = Rendering {
            identity: Identity::Observable,
            withdraw: Withdraw::Expire,
            namespace: Uuid::nil(),
            public_urls: [(String::new(), "https://misp.example".to_owned())].into_iter().collect(),
            default_confidence: 51,
            false_positive_points: 10,
            expiry: Expiry {
                default_days: 50,
                days: std::collections::BTreeMap::new(),
                from: ExpireFrom::Timestamp,
                last_seen_is_expiry: false,
                renew: false,
            },
            tags: TagRules {
                confidence_from: vec!["misp:confidence-level".into()],
                confidence: [
                    ("misp:confidence-level=\"usually-confident\"".into(), 75),
                    ("misp:confidence-level=\"rarely-confident\"".into(), 25),
                ]
                .into(),
                default_threat_type: "malicious-activity".into(),
                kill_chain: [("kill-chain:Delivery".into(), "delivery".into())].into(),
                category_phases: true,
                ..TagRules::default()
            },
            labels_ignore: vec!["misp-galaxy:*".into()],
            labels_taxonomies: vec![],
            context: BTreeSet::new(),
        };
        Merger::new(&rendering, &default_judge())
    }

    /// That of an operator who changes nothing.
    fn default_judge() -> Judge {
        let none = tempfile::NamedTempFile::new().unwrap();
        let rules = crate::config::load_rules(Some(none.path()), std::iter::empty()).unwrap();
        Judge::new(&rules.policy)
    }

    fn tags(names: &[&str]) -> Vec<TagFacts> {
        names.iter().map(|name| TagFacts { name: (*name).into(), ..TagFacts::default() }).collect()
    }

    fn event(number: u128, timestamp: i64, names: &[&str]) -> EventFacts {
        EventFacts {
            uuid: Uuid::from_u128(number),
            info: format!("event {number}"),
            org_uuid: Some(Uuid::from_u128(1_000 + number)),
            timestamp,
            tags: tags(names),
            ..EventFacts::default()
        }
    }

    fn claim(timestamp: i64, names: &[&str]) -> ClaimFacts {
        ClaimFacts { timestamp, to_ids: true, tags: tags(names), ..ClaimFacts::default() }
    }

    fn admitted<'a>(event: &'a EventFacts, claim: &'a ClaimFacts, number: u128) -> Admitted<'a> {
        let times = ClaimTimes {
            timestamp: claim.timestamp * 1_000,
            first_seen: None,
            last_seen: None,
            claimed_at: 0,
            heard_at: 0,
            expires_at: None,
            counts_until: None,
        };
        Admitted {
            event,
            attribute: Uuid::from_u128(number),
            source: ClaimSource::default(),
            claim,
            times,
            side_facts: SideFacts::default(),
            tags: merger().read_tags(event, claim),
            copies: Vec::new(),
        }
    }

    #[test]
    fn merging_takes_the_strictest_marking_the_highest_confidence_and_the_longest_validity() {
        let (old, new) =
            (event(1, 100, &["tlp:amber+strict", "a:b"]), event(2, 200, &["tlp:green"]));
        let first = claim(100, &["misp:confidence-level=\"usually-confident\""]);
        let second = claim(200, &["sentinel-threattype:C2", "misp-galaxy:x=\"y\""]);
        let claims = [admitted(&old, &first, 7), admitted(&new, &second, 8)];
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged =
            merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims).unwrap();
        let json: serde_json::Value = serde_json::from_str(&merged.body).unwrap();
        assert_eq!(json["confidence"], 75);
        assert_eq!(json["object_marking_refs"][0], marking::marking(Tlp::Amber));
        assert!(json["labels"].as_array().unwrap().contains(&"tlp:amber+strict".into()));
        assert!(!merged.body.contains("misp-galaxy"));
        assert_eq!(json["name"], "event 2");
        assert_eq!(json["created_by_ref"], format!("identity--{}", Uuid::from_u128(1_001)));
        assert_eq!(json["indicator_types"][0], "C2");
        assert_eq!(json["external_references"][0]["external_id"], Uuid::from_u128(2).to_string());
        assert_eq!(json["external_references"].as_array().unwrap().len(), 2);
        assert_eq!(json["valid_from"], "1970-01-01T00:01:40.000Z");
        assert_eq!(merged.valid_until, 200_000 + 50 * 86_400_000);
    }

    #[test]
    fn false_positives_lower_the_confidence_of_their_own_claim() {
        let source = event(1, 1, &[]);
        let facts = claim(1, &["misp:confidence-level=\"usually-confident\""]);
        let observable = Observable::new("domain-name:value", "evil.example");
        let confidence = |counts: &[u32]| {
            let claims: Vec<_> = counts
                .iter()
                .map(|count| Admitted {
                    side_facts: SideFacts { false_positives: *count, ..SideFacts::default() },
                    ..admitted(&source, &facts, u128::from(*count))
                })
                .collect();
            let merged =
                merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims).unwrap();
            serde_json::from_str::<serde_json::Value>(&merged.body).unwrap()["confidence"].clone()
        };
        assert_eq!(confidence(&[2]), 55);
        assert_eq!(confidence(&[300]), 0);
        assert_eq!(confidence(&[2, 0]), 75);
    }

    #[test]
    fn the_default_confidence_counts_only_where_no_claim_states_one() {
        let (source, merger) = (event(1, 1, &[]), merger());
        let observable = Observable::new("domain-name:value", "evil.example");
        let rarely = claim(1, &["misp:confidence-level=\"rarely-confident\""]);
        let silent = claim(2, &[]);
        let confidence = |claims: &[Admitted<'_>]| {
            let merged = merger.merge(&mut Memo::default(), Uuid::nil(), &observable, claims);
            let json: serde_json::Value = serde_json::from_str(&merged.unwrap().body).unwrap();
            json["confidence"].as_u64().unwrap()
        };
        let (stated, unstated) = (admitted(&source, &rarely, 1), admitted(&source, &silent, 2));
        assert_eq!(confidence(&[stated.clone(), unstated.clone()]), 25);
        assert_eq!(confidence(std::slice::from_ref(&unstated)), 51);
        let doubted = Admitted {
            side_facts: SideFacts { false_positives: 1, ..SideFacts::default() },
            ..unstated.clone()
        };
        assert_eq!(confidence(&[doubted.clone(), unstated]), 51);
        assert_eq!(confidence(&[doubted]), 41);
    }

    #[test]
    fn a_score_of_decaying_models_outranks_tags_and_is_never_even() {
        let source = event(1, 1, &[]);
        let facts = claim(1, &["misp:confidence-level=\"usually-confident\""]);
        let mut rules = crate::config::load_rules(
            Some(tempfile::NamedTempFile::new().unwrap().path()),
            std::iter::empty(),
        )
        .unwrap();
        rules.policy.decay = true;
        let merger = Merger::new(&merger().rendering, &Judge::new(&rules.policy));
        let confidence = |score| {
            let decay = Some(crate::pure::misp::Decay { decayed: false, score });
            let side_facts = SideFacts { decay, ..SideFacts::default() };
            merger.confidence(&[Admitted { side_facts, ..admitted(&source, &facts, 1) }])
        };
        // A built-in rule takes only more than 50.
        for (score, stated) in [(40, 40), (50, 51), (60, 60)] {
            assert_eq!(confidence(score), Some(stated));
        }
    }

    #[test]
    fn phases_of_all_claims_are_told_once() {
        let (source, other) = (event(1, 1, &["kill-chain:Delivery"]), event(2, 2, &[]));
        let (first, second) = (claim(1, &[]), claim(2, &["kill-chain:Delivery"]));
        let claims = [admitted(&source, &first, 1), admitted(&other, &second, 2)];
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims);
        let json: serde_json::Value = serde_json::from_str(&merged.unwrap().body).unwrap();
        let phase = serde_json::json!({
            "kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "delivery",
        });
        assert_eq!(json["kill_chain_phases"], serde_json::json!([phase]));
    }

    /// STIX 2.1, 4.7: `pattern_version` is that of STIX's own patterns.
    #[test]
    fn only_a_pattern_of_stix_has_its_version() {
        let (source, facts) = (event(1, 1, &[]), claim(1, &[]));
        for (path, kind, version) in [("file:name", "stix", Some("2.1")), ("yara", "yara", None)] {
            let claims = [admitted(&source, &facts, 1)];
            let observable = Observable::new(path, "rule");
            let merged = merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims);
            let json: serde_json::Value = serde_json::from_str(&merged.unwrap().body).unwrap();
            assert_eq!(json["pattern_type"], kind);
            assert_eq!(json.get("pattern_version").and_then(|one| one.as_str()), version);
        }
    }

    #[test]
    fn versions_have_fingerprints_of_their_own_and_none_is_that_of_a_withdrawal() {
        let of = [fingerprint("a", 1), fingerprint("b", 1), fingerprint("a", 2)];
        assert!(of[0] != of[1] && of[0] != of[2] && of[1] != of[2] && !of.contains(&0));
        assert_eq!(fingerprint("a", 1), of[0]);
    }

    #[test]
    fn an_id_is_of_the_observable_or_of_the_attribute() {
        let (address, attribute) =
            (Observable::new("ipv4-addr:value", "198.51.100.7"), Uuid::from_u128(5));
        let of_observable = merger();
        let namespace = of_observable.rendering().namespace;
        let own = address.id(&namespace);
        assert_eq!(of_observable.stix_id(&address, attribute, 0), own);
        assert_eq!(of_observable.stix_id(&address, attribute, 1), own);
        assert_eq!(of_observable.object_key(&address, attribute), own);
        let next = address.successor(&namespace, 1);
        assert_eq!(of_observable.successor(&address, attribute, 1), next);
        assert_eq!(of_observable.identity(), Identity::Observable);
        assert_eq!(
            (Identity::Observable.word(), Identity::Attribute.word()),
            ("observable", "attribute")
        );
        assert_eq!(of_observable.withdraw(), Withdraw::Expire);

        let rendering = Rendering {
            identity: Identity::Attribute,
            withdraw: Withdraw::Revoke,
            ..of_observable.rendering().clone()
        };
        let of_attribute = Merger::new(&rendering, &default_judge());
        assert_eq!(of_attribute.stix_id(&address, attribute, 0), attribute);
        let second = address.id(&attribute);
        assert_eq!(of_attribute.stix_id(&address, attribute, 1), second);
        assert_eq!(of_attribute.object_key(&address, attribute), second);
        let next = address.successor(&attribute, 1);
        assert_eq!(of_attribute.successor(&address, attribute, 1), next);
        assert_eq!(of_attribute.identity(), Identity::Attribute);
        assert_eq!(of_attribute.withdraw(), Withdraw::Revoke);
    }

    #[test]
    fn a_source_that_must_not_be_named_is_named_nowhere() {
        let hidden = event(1, 1, &["tlp:ex:chr"]);
        let shown = event(2, 2, &[]);
        let (first, second) = (claim(1, &[]), claim(2, &[]));
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = |claims: &[Admitted<'_>]| {
            let merged = merger().merge(&mut Memo::default(), Uuid::nil(), &observable, claims);
            serde_json::from_str::<serde_json::Value>(&merged.unwrap().body).unwrap()
        };
        let alone = merged(&[admitted(&hidden, &first, 1)]);
        assert_eq!(alone["name"], UNNAMED);
        assert_eq!(alone.get("created_by_ref"), None);
        assert_eq!(alone["external_references"][0]["description"], "MISP event");
        assert!(!alone.to_string().contains("event 1"));
        let both = merged(&[admitted(&hidden, &first, 1), admitted(&shown, &second, 2)]);
        assert_eq!(both["name"], "event 2");
        assert_eq!(both["created_by_ref"], format!("identity--{}", Uuid::from_u128(1_002)));
        assert!(!both.to_string().contains("event 1"));
    }

    #[test]
    fn labels_that_name_actors_stand_last_and_hold_no_white_space() {
        let source = event(
            1,
            1,
            &[
                "misp-galaxy:threat-actor=\"Sofacy\"",
                "a:b",
                " ",
                "ActivityGroup:A\u{a0}B c",
                "zeta\u{202e}",
            ],
        );
        let facts = claim(1, &[]);
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger()
            .merge(&mut Memo::default(), Uuid::nil(), &observable, &[admitted(&source, &facts, 1)])
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&merged.body).unwrap();
        assert_eq!(
            json["labels"],
            serde_json::json!([
                "a:b",
                "tlp:clear",
                "zeta",
                "ActivityGroup:A-B-c",
                "ActivityGroup:Sofacy"
            ])
        );
    }

    #[test]
    fn an_indicator_always_says_what_it_indicates() {
        let (source, facts) = (event(1, 1, &[]), claim(1, &[]));
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger()
            .merge(&mut Memo::default(), Uuid::nil(), &observable, &[admitted(&source, &facts, 1)])
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&merged.body).unwrap();
        assert_eq!(json["indicator_types"], serde_json::json!(["malicious-activity"]));
    }

    fn listed(name: &str) -> ListOfSource {
        ListOfSource { source: "misp".to_owned(), name: name.to_owned() }
    }

    /// What a claim's own warninglists say is never what was remembered of another claim.
    #[test]
    fn claims_of_one_event_are_labelled_by_their_own_warninglists() {
        let rules = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(rules.path(), "[policy]\nwarninglists = \"label\"\n").unwrap();
        let rules = crate::config::load_rules(Some(rules.path()), std::iter::empty()).unwrap();
        let merger = Merger { judge: Judge::new(&rules.policy), ..merger() };
        let (source, facts) = (event(1, 1, &[]), claim(1, &[]));
        let observable = Observable::new("domain-name:value", "evil.example");
        let mut memo = Memo::default();
        for lists in [&["Alexa"][..], &["Cisco", "Umbrella"], &[]] {
            let mut one = admitted(&source, &facts, 1);
            one.side_facts.warned = Warned::On(OnLists {
                attribute: lists.iter().map(|list| listed(list)).collect(),
                ..OnLists::default()
            });
            let merged = merger.merge(&mut memo, Uuid::nil(), &observable, &[one]).unwrap();
            let json: serde_json::Value = serde_json::from_str(&merged.body).unwrap();
            let labels = json["labels"].as_array().into_iter().flatten();
            let labels: Vec<&str> = labels
                .map(|label| label.as_str().unwrap())
                .filter(|label| label.starts_with("misp:warninglist="))
                .collect();
            let expected: Vec<String> =
                lists.iter().map(|list| format!("misp:warninglist=\"{list}\"")).collect();
            assert_eq!(labels, expected);
        }
    }

    #[test]
    fn the_same_claims_in_any_order_give_the_same_bytes() {
        let events: Vec<_> = (1..=4).map(|n| event(n, 100, &["tlp:green", "x:y"])).collect();
        let facts: Vec<_> =
            (1..=4).map(|n| claim(100, &["kill-chain:Delivery"][..n % 2])).collect();
        let mut claims: Vec<_> =
            (0..4).map(|n| admitted(&events[n], &facts[n], n as u128)).collect();
        let observable = Observable::new("domain-name:value", "evil.example");
        let first = merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims);
        for turn in 0..4 {
            claims.rotate_left(1);
            claims.swap(turn % 3, 3);
            assert_eq!(
                merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims),
                first
            );
        }
    }

    proptest! {
        /// What is remembered of other claims changes nothing: one claim gives what it gives twice,
        /// which nothing is remembered of.
        #[test]
        fn what_is_remembered_is_what_would_be_worked_out_anew(
            claims in proptest::collection::vec((0..3_usize, 0..3_usize, 0..3_usize, 0..4_i64), 1..40),
        ) {
            let names: [&[&str]; 3] = [&["tlp:amber", "x:y=\"z\""], &[], &["kill-chain:Delivery"]];
            let events: Vec<EventFacts> =
                (0..3).map(|n| event(n as u128, 10 + n, names[usize::try_from(n).unwrap()])).collect();
            let categories = ["Network activity", "Payload \"delivery\"", ""];
            let facts: Vec<ClaimFacts> = claims
                .iter()
                .map(|(_, category, tags, timestamp)| ClaimFacts {
                    category: categories[*category].into(),
                    comment: names[*tags].join("\\\u{1}"),
                    ..claim(*timestamp, names[*tags])
                })
                .collect();
            let (merger, observable) = (merger(), Observable::new("url:value", "http://x/'\\\"\u{7}é"));
            let mut memo = Memo::default();
            for ((event, doubts, ..), facts) in claims.iter().zip(&facts) {
                let mut one = admitted(&events[*event], facts, 1);
                one.side_facts.false_positives = u32::try_from(*doubts).unwrap();
                let remembered = merger.merge(&mut memo, Uuid::nil(), &observable, std::slice::from_ref(&one)).unwrap();
                let twice = [one.clone(), one.clone()];
                let anew = merger.merge(&mut Memo::default(), Uuid::nil(), &observable, &twice);
                prop_assert_eq!(Some(&remembered), anew.as_ref());
                let json: serde_json::Value = serde_json::from_str(&remembered.body).unwrap();
                prop_assert_eq!(json["pattern"].as_str().unwrap(), observable.pattern());
                prop_assert_eq!(serde_json::to_string(&json["description"]).unwrap(),
                    serde_json::to_string(&*description(&one, &merger.judge)).unwrap());
            }
        }
    }

    #[test]
    fn an_indicator_claimed_by_many_events_names_the_ten_newest() {
        let events: Vec<_> = (1..=15).map(|n| event(n, n as i64, &[])).collect();
        let facts: Vec<_> = (1..=15).map(|n| claim(n, &[])).collect();
        let claims: Vec<_> = (0..15).map(|n| admitted(&events[n], &facts[n], 1)).collect();
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged =
            merger().merge(&mut Memo::default(), Uuid::nil(), &observable, &claims).unwrap();
        let json: serde_json::Value = serde_json::from_str(&merged.body).unwrap();
        let references = json["external_references"].as_array().unwrap();
        assert_eq!(references.len(), 10);
        assert_eq!(references[0]["description"], "MISP event: event 15");
    }

    #[test]
    fn an_event_without_a_uuid_is_not_linked() {
        let (source, facts) = (event(0, 1, &[]), claim(1, &[]));
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger()
            .merge(&mut Memo::default(), Uuid::nil(), &observable, &[admitted(&source, &facts, 1)])
            .unwrap();
        assert!(!merged.body.contains("external_references"), "{}", merged.body);
    }

    #[test]
    fn local_tags_count_for_the_marking_and_are_never_shown() {
        let mut source = event(1, 1, &[]);
        source.tags = vec![
            TagFacts { name: "tlp:amber".into(), local: true, ..TagFacts::default() },
            TagFacts { name: "secret:note".into(), local: true, ..TagFacts::default() },
        ];
        let facts = claim(1, &[]);
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger()
            .merge(&mut Memo::default(), Uuid::nil(), &observable, &[admitted(&source, &facts, 1)])
            .unwrap();
        assert!(merged.body.contains(marking::marking(Tlp::Amber)));
        assert!(!merged.body.contains("secret:note"));
    }

    /// MISP's frame for a tag put on an attribute does not say whether it is a local one.
    #[test]
    fn a_tag_put_on_since_the_publication_counts_and_is_not_shown_yet() {
        let source = event(1, 1, &[]);
        let mut facts = claim(1, &[]);
        let since = Since::Attached;
        facts.tags = ["tlp:amber", "perhaps:local"]
            .map(|name| TagFacts { name: name.into(), since, ..TagFacts::default() })
            .into();
        let observable = Observable::new("domain-name:value", "evil.example");
        let merged = merger()
            .merge(&mut Memo::default(), Uuid::nil(), &observable, &[admitted(&source, &facts, 1)])
            .unwrap();
        assert!(merged.body.contains(marking::marking(Tlp::Amber)));
        assert!(!merged.body.contains("perhaps:local"));
    }
}
