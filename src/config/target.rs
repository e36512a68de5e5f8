//! Reads the keys of a target, and checks that a live target has everything it needs.

use super::address::https;
use super::mistake::Problem;
use super::reader::Reader;
use super::unseen::as_meant;
use super::values::{fitting, scope, uuid};
use super::{Api, LedgerConfig, Limits, Mode, Target, cloud, credential, hits, management, policy};
use crate::pure::policy::Policy;
use crate::pure::stix::{Rendering, Withdraw};

const SOURCE: &str = "1 to 256 characters, not \"Microsoft Sentinel\"";
const UPLOAD_PATH: &str = "a path that begins with / and holds {workspace_id}";
const RESERVED_SOURCE: &str = "Microsoft Sentinel";
const LONGEST_SOURCE: usize = 256;

pub(super) fn read(
    reader: &mut Reader,
    name: &str,
    ledger: &LedgerConfig,
    base: &Policy,
    rendering: &Rendering,
    limits: Limits,
) -> Target {
    let section = format!("target.{name}");
    let key = |leaf: &str| format!("{section}.{leaf}");
    check_name(reader, name);
    let enabled = reader.flag(&key("enabled"));
    let mode = reader.word(&key("mode"), Mode::Live);
    let live = enabled && mode == Mode::Live;
    let cloud = cloud::read(reader, &key("cloud"));
    let api = reader.word(&key("api"), Api::StixObjects);
    let endpoint = api.endpoint(&cloud);
    let workspace = reader.optional(&key("workspace_id"), "a uuid", uuid);
    let own_scope = reader.optional(&key("scope"), "URL/.default", scope);
    let path = reader.optional(&key("path"), UPLOAD_PATH, upload_path);
    let version = reader.optional(&key("api_version"), "a version", |text| Ok(text.to_owned()));
    let file = reader.path(&key("dry_run_file"));
    let usual_file = || ledger.data_dir.join(format!("dry-run-{name}.ndjson"));
    let target = Target {
        name: name.to_owned(),
        enabled,
        mode,
        workspace_id: workspace.unwrap_or_default(),
        credential: credential::read(reader, &section, cloud.exchange, live),
        sourcesystem: reader.parsed(&key("sourcesystem"), SOURCE, source),
        authority: https(reader, &key("authority"), cloud.authority),
        scope: own_scope.unwrap_or_else(|| cloud.scope.to_owned()),
        api,
        endpoint: https(reader, &key("endpoint"), endpoint.unwrap_or_default()),
        path: path.unwrap_or_else(|| api.path().to_owned()),
        api_version: version.unwrap_or_else(|| api.version().to_owned()),
        dry_run_file: file.unwrap_or_else(usual_file),
        managed: management::of_target(reader, name, cloud.management),
        hits: hits::of_target(reader, &section, &cloud),
        policy: policy::read(reader, format!("{section}.policy"), Some(base)),
        identity: reader.own_word(&key("identity")).unwrap_or(rendering.identity),
        withdraw: reader.own_word(&key("withdraw")).unwrap_or(rendering.withdraw),
        limits: Limits::of(reader, format!("{section}.delivery"), Some(&limits)),
    };
    if live {
        check_live(reader, &target, workspace.is_some());
    }
    target
}

/// Checks that a target that sends has a URL and a workspace, and that one that deletes has the workspace's
/// names.
fn check_live(reader: &mut Reader, target: &Target, has_workspace: bool) {
    let key = |leaf: &str| format!("target.{}.{leaf}", target.name);
    if target.endpoint.is_empty() {
        reader.missing(&key("endpoint"), "no address of this API is known in this cloud");
    }
    if !has_workspace {
        reader.missing(&key("workspace_id"), "the uuid on the workspace's Overview page");
    }
    if target.withdraw == Withdraw::Delete && target.managed.is_none() {
        let hint = "withdraw = \"delete\" goes over the management plane: set subscription_id, resource_group and workspace_name";
        reader.missing(&key("workspace_name"), hint);
    }
}

fn check_name(reader: &mut Reader, name: &str) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(allowed) {
        let problem = Problem::new("not a name for a target").allowed("a to z, 0 to 9 and -");
        reader.fault(&format!("target.{name}"), problem);
    }
}

fn source(text: &str) -> Result<String, Problem> {
    match text.trim() {
        "" => Err("required, and not set".into()),
        name if name.eq_ignore_ascii_case(RESERVED_SOURCE) => {
            Err("is reserved by Microsoft".into())
        }
        _ if text.chars().count() > LONGEST_SOURCE => Err("is too long".into()),
        _ => as_meant(text).map(str::to_owned),
    }
}

fn upload_path(text: &str) -> Result<String, Problem> {
    let fits = text.starts_with('/') && text.contains("{workspace_id}");
    fitting(text, fits, "no path of the upload API")
}
