//! The faults that a test can order from the REST API, and the choice of the fault for each request.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::key::Key;
use super::spoilt::Spoilt;

/// What happens to a REST request instead of, or beside, its ordinary treatment.
#[derive(Debug, Clone, PartialEq)]
pub enum RestFault {
    /// Nothing: a place in the script for a request that goes well.
    None,
    /// 500 as MISP answers it, 502, 503 or 504 as the proxy before it does.
    Status(u16),
    /// 429 with MISP's three headers and no `Retry-After`; seconds until the limit is counted anew.
    RateLimited { reset: u64 },
    /// 302 to the login page: MISP is not live.
    LoginRedirect,
    /// 200 with the login page.
    HtmlPage,
    /// The connection breaks after so many bytes of the body.
    Truncated { after: usize },
    /// The body ends after so many bytes, and HTTP says that this is all.
    CutShort { after: usize },
    /// Nothing for so long, then the ordinary answer.
    Late(Duration),
    /// So many bytes of the body, nothing for so long, then the rest.
    Stall { after: usize, pause: Duration },
    /// The request is read, then the connection is reset.
    Reset,
    /// restSearch: `{"response": []}`, and a count of 0.
    Empty,
    /// restSearch: a page with so many events less than it should have; the count stays right.
    EndsEarly { missing: usize },
    /// restSearch: events without `published` and `publish_timestamp`.
    LacksPublication,
    /// Answered as if this key had asked.
    AnswerAs(Key),
    /// The ordinary answer, spoilt.
    Spoilt(Spoilt),
}

/// Faults by chance, from a generator of their own: the same seed gives the same faults for the same
/// order of requests.
#[derive(Debug, Clone)]
pub struct Chance {
    pub seed: u64,
    /// 0 to 1.
    pub probability: f64,
    /// One of these, each as likely.
    pub faults: Vec<RestFault>,
}

/// All that is on order.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// With the beginning of the path that an entry waits for.
    pub(super) script: VecDeque<(String, RestFault)>,
    pub(super) always: Option<RestFault>,
    /// By event.
    pub(super) poisoned: Vec<(String, RestFault)>,
    chance: Option<(StdRng, Chance)>,
}

impl Faults {
    /// The fault of a search that names a poisoned event and wants more than its head.
    pub(super) fn poison(&self, search: &str) -> Option<RestFault> {
        let named = |(event, _): &&(String, RestFault)| search.contains(event.as_str());
        let whole = !search.contains("\"metadata\"");
        self.poisoned.iter().find(named).filter(|_| whole).map(|(_, fault)| fault.clone())
    }

    pub(super) fn by_chance(&mut self, chance: Chance) {
        self.chance = Some((StdRng::seed_from_u64(chance.seed), chance));
    }

    /// The fault of the request for `path` that arrives now.
    pub(super) fn take(&mut self, path: &str) -> RestFault {
        let scripted = self.script.iter().position(|(begin, _)| path.starts_with(begin.as_str()));
        if let Some((_, fault)) = scripted.and_then(|index| self.script.remove(index)) {
            return fault;
        }
        if let Some((generator, chance)) = &mut self.chance
            && !chance.faults.is_empty()
            && generator.random_bool(chance.probability.clamp(0.0, 1.0))
        {
            let which = generator.random_range(0..chance.faults.len());
            return chance.faults.get(which).cloned().unwrap_or(RestFault::None);
        }
        self.always.clone().unwrap_or(RestFault::None)
    }
}
