//! Serves MISP's REST API over plain HTTP, as far as the relay uses it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum_server::Handle;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::answer;
use super::connection::Connections;
use super::fault::{Chance, Faults, RestFault};
use super::key::Key;
use super::render::Shown;
use super::search::Search;
use super::settings;
use super::sightings;
use super::store::Misp;
use super::warninglists;

/// Bytes of a request.
const LONGEST_REQUEST: usize = 64 << 20;

/// Where the stand-in listens and whom it lets in. The default is a free port of the loopback
/// interface and one site administrator's key.
#[derive(Debug, Clone)]
pub struct MispSettings {
    pub listen: SocketAddr,
    pub keys: Vec<Key>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct AskedFor {
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// As it was sent.
    pub body: String,
    /// The fault that it met.
    pub fault: RestFault,
}

/// A running REST API of a [`Misp`]. Dropped, it is gone at once, open connections included.
#[derive(Debug)]
pub struct MispServer {
    address: SocketAddr,
    place: Place,
    running: Option<Running>,
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

/// What a handler needs.
#[derive(Debug, Clone)]
struct Place {
    misp: Misp,
    shared: Arc<Mutex<Shared>>,
    connections: Connections,
}

#[derive(Debug, Default)]
struct Shared {
    keys: Vec<Key>,
    faults: Faults,
    asked: Vec<AskedFor>,
}

impl Default for MispSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keys: vec![Key::site_admin("SiteAdministratorsKeyOfTheMispStandIn000")],
        }
    }
}

impl MispServer {
    /// Starts; it listens when this returns.
    ///
    /// # Errors
    /// Whatever the system says of the port.
    pub async fn start(misp: Misp, settings: MispSettings) -> io::Result<Self> {
        let shared = Shared { keys: settings.keys, ..Shared::default() };
        let place = Place {
            misp,
            shared: Arc::new(Mutex::new(shared)),
            connections: Connections::default(),
        };
        let mut server = Self { address: settings.listen, place, running: None };
        server.restart().await?;
        Ok(server)
    }

    /// Goes down: the port refuses, connections are closed in the middle of anything.
    pub async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.handle.shutdown();
            while running.tasks.join_next().await.is_some() {}
        }
    }

    /// Comes back on the same port. While running, a stop first.
    ///
    /// # Errors
    /// Whatever the system says of the port.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await;
        let address = self.address;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let handle = Handle::new();
        let server = axum_server::from_tcp(listener)?;
        let server = server.acceptor(self.place.connections.clone()).handle(handle.clone());
        let app = Router::new().fallback(serve).with_state(self.place.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(app.into_make_service_with_connect_info::<SocketAddr>()));
        self.running = Some(Running { handle, tasks });
        Ok(())
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`, for `misp.url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[must_use]
    pub fn misp(&self) -> &Misp {
        &self.place.misp
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<AskedFor> {
        self.place.with(|shared| shared.asked.clone())
    }

    /// Lets in these keys from now on, and no others.
    pub fn set_keys(&self, keys: Vec<Key>) {
        self.place.with(|shared| shared.keys = keys);
    }

    /// Scripts the next requests, one fault each, after those scripted before.
    pub fn script(&self, faults: impl IntoIterator<Item = RestFault>) {
        self.script_for("", faults);
    }

    /// Scripts the next requests whose path begins with `path`.
    pub fn script_for(&self, path: &str, faults: impl IntoIterator<Item = RestFault>) {
        let faults = faults.into_iter().map(|fault| (path.to_owned(), fault));
        self.place.with(|shared| shared.faults.script.extend(faults));
    }

    /// The fault of every request that no script and no chance covers, until `None` is set.
    pub fn always(&self, fault: Option<RestFault>) {
        self.place.with(|shared| shared.faults.always = fault);
    }

    /// The fault of every search for this event with its attributes.
    pub fn poison(&self, event: Uuid, fault: RestFault) {
        self.place.with(|shared| shared.faults.poisoned.push((event.to_string(), fault)));
    }

    /// From now on, faults by chance for requests that no script covers.
    pub fn by_chance(&self, chance: Chance) {
        self.place.with(|shared| shared.faults.by_chance(chance));
    }

    /// Takes back every fault, script and chance.
    pub fn heal(&self) {
        self.place.with(|shared| shared.faults = Faults::default());
    }
}

impl Place {
    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a request and says which fault it meets.
    fn arrived(&self, head: &Parts, body: &Bytes) -> RestFault {
        let path = head.uri.path();
        self.with(|shared| {
            let text = String::from_utf8_lossy(body).into_owned();
            let poison = shared.faults.poison(&text);
            let fault = poison.unwrap_or_else(|| shared.faults.take(path));
            shared.asked.push(AskedFor {
                at: Instant::now(),
                method: head.method.to_string(),
                path: path.to_owned(),
                body: text,
                fault: fault.clone(),
            });
            fault
        })
    }

