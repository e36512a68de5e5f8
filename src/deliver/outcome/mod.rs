//! Reads what Sentinel's answer to an upload means and returns an [`UploadOutcome`]; `settle` acts on it.
//! Pure. The answers are described at <https://learn.microsoft.com/en-us/azure/sentinel/stix-objects-api> and
//! in the swagger (`ThreatIntelligence.json`, 2024-02-01-preview), which gives some fields other names.

mod why;

use std::time::Duration;

use uuid::Uuid;

use crate::azure::reply::{Body, Complaint, Reply, may_pass};
use crate::config::AcceptBody;

pub use why::Why;

/// The failure of a request without a complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoReply {
    pub why: Why,
    /// Whether Sentinel may have taken the request nevertheless.
    pub ambiguous: bool,
}

/// What became of one upload request.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum UploadOutcome {
    /// Sentinel took the request, except the records named by position, each with Sentinel's words.
    Accepted {
        rejected: Vec<(usize, String)>,
        /// Complaints that name no record of the request. They are logged and reject nothing.
        stray: Vec<String>,
    },
    /// 429. `wait`: the time that Sentinel asks to wait, at most an hour. `None`: it names none.
    Throttled { wait: Option<Duration> },
    /// 5xx, 408, 425 or no answer: the same request may succeed later. `ambiguous`: Sentinel may have taken it
    /// nevertheless, as after a time-out. `wait`: the time that the answer asks to wait.
    Transient { why: Why, ambiguous: bool, wait: Option<Duration> },
    /// A success that is not an answer of this API, such as that of a proxy: the request may or may
    /// not have arrived. `may_be_api`: the body is empty, or JSON that tells of no error, so the API may
    /// have changed.
    Foreign { why: Why, may_be_api: bool },
    /// A 200 whose complaints cannot be read: which records were taken is not known.
    Unreadable { why: Why },
    /// 401: the token is not valid, or no longer.
    Unauthorized { why: Why },
    /// 403: the application may not write to this workspace.
    Forbidden { why: Why },
    /// 413.
    TooLarge { why: Why },
    /// 400: Sentinel does not understand the request or a record in it.
    BadRequest { why: Why },
    /// 404, or another status that no repeat changes: the settings of the target are wrong.
    Misconfigured { why: Why },
}

/// What must be known of a request to read its answer.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    pub workspace: Uuid,
    /// The number of objects in the request.
    pub objects: usize,
    /// Which bodies of a success count as acceptance.
    pub accept_body: AcceptBody,
}

impl UploadOutcome {
    /// Makes the outcome of a request that was taken whole.
    pub fn accepted_all() -> Self {
        Self::Accepted { rejected: Vec::new(), stray: Vec::new() }
    }

    /// Returns the name of the outcome in metrics.
    pub fn word(&self) -> &'static str {
        self.into()
    }

    /// Reads an answer or the lack of one.
    pub fn of(answer: &Result<Reply, NoReply>, asked: RequestFacts) -> Self {
        match answer {
            Ok(reply) => Self::of_reply(reply, asked),
            Err(none) => {
                Self::Transient { why: none.why.clone(), ambiguous: none.ambiguous, wait: None }
            }
        }
    }

    fn of_reply(reply: &Reply, asked: RequestFacts) -> Self {
        let (said, workspace) = (Why::of_reply(reply), asked.workspace);
        match reply.status {
            200..=299 => success(reply, said, asked),
            400 | 422 => none_good(reply, asked.objects).unwrap_or(Self::BadRequest { why: said }),
            401 => Self::Unauthorized { why: unauthorized(said, workspace) },
            403 => Self::Forbidden { why: said.and(&role_remedy(workspace)) },
            404 => Self::Misconfigured {
                why: said.and(&format!(
                    "; check workspace_id {workspace} (the workspace's own ID, not its name \
                     or resource ID), endpoint, path and api_version of the target"
                )),
            },
            413 => Self::TooLarge { why: said },
            429 => Self::Throttled { wait: reply.wait() },
            status if may_pass(status) => {
                Self::Transient { why: said, ambiguous: true, wait: reply.wait() }
            }
            // A redirect could lead the token to another host.
            300..=399 => Self::Misconfigured {
                why: said.and(": redirects are not followed; check endpoint and proxy"),
            },
            _ => Self::Misconfigured { why: said.and(": not an answer of this API") },
        }
    }
}

fn success(reply: &Reply, said: Why, asked: RequestFacts) -> UploadOutcome {
    let body = Body::of(reply);
    let may_be_api = body.may_be_api(reply);
    // A proxy's page or an empty 202 is no acceptance. If it counted as one, objects that never arrived would be
    // taken for delivered and never be sent again.
    let is_let_pass = asked.accept_body == AcceptBody::AnyJson && may_be_api;
    match body {
        Body::Complaints(complaints) if reply.status == 200 || is_let_pass => {
            verdicts(complaints, asked.objects)
        }
        Body::Unreadable if reply.status == 200 || is_let_pass => {
            UploadOutcome::Unreadable { why: said.and(": its list of errors cannot be read") }
        }
        Body::OtherJson if is_let_pass => UploadOutcome::accepted_all(),
        Body::Complaints(_) | Body::Unreadable | Body::OtherJson | Body::Other => {
            let why = said.and(
                ": this is not an answer of Sentinel's upload API; check whether a proxy or a sign-in \
                 page stands in between",
            );
            UploadOutcome::Foreign { why, may_be_api }
        }
    }
}

/// Reads a 400 that names every record of the request: Sentinel has judged each record, and none is good. As soon
/// as one record is good, it answers 200.
fn none_good(reply: &Reply, objects: usize) -> Option<UploadOutcome> {
    let Body::Complaints(complaints) = Body::of(reply) else { return None };
    let outcome = verdicts(complaints, objects);
    let is_all = |rejected: &[_]| objects > 0 && rejected.len() == objects;
    matches!(&outcome, UploadOutcome::Accepted { rejected, .. } if is_all(rejected))
        .then_some(outcome)
}

/// Sorts complaints into those about a record of the request, by position, and those about none of them.
fn verdicts(complaints: Vec<Complaint>, objects: usize) -> UploadOutcome {
    let (mut rejected, mut stray) = (Vec::<(usize, String)>::new(), Vec::new());
    for Complaint { record, place, words } in complaints {
        match record.filter(|index| *index < objects) {
            Some(index) => match rejected.iter_mut().find(|(known, _)| *known == index) {
                // One record may have several complaints, in one entry or in several.
                Some((_, text)) => *text = format!("{text}; {words}"),
                None => rejected.push((index, words)),
            },
            None => stray.push(format!("record {place}: {words}")),
        }
    }
    UploadOutcome::Accepted { rejected, stray }
}

fn unauthorized(said: Why, workspace: Uuid) -> Why {
    // Sentinel answers 401 with this word where a role is missing: https://github.com/cudeso/misp2sentinel/issues/154
    if !said.to_string().contains("UnauthorizedAccess") {
        return said;
    }
    said.and(&role_remedy(workspace))
}

fn role_remedy(workspace: Uuid) -> String {
    format!(
        "; give the application the role \"Microsoft Sentinel Contributor\" on the workspace \
         {workspace} (a new role takes some minutes to count)"
    )
}

#[cfg(test)]
mod tests;
