//! Reads the alerts of workspaces, and has the ledger record which indicators they hit. Each target has a task of its
//! own. Nothing is sent to Sentinel by it.

mod window;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::azure::logs::{BadAddress, LogsClient, LogsError, LogsTable, Span, written};
use crate::azure::token::{SignIn, SignInError, TokenSource};
use crate::config::{Config, Hits, Management, Target};
use crate::deliver::Health;
use crate::ledger::{Ledger, RecordedHits, SqlError};
use crate::log_event::{LogEvent, ms};
use crate::pure::alert::{self, Alert, AlertRow};
use crate::pure::backoff::Backoff;
use crate::pure::outage::{Down, Outage};

/// The query for alerts. The two times in it stand for those that are asked for.
const ALERTS: &str = include_str!("../../sentinel/kql/hits/alerts.kql");
const AFTER: &str = "2026-01-01T00:00:00.000Z";
const UNTIL: &str = "2026-01-02T00:00:00.000Z";

/// The rows to which the query keeps itself.
const MOST_ROWS: usize = 10_000;

/// The columns that tell of an alert.
const COLUMNS: [&str; 6] =
    ["SystemAlertId", "AlertName", "StartTime", "EndTime", "Entities", "ExtendedProperties"];

/// Alerts that the ledger records in one transaction.
const STEP: usize = 200;

/// Why alerts could not be read.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error("the ledger: {0}")]
    Ledger(#[from] SqlError),
}

impl Fault {
    fn word(&self) -> &'static str {
        match self {
            Self::Logs(error) => error.word(),
            Self::Ledger(_) => "ledger",
        }
    }
}

/// Why alerts of a target cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

/// Makes the client that reads the alerts of a target.
///
/// # Errors
/// [`NoClient`].
pub fn client(
    config: &Config,
    target: &Target,
    hits: &Hits,
    http: &reqwest::Client,
    rules: &Management,
) -> Result<LogsClient, NoClient> {
    // Uploads have a token for another scope.
    let sign_in = SignIn { scope: hits.scope.clone(), ..SignIn::of(target) };
    let tokens = TokenSource::new(sign_in, http.clone(), &config.azure)?;
    let (azure, workspace) = (&config.azure, target.workspace_id);
    Ok(LogsClient::new(http.clone(), azure, hits, workspace, tokens.into(), rules)?)
}

/// Reads the alerts of one target.
#[derive(Debug)]
pub struct AlertReader {
    target: String,
    client: LogsClient,
    ledger: Ledger,
    hits: Hits,
    health: Health,
    backoff: Backoff,
    failing: Outage,
    failures: u32,
}

impl AlertReader {
    /// Makes the readers of all live targets whose alerts are to be read.
    ///
    /// # Errors
    /// [`NoClient`].
    pub fn all(
        config: &Config,
        ledger: &Ledger,
        http: &reqwest::Client,
        health: &Health,
    ) -> Result<Vec<Self>, NoClient> {
        let shortest = config.management.backoff_min;
        let read = config.targets.iter().filter(|target| target.is_live());
        let read = read.filter_map(|target| Some((target, target.hits.as_ref()?)));
        let reader = |(target, hits): (&Target, &Hits)| {
            Ok(Self {
                target: target.name.clone(),
                client: client(config, target, hits, http, &config.management)?,
                ledger: ledger.clone(),
                hits: hits.clone(),
                health: health.clone(),
                backoff: Backoff::new(shortest, hits.every.max(shortest)),
                failing: Outage::default(),
                failures: 0,
            })
        };
        read.map(reader).collect()
    }

