//! Tests the command `verify`, which compares what Sentinel holds with what it accepted, and repairs the
//! differences.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use chrono::{DateTime, Utc};
use misp_sentinel_relay::ledger::Ledger;
use misp_sentinel_relay::pure::verify::VerifyReport;
use misp_sentinel_relay::sandbox::{Fault, Sandbox};
use misp_stand_in::{Misp, MispServer, MispSettings};
use serde_json::{Value, json};
use uuid::Uuid;

use super::context_sent;
use super::support::relay::held;
use super::support::sandbox::{SOURCE, eventually};
use super::support::scene::Scene;

const NAMESPACE: &str = "8c500619-d1c3-41e9-8c16-d5239cb5451c";
const AT_ONCE: (&str, &str) = ("MSR_AZURE__MANAGEMENT__INGESTION", "0s");
const EVENT: &str = "00000005-0000-4000-8000-000000000002";

/// The event with domains of these numbers.
fn publication(timestamp: i64, numbers: impl Iterator<Item = usize>) -> Vec<u8> {
    let attributes: Vec<String> = numbers
        .map(|number| {
            format!(
                r#"{{"id":"{number}","event_id":"7","uuid":"{number:08x}-0000-4000-9000-000000000005","type":"domain","category":"Network activity","value":"{}","to_ids":true,"deleted":false,"timestamp":"{timestamp}"}}"#,
                value(number)
            )
        })
        .collect();
    format!(
        r#"misp_json {{"Event":{{"id":"7","uuid":"{EVENT}","info":"x","distribution":"3","timestamp":"{timestamp}","Attribute":[{}],"Object":[]}}}}"#,
        attributes.join(",")
    )
    .into_bytes()
}

fn value(number: usize) -> String {
    format!("n{number}.example")
}

fn then() -> i64 {
    Ledger::now() / 1_000 - 100_000
}

/// The id of a domain, as docs/explanation/identity-and-generations.md says it.
fn id_of(value: &str) -> String {
    let namespace: Uuid = NAMESPACE.parse().unwrap();
    let name = format!("domain-name:value = {value}");
    format!("indicator--{}", Uuid::new_v5(&namespace, name.as_bytes()))
}

fn id(number: usize) -> String {
    id_of(&value(number))
}

/// So many domains, delivered.
async fn scene(count: usize, settings: &[(&str, &str)]) -> Scene {
    let mut all = vec![AT_ONCE];
    all.extend(settings);
    let scene = Scene::set(&all).await;
    scene.publisher.send(&publication(then(), 0..count)).await;
    scene.settle().await;
    eventually(&scene.sandbox, |_| scene.live().len() == count).await;
    scene
}

fn workspace(sandbox: &Sandbox) -> Uuid {
    sandbox.settings().workspaces[0]
}

fn remove(scene: &Scene, number: usize) {
    assert!(scene.sandbox.remove(workspace(&scene.sandbox), SOURCE, &id(number)));
}

fn alter(scene: &Scene, number: usize, change: impl Fn(&mut Value)) {
    assert!(scene.sandbox.alter(workspace(&scene.sandbox), &id(number), change));
}

/// Runs `verify --json`; exit code and the report of the one target.
fn verify(scene: &Scene, options: &[&str]) -> (Option<i32>, VerifyReport) {
    let mut arguments = vec!["verify", "--json"];
    arguments.extend(options);
    let output = scene.relay.command(&arguments);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), report)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What the sandbox holds of ours, by id.
fn all(scene: &Scene) -> BTreeMap<String, Value> {
    let own = held(&scene.sandbox).into_iter().filter(|held| held.sourcesystem == SOURCE);
    own.map(|held| (held.id, held.json)).collect()
}

