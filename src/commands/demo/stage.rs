//! Starts the sandbox and the feed of the demo, and builds the relay between them. The relay is configured as
//! an operator would do it, by environment variables.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tempfile::TempDir;

use super::feed::Feed;
use crate::app::{Relay, RunOptions};
use crate::config::{self, Config};
use crate::intake::zmq::ZeroMqStatus;
use crate::ledger::Ledger;
use crate::pure::policy::Judge;
use crate::sandbox::{RECORDED_ORGANISATION, Sandbox, Settings};

/// The sandbox, the ledger and all else that is observed while the relay runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub sandbox: Sandbox,
    pub ledger: Ledger,
    /// The state of the feed, as the relay sees it.
    pub hears: ZeroMqStatus,
    pub judge: Judge,
    pub recorded: PrometheusHandle,
    pub config: Config,
    folder: TempDir,
}

impl Stage {
    /// Starts sandbox and feed, and builds the relay. The caller runs it.
    ///
    /// # Errors
    /// There is no free port, or no room for temporary files.
    pub(super) async fn set(recorded: PrometheusHandle) -> anyhow::Result<(Self, Relay, Feed)> {
        let folder = TempDir::with_prefix("misp-sentinel-relay-demo-")
            .context("make a folder for the demo")?;
        let sandbox = Sandbox::start(Settings::default()).await?;
        let feed = Feed::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let config = configuration(&sandbox, &feed, folder.path())?;
        let relay = Relay::build(config.clone(), RunOptions::default()).await?;
        let (ledger, hears) =
            (relay.ledger.clone(), relay.feeds().next().context("the demo has a feed")?);
        let judge = Judge::new(&config.policy);
        let stage = Self { sandbox, ledger, hears, judge, recorded, config, folder };
        Ok((stage, relay, feed))
    }

    /// Returns the path of the relay's log.
    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.path().join("relay.log")
    }

    /// Keeps the folder with log and ledger, and returns the path of the log.
    pub(super) fn keep(self) -> PathBuf {
        let log = self.log_file();
        drop(self.folder.keep());
        log
    }
}

/// Returns the defaults, with values for the settings that have none. Neither the configuration file nor the
/// variables of a relay on this machine count.
fn configuration(sandbox: &Sandbox, feed: &Feed, folder: &Path) -> anyhow::Result<Config> {
    let file = folder.join("config.toml");
    File::create(&file).with_context(|| format!("create {}", file.display()))?;
    let own = [
        ("MSR_MISP__PUBLIC_URL", "https://misp.example".to_owned()),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", feed.endpoint()),
        ("MSR_LEDGER__DATA_DIR", folder.display().to_string()),
        ("MSR_ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        // The recorded events are made of documentation addresses.
        ("MSR_POLICY__ALLOW_NON_ROUTABLE", "true".to_owned()),
        // Some of them are only for the organisation that made them.
        ("MSR_POLICY__ORG_WITHOUT_KEY", RECORDED_ORGANISATION.to_owned()),
        // Only indicators are sent, since the table counts every object as one.
        ("MSR_INDICATOR__CONTEXT", String::new()),
        // The sandbox is on loopback, which the operator's proxy cannot reach.
        ("MSR_AZURE__PROXY", "none".to_owned()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let environment = sandbox.relay_environment().into_iter().chain(own);
    Ok(config::load(Some(&file), environment)?)
}