    /// Reads alerts until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                read = self.read_all() => read,
            };
            let pause = self.judge(read.err());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads all alerts that Sentinel shows by now, in parts where they are many.
    async fn read_all(&self) -> Result<(), Fault> {
        let cursor = self.ledger.alerts_cursor(&self.target).await?;
        let Some(span) = window::next(cursor, Utc::now(), self.hits.delay) else { return Ok(()) };
        let mut after = span.after;
        while after < span.until {
            let (table, part) = self.part(Span { after, ..span }).await?;
            self.record(&alerts(&table)?, window::reached(cursor, after, span)).await?;
            after = part.until;
            // All before it are recorded, so the cursor may pass them.
            let reached = window::reached(cursor, after, span);
            self.ledger.record_alerts(&self.target, Vec::new(), reached).await?;
        }
        Ok(())
    }

    /// Asks for the alerts of a time, or of its beginning, if all are too many for one answer. Returns the time with them.
    async fn part(&self, span: Span) -> Result<(LogsTable, Span), LogsError> {
        let mut part = span;
        loop {
            let answer = self.client.query(&query(part), part).await;
            let is_too_large = match &answer {
                Ok(table) => table.rows.len() >= MOST_ROWS,
                Err(error) => matches!(error, LogsError::Incomplete(_)),
            };
            match window::half(part).filter(|_| is_too_large) {
                Some(half) => part = half,
                None => return answer.map(|table| (table, part)),
            }
        }
    }

    /// Has the ledger record what alerts name, a few at a time, so that it is not held up.
    async fn record(&self, alerts: &[Alert], cursor: DateTime<Utc>) -> Result<(), Fault> {
        let mut recorded = RecordedHits::default();
        for some in alerts.chunks(STEP) {
            let RecordedHits { new, known, dropped } =
                self.ledger.record_alerts(&self.target, some.to_vec(), cursor).await?;
            recorded.new += new;
            recorded.known += known;
            recorded.dropped += dropped;
        }
        note(&self.target, alerts.len(), recorded);
        Ok(())
    }

    /// Notes how it went. Returns the pause until the next time.
    fn judge(&mut self, fault: Option<Fault>) -> Duration {
        let Some(fault) = fault else {
            self.failures = 0;
            self.health.update(&self.target, |health| health.hits = None);
            if let Some(Down { lasted, .. }) = self.failing.over(Instant::now()) {
                tracing::info!(
                    event = LogEvent::AlertsRecovered.word(),
                    target = self.target,
                    down_ms = ms(lasted),
                    "The target's alerts are read again"
                );
            }
            return self.hits.every;
        };
        self.failures = self.failures.saturating_add(1);
        let why = format!(
            "its alerts cannot be read from {}, so hits come later: {fault}",
            self.hits.logs
        );
        self.health.update(&self.target, |health| health.hits = Some(why));
        if let Some(Down { lasted, failures }) = self.failing.failed(fault.word(), Instant::now()) {
            tracing::warn!(
                event = LogEvent::AlertsFailing.word(),
                target = self.target,
                endpoint = self.hits.logs,
                error = %fault,
                down_ms = ms(lasted),
                failures,
                "The target's alerts cannot be read. Nothing is lost: they are read later"
            );
        }
        self.backoff.pause(self.failures, rand::random())
    }
}

fn query(span: Span) -> String {
    ALERTS.replace(AFTER, &written(span.after)).replace(UNTIL, &written(span.until))
}

/// Reads the rows. Those without an id or a time tell of nothing.
fn alerts(table: &LogsTable) -> Result<Vec<Alert>, LogsError> {
    let is_missing = |column: &&&str| !table.columns.iter().any(|one| one == *column);
    if let Some(column) = COLUMNS.iter().find(is_missing).filter(|_| !table.rows.is_empty()) {
        return Err(LogsError::Unreadable(format!("it lacks the column {column}")));
    }
    let alert = |row: &Vec<serde_json::Value>| {
        let [id, name, start, end, entities, extended_properties] =
            COLUMNS.map(|column| table.text(row, column).unwrap_or_default());
        alert::read(&AlertRow { id, name, start, end, entities, extended_properties })
    };
    let read: Vec<Alert> = table.rows.iter().filter_map(alert).collect();
    let unread = table.rows.len() - read.len();
    if unread > 0 {
        tracing::debug!(unread, "Alerts without an id or a time tell of nothing");
    }
    Ok(read)
}

fn note(target: &str, alerts: usize, recorded: RecordedHits) {
    let RecordedHits { new, known, dropped } = recorded;
    if new == 0 {
        tracing::debug!(target, alerts, known, dropped, "Alerts were read, and no hit is new");
        return;
    }
    tracing::info!(
        event = LogEvent::HitsRecorded.word(),
        target,
        alerts,
        new,
        known,
        dropped,
        "Alerts hit indicators of ours"
    );
}

/// Asks whether the alerts of a workspace can be read, by a query for those of the last hour.
///
/// # Errors
/// [`LogsError`].
pub async fn probe(client: &LogsClient) -> Result<usize, LogsError> {
    let until = Utc::now();
    let span = Span { after: until - chrono::TimeDelta::hours(1), until };
    client.query(&query(span), span).await.map(|table| table.rows.len())
}