/// The issue's own measure.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_removed_and_ten_altered_are_found_and_repaired_and_nothing_else_is_sent() {
    let scene = scene(300, &[]).await;
    let before = all(&scene);
    let sent = scene.received().len();
    let (clean, report) = verify(&scene, &[]);
    assert_eq!(
        (clean, report.differing(), report.same, report.ended),
        (Some(0), 0, 300, 1),
        "{report:#?}"
    );

    (100..150).for_each(|number| remove(&scene, number));
    (200..205).for_each(|number| alter(&scene, number, |held| held["name"] = json!("tampered")));
    (205..210).for_each(|number| {
        alter(&scene, number, |held| {
            held["external_references"] = json!([]);
            held["valid_until"] = json!("2026-01-01T00:00:00Z");
        });
    });
    let (found, report) = verify(&scene, &[]);
    assert_eq!(found, Some(1), "{report:#?}");
    assert_eq!((report.missing.count, report.different.count, report.left_over.count), (50, 10, 0));
    let properties: BTreeSet<&[String]> =
        report.different.examples.iter().map(|one| &one.properties[..]).collect();
    let named: [&[String]; 2] =
        [&["name".to_owned()], &["external_references".to_owned(), "valid_until".to_owned()]];
    assert_eq!(properties, BTreeSet::from(named));
    assert_eq!(scene.received().len(), sent, "looking sends nothing");

    let (repaired, report) = verify(&scene, &["--repair"]);
    assert_eq!((repaired, report.repaired), (Some(0), Some(60)), "{report:#?}");
    scene.settle().await;
    // The probe of settle() has come and gone.
    let mut after = all(&scene);
    after.retain(|id, _| before.contains_key(id));
    assert_eq!(after, before, "byte for byte as before");
    let again: BTreeSet<String> = scene.received()[sent..].iter().map(id_in).collect();
    let expected: BTreeSet<String> = (100..150).chain(200..210).map(id).collect();
    assert_eq!(again, expected);
    assert_eq!(scene.received().len(), sent + 60);
    assert_eq!(verify(&scene, &[]).0, Some(0));
    let checked = scene.relay.command(&["ledger", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

/// Ingestion rules of Sentinel and its users change what was uploaded, and mean it.
#[tokio::test(flavor = "multi_thread")]
async fn what_sentinels_rules_and_users_change_is_told_and_left_as_it_is() {
    let scene = scene(8, &[]).await;
    let sent = scene.received().len();
    // Rules leave `modified` as it is.
    (0..2).for_each(|number| alter(&scene, number, |held| held["confidence"] = json!(90)));
    alter(&scene, 2, |held| {
        held["labels"] = json!(["by-rule"]);
        held["valid_until"] = json!("2200-01-01T00:00:00Z");
    });
    // A user revokes one in the portal.
    alter(&scene, 3, |held| {
        held["revoked"] = json!(true);
        held["modified"] = json!(Utc::now().to_rfc3339());
    });
    // Sentinel has kept an older version of this one.
    alter(&scene, 4, |held| {
        held["confidence"] = json!(1);
        held["modified"] = json!("2020-01-01T00:00:00.000Z");
    });
    let (code, report) = verify(&scene, &[]);
    assert_eq!((report.changed.count, report.different.count), (4, 1), "{report:#?}");
    assert_eq!((code, report.differing()), (Some(1), 1));
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.repaired), (Some(0), Some(1)), "{report:#?}");
    scene.settle().await;
    let again: BTreeSet<String> = scene.received()[sent..].iter().map(id_in).collect();
    assert_eq!(again, BTreeSet::from([id(4)]));
    assert_eq!(all(&scene)[&id(0)]["confidence"], 90);
    assert_eq!(all(&scene)[&id(3)]["revoked"], true);
    let (code, report) = verify(&scene, &[]);
    assert_eq!((code, report.changed.count), (Some(0), 4), "{report:#?}");
    let text = told(&scene.relay.command(&["verify"]));
    assert!(text.contains("4  changed in Sentinel"), "{text}");
    assert!(text.contains("(labels, valid_until)"), "{text}");
}

