//! A stand-in for Entra and for Sentinel's upload API, over TLS, with Microsoft's documented rules and with
//! faults on order. The demo, trials of the relay and its tests use it.

mod access;
mod assertion;
mod certificate;
mod connection;
mod entra;
mod fault;
mod imds;
mod life;
mod logs;
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
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
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
pub use life::{HeldObject, Life};
pub use settings::{Account, RECORDED_ORGANISATION, Settings};
pub use state::{Managed, Upload};

use certificate::Certificates;
use state::World;

/// A running stand-in. When it is dropped, it is gone at once, including its open connections.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    certificates: Certificates,
    world: Arc<World>,
    handle: Handle<SocketAddr>,
    /// The server; empty while it is stopped.
    server: JoinSet<io::Result<()>>,
    /// Its metadata service, if any.
    metadata: JoinSet<io::Result<()>>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

impl Sandbox {
    /// Starts the stand-in. It listens when this returns.
    ///
    /// # Errors
    /// The address cannot be used, or the certificate cannot be made or written.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let mut sandbox = Self {
            address: settings.listen,
            certificates: Certificates::make(&settings)?,
            world: Arc::new(World::new(settings)),
            handle: Handle::new(),
            server: JoinSet::new(),
            metadata: JoinSet::new(),
        };
        sandbox.restart().await?;
        Ok(sandbox)
    }

    /// Takes it down: the port refuses, and connections are closed in the middle of anything. What it holds is
    /// kept for [`Sandbox::restart`].
    pub async fn stop(&mut self) {
        self.handle.shutdown();
        while self.server.join_next().await.is_some() {}
    }

    /// Stops it if it runs, and brings it back on the same port.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await;
        let failed = format!("the sandbox cannot listen on {}", self.address);
        let listener = TcpListener::bind(self.address).context(failed)?;
        self.address = listener.local_addr()?;
        self.handle = Handle::new();
        let tls = RustlsConfig::from_config(Arc::clone(&self.certificates.server));
        let acceptor = RustlsAcceptor::new(tls).acceptor(self.world.connections.clone());
        let server =
            axum_server::from_tcp(listener)?.acceptor(acceptor).handle(self.handle.clone());
        let app = app(Arc::clone(&self.world));
        self.server.spawn(server.serve(app.into_make_service_with_connect_info::<SocketAddr>()));
        Ok(())
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL by its loopback address: the authority, and the upload endpoint as well. A name would need
    /// an entry in the hosts file, and a minimal system has none.
    pub fn base_url(&self) -> String {
        let loopback = if self.address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
        format!("https://{loopback}:{}", self.address.port())
    }

    /// Returns its certificate authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.certificates.ca_pem
    }

    /// Returns the file that holds [`Sandbox::ca_pem`], for `azure.ca_file` or `SSL_CERT_FILE`.
    pub fn ca_file(&self) -> &Path {
        &self.certificates.ca_file
    }

    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// Returns a counter that changes each time an upload request is read, stored or answered.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.world.changes.subscribe()
    }

    /// Stores an object as if another product had uploaded it.
    pub fn put(&self, workspace: Uuid, sourcesystem: &str, object: Value) {
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.world.with(|state| state.store(workspace, sourcesystem, &id, object));
    }

    /// Returns where each indicator of `workspace` stands now, by the condition of Sentinel's rules.
    pub fn lives(&self, workspace: Uuid) -> Vec<(HeldObject, Life)> {
        let now = self.now();
        let objects = self.objects(workspace).into_iter();
        objects.filter_map(|held| Life::of(&held.json, now).map(|life| (held, life))).collect()
    }

    /// Returns the relay's settings for this sandbox, as environment variables, for each workspace.
    pub fn relay_environment(&self) -> Vec<(String, String)> {
        settings::relay_environment(&self.world.settings, &self.base_url(), self.ca_file())
    }
}