    fn key(&self, head: &Parts) -> Option<Key> {
        let given = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        self.with(|shared| shared.keys.iter().find(|key| key.key == given).cloned())
            .filter(|key| key.may_search)
    }
}

async fn serve(
    State(place): State<Place>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let fault = place.arrived(&head, &body);
    if fault == RestFault::Reset {
        // The response is never written: the connection is reset in its place.
        place.connections.cut(peer);
        return StatusCode::OK.into_response();
    }
    if let RestFault::Late(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    let path = head.uri.path();
    let mut response = answer::of_fault(&fault, path).unwrap_or_else(|| {
        let key = if let RestFault::AnswerAs(key) = &fault {
            Some(key.clone())
        } else {
            place.key(&head)
        };
        match key {
            Some(key) => ask(&place.misp, &key, &head, &body, &fault),
            None => answer::no_key(path),
        }
    });
    if let RestFault::Spoilt(spoilt) = fault {
        response = spoilt.spoil(response).await;
    }
    if let Some(date) = date(place.misp.now()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// The `Date` header of MISP's clock.
fn date(clock: i64) -> Option<HeaderValue> {
    let time = chrono::DateTime::from_timestamp(clock, 0)?;
    HeaderValue::from_str(&time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

fn ask(misp: &Misp, key: &Key, head: &Parts, body: &Bytes, fault: &RestFault) -> Response {
    let path = head.uri.path();
    match (&head.method, path) {
        (&Method::GET, "/users/view/me" | "/users/view/me.json") => answer::user(key),
        (&Method::GET, "/servers/getVersion" | "/servers/getVersion.json") => answer::version(key),
        (&Method::GET, "/events/restSearch") => answer::error(
            400,
            "Restsearch queries using GET and no parameters are not allowed. If you have passed parameters via a JSON body, make sure you use POST requests.",
            path,
        ),
        (&Method::POST, "/events/restSearch") => search(misp, key, head, body, fault),
        (&Method::POST, "/events/index") => match parameters(head, body) {
            Ok(asked) => {
                let search = Search::read(&asked, misp.now(), key.reader());
                answer::index(&misp.with(|store| search.run(store)))
            }
            Err(problem) => answer::error(405, problem, path),
        },
        (&Method::GET, _) if path.starts_with("/events/view/") => view(misp, key, path),
        (&Method::GET, _) if path.starts_with("/servers/getSetting/") => {
            settings::answer(misp, key, path)
        }
        (&Method::GET, _) if path.starts_with("/warninglists/") => {
            warninglists::answer(misp, path, fault)
        }
        (&Method::POST, _) if path.starts_with("/sightings/add") => match parameters(head, body) {
            Ok(asked) => sightings::add(misp, key, path, &asked),
            Err(problem) => answer::error(405, problem, path),
        },
        (&Method::POST, _) if path.starts_with("/sightings/listSightings/") => {
            sightings::list(misp, path)
        }
        _ => answer::error(404, "Not Found", path),
    }
}

fn search(misp: &Misp, key: &Key, head: &Parts, body: &Bytes, fault: &RestFault) -> Response {
    let path = head.uri.path();
    let asked = match parameters(head, body) {
        Ok(asked) => asked,
        Err(problem) => return answer::error(405, problem, path),
    };
    if asked.get("returnFormat").is_some_and(|format| format != "json") {
        return answer::error(404, "Invalid output format.", path);
    }
    let search = Search::read(&asked, misp.now(), key.reader());
    let found = misp.with(|store| search.run(store));
    answer::events(found, &search.shown, fault)
}

/// Without a body, or without a word that it is JSON, every filter is ignored.
fn parameters(head: &Parts, body: &Bytes) -> Result<Map<String, Value>, &'static str> {
    let typed = [header::ACCEPT, header::CONTENT_TYPE].iter().any(|name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.contains("json"))
    });
    if body.is_empty() || !typed {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(asked)) => Ok(asked),
        Ok(_) => Ok(Map::new()),
        Err(_) => Err(
            "Invalid JSON input. Make sure that the JSON input is a correctly formatted JSON string. This request has been blocked to avoid an unfiltered request.",
        ),
    }
}

/// `/events/view/UUID or number`, with what is not deleted.
fn view(misp: &Misp, key: &Key, path: &str) -> Response {
    let name = path.trim_start_matches("/events/view/").trim_end_matches(".json");
    let shown = Shown { reader: key.reader(), ..Shown::PUBLICATION };
    let event = misp.with(|store| match Uuid::parse_str(name) {
        Ok(uuid) => store.event(uuid).cloned(),
        Err(_) => name.parse().ok().and_then(|number: u64| store.events.get(&number)).cloned(),
    });
    match event.filter(|event| shown.event(event)) {
        Some(event) => answer::event(&event, &shown),
        None => answer::error(404, "Invalid event", path),
    }
}
