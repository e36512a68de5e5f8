//! Tests that `explain` asks the running relay, or the ledger if none runs, and MISP for what the ledger does
//! not keep.

use misp_sentinel_relay::sandbox::Fault;
use misp_stand_in::{Misp, NewAttribute, NewEvent};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Stage, address, misp, now};

const TARGET: &str = "sandbox";

/// A comment claims nothing: docs/reference/mapping.md.
fn comment(words: &str) -> NewAttribute {
    NewAttribute::new("comment", words)
}

fn published(misp: &Misp, attributes: Vec<NewAttribute>) -> Uuid {
    let uuid = Uuid::new_v4();
    misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    misp.advance(1);
    misp.publish(uuid);
    misp.advance(1);
    uuid
}

impl Stage {
    fn explain(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.relay.command(&[&["explain"], arguments].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn stories(&self, what: &str) -> Vec<Value> {
        let (code, out, err) = self.explain(&[what, "--json"]);
        assert_eq!(code, Some(0), "{err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn story(&self, what: &str) -> Value {
        let mut stories = self.stories(what);
        assert_eq!(stories.len(), 1, "{stories:?}");
        stories.remove(0)
    }

    /// Waits for the state at the first target.
    async fn stands(&self, what: &str, state: &str) -> Value {
        for _ in 0..500 {
            let (code, out, _) = self.explain(&[what, "--json"]);
            let line = out.lines().next().filter(|_| code == Some(0));
            let story: Value =
                line.map(|line| serde_json::from_str(line).unwrap()).unwrap_or_default();
            let at = story["claims"][0]["views"][0]["indicator"]["targets"][0].clone();
            if at["state"] == state {
                return at;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{what} never stood as {state}: {:?}", self.explain(&[what]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_an_attribute_and_an_event_are_explained_with_and_without_a_relay() {
    let (misp, event, attributes) = misp(&["198.51.100.1", "198.51.100.2"]);
    let mut stage = Stage::set(misp, &[]).await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    let by_value = stage.story("198[.]51.100.1");
    assert_eq!(by_value["attribute"], json!(attributes[0]));
    assert_eq!(by_value["event"]["uuid"], json!(event));
    let claimed = &by_value["claims"][0];
    assert_eq!(claimed["pattern"], "[ipv4-addr:value = '198.51.100.1']");
    let seen = &claimed["views"][0];
    assert_eq!((&seen["targets"], &seen["withheld"]), (&json!([TARGET]), &Value::Null));
    assert_eq!(seen["indicator"]["targets"][0]["state"], "delivered");
    assert!(seen["indicator"]["stix"].is_null());
    assert_eq!(stage.story(&attributes[0].to_string()), by_value);
    assert_eq!(stage.stories(&event.to_string()).len(), 2);
    let (_, text, _) = stage.explain(&["198.51.100.1", "--stix"]);
    assert!(text.contains("delivered: Sentinel accepted it"), "{text}");
    assert!(text.contains("\"pattern\": \"[ipv4-addr:value = '198.51.100.1']\""), "{text}");
    assert_eq!(stage.relay.stop().0, Some(0));
    assert_eq!(stage.story("198.51.100.1"), by_value);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_does_not_keep_is_asked_of_misp() {
    let misp = Misp::new(now() - 1_000);
    let unseen = comment("seen in the wild");
    let off = NewAttribute { to_ids: false, ..address("198.51.100.3") };
    let (uuid, off_uuid) = (unseen.uuid, off.uuid);
    let event = published(&misp, vec![address("198.51.100.1"), unseen, off]);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["198.51.100.1"]).await;
    let skipped = stage.story(&uuid.to_string());
    assert_eq!(skipped["skipped"]["reason"], "context");
    assert_eq!(stage.story("seen in the wild"), skipped);
    let withheld = stage.story(&off_uuid.to_string());
    assert_eq!(withheld["claims"][0]["views"][0]["withheld"]["reason"], "to_ids_off");
    let all = stage.stories(&event.to_string());
    assert_eq!(all.len(), 3);
    let waiting = Uuid::new_v4();
    let attributes = vec![address("198.51.100.50")];
    drop(stage.misp.add_event(NewEvent { uuid: waiting, attributes, ..NewEvent::default() }));
    let not_kept = stage.story("198[.]51.100.50");
    assert_eq!(not_kept["event"]["uuid"], json!(waiting));
    assert!(not_kept["notes"][0].as_str().unwrap().contains("not in the ledger"), "{not_kept}");
    let (code, _, err) = stage.explain(&["198.51.100.99"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing is known of \"198.51.100.99\""), "{err}");
    let (code, ..) = stage.explain(&[&Uuid::new_v4().to_string()]);
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_else_claims_a_value_is_named_until_nobody_does() {
    let (misp, event, attributes) = misp(&["198.51.100.1"]);
    let second = address("198.51.100.1");
    let kept = second.uuid;
    let other = published(&misp, vec![second, address("198.51.100.2")]);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["198.51.100.1", "198.51.100.2"]).await;
    let story = stage.story(&attributes[0].to_string());
    let others = &story["claims"][0]["views"][0]["others"];
    assert_eq!(others.as_array().unwrap().len(), 1, "{others}");
    assert_eq!((&others[0]["event"], &others[0]["attribute"]), (&json!(other), &json!(kept)));
    stage.send(stage.misp.delete_attribute(event, attributes[0])).await;
    stage.logged("claims_withdrawn").await;
    // Still live, for the other event's sake; the first attribute is told by a note and by MISP.
    let left = stage.stories("198.51.100.1");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["attribute"], json!(kept));
    let (code, out, err) = stage.explain(&[&attributes[0].to_string()]);
    assert_eq!(code, Some(0), "{out} {err}");
    assert!(err.contains("MISP deleted or edited it"), "{err}");
    assert!(out.contains("skipped     deleted (deleted in MISP)"), "{out}");
    stage.send(stage.misp.delete_attribute(other, kept)).await;
    stage.becomes(&["198.51.100.2"]).await;
    let ended = "nothing claims [ipv4-addr:value = '198.51.100.1'] any more; indicator--";
    for _ in 0..500 {
        let (code, _, err) = stage.explain(&["198.51.100.1"]);
        assert!(code == Some(0) && err.contains(ended), "{err}");
        if err.contains("at sandbox: withdrawn: Sentinel accepted that 20") {
            return;
        }
    }
    panic!("{:?}", stage.explain(&["198.51.100.1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_and_rejected_are_told_with_sentinels_words() {
    let (misp, _, _) = misp(&["198.51.100.1"]);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["198.51.100.1"]).await;
    stage.sandbox.always(Some(Fault::ServerError));
    let event = Uuid::new_v4();
    let attributes = vec![address("198.51.100.7")];
    stage.misp.add_event(NewEvent { uuid: event, attributes, ..NewEvent::default() });
    stage.misp.advance(1);
    stage.send(stage.misp.publish(event)).await;
    let pending = stage.stands("198.51.100.7", "pending").await;
    assert_eq!(pending["lane"], "live");
    stage.sandbox.reject_where(|object| {
        let is_it = object["pattern"] == "[ipv4-addr:value = '198.51.100.7']";
        is_it.then(|| "the pattern is not to my taste".to_owned())
    });
    stage.sandbox.always(None);
    let rejected = stage.stands("198.51.100.7", "rejected").await;
    assert!(rejected["words"].as_str().unwrap().contains("not to my taste"), "{rejected}");
    let (_, text, _) = stage.explain(&["198.51.100.7"]);
    assert!(text.contains("rejected; "), "{text}");
    assert!(text.contains("; Sentinel says: the pattern is not to my taste"), "{text}");
}
