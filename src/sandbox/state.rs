//! The state of the sandbox: stored objects, received requests, tokens and its clock.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use tokio::sync::watch;
use uuid::Uuid;

use super::access::Access;
use super::connection::Connections;
use super::fault::{Fault, FaultOrders};
use super::life::HeldObject;
use super::manage::condition::Paging;
use super::quota::Quota;
use super::settings::Settings;

/// An upload request.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The time when its headers had arrived.
    pub arrived: Instant,
    /// The time when its answer was ready; `None` if there is no answer, or none yet.
    pub answered: Option<Instant>,
    /// The client id that the token names; `None` if it names nobody.
    pub client_id: Option<String>,
    /// The workspace that the path names, known or not; `None` if the path names none.
    pub workspace: Option<Uuid>,
    /// The status of the answer; `None` if there is no answer, or none yet.
    pub status: Option<u16>,
    pub bytes: usize,
    pub objects: usize,
    pub accepted: usize,
    /// The places in `stixobjects` of the objects that were rejected by `recordIndex`.
    pub rejected: Vec<usize>,
    /// The fault that the request met; [`Fault::None`] until that is known.
    pub fault: Fault,
    /// The body; empty unless [`Settings::keep_bodies`] is set.
    pub body: Bytes,
}

impl Upload {
    /// Makes the record of a request of which nothing else is known yet.
    pub(super) fn arrives_now(workspace: Option<Uuid>) -> Self {
        Self {
            arrived: Instant::now(),
            answered: None,
            client_id: None,
            workspace,
            status: None,
            bytes: 0,
            objects: 0,
            accepted: 0,
            rejected: Vec::new(),
            fault: Fault::None,
            body: Bytes::new(),
        }
    }
}

/// A request to the management plane.
#[derive(Debug, Clone)]
pub struct Managed {
    pub arrived: Instant,
    /// The client id that the token names; `None` if it names nobody.
    pub client_id: Option<String>,
    /// `query`, `count`, or the resource that a deletion names.
    pub what: String,
    pub method: String,
    /// The status of the answer. 0: there was none.
    pub status: u16,
}

/// A token that was issued.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) client_id: String,
    /// The scope, e.g. `https://management.azure.com/.default`.
    pub(super) scope: String,
    pub(super) ends: Instant,
}

/// The settings, and all that changes, behind one lock.
#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    /// The open connections, which a handler may cut.
    pub(super) connections: Connections,
    state: Mutex<SandboxState>,
    /// A counter of what happened to upload requests.
    pub(super) changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct SandboxState {
    pub(super) tokens: HashMap<String, Token>,
    pub(super) sign_ins: usize,
    pub(super) access: Access,
    /// The seconds by which its clock is ahead of this machine's.
    pub(super) ahead: i64,
    pub(super) quota: Quota,
    pub(super) faults: FaultOrders,
    pub(super) uploads: Vec<Upload>,
    /// The stored objects, by workspace, source system and id.
    held: BTreeMap<(Uuid, String, String), HeldObject>,
    /// The objects that were accepted last, the newest at the end.
    pub(super) latest: Vec<HeldObject>,
    /// All requests to the management plane.
    pub(super) managed: Vec<Managed>,
    /// The rows of the table `SecurityAlert` in Log Analytics, by workspace.
    pub(super) alerts: BTreeMap<Uuid, Vec<Map<String, Value>>>,
    /// How many queries Log Analytics was asked.
    pub(super) log_queries: usize,
    /// The queries that are not at their end, by skip token.
    pub(super) pagings: HashMap<String, Paging>,
}

/// The number of last accepted objects that the page shows.
const LATEST: usize = 20;

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let access = Access::new(&settings.accounts);
        let state = SandboxState { access, ..SandboxState::default() };
        Self {
            settings,
            connections: Connections::default(),
            state: state.into(),
            changes: watch::Sender::default(),
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut SandboxState) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds to what is known of an upload request, and tells those who wait for changes.
    pub(super) fn note(&self, number: usize, change: impl FnOnce(&mut Upload)) {
        self.with(|state| state.change(number, change));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl SandboxState {
    /// Returns the time by the sandbox's clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(self.ahead)
    }

    /// Returns the token of this text if it is valid now.
    pub(super) fn token(&self, text: &str) -> Option<&Token> {
        self.tokens.get(text).filter(|token| token.ends > Instant::now())
    }

    /// Notes a request, and returns its number.
    pub(super) fn arrived(&mut self, upload: Upload) -> usize {
        self.uploads.push(upload);
        self.uploads.len() - 1
    }

    pub(super) fn change(&mut self, number: usize, change: impl FnOnce(&mut Upload)) {
        if let Some(upload) = self.uploads.get_mut(number) {
            change(upload);
        }
    }

    pub(super) fn store(&mut self, workspace: Uuid, sourcesystem: &str, id: &str, json: Value) {
        let key = (workspace, sourcesystem.to_owned(), id.to_owned());
        let held = self.held.entry(key).or_insert_with(|| HeldObject {
            id: id.to_owned(),
            sourcesystem: sourcesystem.to_owned(),
            json: Value::Null,
            writes: 0,
        });
        held.json = json;
        held.writes += 1;
        if self.latest.len() >= LATEST {
            self.latest.remove(0);
        }
        self.latest.push(held.clone());
    }

    fn of(&self, workspace: Uuid) -> impl Iterator<Item = &HeldObject> {
        self.held.iter().filter(move |((place, ..), _)| *place == workspace).map(|(_, held)| held)
    }

    pub(super) fn objects(&self, workspace: Uuid) -> Vec<HeldObject> {
        self.of(workspace).cloned().collect()
    }

    pub(super) fn remove(&mut self, workspace: Uuid, source: &str, id: &str) -> Option<HeldObject> {
        self.held.remove(&(workspace, source.to_owned(), id.to_owned()))
    }

    /// Changes what is held of an id, of any source. Returns whether there was any.
    pub(super) fn alter(&mut self, workspace: Uuid, id: &str, change: impl Fn(&mut Value)) -> bool {
        let mut found = false;
        for ((place, _, known), held) in &mut self.held {
            if *place == workspace && known == id {
                change(&mut held.json);
                found = true;
            }
        }
        found
    }

    /// Returns the first `most` objects after a source and id, and whether there are more.
    pub(super) fn page(
        &self,
        workspace: Uuid,
        source: &str,
        id: &str,
        most: usize,
        holds: impl Fn(&HeldObject) -> bool,
    ) -> (Vec<HeldObject>, bool) {
        let after = (workspace, source.to_owned(), id.to_owned());
        let range = self.held.range((Bound::Excluded(after), Bound::Unbounded));
        let mut found = range
            .take_while(|((place, ..), _)| *place == workspace)
            .map(|(_, held)| held)
            .filter(|held| holds(held));
        let page = found.by_ref().take(most).cloned().collect();
        let more = found.next().is_some();
        (page, more)
    }

    pub(super) fn count(&self, workspace: Uuid, holds: impl Fn(&HeldObject) -> bool) -> usize {
        self.of(workspace).filter(|held| holds(held)).count()
    }
}
