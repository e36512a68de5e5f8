//! A stand-in for Entra and for Sentinel's upload API, over TLS, with Microsoft's documented rules and with
//! faults on order. The demo, trials of the relay and its tests use it.

mod access;
mod assertion;
mod certificate;
mod connection;
mod entra;
mod fault;
mod form;
mod held;
mod imds;
mod life;
mod manage;
mod page;
mod quota;
mod refusal;
mod settings;
mod state;
mod upload;
mod validate;
mod vault;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::DATE;
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use access::{Federated, MachineIdentity};
pub use fault::{Fault, SignInFault};
pub use held::HeldObject;
pub use life::Life;
pub use settings::{Account, RECORDED_ORGANISATION, Settings};
pub use state::{Managed, Upload};

use certificate::Certificates;
use connection::Connections;
use state::{Service, World};

/// Why the sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the sandbox's certificate could not be made: {0}")]
    Certificate(String),
    #[error("the sandbox's certificate authority could not be written to {}", file.display())]
    CaFile { file: PathBuf, source: io::Error },
}

/// A running stand-in. Dropped, it is gone at once, open connections included.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    certificates: Certificates,
    world: Arc<World>,
    connections: Connections,
    running: Option<Running>,
    /// Its metadata service, if any.
    metadata: JoinSet<io::Result<()>>,
}

#[derive(Debug)]
struct Running {
    handle: Handle<SocketAddr>,
    tasks: JoinSet<io::Result<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

impl Sandbox {
    /// Starts the stand-in; it listens when this returns.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn start(settings: Settings) -> Result<Self, SandboxError> {
        let certificates = Certificates::make(&settings)?;
        let mut sandbox = Self {
            address: settings.listen,
            certificates,
            world: Arc::new(World::new(settings)),
            connections: Connections::default(),
            running: None,
            metadata: JoinSet::new(),
        };
        sandbox.restart().await?;
        Ok(sandbox)
    }

    /// Goes down: the port refuses, connections are closed in the middle of anything. What it
    /// holds is kept for [`Sandbox::restart`].
    pub async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.handle.shutdown();
            while running.tasks.join_next().await.is_some() {}
        }
    }

    /// Comes back on the same port. While running, a stop first.
    ///
    /// # Errors
    /// [`SandboxError::Listen`].
    pub async fn restart(&mut self) -> Result<(), SandboxError> {
        self.stop().await;
        let address = self.address;
        let failed = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        self.address = listener.local_addr().map_err(failed)?;

        let handle = Handle::new();
        let tls = RustlsConfig::from_config(Arc::clone(&self.certificates.server));
        let acceptor = RustlsAcceptor::new(tls).acceptor(self.connections.clone());
        let server = axum_server::from_tcp(listener).map_err(failed)?;
        let server = server.acceptor(acceptor).handle(handle.clone());
        let app = app(Arc::clone(&self.world), self.connections.clone());
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(app));
        self.running = Some(Running { handle, tasks });
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://localhost:<port>`: authority and upload endpoint alike.
    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its certificate authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.certificates.ca_pem
    }

    /// The file that holds [`Sandbox::ca_pem`], for `azure.ca_file` or `SSL_CERT_FILE`.
    pub fn ca_file(&self) -> &Path {
        &self.certificates.ca_file
    }

    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// What `workspace` holds, in the order of source system and id.
    pub fn objects(&self, workspace: Uuid) -> Vec<HeldObject> {
        self.world.with(|state| state.objects(workspace))
    }

    /// How many objects `workspace` holds.
    pub fn count(&self, workspace: Uuid) -> usize {
        self.world.with(|state| state.count(workspace, |_| true))
    }

    /// Every upload request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Upload> {
        self.world.with(|state| state.uploads.clone())
    }

    /// Changes each time an upload request is read, stored or answered.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.world.changes.subscribe()
    }

    /// How many sign-ins were asked for so far, refused ones included.
    pub fn sign_ins(&self) -> usize {
        self.world.with(|state| state.sign_ins)
    }

    /// Scripts the next upload requests, one fault each, after those scripted before.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world.with(|state| state.faults.next.extend(faults));
    }

    /// The fault of every request that no script covers, until `None` is set.
    pub fn always(&self, fault: Option<Fault>) {
        self.world.with(|state| state.faults.always = fault);
    }

    /// The fault of every request to one workspace, until `None` is set.
    pub fn always_for(&self, workspace: Uuid, fault: Option<Fault>) {
        self.world.with(|state| match fault {
            Some(fault) => drop(state.faults.always_for.insert(workspace, fault)),
            None => drop(state.faults.always_for.remove(&workspace)),
        });
    }

    /// Scripts the next sign-ins.
    pub fn script_sign_ins(&self, faults: impl IntoIterator<Item = SignInFault>) {
        self.world.with(|state| state.faults.sign_ins.extend(faults));
    }

    /// The fault of every sign-in that no script covers, until `None` is set.
    pub fn always_sign_in(&self, fault: Option<SignInFault>) {
        self.world.with(|state| state.faults.always_sign_in = fault);
    }

    /// Scripts the next requests to the metadata service.
    pub fn script_metadata(&self, faults: impl IntoIterator<Item = SignInFault>) {
        self.world.with(|state| state.faults.metadata.extend(faults));
    }

    /// Scripts the next requests to the management plane; of the faults, those that are answers, and
    /// [`Fault::ResetBefore`] and [`Fault::NeverAnswers`].
    pub fn script_management(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world.with(|state| state.faults.management.extend(faults));
    }

    /// Every request to the management plane so far.
    pub fn managed(&self) -> Vec<Managed> {
        self.world.with(|state| state.managed.clone())
    }

    /// Whether deletions over the management plane are answered with success and delete nothing.
    pub fn delete_nothing(&self, idle: bool) {
        self.world.with(|state| state.faults.idle_deletions = idle);
    }

    /// Takes an object out, as Sentinel's users do; whether it was there.
    pub fn remove(&self, workspace: Uuid, sourcesystem: &str, id: &str) -> bool {
        self.world.with(|state| state.remove(workspace, sourcesystem, id)).is_some()
    }

    /// Changes what is held of an id, as Sentinel's users do; whether it was there.
    pub fn alter(&self, workspace: Uuid, id: &str, change: impl Fn(&mut Value)) -> bool {
        self.world.with(|state| state.alter(workspace, id, change))
    }

    /// Holds an object as if another product had uploaded it.
    pub fn put(&self, workspace: Uuid, sourcesystem: &str, object: Value) {
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.world.with(|state| state.store(workspace, sourcesystem, &id, object));
    }

    /// Every request that holds one of these STIX ids is answered 400 as a whole.
    pub fn poison(&self, ids: impl IntoIterator<Item = String>) {
        self.world.with(|state| state.faults.poison.extend(ids));
    }

    /// Objects for which `judge` gives a reason are rejected by `recordIndex` with it.
    pub fn reject_where(&self, judge: impl Fn(&Value) -> Option<String> + Send + Sync + 'static) {
        self.world.with(|state| state.faults.rejections.push(fault::Rejection(Box::new(judge))));
    }

    /// Its clock, which answers tell in their `Date`, is ahead of this machine's from now on; behind
    /// where `seconds` is negative.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.world.with(|state| state.ahead = seconds);
    }

    /// The time by its clock, which is what Sentinel's rules call `now()`.
    pub fn now(&self) -> DateTime<Utc> {
        self.world.with(|state| state.now())
    }

    /// Where each indicator of `workspace` stands now, by the condition of Sentinel's rules.
    pub fn lives(&self, workspace: Uuid) -> Vec<(HeldObject, Life)> {
        let now = self.now();
        let objects = self.objects(workspace).into_iter();
        objects.filter_map(|held| Life::of(&held.json, now).map(|life| (held, life))).collect()
    }

    /// Takes back every fault, script, poison and rejection.
    pub fn heal(&self) {
        self.world.with(|state| state.faults = fault::FaultOrders::default());
    }

    /// Forgets all tokens: those in use are answered 401.
    pub fn invalidate_tokens(&self) {
        self.world.with(|state| state.tokens.clear());
    }

    /// The relay's settings for this sandbox, as environment variables, for each workspace.
    pub fn relay_environment(&self) -> String {
        settings::relay_environment(&self.world.settings, &self.base_url(), self.ca_file())
    }
}

