//! Tests ledgers that cannot be used: the operator is told which file has which fault, and nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use misp_sentinel_relay::config::LedgerConfig;
use misp_sentinel_relay::ledger::Ledger;
use misp_stand_in::{Frame, Misp, MispServer, MispSettings, NewAttribute, NewEvent};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::alerts::fires_at;
use super::support::database;
use super::support::port::free_address;
use super::support::program::{BINARY, bare, program};
use super::support::publisher::Publisher;
use super::support::relay::{FAST, environment};
use super::support::sandbox::start;

async fn create(folder: &Path) {
    let config = LedgerConfig {
        data_dir: folder.to_owned(),
        fsync: false,
        tombstones: Duration::from_secs(1),
    };
    Ledger::open(&config).await.unwrap().close().await;
}

/// `run` with just enough configuration, which has to fail.
fn run(folder: &Path, as_user: Option<u32>) -> Output {
    let mut command = if as_user.is_some() { reachable_program(folder) } else { program() };
    command
        .arg("run")
        .envs(FAST)
        .env("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://127.0.0.1:1")
        .env("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555")
        .env("MSR_TARGET__SOC__TENANT_ID", "t")
        .env("MSR_TARGET__SOC__CLIENT_ID", "c")
        .env("MSR_TARGET__SOC__CLIENT_SECRET", "s")
        .env("MSR_LEDGER__DATA_DIR", folder);
    if let Some(user) = as_user {
        command.uid(user).gid(user);
    }
    command.output().unwrap()
}

