//! The types of a story, which tells step by step what became of an attribute, from MISP to Sentinel.
//! `explain` and `convert --explain` print stories. Pure.

mod document;
mod remarks;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use document::{DocumentStories, ViewRules};
pub use remarks::{markings, remarks};
pub use text::{Teller, standing, time};

use crate::pure::convert::{ClaimFacts, EventFacts, Reason};
use crate::pure::policy::{SideFacts, Warned};

/// What one attribute of MISP became.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    pub event: EventOf,
    pub attribute: Uuid,
    #[serde(rename = "type")]
    pub kind: String,
    pub category: String,
    /// As MISP wrote it.
    pub value: String,
    pub to_ids: bool,
    /// MISP's time of the last change, Unix seconds.
    pub timestamp: i64,
    /// Of the attribute and its event, those put on or taken off since the publication marked so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The template of the MISP object around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Why it claims nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Why>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimStory>,
    /// What an operator should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The event that an attribute is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOf {
    pub uuid: Uuid,
    /// MISP's number.
    pub id: i64,
    pub info: String,
    /// The creator organisation.
    pub organisation: String,
    /// MISP's time of a publication, Unix seconds; 0: MISP told none.
    pub publish_timestamp: i64,
    /// It is known to be published, whether or not MISP told when: the frame of a first publication is
    /// made before MISP stores its time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
}

/// A reason, in the word of metrics and logs, and in a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub reason: String,
    pub words: String,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self { reason: reason.word().to_owned(), words: reason.sentence().to_owned() }
    }
}

impl Why {
    /// With what is known beside the claim.
    pub fn knowing(reason: Reason, side_facts: &SideFacts) -> Self {
        let why = Self::from(reason);
        match (&side_facts.warned, reason) {
            (Warned::On(lists), Reason::Warninglist) => why.naming(&lists.attribute),
            (Warned::On(lists), Reason::SharedHost) => why.naming(&lists.host),
            _ => why,
        }
    }

    fn naming(self, lists: &[String]) -> Self {
        Self { words: format!("{}; {}", self.words, lists.join(", ")), ..self }
    }
}

/// An observable that the attribute claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStory {
    pub pattern: String,
    /// One for each set of targets that share a policy.
    pub views: Vec<ClaimVerdict>,
}

/// A claim under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    pub targets: Vec<String>,
    /// Why policy keeps the claim back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Why>,
    /// What an operator should know of the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Other attributes that claim the same, in the order of their age; at most [`MAX_OTHERS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
    /// So many more claim it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicated>,
}

/// Others that are listed, the newest first.
pub const MAX_OTHERS: usize = 10;

/// Another attribute that claims the same observable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    pub event: Uuid,
    pub info: String,
    pub attribute: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Why>,
}

/// The indicator that the admitted claims add up to. Times are Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indicated {
    /// `indicator--…`
    pub id: String,
    pub valid_from: i64,
    pub valid_until: i64,
    /// Nothing claims it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Its validity is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// As it is sent, but for `created` and `modified`, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stix: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStanding>,
}

/// How an indicator stands at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStanding {
    pub target: String,
    /// The target is a dry run: what it is said to hold was written to its file and never sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    pub state: DeliveryState,
    /// Since when, or the last answer; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Sentinel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Which it waits in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// A request holds it whose answer is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
}

/// The words of `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Sentinel accepted this very version, or a dry run wrote it to its file.
    Delivered,
    /// To be sent, or sent anew.
    #[default]
    Pending,
    /// Sentinel refused it.
    Rejected,
    /// Its withdrawal is to be sent.
    Withdrawing,
    /// Sentinel accepted its withdrawal, or a dry run wrote it to its file.
    Withdrawn,
    /// Its validity is over: it is not sent (any more).
    Expired,
    /// The target was never sent it.
    NeverSent,
    /// The target is configured and not enabled.
    Disabled,
}

/// What the ledger tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExplainLine {
    Story(Box<Story>),
    /// Of an event, or of an attribute that claims nothing any more.
    Note(String),
}

impl Story {
    /// Whether more is known of the attribute than what it is called.
    pub fn is_read(&self) -> bool {
        let is_malformed = |why: &Why| why.reason == Reason::Malformed.word();
        !self.skipped.as_ref().is_some_and(is_malformed)
    }

    /// Of an attribute whose claims the ledger keeps, so that its event is published; `value` as MISP
    /// wrote it.
    pub fn of_claim(event: &EventFacts, attribute: Uuid, facts: &ClaimFacts, value: &str) -> Self {
        Self {
            event: EventOf { published: true, ..event.into() },
            attribute,
            kind: facts.kind.clone().into_owned(),
            category: facts.category.clone().into_owned(),
            value: value.to_owned(),
            to_ids: facts.to_ids,
            timestamp: facts.timestamp,
            tags: document::tags(event, facts.tags.iter().map(document::spelled)),
            object: facts.object.as_ref().map(|object| object.name.clone()),
            ..Self::default()
        }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
