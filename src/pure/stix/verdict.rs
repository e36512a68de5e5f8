//! Judges all claims on one observable and merges those that count into the indicator.

use uuid::Uuid;

use super::copies::one_of_each;
use super::{
    Admitted, ClaimSource, ClaimTimes, Elsewhere, Indicator, Memo, Merger, Observable, Sight,
    TagsSaid,
};
use crate::pure::convert::{Claim, ClaimFacts, EventFacts, Reason};
use crate::pure::misp::{self, Sighting};
use crate::pure::policy::SideFacts;

/// A claim on the observable, with everything that decides whether and how long it counts.
#[derive(Debug, Clone)]
pub struct KnownClaim<'a> {
    /// `None`: the event is not known, so the claim does not count.
    pub event: Option<&'a EventFacts>,
    pub attribute: Uuid,
    pub source: ClaimSource<'a>,
    pub elsewhere: Elsewhere<'a>,
    /// `None`: the facts cannot be read, so the claim does not count.
    pub facts: Option<&'a ClaimFacts>,
    pub sight: Sight,
    /// The date of an expiration sighting, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// `disputed` need not be set: the claims of the observable decide it together.
    pub side_facts: SideFacts,
}

impl<'a> KnownClaim<'a> {
    /// A claim of a document, of which nothing is known but what the document tells; `now` in Unix
    /// milliseconds.
    pub fn of_document(
        event: Option<&'a EventFacts>,
        claim: &'a Claim,
        sightings: &[Sighting],
        now: i64,
    ) -> Self {
        let false_positives = misp::false_positives(sightings);
        Self {
            event,
            attribute: claim.attribute,
            source: ClaimSource::default(),
            elsewhere: Elsewhere::default(),
            facts: Some(&claim.facts),
            sight: Sight::first(now),
            expires_at: misp::expires_at(sightings),
            side_facts: SideFacts { false_positives, ..SideFacts::default() },
        }
    }
}

/// The result of judging and merging the claims on one observable.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// For each claim, in the given order, the reason why it does not count.
    pub reasons: Vec<Option<Reason>>,
    /// The claims that make the indicator: those that count, and of the copies of an attribute one.
    pub admitted: Vec<Admitted<'a>>,
    /// The indicator that they make. `None`: no claim counts.
    pub indicator: Option<Indicator>,
}

impl Verdict<'_> {
    /// Whether the result is open until the warninglists are loaded: no claim counts yet, but one may count then.
    pub fn is_pending(&self) -> bool {
        self.admitted.is_empty() && self.reasons.contains(&Some(Reason::WarninglistsPending))
    }
}