/// A rule that extends validity also extends that of a withdrawal.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawal_that_a_rule_of_sentinel_undoes_is_an_alarm_and_not_sent_for_ever() {
    let scene = scene(3, &[]).await;
    scene.publisher.send(&publication(then() + 10, 1..3)).await;
    scene.settle().await;
    alter(&scene, 0, |held| held["valid_until"] = json!("2200-01-01T00:00:00Z"));
    let sent = scene.received().len();
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.repaired), (Some(1), Some(0)), "{report:#?}");
    assert_eq!((report.revived.count, report.left_over.count), (1, 0));
    assert_eq!(report.revived.examples[0].id, id(0));
    assert_eq!(scene.received().len(), sent);
    let text = told(&scene.relay.command(&["verify"]));
    assert!(text.contains("Ingestion rules"), "{text}");
}

fn id_in(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

fn ends(object: &Value) -> DateTime<Utc> {
    object["valid_until"].as_str().unwrap().parse().unwrap()
}

/// Left over: ours and unwanted. Everything else is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_over_is_withdrawn_and_what_others_wrote_is_listed() {
    // MISP shows nothing, so a resync is done at once; no read-back tells otherwise.
    let rest = MispServer::start(Misp::new(then()), MispSettings::default()).await.unwrap();
    let url = rest.base_url();
    let scene = scene(
        5,
        &[
            ("MSR_MISP__URL", &url),
            ("MSR_MISP__KEY", MispSettings::default().keys[0].key.as_str()),
            ("MSR_MISP__REST__READ_BACK_AFTER", "1h"),
            ("MSR_MISP__REST__READ_BACK_WITHIN", "2h"),
            ("MSR_POLICY__WARNINGLISTS", "off"),
        ],
    )
    .await;
    assert!(scene.relay.command(&["resync"]).status.success());
    let place = workspace(&scene.sandbox);
    let live = all(&scene);
    // Withdrawn since, and somebody brought it back to life.
    scene.publisher.send(&publication(then() + 10, 1..5)).await;
    scene.settle().await;
    let kept = all(&scene)[&id(1)].clone();
    assert!(ends(&all(&scene)[&id(0)]) <= Utc::now());
    scene.sandbox.put(place, SOURCE, live[&id(0)].clone());
    // Of a ledger that was lost: ids made of their own observables.
    let mut lost = live[&id(1)].clone();
    lost["id"] = json!(id_of("lost.example"));
    lost["pattern"] = json!("[domain-name:value = 'lost.example']");
    scene.sandbox.put(place, SOURCE, lost.clone());
    // Another's, under our name: the id does not follow from the pattern.
    let mut foreign = lost.clone();
    foreign["id"] = json!(format!("indicator--{}", Uuid::from_u128(5)));
    scene.sandbox.put(place, SOURCE, foreign.clone());
    // The same id under another source system is another object.
    scene.sandbox.put(place, "another", lost.clone());
    let sent = scene.received().len();

    let (_, report) = verify(&scene, &[]);
    assert_eq!((report.left_over.count, report.foreign.count, report.differing()), (2, 1, 2));
    assert_eq!(report.kept, 0);
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.repaired), (Some(0), Some(2)), "{report:#?}");
    scene.settle().await;
    let received = scene.received();
    let again: BTreeSet<String> = received[sent..].iter().map(id_in).collect();
    assert_eq!(again, BTreeSet::from([id(0), id_of("lost.example")]));
    let now = all(&scene);
    for id in &again {
        assert!(ends(&now[id]) <= Utc::now(), "{id}");
    }
    for (member, value) in lost.as_object().unwrap() {
        if !["modified", "valid_until"].contains(&member.as_str()) {
            assert_eq!(now[&id_of("lost.example")][member], *value, "{member}");
        }
    }
    assert_eq!(now[&id(1)], kept);
    let others: Vec<Value> = held(&scene.sandbox)
        .into_iter()
        .filter(|one| one.sourcesystem == "another")
        .map(|one| one.json)
        .collect();
    assert_eq!(others, [lost]);
    assert_eq!(now[foreign["id"].as_str().unwrap()], foreign);
    assert_eq!(verify(&scene, &[]).0, Some(0));

    // It may come back under its id.
    scene.publisher.send(&publication(then() + 20, 0..5)).await;
    scene.settle().await;
    assert!(ends(&all(&scene)[&id(0)]) > Utc::now());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_new_or_on_its_way_is_no_difference() {
    let scene = scene(3, &[("MSR_AZURE__MANAGEMENT__INGESTION", "1h")]).await;
    remove(&scene, 0);
    alter(&scene, 1, |held| held["confidence"] = json!(1));
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.not_yet, report.repaired), (Some(0), 2, Some(0)), "{report:#?}");
    // Not delivered at all.
    scene.sandbox.always(Some(Fault::ServerError));
    scene.publisher.send(&publication(then() + 10, 2..9)).await;
    scene.commit().await;
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.differing(), report.repaired), (Some(0), 0, Some(0)), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_relay_the_next_start_repairs() {
    let mut scene = scene(30, &[]).await;
    (0..20).for_each(|number| remove(&scene, number));
    assert_eq!(scene.relay.stop().0, Some(0));
    let sent = scene.received().len();
    let output = scene.relay.command(&["verify", "--repair"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for words in ["20  missing", "20 of 20 are sent again", "its next start sends it"] {
        assert!(told(&output).contains(words), "{words}: {}", told(&output));
    }
    // A kill right after the start changes nothing.
    scene.sandbox.always(Some(Fault::ServerError));
    scene.relay.restart(&scene.publisher).await;
    scene.commit().await;
    scene.relay.kill();
    scene.sandbox.always(None);
    scene.relay.restart(&scene.publisher).await;
    scene.settle().await;
    assert_eq!(scene.live().len(), 30);
    let again: BTreeSet<String> = scene.received()[sent..].iter().map(id_in).collect();
    assert_eq!(again, (0..20).map(id).collect());
    assert_eq!(verify(&scene, &[]).0, Some(0));
}

/// More suspects than are asked for by their ids: another walk looks for them.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_workspace_is_filled_again() {
    let scene = scene(2_500, &[("MSR_AZURE__MANAGEMENT__PAGE", "500")]).await;
    let before = all(&scene);
    (0..2_500).filter(|number| number % 50 != 0).for_each(|number| remove(&scene, number));
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.missing.count, report.repaired), (Some(0), 2_450, Some(2_450)));
    eventually(&scene.sandbox, |_| all(&scene).len() == before.len()).await;
    assert_eq!(all(&scene), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_refusals_are_told() {
    let scene = scene(3, &[("MSR_AZURE__MANAGEMENT__RETRIES", "0")]).await;
    let forbidden = json!({"error": {"code": "AuthorizationFailed", "message": "no 'Microsoft.SecurityInsights/x' with object id 'o-7' there"}});
    scene.sandbox.script_management([
        Fault::None,
        Fault::Answer { status: 403, body: forbidden.to_string() },
    ]);
    let (code, report) = verify(&scene, &[]);
    let error = report.error.unwrap();
    assert_eq!(code, Some(1));
    for words in ["Microsoft Sentinel Reader", "object id o-7", "/workspaces/workspace-1"] {
        assert!(error.contains(words), "{error}");
    }
    // In the middle: nothing is taken for missing.
    scene.sandbox.script_management([Fault::None, Fault::None, Fault::ServerError]);
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!((code, report.differing(), report.repaired), (Some(1), 0, Some(0)), "{report:#?}");
    let output = scene.relay.command(&["verify", "--target", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("those that can: sandbox"), "{}", told(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_for_the_portal_need_nobody() {
    let mut scene = Scene::set(&[("MSR_TARGET__SANDBOX__SOURCESYSTEM", "a \"b\"")]).await;
    scene.relay.stop();
    let output = scene.relay.command(&["verify", "--kql"]);
    assert_eq!(output.status.code(), Some(0));
    let queries = told(&output);
    assert_eq!(queries.matches(r#"SourceSystem == "a \"b\"""#).count(), 4, "{queries}");
    assert!(!queries.contains("misp-sentinel-relay\""), "{queries}");
    assert!(scene.sandbox.managed().is_empty());
}

/// A ledger that was lost, and has not read MISP again, knows nothing of what is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_ledger_does_not_know_stays_until_it_has_read_everything() {
    let scene = scene(2, &[]).await;
    let mut unknown = all(&scene)[&id(0)].clone();
    unknown["id"] = json!(id_of("wanted.example"));
    unknown["pattern"] = json!("[domain-name:value = 'wanted.example']");
    scene.sandbox.put(workspace(&scene.sandbox), SOURCE, unknown.clone());
    let sent = scene.received().len();
    let (code, report) = verify(&scene, &["--repair"]);
    assert_eq!(
        (code, report.left_over.count, report.kept, report.repaired),
        (Some(1), 1, 1, Some(0))
    );
    scene.settle().await;
    assert_eq!(scene.received().len(), sent);
    assert_eq!(all(&scene)[&id_of("wanted.example")], unknown);
    let text = told(&scene.relay.command(&["verify"]));
    assert!(text.contains("has not read everything in MISP"), "{text}");
}

/// Names of another workspace: what is there is not this target's.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_another_workspace_are_refused() {
    let scene = scene(2, &[("MSR_TARGET__SANDBOX__WORKSPACE_NAME", "workspace-2")]).await;
    let (code, report) = verify(&scene, &["--repair"]);
    let error = report.error.unwrap();
    assert_eq!((code, report.missing.count), (Some(1), 0));
    assert!(error.contains("workspaces/workspace-2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_has_a_count_of_its_own() {
    let scene = scene(3, &[]).await;
    scene.publisher.send(&publication(then() + 10, 1..3)).await;
    scene.settle().await;
    let text = told(&scene.relay.command(&["verify"]));
    // The first one, and the two probes of settle().
    for words in ["5 objects of", "       2  as delivered\n", "       3  ended, as they should\n"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(text.contains("it accepted 2 that are valid and 3 that have ended."), "{text}");
}

/// A lost ledger knows no organisation, but indicators of this relay name it as their creator.
#[tokio::test(flavor = "multi_thread")]
async fn what_indicators_of_this_relay_name_is_of_nobody_else() {
    let text = lost(&[]).await;
    for words in [
        "       2  left over\n",
        "       3  of this relay, though its ledger does not know them: left as they are\n",
        "       1  of somebody else under this source system\n",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(text.contains("somebody else\n") && !text.contains("CERT Example"), "{text}");
}

/// An indicator whose id is the attribute's may be anybody's, and so may be what it names. A relationship
/// is of this relay, whoever made its indicator, and so is what it points to.
#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_tells_its_relay_also_where_ids_are_the_attributes() {
    let text = lost(&[("MSR_INDICATOR__IDENTITY", "attribute")]).await;
    for words in [
        "       2  of this relay, though its ledger does not know them: left as they are\n",
        "       4  of somebody else under this source system\n",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains("relationship--") && !text.contains("attack-pattern--"), "{text}");
}

/// What `verify` tells of what a relay sent that lost its ledger then.
async fn lost(settings: &[(&'static str, &'static str)]) -> String {
    let mut scene = Scene::set(&[&[AT_ONCE, context_sent::ALL], settings].concat()).await;
    let domains = [("a.example", true), ("b.example", false)];
    let event = context_sent::event(1, then(), "CERT Example", &domains);
    scene.publisher.send(&event).await;
    scene.settle().await;
    // Two indicators, identity, technique and relationship, and the probe of settle().
    eventually(&scene.sandbox, |_| all(&scene).len() == 6).await;
    let place = workspace(&scene.sandbox);
    let another = json!({"type": "identity", "id": format!("identity--{}", Uuid::from_u128(5)),
        "name": "somebody else", "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z"});
    scene.sandbox.put(place, SOURCE, another);
    assert_eq!(scene.relay.stop().0, Some(0));
    let empty = tempfile::tempdir().unwrap();
    scene.relay.set("MSR_LEDGER__DATA_DIR", empty.path().to_str().unwrap());
    scene.relay.restart(&scene.publisher).await;
    told(&scene.relay.command(&["verify"]))
}
