//! The faults that a test can order from the sandbox, and the choice of the fault for each request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

/// What happens to an upload request instead of, or beside, its ordinary treatment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: a place in the script for a request that goes well.
    None,
    /// 429 whose message names `seconds`, or is empty; `header` adds `Retry-After`.
    Throttled { seconds: Option<u64>, header: Option<u64> },
    /// 500 with an `activityId`.
    ServerError,
    /// The connection is reset, nothing was processed.
    ResetBefore,
    /// The request is processed, then the connection is reset.
    ResetAfter,
    /// The request is read, and then nothing.
    NeverAnswers,
    /// 401, and the token is worth nothing any more.
    TokenRefused,
    /// 400 for the whole request.
    BadRequest,
    /// 403 in the words seen for a missing role.
    Forbidden,
    /// 403 as the HTML page that was seen too.
    ForbiddenPage,
    /// 404.
    UnknownWorkspace,
    /// 413.
    TooLarge,
    /// Processed and answered as usual, this much later.
    Late(Duration),
    /// Processed and answered as usual, but with `null` for each list of the answer that is empty or
    /// holds messages, as a .NET service may write it.
    NullLists,
    /// Any other answer, without processing.
    Answer { status: u16, body: String },
}

/// What happens to a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInFault {
    /// 503.
    Unavailable,
    NeverAnswers,
    Reset,
    Answer {
        status: u16,
        body: String,
    },
    /// A token as usual, whose answer says that it lasts so many seconds. `None`: the answer does not say.
    Lifetime(Option<i64>),
}

/// All faults that are ordered.
#[derive(Debug, Default)]
pub(super) struct FaultOrders {
    pub(super) next: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
    /// The fault of every request to a workspace. It goes before all others.
    pub(super) always_for: HashMap<Uuid, Option<Fault>>,
    pub(super) sign_ins: VecDeque<SignInFault>,
    pub(super) always_sign_in: Option<SignInFault>,
    /// The faults of the next requests to the metadata service.
    pub(super) metadata: VecDeque<SignInFault>,
    /// The faults of the next requests to the management plane.
    pub(super) management: VecDeque<Fault>,
    /// The faults of the next queries of Log Analytics.
    pub(super) logs: VecDeque<Fault>,
    /// Whether deletions are answered with success although what they name stays.
    pub(super) idle_deletions: bool,
    pub(super) poison: HashSet<String>,
    pub(super) rejections: Vec<Rejection>,
}

impl FaultOrders {
    /// Returns the fault of the request that arrives now.
    pub(super) fn take(&mut self, workspace: Option<Uuid>) -> Fault {
        let of_workspace = workspace.and_then(|workspace| self.always_for.get(&workspace)?.clone());
        let of_all = || self.next.pop_front().or_else(|| self.always.clone());
        of_workspace.or_else(of_all).unwrap_or(Fault::None)
    }

    /// Returns the fault of the sign-in that arrives now.
    pub(super) fn take_sign_in(&mut self) -> Option<SignInFault> {
        self.sign_ins.pop_front().or_else(|| self.always_sign_in.clone())
    }

    /// Returns why `object` is rejected beyond the documented rules.
    pub(super) fn rejection(&self, object: &Value) -> Option<String> {
        self.rejections.iter().find_map(|rejection| rejection.0(object))
    }

    pub(super) fn poisons(&self, objects: &[Value]) -> bool {
        objects
            .iter()
            .filter_map(|object| object.get("id")?.as_str())
            .any(|id| self.poison.contains(id))
    }
}

type RejectionRule = dyn Fn(&Value) -> Option<String> + Send + Sync;

/// Gives the reason why an object is rejected.
pub(super) struct Rejection(pub(super) Box<RejectionRule>);

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rejection")
    }
}
