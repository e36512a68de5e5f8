//! The types of a story, which tells step by step what became of an attribute, from MISP to Sentinel.
//! `explain` and `convert --explain` print stories. Pure.

mod document;
mod remarks;
mod text;
mod verdict;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use document::{DocumentStories, ViewRules, tag_name};
pub use remarks::{markings, remarks};
pub use text::{StoryLine, Teller, heading, lines, standing, time};
pub use verdict::{InSentinel, Presence};

use crate::pure::convert::{ClaimFacts, EventFacts, Reason};
use crate::pure::policy::{Judge, ListOfSource, SideFacts, Warned};

/// What one attribute of MISP became.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The MISP that shows it, where the relay reads several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub event: EventOf,
    pub attribute: Uuid,
    #[serde(rename = "type")]
    pub kind: String,
    pub category: String,
    /// The value as MISP wrote it.
    pub value: String,
    pub to_ids: bool,
    /// MISP's time of the last change, Unix seconds.
    pub timestamp: i64,
    /// The tags of the attribute and its event. A tag that was put on or taken off since the publication is
    /// marked so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The template of the MISP object around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The reason why it claims nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Why>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimStory>,
    /// What else an operator should know.
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
    /// MISP's time of the publication, Unix seconds. 0: MISP told none.
    pub publish_timestamp: i64,
    /// The event is known to be published, even if MISP did not tell when. MISP makes the frame of a first
    /// publication before it stores the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
}

/// A reason, as the word in metrics and logs and as a sentence.
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
    /// Makes the reason, and names the warninglists if they are its cause.
    pub fn knowing(reason: Reason, side_facts: &SideFacts, judge: &Judge) -> Self {
        let mut why = Self::from(reason);
        let (lists, on) = match (&side_facts.warned, reason) {
            (Warned::On(on), Reason::Warninglist) => (&on.attribute, on),
            (Warned::On(on), Reason::SharedHost) => (&on.host, on),
            _ => return why,
        };
        let told = |list: &ListOfSource| match on.are_of_several {
            true => format!("{} (from {})", list.name, list.source),
            false => list.name.clone(),
        };
        let lists = lists.iter().filter(|list| judge.counts_list(list)).map(told);
        why.words = format!("{}; {}", why.words, lists.collect::<Vec<_>>().join(", "));
        why
    }
}

/// An observable that the attribute claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStory {
    pub pattern: String,
    /// The verdicts, one for each set of targets that share a policy.
    pub views: Vec<ClaimVerdict>,
}

/// A claim under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    pub targets: Vec<String>,
    /// The reason why policy withholds the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Why>,
    /// What an operator should know of the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Other attributes that claim the same, at most [`MAX_OTHERS`], in the order of their age.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
    /// How many attributes more claim it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicated>,
    /// Where the relay reads several MISPs: those whose claims count, and so keep the indicator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_by: Vec<String>,
}

/// The most other attributes that are listed.
pub const MAX_OTHERS: usize = 10;

/// Another attribute that claims the same observable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// The MISP that shows it, where the relay reads several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    pub event: Uuid,
    pub info: String,
    pub attribute: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Why>,
}

/// The indicator that the admitted claims add up to. Times are Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indicated {
    /// The STIX id, `indicator--…`.
    pub id: String,
    pub valid_from: i64,
    pub valid_until: i64,
    /// Nothing that policy admits claims it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Its validity is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// The object as it is sent, except for `created` and `modified`. `None`: it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stix: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStanding>,
}

/// How an indicator stands at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStanding {
    pub target: String,
    /// The target is a dry run: what it is said to hold was only written to its file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    pub state: DeliveryState,
    /// The time of the state or of the last answer, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Sentinel's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The lane in which it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// It is in a request whose answer is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
}

/// The state of delivery, in the words that `status` uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Sentinel accepted this very version, or a dry run wrote it to its file.
    Delivered,
    /// It is to be sent, or to be sent anew.
    #[default]
    Pending,
    /// Sentinel refused it.
    Rejected,
    /// Its withdrawal is to be sent.
    Withdrawing,
    /// Sentinel accepted its withdrawal, or a dry run wrote it to its file.
    Withdrawn,
    /// Its validity is over, so it is not sent (any more).
    Expired,
    /// The target was never sent it.
    NeverSent,
    /// The target is configured but not enabled.
    Disabled,
}

/// A line of the ledger's answer to `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExplainLine {
    Story(Box<Story>),
    /// A remark on an event, or on an attribute that claims nothing any more.
    Note(String),
}

impl Story {
    /// Whether the attribute could be read. Else only its name is known.
    pub fn is_read(&self) -> bool {
        let is_malformed = |why: &Why| why.reason == Reason::Malformed.word();
        !self.skipped.as_ref().is_some_and(is_malformed)
    }

    /// Makes the story of an attribute whose claims the ledger keeps, so its event is published. `value` is as
    /// MISP wrote it.
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
