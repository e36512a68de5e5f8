//! A real ledger with its writer. The test itself puts notices into the inbox.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::relay::OWN;
use misp_sentinel_relay::config::{self, Config, LedgerConfig};
use misp_sentinel_relay::intake::frame::{Content, Frame};
use misp_sentinel_relay::intake::{Inbox, webhook};
use misp_sentinel_relay::ledger::{
    KeyView, Ledger, Releasing, RestRules, TargetEntry, TargetMode, Upkeep, View, Views, Writer,
    WriterSettings,
};
use misp_sentinel_relay::notice::{Gap, GapReason, Receipt, What};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const TARGET: &str = "soc";
pub(crate) const VIEW: &str = "view";

/// The least configuration, with the ledger in `folder`.
pub(crate) fn config(folder: &TempDir) -> Config {
    config_with(folder, &[])
}

fn config_with(folder: &TempDir, settings: &[(&str, &str)]) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let environment = [
        ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
        ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
        ("MSR_TARGET__SOC__TENANT_ID", "t"),
        ("MSR_TARGET__SOC__CLIENT_ID", "c"),
        ("MSR_TARGET__SOC__CLIENT_SECRET", "s"),
        ("MSR_LEDGER__DATA_DIR", data_dir),
        ("MSR_POLICY__ALLOW_NON_ROUTABLE", "true"),
        ("MSR_POLICY__ORG_WITHOUT_KEY", OWN),
        ("MSR_INDICATOR__CONTEXT", ""),
    ];
    let environment = environment.iter().chain(settings);
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::load(Some(file.path()), environment).unwrap()
}

pub(crate) struct Relay {
    pub(crate) ledger: Ledger,
    pub(crate) inbox: Inbox,
    pub(crate) config: Config,
    pub(crate) views: Arc<Views>,
    writer: JoinHandle<()>,
    folder: TempDir,
}

fn entry(target: &str, config: &Config) -> TargetEntry {
    TargetEntry {
        target: target.to_owned(),
        mode: TargetMode::Live,
        workspace: "w".to_owned(),
        sourcesystem: "s".to_owned(),
        identity: config.rendering.identity.word().to_owned(),
    }
}

fn sees_all() -> KeyView {
    let key = KeyView::default();
    key.set(true, true);
    key
}

fn settings(config: &Config) -> WriterSettings {
    WriterSettings {
        source: "misp".to_owned(),
        confirm_within: Duration::from_secs(60),
        tombstones: config.ledger.tombstones,
        rest: config.sources[0].rest.clone().map(|times| RestRules {
            times,
            key: sees_all(),
            searches: !config.sources[0].search.is_empty(),
            on_unpublish: config.sources[0].on_unpublish,
            guard: config.guard,
        }),
    }
}

fn upkeep_of(config: &Config) -> Upkeep {
    Upkeep::new(&[settings(config)])
}

fn write(ledger: &Ledger, views: &Arc<Views>, config: &Config) -> (Inbox, JoinHandle<()>) {
    let (inbox, reader) = Inbox::new(1 << 26);
    let writer = Writer::new(
        ledger.clone(),
        Arc::clone(views),
        settings(config),
        Some(upkeep_of(config)),
        reader,
    );
    (inbox, tokio::spawn(writer.run()))
}

