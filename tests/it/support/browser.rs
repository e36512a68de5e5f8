//! A headless Chromium, driven over WebDriver and the commands that chromedriver has beside it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use misp_sentinel_relay::http::LOCAL;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser takes seconds to start where much else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// For how long a command that failed is tried again.
const RELOADED: Duration = Duration::from_secs(10);

const DRIVER: &str = "chromedriver";

/// Nothing is fetched, kept or drawn by a graphics card. There is no sandbox for root.
const OPTIONS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with one window. It ends when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    client: Client,
    /// The address of the session.
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Returns `None`, and says so, where Debian's packages chromium and chromium-driver are missing; under CI that is
    /// a failure.
    pub(crate) async fn start() -> Option<Self> {
        // It runs on the machine's own day, whatever the test's is: its certificates and timers rely on it.
        let started = Command::new(DRIVER)
            .args(["--port=0"])
            .env_remove("LD_PRELOAD")
            // A group of its own, by which the browser is ended as well.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = started else {
            assert!(std::env::var_os("CI").is_none(), "{DRIVER} is missing");
            eprintln!("skipped: {DRIVER} is missing (Debian's chromium and chromium-driver)");
            return None;
        };
        let port = port_of(&mut driver);
        let client = LOCAL.client_with(|builder| builder.timeout(PATIENCE)).unwrap();
        let profile = TempDir::new().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        let options: Vec<&str> = OPTIONS.into_iter().chain([data.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": options},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let root = format!("http://127.0.0.1:{port}/session");
        let made = client.post(&root).json(&wanted).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        let Some(id) = made["value"]["sessionId"].as_str() else {
            assert!(std::env::var_os("CI").is_none(), "{made}");
            eprintln!("skipped: Debian's chromium does not start: {made}");
            driver.kill().ok();
            return None;
        };
        let session = format!("{root}/{id}");
        Some(Self { driver, client, session, _profile: profile })
    }

    /// Carries a command out. The page loads itself again and may do so just then, which is an error of the command:
    /// so it is tried again.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let deadline = Instant::now() + RELOADED;
        loop {
            let asked = self.client.request(method.clone(), format!("{}/{path}", self.session));
            let asked = if method == Method::GET { asked } else { asked.json(body) };
            let mut answer: Value = asked.send().await.unwrap().json().await.unwrap();
            let value = answer["value"].take();
            if value["error"].is_null() {
                return value;
            }
            assert!(Instant::now() < deadline, "{path}: {value}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A command of Chrome's own protocol.
    async fn chrome(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.ask(Method::POST, "goog/cdp/execute", &body).await;
    }

    pub(crate) async fn open(&self, address: &str) {
        self.ask(Method::POST, "url", &json!({"url": address})).await;
    }

    /// Lets a window of this size show the page, as the owner's machine has it: dark or not.
    pub(crate) async fn look(&self, (width, height): (u32, u32), is_dark: bool) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chrome("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.chrome("Emulation.setEmulatedMedia", features).await;
    }

    /// The value of an expression in the page. It is the test's own script: the page has none.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let body = json!({"script": format!("return {expression}"), "args": []});
        self.ask(Method::POST, "execute/sync", &body).await
    }

    /// The text that the page shows.
    pub(crate) async fn text(&self) -> String {
        self.value("document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows this, without touching it.
    pub(crate) async fn wait_for(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text().await;
            if text.contains(words) {
                return text;
            }
            assert!(Instant::now() < deadline, "no {words:?} in:\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the console has said since this was last asked for: errors, refused loads, violations of the policy.
    pub(crate) async fn console(&self) -> Vec<String> {
        let lines = self.ask(Method::POST, "se/log", &json!({"type": "browser"})).await;
        let lines = lines.as_array().unwrap().iter();
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Keeps a picture of the whole page in target/screenshots.
    pub(crate) async fn picture(&self, name: &str, (width, most): (u32, u32), is_dark: bool) {
        self.look((width, 800), is_dark).await;
        let height = self.value("document.documentElement.scrollHeight").await.as_u64().unwrap();
        let height = u32::try_from(height).unwrap().clamp(400, most);
        self.look((width, height), is_dark).await;
        let picture = self.ask(Method::GET, "screenshot", &Value::Null).await;
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        let folder = folder();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver may leave its browser behind.
        let group = format!("-{}", self.driver.id());
        Command::new("kill").args(["-s", "KILL", "--", &group]).status().ok();
        self.driver.wait().ok();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots")
}

/// The port on which the driver says that it listens.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let told = lines.find_map(|line| {
        let line = line.unwrap();
        let (_, port) = line.split_once("started successfully on port ")?;
        Some(port.trim_end_matches('.').parse().unwrap())
    });
    // The pipe stays open: what the driver writes later must not end it.
    std::thread::spawn(move || lines.for_each(drop));
    told.expect("the driver's port")
}