impl Merger {
    /// Judges the claims on one observable and merges those that count into the indicator with the
    /// STIX uuid `id`.
    ///
    /// If one claim's own tags mark it as a false positive, no claim on the observable counts.
    pub fn merge_observable<'a>(
        &self,
        memo: &mut Memo<'a>,
        id: Uuid,
        observable: &Observable,
        claims: Vec<KnownClaim<'a>>,
    ) -> Verdict<'a> {
        let mut facts = claims.iter().filter_map(|claim| claim.facts);
        // Before any of them is judged: one of the last may dispute the observable of the first.
        let disputed = facts.any(|facts| self.judge.disputes(facts));
        let mut reasons = Vec::with_capacity(claims.len());
        let mut admitted = Vec::with_capacity(claims.len());
        for claim in claims {
            let counts = self.admit(memo, observable, claim, disputed);
            reasons.push(counts.as_ref().err().copied());
            admitted.extend(counts);
        }
        let admitted = one_of_each(admitted);
        let indicator = self.merge(memo, id, observable, &admitted);
        Verdict { reasons, admitted, indicator }
    }

    fn admit<'a>(
        &self,
        memo: &mut Memo<'a>,
        observable: &Observable,
        claim: KnownClaim<'a>,
        disputed: bool,
    ) -> Result<Admitted<'a>, Reason> {
        let KnownClaim {
            event,
            attribute,
            source,
            elsewhere,
            facts,
            sight,
            expires_at,
            side_facts,
        } = claim;
        let (Some(event), Some(claim)) = (event, facts) else { return Err(Reason::Malformed) };
        self.judge.admits_of(source.name, event, claim)?;
        // What a view does not hear does not outdate what it hears.
        if elsewhere.newer.iter().any(|source| self.judge.hears(source).is_ok()) {
            return Err(Reason::Outdated);
        }
        let decay = side_facts.decay.filter(|_| self.judge.counts_scores_of(source.name));
        let side_facts = SideFacts { disputed, decay, ..side_facts };
        let tags = memo.said(event, claim, || self.read_tags(event, claim));
        let tags = self.with_copies(tags, &elsewhere);
        self.judge.admit_tagged(tags.policy, event, claim, observable, &side_facts)?;
        let times = ClaimTimes::of(claim, sight, expires_at).until(self.judge.counts_until(claim));
        let Elsewhere { copies, .. } = elsewhere;
        Ok(Admitted { event, attribute, source, claim, times, side_facts, tags, copies })
    }

    /// The same under the strictest marking that any source shows of the attribute, whether its copy counts or not.
    fn with_copies(&self, tags: TagsSaid, elsewhere: &Elsewhere<'_>) -> TagsSaid {
        let policy = elsewhere
            .copies
            .iter()
            .fold(tags.policy, |verdict, copy| self.judge.raised(verdict, copy.event, copy.tags));
        TagsSaid { policy, is_raised: policy != tags.policy, ..tags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::convert::TagFacts;
    use crate::pure::policy::{Judge, Warned};

    const DAY: i64 = 86_400;

    fn merger(settings: &str) -> Merger {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), settings).unwrap();
        let rules = crate::config::load_rules(Some(file.path()), std::iter::empty()).unwrap();
        Merger::new(&rules.rendering, &Judge::new(&rules.policy))
    }

    fn verdict<'a>(settings: &str, claims: Vec<KnownClaim<'a>>) -> Verdict<'a> {
        let observable = Observable::new("domain-name:value", "evil.example");
        merger(settings).merge_observable(&mut Memo::default(), Uuid::nil(), &observable, claims)
    }

    fn claim(timestamp: i64, tags: &[&str]) -> ClaimFacts {
        let tags = tags.iter().map(|name| TagFacts { name: (*name).into(), ..TagFacts::default() });
        ClaimFacts {
            kind: "domain".into(),
            timestamp,
            to_ids: true,
            tags: tags.collect(),
            ..ClaimFacts::default()
        }
    }

    fn known<'a>(event: &'a EventFacts, facts: &'a ClaimFacts) -> KnownClaim<'a> {
        KnownClaim {
            event: Some(event),
            attribute: Uuid::from_u128(1),
            source: ClaimSource::default(),
            elsewhere: Elsewhere::default(),
            facts: Some(facts),
            sight: Sight::first(100 * DAY * 1_000),
            expires_at: None,
            side_facts: SideFacts::default(),
        }
    }

    #[test]
    fn each_claim_has_its_reason_and_the_others_make_the_indicator() {
        let event = EventFacts::default();
        let (red, plain) = (claim(DAY, &["tlp:red"]), claim(2 * DAY, &[]));
        let unreadable = KnownClaim { facts: None, ..known(&event, &plain) };
        let homeless = KnownClaim { event: None, ..known(&event, &plain) };
        let claims = vec![known(&event, &red), unreadable, known(&event, &plain), homeless];
        let verdict = verdict("", claims);
        assert_eq!(
            verdict.reasons,
            [Some(Reason::TlpTooStrict), Some(Reason::Malformed), None, Some(Reason::Malformed)]
        );
        assert_eq!(verdict.admitted.len(), 1);
        assert_eq!(verdict.indicator.unwrap().valid_from, 2 * DAY * 1_000);
    }

    #[test]
    fn without_a_claim_that_counts_there_is_no_indicator() {
        let (event, red) = (EventFacts::default(), claim(DAY, &["tlp:red"]));
        assert_eq!(verdict("", vec![known(&event, &red)]).indicator, None);
        assert_eq!(verdict("", vec![]).indicator, None);
    }

    #[test]
    fn one_false_positive_disputes_all_claims_on_the_observable() {
        let settings = "[policy]\nfalse_positive_tags = [\"mine:none\"]\n";
        let event = EventFacts::default();
        let (plain, tagged) = (claim(DAY, &[]), claim(DAY, &["mine:none"]));
        let verdict = verdict(settings, vec![known(&event, &plain), known(&event, &tagged)]);
        assert_eq!(verdict.reasons, [Some(Reason::FalsePositive); 2]);
        assert_eq!(verdict.indicator, None);
    }

    #[test]
    fn a_verdict_is_pending_while_only_warninglists_can_admit_a_claim() {
        let settings = "[policy]\nwarninglists = \"enforce\"\n";
        let event = EventFacts::default();
        let (plain, red) = (claim(DAY, &[]), claim(DAY, &["tlp:red"]));
        let pending = |facts| {
            let side_facts = SideFacts { warned: Warned::Pending, ..SideFacts::default() };
            KnownClaim { side_facts, ..known(&event, facts) }
        };
        assert!(verdict(settings, vec![pending(&plain), pending(&red)]).is_pending());
        assert!(!verdict(settings, vec![pending(&red)]).is_pending());
        assert!(!verdict(settings, vec![pending(&plain), known(&event, &plain)]).is_pending());
    }

    #[test]
    fn a_score_counts_for_the_claims_of_a_source_with_decay_alone() {
        let settings = "[source.own]\ndecay = true\n[source.sector]\n";
        let (event, plain) = (EventFacts::default(), claim(DAY, &[]));
        let decayed = |name| {
            let decay = Some(misp::Decay { decayed: true, score: 10 });
            let side_facts = SideFacts { decay, ..SideFacts::default() };
            let source = ClaimSource { name, place: 0 };
            KnownClaim { side_facts, source, ..known(&event, &plain) }
        };
        // The scores of `sector` are from before its decay was switched off.
        let verdict = verdict(settings, vec![decayed("own"), decayed("sector")]);
        assert_eq!(verdict.reasons, [Some(Reason::Decayed), None]);
    }

    #[test]
    fn a_claim_counts_no_longer_than_its_attribute_does() {
        let settings = "[policy]\nmax_age = \"10d\"\n";
        let (event, plain) = (EventFacts::default(), claim(100 * DAY, &[]));
        let merged = verdict(settings, vec![known(&event, &plain)]).indicator.unwrap();
        assert_eq!(merged.valid_until, 110 * DAY * 1_000);
        let expiring = KnownClaim { expires_at: Some(105 * DAY * 1_000), ..known(&event, &plain) };
        let merged = verdict(settings, vec![expiring]).indicator.unwrap();
        assert_eq!(merged.valid_until, 105 * DAY * 1_000);
    }
}
