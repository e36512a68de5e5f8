//! The context of the writer: what its units of work need to know, and how they ask for reads of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use uuid::Uuid;

use super::owner::Unit;
use super::sql::Result;
use super::tables::keys::EventKey;
use super::tables::reads::{self, Asking};
use super::{Ledger, Views};
use crate::config::{Guard, OnUnpublish, Rest};

/// What the writer has to know.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// Name of the source.
    pub source: String,
    /// How long a webhook's publication waits for its confirmation.
    pub confirm_within: Duration,
    /// How long tombstones are kept.
    pub tombstones: Duration,
    /// `None` without a key for MISP's REST API.
    pub rest: Option<RestRules>,
}

/// How REST judges what was pushed.
#[derive(Debug, Clone)]
pub struct RestRules {
    pub times: Rest,
    pub key: KeyView,
    /// `misp.search` is set: a publication adds nothing before it selects the event.
    pub searches: bool,
    pub on_unpublish: OnUnpublish,
    pub guard: Guard,
}

/// What the key sees, as the task that asks MISP finds out. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KeyView(Arc<AtomicU8>);

impl KeyView {
    const SEES_ALL: u8 = 1;
    const ACCEPTED: u8 = 2;

    /// Whether it is a site administrator's, who sees what the feed shows.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::SEES_ALL != 0
    }

    /// Whether it shows the view that the ledger holds: else what it shows adds nothing, and an absence
    /// means nothing.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::ACCEPTED != 0
    }

    /// Stores what was found.
    pub fn set(&self, sees_all: bool, accepted: bool) {
        // In one value, so that nobody reads the one as it was and the other as it is now.
        let bits = u8::from(sees_all) * Self::SEES_ALL + u8::from(accepted) * Self::ACCEPTED;
        self.0.store(bits, Ordering::Relaxed);
    }
}

/// Weight bound of the cache of applied contents, bytes; an entry takes about a hundred.
const CACHE_BYTES: u64 = 4 << 20;
const ENTRY_BYTES: u32 = 100;

/// What the units of work of the writer read.
#[derive(Debug)]
pub(super) struct Context {
    pub ledger: Ledger,
    pub views: Arc<Views>,
    pub settings: WriterSettings,
    /// The last applied content of recent events: repeats cost no disk access.
    pub applied: Cache<Uuid, i64>,
}

impl Context {
    pub(super) fn new(ledger: Ledger, views: Arc<Views>, settings: WriterSettings) -> Self {
        let applied =
            Cache::builder().weigher(|_, _| ENTRY_BYTES).max_capacity(CACHE_BYTES).build();
        Self { ledger, views, settings, applied }
    }

    /// The name of the source.
    pub(super) fn source(&self) -> &str {
        &self.settings.source
    }

    pub(super) fn key(&self, event: Uuid) -> EventKey<'_> {
        EventKey::new(self.source(), event)
    }

    pub(super) fn rest(&self) -> Option<&RestRules> {
        self.settings.rest.as_ref()
    }

    /// Has the event read until MISP shows it published.
    pub(super) fn ask_confirmation(&self, unit: &Unit<'_>, event: Uuid) -> Result<()> {
        let Some(rest) = self.rest() else { return Ok(()) };
        let now = Ledger::now();
        reads::ask(unit, self.key(event), Asking::confirmation(&rest.times, now), now)?;
        unit.then(|shared| shared.asked.notify_waiters());
        Ok(())
    }

    /// Has what was pushed read back, once MISP has saved it.
    pub(super) fn ask_read_back(&self, unit: &Unit<'_>, event: Uuid) -> Result<()> {
        let Some(rest) = self.rest() else { return Ok(()) };
        let now = Ledger::now();
        reads::ask(unit, self.key(event), Asking::read_back(&rest.times, now), now)
    }

    /// Has known events read after news that MISP gives no time of. The news was heard at `now`, Unix
    /// milliseconds.
    pub(super) fn ask_soon(&self, unit: &Unit<'_>, events: &[Uuid], now: i64) -> Result<()> {
        let Some(rest) = self.rest() else { return Ok(()) };
        let asking = Asking::soon(&rest.times, now);
        events.iter().try_for_each(|event| reads::ask(unit, self.key(*event), asking, now))
    }

    /// Has the event read at once, to settle news that cannot be judged.
    pub(super) fn ask_at_once(&self, unit: &Unit<'_>, event: Uuid, now: i64) -> Result<()> {
        reads::ask(unit, self.key(event), Asking::at_once(now), now)
    }
}