/// The same program under a path in `folder`: another user may not enter the folder of the build.
fn reachable_program(folder: &Path) -> Command {
    let path = folder.join("program");
    // A copy that is just being written cannot be executed, so a link is better where it is possible.
    let linked = std::fs::hard_link(BINARY, &path);
    linked.or_else(|_| std::fs::copy(BINARY, &path).map(drop)).unwrap();
    bare(path.to_str().unwrap())
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_ledger_of_another_schema_is_left_alone() {
    let folder = TempDir::new().unwrap();
    create(folder.path()).await;
    for (schema, words) in [(99, "newer release (schema 99"), (0, "earlier release")] {
        database::open(folder.path()).pragma_update(None, "user_version", schema).unwrap();
        let told = told(&run(folder.path(), None));
        assert!(told.contains(words) && told.contains("\"hint\":"), "{told}");
        let database = database::open(folder.path());
        assert_eq!(database::value::<i64>(&database, "PRAGMA user_version"), schema);
        assert!(database::count(&database, "counters") > 0, "it is kept");
    }
}

/// Builds from before the first release kept other columns under the same version.
#[tokio::test]
async fn a_ledger_of_this_version_with_other_columns_is_of_an_earlier_build() {
    let folder = TempDir::new().unwrap();
    create(folder.path()).await;
    let database = database::open(folder.path());
    database.execute_batch("ALTER TABLE claims RENAME COLUMN event_number TO event").unwrap();
    drop(database);
    let told = told(&run(folder.path(), None));
    assert!(told.contains("earlier release") && told.contains("\"hint\":"), "{told}");
}

#[tokio::test]
async fn a_damaged_ledger_is_named_and_kept() {
    let folder = TempDir::new().unwrap();
    create(folder.path()).await;
    let file = folder.path().join("ledger.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..4096].fill(0xaa);
    std::fs::write(&file, &bytes).unwrap();
    let told = told(&run(folder.path(), None));
    assert!(told.contains("ledger.db is damaged"), "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "the file is evidence");
}

/// As root, file modes forbid nothing, so the relay runs as nobody there.
#[tokio::test]
async fn a_ledger_that_may_not_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    create(folder.path()).await;
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let path = folder.path().join(name);
        if path.exists() {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
        }
    }
    let lock = folder.path().join("relay.lock");
    std::fs::set_permissions(lock, PermissionsExt::from_mode(0o666)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let told = told(&run(folder.path(), is_root().then_some(65_534)));
    assert!(told.contains("ledger.db cannot be written"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_on_one_ledger_is_refused_and_names_the_first() {
    let folder = TempDir::new().unwrap();
    let config = LedgerConfig {
        data_dir: folder.path().to_owned(),
        fsync: false,
        tombstones: Duration::from_secs(1),
    };
    let ledger = Ledger::open(&config).await.unwrap();
    let told = told(&run(folder.path(), None));
    assert!(told.contains("another relay"), "{told}");
    assert!(told.contains(&std::process::id().to_string()), "{told}");
    ledger.close().await;
}

/// A process inherits every open file until it runs its own program, the lock of a ledger as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_ledger_can_be_opened_again_while_processes_are_started() {
    let folder = TempDir::new().unwrap();
    let stop = CancellationToken::new();
    let _stops_with_the_test = stop.clone().drop_guard();
    // Few threads and few rounds: the test must not slow the others that run beside it.
    for _ in 0..3 {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !stop.is_cancelled() {
                bare("true").status().unwrap();
            }
        });
    }
    for _ in 0..12 {
        create(folder.path()).await;
    }
}

/// A file system of its own that is too small, and grows later.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_no_more_than_a_gap_and_heals() {
    if !is_root() {
        println!("skipped: only root can mount a small file system");
        return;
    }
    let (sandbox, publisher) = (start().await, Publisher::bind());
    let misp = Misp::new(chrono::Utc::now().timestamp() - 1_000);
    let rest = MispServer::start(misp.clone(), MispSettings::default()).await.unwrap();
    let folder = TempDir::new().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let log = folder.path().join("relay.log");
    let admin = free_address().to_string();
    let script = format!(
        "mount -t tmpfs -o size=900k none {disk} && exec {BINARY} run",
        disk = disk.display()
    );
    let mut relay = Killed(
        bare("unshare")
            .args(["-m", "sh", "-c", &script])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(FAST)
            .envs(environment(&sandbox))
            .env("MSR_MISP__URL", rest.base_url())
            .env("MSR_MISP__KEY", MispSettings::default().keys[0].key.as_str())
            .env("MSR_MISP__REST__GAP_SETTLE", "50ms")
            .env("MSR_MISP__ZEROMQ__ENDPOINTS", publisher.endpoint())
            .env("MSR_LEDGER__DATA_DIR", &disk)
            .env("MSR_ADMIN__LISTEN", &admin)
            .stderr(std::fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    publisher.wait_for_subscriptions(2).await;
    for frame in published(&misp, 5_000) {
        publisher.send(&frame.bytes).await;
    }
    wait_for(&log, "ledger_failing").await;
    assert!(!is_ready(&admin), "there is no room");
    fires_at(admin.parse().unwrap(), "ledger", "not_writable").await;
    let disk_of_relay = disk.to_str().unwrap();
    inside(&relay, &["mount", "-o", "remount,size=200m", disk_of_relay]);
    // No restart and no notice: it looks for itself, and asks MISP for what it missed.
    wait_for(&log, "ledger_recovered").await;
    assert!(is_ready(&admin));
    wait_for(&log, "\"attributes\":5000").await;
    // The gap is noted just after that commit, and counts as healed a minute later.
    let mut gaps = 0;
    for number in 0..50 {
        let copy = folder.path().join(format!("copy-{number}"));
        inside(&relay, &["cp", "-r", disk_of_relay, copy.to_str().unwrap()]);
        gaps = sound_gaps(&copy);
        if gaps > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gaps, 1);
    relay.0.kill().unwrap();
    relay.0.wait().unwrap();
}

/// How many gaps the fault of the disk left, in a ledger that must be sound.
fn sound_gaps(folder: &Path) -> i64 {
    let database = database::open(folder);
    let sound: String = database::value(&database, "PRAGMA integrity_check");
    assert_eq!(sound, "ok");
    database::value(&database, "SELECT count(*) FROM gaps WHERE reason = 'ledger_failed'")
}

/// An event of so many addresses, published.
fn published(misp: &Misp, attributes: usize) -> Vec<Frame> {
    let address = |n: usize| NewAttribute::new("ip-dst", &format!("11.0.{}.{}", n / 256, n % 256));
    let event =
        NewEvent { attributes: (0..attributes).map(address).collect(), ..NewEvent::default() };
    let uuid = event.uuid;
    misp.load_event(event);
    misp.publish(uuid)
}

/// A command among the mounts of the relay.
fn inside(relay: &Killed, command: &[&str]) {
    let process = relay.0.id().to_string();
    let done = Command::new("nsenter").args(["-t", &process, "-m"]).args(command).status();
    assert!(done.unwrap().success());
}

fn is_ready(admin: &str) -> bool {
    let asked = program()
        .args(["healthcheck", "--ready"])
        .envs(FAST)
        .env("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://127.0.0.1:1")
        .env("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555")
        .env("MSR_TARGET__SOC__TENANT_ID", "t")
        .env("MSR_TARGET__SOC__CLIENT_ID", "c")
        .env("MSR_TARGET__SOC__CLIENT_SECRET", "s")
        .env("MSR_ADMIN__LISTEN", admin)
        .output();
    asked.unwrap().status.success()
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn wait_for(log: &Path, words: &str) {
    let started = Instant::now();
    while !std::fs::read_to_string(log).unwrap().contains(words) {
        let text = || std::fs::read_to_string(log).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "no {words:?} in {}", text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}