/// Runs a sandbox until `stop` completes, and tells on `out` how to use it.
///
/// # Errors
/// Not started ([`SandboxError`]), or `out` cannot be written.
pub async fn serve_until(
    settings: Settings,
    out: &mut (dyn io::Write + Send),
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(settings).await?;
    let address = sandbox.address();
    writeln!(out, "Sandbox for Entra and Microsoft Sentinel on {address}")?;
    writeln!(out, "What it holds: {}/ (and {0}/objects)", sandbox.base_url())?;
    writeln!(out, "Its certificate authority: {}", sandbox.ca_file().display())?;
    // It knows only what this sandbox was sent, and goes with it.
    let ledger = tempfile::Builder::new().prefix("sandbox-ledger-").tempdir()?;
    let trial = settings::trial_environment(ledger.path());
    writeln!(out, "\nTo point a relay at it, paste this into another shell:\n")?;
    for (name, value) in sandbox
        .relay_environment()
        .lines()
        .chain(trial.lines())
        .filter_map(|line| line.split_once('='))
    {
        writeln!(out, "export {name}={}", settings::quoted(value))?;
    }
    writeln!(out, "\nand start there: misp-sentinel-relay run")?;
    writeln!(
        out,
        "MISP's part is played by: misp-sentinel-relay demo --feed {}",
        settings::TRIAL_FEED
    )?;
    writeln!(out, "Stop that relay before this sandbox: its ledger goes with the sandbox.")?;
    out.flush()?;
    stop.await;
    sandbox.stop().await;
    Ok(())
}

fn app(world: Arc<World>, connections: Connections) -> Router {
    let service = Service { world: Arc::clone(&world), connections };
    let workspace = "/subscriptions/{subscription}/resourceGroups/{group}/providers\
                     /Microsoft.OperationalInsights/workspaces/{name}";
    let threats = format!("{workspace}/providers/Microsoft.SecurityInsights");
    let services = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(entra::token))
        .route("/workspaces/{id}/{action}", post(upload::upload))
        .route("/{id}/{action}", post(upload::upload))
        .route(&format!("{threats}/threatIntelligence/main/{{what}}"), any(manage::serve))
        .route(&format!("{threats}/threatintelligence/{{what}}"), any(manage::serve))
        .route(workspace, get(manage::serve))
        .route("/secrets/{name}", get(vault::secret))
        .route("/secrets/{name}/", get(vault::secret))
        .route("/secrets/{name}/{version}", get(vault::secret))
        .with_state(service);
    let pages = Router::new().route("/", get(page::page)).route("/objects", get(page::objects));
    let all = services.merge(pages.with_state(Arc::clone(&world)));
    all.layer(map_response_with_state(world, dated))
}

async fn dated(State(world): State<Arc<World>>, mut response: Response) -> Response {
    let now = world.with(|state| state.now());
    let date = HeaderValue::from_str(&now.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    response.headers_mut().extend(date.ok().map(|date| (DATE, date)));
    response
}