/// Defines methods of the sandbox that do one thing to its state, which is behind a lock.
macro_rules! on_state {
    ($($(#[$about:meta])* fn $name:ident($state:ident $(, $given:ident: $type:ty)*) $(-> $answer:ty)? = $act:expr;)*) => {
        impl Sandbox {
            $($(#[$about])* pub fn $name(&self $(, $given: $type)*) $(-> $answer)? {
                self.world.with(|$state| $act)
            })*
        }
    };
}

on_state! {
    /// Returns what `workspace` holds, in the order of source system and id.
    fn objects(state, workspace: Uuid) -> Vec<HeldObject> = state.objects(workspace);

    /// Returns how many objects `workspace` holds.
    fn count(state, workspace: Uuid) -> usize = state.count(workspace, |_| true);

    /// Returns every upload request so far, in the order of arrival.
    fn requests(state) -> Vec<Upload> = state.uploads.clone();

    /// Returns how many sign-ins were asked for so far, including refused ones.
    fn sign_ins(state) -> usize = state.sign_ins;

    /// Scripts the next upload requests, one fault each, after those scripted before.
    fn script(state, faults: impl IntoIterator<Item = Fault>) = state.faults.next.extend(faults);

    /// Sets the fault of every request that no script covers. `None` ends it.
    fn always(state, fault: Option<Fault>) = state.faults.always = fault;

    /// Sets the fault of every request to one workspace. `None` ends it.
    fn always_for(state, workspace: Uuid, fault: Option<Fault>) =
        drop(state.faults.always_for.insert(workspace, fault));

    /// Scripts the next sign-ins.
    fn script_sign_ins(state, faults: impl IntoIterator<Item = SignInFault>) =
        state.faults.sign_ins.extend(faults);

    /// Sets the fault of every sign-in that no script covers. `None` ends it.
    fn always_sign_in(state, fault: Option<SignInFault>) = state.faults.always_sign_in = fault;

    /// Scripts the next requests to the metadata service.
    fn script_metadata(state, faults: impl IntoIterator<Item = SignInFault>) =
        state.faults.metadata.extend(faults);

    /// Scripts the next requests to the management plane. Of the faults it knows those that are answers,
    /// [`Fault::ResetBefore`] and [`Fault::NeverAnswers`].
    fn script_management(state, faults: impl IntoIterator<Item = Fault>) =
        state.faults.management.extend(faults);

    /// Scripts the next queries of Log Analytics, with the faults that the management plane knows as answers.
    fn script_logs(state, faults: impl IntoIterator<Item = Fault>) = state.faults.logs.extend(faults);

    /// Returns how many queries Log Analytics was asked.
    fn log_queries(state) -> usize = state.log_queries;

    /// Adds a row to the table `SecurityAlert` of a workspace.
    fn add_alert(state, workspace: Uuid, row: serde_json::Map<String, Value>) =
        state.alerts.entry(workspace).or_default().push(row);

    /// Returns every request to the management plane so far.
    fn managed(state) -> Vec<Managed> = state.managed.clone();

    /// Sets whether deletions over the management plane are answered with success and delete nothing.
    fn delete_nothing(state, idle: bool) = state.faults.idle_deletions = idle;

    /// Removes an object, as Sentinel's users do. Returns whether it was there.
    fn remove(state, workspace: Uuid, sourcesystem: &str, id: &str) -> bool =
        state.remove(workspace, sourcesystem, id).is_some();

    /// Changes what is held of an id, as Sentinel's users do. Returns whether it was there.
    fn alter(state, workspace: Uuid, id: &str, change: impl Fn(&mut Value)) -> bool =
        state.alter(workspace, id, change);

    /// Answers every request that holds one of these STIX ids with 400 as a whole.
    fn poison(state, ids: impl IntoIterator<Item = String>) = state.faults.poison.extend(ids);

    /// Rejects by `recordIndex` the objects for which `judge` gives a reason.
    fn reject_where(state, judge: impl Fn(&Value) -> Option<String> + Send + Sync + 'static) =
        state.faults.rejections.push(fault::Rejection(Box::new(judge)));

    /// Sets its clock, which answers tell in their `Date`, ahead of this machine's; behind it if `seconds` is
    /// negative.
    fn set_clock_ahead(state, seconds: i64) = state.ahead = seconds;

    /// Returns the time by its clock, which is what Sentinel's rules call `now()`.
    fn now(state) -> DateTime<Utc> = state.now();

    /// Ends every fault, script, poison and rejection.
    fn heal(state) = state.faults = fault::FaultOrders::default();

    /// Forgets all tokens. Whoever uses one of them is answered 401.
    fn invalidate_tokens(state) = state.tokens.clear();

    /// Removes the certificates of an application.
    fn forget_certificates(state, client_id: &str) = drop(state.access.certificates.remove(client_id));

    /// Registers a certificate (DER) with an application.
    fn register_certificate(state, client_id: &str, certificate: Vec<u8>) =
        state.access.certificates.entry(client_id.to_owned()).or_default().push(certificate);

    /// Makes an application trust tokens of another issuer.
    fn trust(state, client_id: &str, federated: Federated) =
        state.access.trusted.entry(client_id.to_owned()).or_default().push(federated);

    /// Makes a token of another issuer, e.g. as a cluster would project it into a pod.
    fn federated_token(state, federated: Federated, lifetime: Duration) -> String =
        state.access.issue(federated, lifetime);

    /// Assigns an identity to the machine.
    fn assign(state, identity: MachineIdentity) = state.access.identities.push(identity);

    /// Returns how often the metadata service was asked.
    fn metadata_requests(state) -> usize = state.access.metadata_requests;

    /// Makes vaults ask for tokens for another resource than their own. `None`: they ask as they should.
    fn set_vault_resource(state, resource: Option<&str>) =
        state.access.vault_resource = resource.map(str::to_owned);

    /// Returns how many secrets of vaults were read.
    fn vault_reads(state) -> usize = state.access.vault_reads;
}

/// Runs a sandbox until `stop` completes, and tells on `out` how to use it.
///
/// # Errors
/// It cannot be started, or `out` cannot be written.
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
    let page = free_address()?;
    let trial = settings::trial_environment(ledger.path(), page);
    writeln!(out, "\nTo point a relay at it, paste this into another shell:\n")?;
    for (name, value) in sandbox.relay_environment().into_iter().chain(trial) {
        writeln!(out, "export {name}={}", settings::quoted(&value))?;
    }
    writeln!(out, "\nand start there: misp-sentinel-relay run")?;
    writeln!(out, "The page of that relay: http://{page}/")?;
    let init = "misp-sentinel-relay init --config sandbox.toml --target sandbox";
    writeln!(out, "(or write it into a file first: {init})")?;
    let feed = settings::TRIAL_FEED;
    writeln!(out, "MISP's part is played by: misp-sentinel-relay demo --feed {feed}")?;
    writeln!(out, "Stop that relay before this sandbox: its ledger goes with the sandbox.")?;
    out.flush()?;
    stop.await;
    sandbox.stop().await;
    if let Some(holder) = crate::ledger::holder_of(ledger.path()) {
        let kept = ledger.keep();
        writeln!(
            out,
            "The relay (process {holder}) still uses the ledger in {0}, so it is left there. Stop the relay, then remove the folder {0}.",
            kept.display()
        )?;
    }
    Ok(())
}

/// Returns an address of this machine on which nobody listens now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn app(world: Arc<World>) -> Router {
    let workspace = "/subscriptions/{subscription}/resourceGroups/{group}/providers\
                     /Microsoft.OperationalInsights/workspaces/{name}";
    let threats = format!("{workspace}/providers/Microsoft.SecurityInsights");
    let routes = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(entra::token))
        .route("/workspaces/{id}/{action}", post(upload::upload))
        .route("/{id}/{action}", post(upload::upload))
        .route(&format!("{threats}/threatIntelligence/main/{{what}}"), any(manage::serve))
        .route(&format!("{threats}/threatintelligence/{{what}}"), any(manage::serve))
        .route(workspace, get(manage::serve))
        .route("/v1/workspaces/{workspace}/query", post(logs::query))
        .route("/secrets/{name}", get(vault::secret))
        .route("/secrets/{name}/", get(vault::secret))
        .route("/secrets/{name}/{version}", get(vault::secret))
        .route("/", get(page::page))
        .route("/objects", get(page::objects));
    routes.with_state(Arc::clone(&world)).layer(map_response_with_state(world, dated))
}

/// Adds the `Date` of the sandbox's clock.
async fn dated(State(world): State<Arc<World>>, mut response: Response) -> Response {
    let now = world.with(|state| state.now());
    let date = HeaderValue::from_str(&now.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    response.headers_mut().extend(date.ok().map(|date| (DATE, date)));
    response
}