fn one_view(targets: &[&str], config: &Config) -> Arc<Views> {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    let view = View::new(VIEW, targets, &config.policy, &config.rendering);
    Arc::new(Views::single(view))
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings of the environment.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    /// The same on the ledger in a folder.
    pub(crate) async fn start_in(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        let config = config_with(&folder, settings);
        let unsafe_but_fast = LedgerConfig { fsync: false, ..config.ledger.clone() };
        let ledger = Ledger::open(&unsafe_but_fast).await.unwrap();
        let views = one_view(&[TARGET], &config);
        ledger.register(&views, &[entry(TARGET, &config)], false).await.unwrap();
        let (inbox, writer) = write(&ledger, &views, &config);
        Self { ledger, inbox, config, views, writer, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The writer dies in the middle of anything, and another one takes over the ledger.
    pub(crate) async fn crash(&mut self) {
        self.writer.abort();
        (&mut self.writer).await.ok();
        (self.inbox, self.writer) = write(&self.ledger, &self.views, &self.config);
    }

    /// Ends, and starts again with these targets.
    pub(crate) async fn retarget(&mut self, targets: &[&str]) {
        self.retarget_with(targets, &[]).await;
    }

    /// The same, with others that are configured and not enabled.
    pub(crate) async fn retarget_with(&mut self, targets: &[&str], disabled: &[&str]) {
        self.views = one_view(targets, &self.config);
        let on = |target: &&str| entry(target, &self.config);
        let off = |target: &&str| TargetEntry { mode: TargetMode::Disabled, ..on(target) };
        let entries: Vec<TargetEntry> =
            targets.iter().map(on).chain(disabled.iter().map(off)).collect();
        self.ledger.register(&self.views, &entries, false).await.unwrap();
        self.crash().await;
    }

    /// Ends, and starts again with other settings: all claims are judged anew.
    pub(crate) async fn reconfigure(&mut self, settings: &[(&str, &str)]) {
        self.reconfigure_unjudged(settings).await;
        self.ledger.reevaluate(&self.views, Ledger::now(), |_| {}).await.unwrap();
    }

    /// The same, before any claim is judged anew.
    pub(crate) async fn reconfigure_unjudged(&mut self, settings: &[(&str, &str)]) {
        self.writer.abort();
        (&mut self.writer).await.ok();
        self.config = config_with(&self.folder, settings);
        let targets = self.views.iter().next().unwrap().targets.clone();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        self.views = one_view(&targets, &self.config);
        self.ledger.begin_judging(&self.views).await.unwrap();
        (self.inbox, self.writer) = write(&self.ledger, &self.views, &self.config);
    }

    /// What the writer uses to care for the ledger.
    pub(crate) fn upkeep(&self) -> Upkeep {
        upkeep_of(&self.config)
    }

    /// As a ZeroMQ frame would.
    pub(crate) async fn publish(&self, event: Vec<u8>) {
        self.commit(What::Published(event.into())).await;
    }

    /// A ZeroMQ frame, `topic SPACE json`; committed when this returns.
    pub(crate) async fn hear(&self, bytes: &[u8]) {
        self.heard_ago(bytes, Duration::ZERO).await;
    }

    /// A frame that arrived that long ago.
    pub(crate) async fn heard_ago(&self, bytes: &[u8], ago: Duration) {
        let frame = bytes.to_vec().into();
        let what = match Frame::split(&frame).unwrap().read().unwrap() {
            Content::Notice(What::Warninglist(_)) | Content::Heartbeat(_) | Content::Nothing => {
                return;
            }
            Content::Notice(what) => what,
        };
        let received = Instant::now().checked_sub(ago).unwrap();
        let receipt = self.inbox.offer_and_wait(what, received).unwrap();
        assert_eq!(receipt.await.unwrap(), Receipt::Committed);
    }

    /// A ZeroMQ frame of this event came and found the memory full.
    pub(crate) async fn dropped_frame(&self, event: Uuid) {
        self.gap_of("tcp://misp:50000", event).await;
    }

    pub(crate) async fn gap_of(&self, intake: &str, event: Uuid) {
        let gap = Gap {
            reason: GapReason::MemoryFull,
            intake: intake.to_owned(),
            since: SystemTime::now(),
            event: Some(event),
            publication: intake != webhook::INTAKE,
        };
        self.commit(What::Gap(gap)).await;
    }

    pub(crate) async fn commit(&self, what: What) {
        let receipt = self.inbox.offer_and_wait(what, Instant::now()).unwrap();
        assert_eq!(receipt.await.unwrap(), Receipt::Committed);
    }

    /// Ends what the guard holds.
    pub(crate) async fn release(&self) -> usize {
        self.ledger.release(&self.views, &Releasing::default(), Ledger::now()).await.unwrap()
    }
}
