//! Turns admitted claims into STIX 2.1: observables, patterns, indicators and context objects. This file
//! holds the settings that decide what these objects look like.

mod body;
mod context;
mod copies;
mod description;
mod detection;
mod document;
mod ending;
mod envelope;
mod expiry;
mod indicator;
mod marking;
mod memo;
mod observable;
mod sent;
mod tags;
mod text;
mod time;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

pub use detection::{COMPARED, Compared, unseen};
pub use ending::{EndedIndicator, confidence};
pub use envelope::{context, live};
pub use expiry::{ClaimTimes, Sight};
pub use indicator::{Indicator, Merger};
pub use memo::Memo;
pub use sent::{SentIndicator, level_of};

use crate::pure::convert::{ClaimFacts, EventFacts};
use crate::pure::policy::{SideFacts, TagVerdict};
pub use context::{ContextId, ContextObject, Needed, relationship_id};
pub use copies::{ClaimSource, CopyElsewhere, Elsewhere, PublicUrls};
pub use document::ContextKind;
pub use observable::Observable;
pub use time::timestamp;
pub use verdict::{KnownClaim, Verdict};

/// An admitted claim with its event.
#[derive(Debug, Clone)]
pub struct Admitted<'a> {
    pub event: &'a EventFacts,
    pub attribute: Uuid,
    pub source: ClaimSource<'a>,
    pub claim: &'a ClaimFacts,
    pub times: ClaimTimes,
    /// What the relay knows of it besides its publication.
    pub side_facts: SideFacts,
    pub tags: TagsSaid,
    /// The attribute as other sources show it.
    pub copies: Vec<CopyElsewhere<'a>>,
}

/// What the tags of a claim and of its event mean for policy, and the confidence that they state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagsSaid {
    policy: TagVerdict,
    confidence: Option<u8>,
    /// Another source shows a stricter marking of the attribute than its own.
    is_raised: bool,
}

/// How admitted claims become an indicator: everything that shapes its bytes.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Rendering {
    pub identity: Identity,
    pub withdraw: Withdraw,
    /// Namespace of the UUIDv5 ids.
    pub namespace: Uuid,
    pub public_urls: PublicUrls,
    /// The confidence if no tag states one, 0 to 100.
    pub default_confidence: u8,
    /// By how much each false positive that was reported of an attribute lowers its confidence.
    pub false_positive_points: u8,
    pub expiry: Expiry,
    pub tags: TagRules,
    /// Tags that are never labels, with wildcards.
    pub labels_ignore: Vec<String>,
    /// Taxonomies (what stands before `:`) whose tags become labels; empty: all.
    pub labels_taxonomies: Vec<String>,
    /// Which objects go beside the indicators that need them; relationships with what they point to.
    pub context: BTreeSet<ContextKind>,
}

/// What is read out of tags. Tags are compared without quotes, whatever their case.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct TagRules {
    /// Beginnings of tags: the scales of `confidence` that count, the first that says one first.
    pub confidence_from: Vec<String>,
    /// By tag, 0 to 100.
    pub confidence: BTreeMap<String, u8>,
    /// By tag: a phase of Lockheed Martin's kill chain, or `chain/phase`; empty: none.
    pub kill_chain: BTreeMap<String, String>,
    /// MISP's categories are phases of the chain `misp-category`.
    pub category_phases: bool,
    /// By tag: Sentinel's threat type. Tags of `sentinel-threattype` name their own.
    pub threat_types: BTreeMap<String, String>,
    /// Where no tag names one; never empty, since built-in rules put it into the title of their alert.
    pub default_threat_type: String,
    /// The event's threat level is a label of MISP's own taxonomy.
    pub threat_level_labels: bool,
}

/// What an indicator's id is made of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Identity {
    /// `UUIDv5(namespace, observable)`.
    Observable,
    /// The attribute's own UUID.
    Attribute,
}

impl Identity {
    /// As the configuration and the ledger spell it.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// How an indicator is withdrawn.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Withdraw {
    /// Its validity ends. This can be undone, and is safe with a lost ledger.
    Expire,
    /// It is revoked. This is permanent, so an observable that returns gets another id.
    Revoke,
    /// Its validity ends, as with [`Withdraw::Expire`]. Later it is deleted over the management plane.
    Delete,
}

/// How long an indicator is valid.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Expiry {
    pub default_days: u32,
    /// By observable path or its object type.
    pub days: BTreeMap<String, u32>,
    pub from: ExpireFrom,
    /// `last_seen` ends the validity (misp2sentinel's mode).
    pub last_seen_is_expiry: bool,
    /// Under `first_seen_by_relay`: extend at half-life while still claimed.
    pub renew: bool,
}

/// What the days are counted from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum ExpireFrom {
    /// The attribute's timestamp.
    Timestamp,
    LastSeen,
    FirstSeenByRelay,
}
