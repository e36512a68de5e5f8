//! docs/explain.md is made of what the program prints.

use std::path::Path;
use std::time::{Duration, Instant};

use misp_stand_in::{Misp, NewAttribute, NewEvent};
use uuid::{Uuid, uuid};

use super::{Stage, address};
use crate::recordings::recording;
use crate::support::program::program;
use crate::support::sandbox::PATIENCE;

/// 2026-10-01 10:00:00 UTC.
const CLOCK: i64 = 1_790_848_800;

const LONG: [(&str, &str); 2] =
    [("MSR_EXPIRY__DAYS__IPV4_ADDR", "36500"), ("MSR_EXPIRY__DAYS__DOMAIN_NAME", "36500")];

const DOCUMENT: &str = "docs/explain.md";

fn attribute(uuid: Uuid, attribute: NewAttribute) -> NewAttribute {
    NewAttribute { uuid, ..attribute }
}

async fn stage() -> Stage {
    let misp = Misp::new(CLOCK);
    let first = uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001");
    let attributes = vec![
        attribute(uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d011"), address("198.51.100.7")),
        attribute(
            uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d012"),
            NewAttribute { tags: vec![("tlp:red".into(), false)], ..address("198.51.100.8") },
        ),
        attribute(
            uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d013"),
            NewAttribute::new("comment", "seen with the loader"),
        ),
    ];
    let info = "Loader infrastructure".to_owned();
    misp.add_event(NewEvent { uuid: first, info, attributes, ..NewEvent::default() });
    misp.advance(60);
    misp.publish(first);
    let second = uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d002");
    let again = uuid!("5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d021");
    let attributes = vec![attribute(again, address("198.51.100.7"))];
    let info = "Scanners of the week".to_owned();
    misp.add_event(NewEvent { uuid: second, info, attributes, ..NewEvent::default() });
    misp.advance(60);
    misp.publish(second);
    misp.advance(60);
    let stage = Stage::set(misp, &LONG).await;
    stage.becomes(&["198.51.100.7"]).await;
    // Sentinel may hold it before the relay has heard of both events and of Sentinel's answer.
    let told = || stage.sample(&["explain", "198.51.100.7"]);
    let deadline = Instant::now() + PATIENCE * 6;
    while told().matches("also claimed").count() < 2 || told().contains("pending") {
        assert!(Instant::now() < deadline, "never delivered:\n{}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage
}

impl Stage {
    /// What is printed, with the time of Sentinel's answer made the same for all runs.
    fn sample(&self, arguments: &[&str]) -> String {
        let output = self.relay.command(arguments);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| match line.split_once("accepted it 20") {
            Some((before, _)) => format!("{before}accepted it 2026-10-01 10:03:00 UTC"),
            None => line.to_owned(),
        });
        let shown = format!("$ misp-sentinel-relay {}", arguments.join(" "));
        std::iter::once(shown).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

fn converted() -> String {
    let frame = recording("zmq/000480_misp_json.bin");
    let output = program()
        .args(["convert", frame.to_str().unwrap(), "--explain"])
        .envs(LONG)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("$ misp-sentinel-relay convert event.json --explain\n{}", text.trim_end())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_document_are_what_the_program_prints() {
    let stage = stage().await;
    let by_value = stage.sample(&["explain", "198[.]51.100.7"]);
    let by_event = stage.sample(&["explain", "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = std::fs::read_to_string(&path).unwrap();
    let mut parts = document.split("```").enumerate();
    let samples = [by_value, by_event, converted()].map(|sample| format!("text\n{sample}\n"));
    let mut samples = samples.iter();
    let made: Vec<&str> = parts
        .by_ref()
        .map(|(at, part)| if at % 2 == 1 { samples.next().unwrap().as_str() } else { part })
        .collect();
    assert!(samples.next().is_none(), "{DOCUMENT} has too few samples");
    let made = made.join("```");
    if std::env::var_os("UPDATE_EXPLAIN").is_some() {
        std::fs::write(&path, made).unwrap();
    } else {
        assert!(
            made == document,
            "{DOCUMENT} is not what the program prints: UPDATE_EXPLAIN=1 makes it anew\n{made}"
        );
    }
}
