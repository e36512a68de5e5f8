//! Tests what a running relay withholds by its policy, and what it tells operators about that.

use std::time::Duration;

use misp_stand_in::{Edit, Misp, NewAttribute, NewEvent, NewObject, Organisation, Warninglist};
use uuid::Uuid;

use super::{Stage, address, misp, now};

/// An attribute as MISP has it, by value, with the distribution of its own.
fn of(value: &str, distribution: u8) -> NewAttribute {
    NewAttribute { distribution, ..address(value) }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_only_what_is_open_at_every_level_leaves() {
    let misp = Misp::new(now() - 1_000);
    let own = Organisation::own().uuid.to_string();
    let object = |value: &str, distribution| NewObject {
        distribution,
        attributes: vec![of(value, 5)],
        ..NewObject::default()
    };
    let settings = [("MSR_MISP__KEY", ""), ("MSR_POLICY__ORG_WITHOUT_KEY", own.as_str())];
    let stage = Stage::set(misp, &settings).await;
    let events = [
        NewEvent {
            distribution: 3,
            organisation: Organisation::other(),
            attributes: vec![of("1.1.1.1", 5), of("1.1.1.2", 0), of("1.1.1.3", 4)],
            objects: vec![object("1.1.2.1", 5), object("1.1.2.2", 0)],
            ..NewEvent::default()
        },
        NewEvent {
            distribution: 0,
            organisation: Organisation::other(),
            attributes: vec![of("2.2.2.1", 5), of("2.2.2.2", 3)],
            ..NewEvent::default()
        },
        NewEvent {
            distribution: 0,
            organisation: Organisation::own(),
            attributes: vec![of("3.3.3.1", 5), of("3.3.3.2", 4)],
            ..NewEvent::default()
        },
    ];
    for event in events {
        let uuid = event.uuid;
        drop(stage.misp.add_event(event));
        stage.send(stage.misp.publish(uuid)).await;
    }
    stage.becomes(&["1.1.1.1", "1.1.2.1", "3.3.3.1"]).await;
    stage.stays(&["1.1.1.1", "1.1.2.1", "3.3.3.1"], Duration::from_millis(500)).await;
    assert!(stage.relay.log().contains("\"view_unknown\":3"), "{}", stage.relay.log());
    let status = stage.status();
    let first = status["without_rest"][0].as_str().unwrap();
    assert!(first.contains("distribution 1, 2 or 3"), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_reads_as_tlp_is_told_once() {
    let (misp, event, _) = misp(&["1.1.1.1"]);
    let tagged = |value: &str, tag: &str| NewAttribute {
        tags: vec![(tag.to_owned(), false)],
        ..address(value)
    };
    misp.add_attribute(event, tagged("2.2.2.2", "TLP AMBER"));
    misp.add_attribute(event, tagged("3.3.3.3", "TLP AMBER"));
    misp.add_attribute(event, tagged("4.4.4.4", "TLP: purple"));
    misp.advance(10);
    misp.publish(event);
    misp.advance(10);
    let stage = Stage::set(misp, &[]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]).await;
    stage.send(stage.misp.add_attribute(event, tagged("5.5.5.5", "TLP AMBER"))).await;
    stage.send(stage.misp.publish(event)).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "5.5.5.5"]).await;
    let log = stage.relay.log();
    assert_eq!(log.matches("reads as a marking of TLP").count(), 2, "{log}");
    assert!(log.contains("TLP AMBER") && log.contains("tlp:amber"), "{log}");
    assert!(log.contains("TLP: purple") && log.contains("tlp:red"), "{log}");
    let told = stage.relay.command(&["explain", "4.4.4.4"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("the tag \"TLP: purple\" is taken for tlp:red"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_on_hosts_that_all_use_stay_while_their_list_is_enabled() {
    let misp = Misp::new(now() - 1_000);
    let url = |value: &str| NewAttribute::new("url", value);
    let uuid = Uuid::new_v4();
    let attributes = vec![
        url("https://files.example.com/bad"),
        url("https://files.example.com:8443/bad"),
        url("https://sub.files.example.com/bad"),
        url("https://other.example.com/bad"),
        NewAttribute::new("domain", "files.example.com"),
    ];
    misp.add_event(NewEvent { uuid, attributes, ..NewEvent::default() });
    misp.publish(uuid);
    misp.advance(10);
    // For domains alone, so that MISP's own matching says nothing of URLs.
    let list =
        |id, hosts: &[&str]| Warninglist::new(id, "hostname", &["ja3-fingerprint-md5"], hosts);
    drop(misp.set_warninglist(list(9, &["Files.example.com"])));
    drop(misp.set_warninglist(list(10, &["other.example.com"])));
    let settings = [
        ("MSR_POLICY__SHARED_HOST_LISTS", "list 9"),
        ("MSR_POLICY__WARNINGLISTS", "off"),
        ("MSR_MISP__WARNINGLISTS__REFRESH_EVERY", "100ms"),
    ];
    let stage = Stage::set(misp, &settings).await;
    let url = |value: &str| format!("[url:value = '{value}']");
    let other = [
        url("https://sub.files.example.com/bad"),
        url("https://other.example.com/bad"),
        "[domain-name:value = 'files.example.com']".to_owned(),
    ];
    let shared = [url("https://files.example.com/bad"), url("https://files.example.com:8443/bad")];
    stage.lives(&other).await;
    let told = stage.relay.command(&["explain", "https://files.example.com/bad"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("shared_host") && told.contains("List 9"), "{told}");
    assert!(told.contains("alarms on every request to the host files.example.com"), "{told}");
    drop(
        stage
            .misp
            .set_warninglist(Warninglist { enabled: false, ..list(9, &["files.example.com"]) }),
    );
    stage.lives(&[&other[..], &shared[..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_distribution_ends_at_once_and_a_wider_one_waits_for_its_publication() {
    let (misp, event, attributes) = misp(&["1.1.1.1", "2.2.2.2"]);
    let third = of("3.3.3.3", 0);
    let uuid = third.uuid;
    drop(misp.add_attribute(event, third));
    misp.advance(10);
    drop(misp.publish(event));
    misp.advance(10);
    let stage = Stage::set(misp, &[("MSR_POLICY__DISTRIBUTIONS", "1,2,3")]).await;
    stage.becomes(&["1.1.1.1", "2.2.2.2"]).await;
    stage.lose(stage.misp.edit_attribute(event, attributes[0], Edit::Distribution(0)));
    stage.lose(stage.misp.edit_attribute(event, uuid, Edit::Distribution(5)));
    stage.becomes(&["2.2.2.2"]).await;
    stage.stays(&["2.2.2.2"], Duration::from_millis(1_500)).await;
    stage.lose(stage.misp.publish(event));
    stage.becomes(&["2.2.2.2", "3.3.3.3"]).await;
}
