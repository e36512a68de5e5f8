//! Compares the samples in docs/reference/explain.md with the output of the program. The program runs today
//! and the document shows one fixed day, so all times are shifted.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};
use misp_sentinel_relay::config;
use misp_stand_in::{Misp, NewAttribute, NewEvent};
use serde_json::Value;
use uuid::{Uuid, uuid};

use super::{Stage, address, now};
use crate::recordings::{read, recording};
use crate::support::program::program;
use crate::support::relay::ageless;
use crate::support::sandbox::PATIENCE;

/// When the samples of events in MISP begin: 2026-10-01 10:00:00 UTC.
const SHOWN: i64 = 1_790_848_800;

/// When the recorded event was published: 2026-11-24 05:54:19 UTC.
const RECORDED: i64 = 1_795_499_659;

/// A while ago, so that all is over.
const AGO: i64 = 600;

const DOCUMENT: &str = "docs/reference/explain.md";

/// What the other tests lengthen, as the example has it.
fn default_expiry() -> Vec<(&'static str, String)> {
    let example: toml::Table = config::EXAMPLE.parse().unwrap();
    let days = |key: &str| {
        let leaf = key.trim_start_matches("MSR_EXPIRY__").to_lowercase().replace("days__", "");
        let expiry = &example["expiry"];
        expiry.get(&leaf).unwrap_or_else(|| &expiry["days"][&leaf.replace('_', "-")]).to_string()
    };
    ageless().into_iter().map(|(key, _)| (key, days(key))).collect()
}

fn attribute(uuid: Uuid, attribute: NewAttribute) -> NewAttribute {
    NewAttribute { uuid, ..attribute }
}

/// A relay beside a MISP whose clock began at `clock`.
async fn stage(clock: i64) -> Stage {
    let misp = Misp::new(clock);
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
    let expiry = default_expiry();
    let expiry: Vec<(&str, &str)> =
        expiry.iter().map(|(key, days)| (*key, days.as_str())).collect();
    let stage = Stage::set(misp, &expiry).await;
    stage.becomes(&["198.51.100.7"]).await;
    // Sentinel may hold it before the relay has heard of both events and of Sentinel's answer.
    let told = || stage.sample(&["explain", "198.51.100.7"], 0);
    let deadline = Instant::now() + PATIENCE * 6;
    while told().matches("also claimed").count() < 2 || told().contains("pending") {
        assert!(Instant::now() < deadline, "never delivered:\n{}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage
}

impl Stage {
    /// What is printed, with all times later by `seconds`, and the time of Sentinel's answer made the same
    /// for all runs.
    fn sample(&self, arguments: &[&str], seconds: i64) -> String {
        let output = self.relay.command(arguments);
        assert!(output.status.success());
        let text = later(std::str::from_utf8(&output.stdout).unwrap(), seconds);
        let lines = text.lines().map(|line| match line.split_once("accepted it 20") {
            Some((before, _)) => format!("{before}accepted it 2026-10-01 10:03:00 UTC"),
            None => line.to_owned(),
        });
        let shown = format!("$ misp-sentinel-relay {}", arguments.join(" "));
        std::iter::once(shown).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

/// The text with its times, e.g. `2026-10-01 10:03:00 UTC`, later by so much.
fn later(text: &str, seconds: i64) -> String {
    const FORM: &str = "%Y-%m-%d %H:%M:%S";
    const LENGTH: usize = "2026-10-01 10:03:00".len();
    let (before, last) = text.rsplit_once(" UTC").unwrap();
    let moved = before.split(" UTC").map(|part| {
        let (before, time) = part.split_at(part.len() - LENGTH);
        let time = NaiveDateTime::parse_from_str(time, FORM).unwrap();
        format!("{before}{} UTC", (time + TimeDelta::seconds(seconds)).format(FORM))
    });
    moved.chain([last.to_owned()]).collect()
}

/// A document of MISP with its times later by so much.
fn put_later(value: &mut Value, seconds: i64) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().map(str::parse::<i64>) {
                    Some(Ok(time)) if name.ends_with("timestamp") => {
                        *value = (time + seconds).to_string().into();
                    }
                    _ => put_later(value, seconds),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| put_later(value, seconds)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn converted() -> String {
    let frame = read(&recording("zmq/000480_misp_json.bin"));
    let mut event: Value = serde_json::from_slice(&frame["misp_json ".len()..]).unwrap();
    let seconds = now() - AGO - RECORDED;
    put_later(&mut event, seconds);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), event.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let output = program().args(["convert", path, "--explain"]).output().unwrap();
    let text = later(std::str::from_utf8(&output.stdout).unwrap(), -seconds);
    format!("$ misp-sentinel-relay convert event.json --explain\n{}", text.trim_end())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_document_are_what_the_program_prints() {
    let clock = now() - AGO;
    let stage = stage(clock).await;
    let by_value = stage.sample(&["explain", "198[.]51.100.7"], SHOWN - clock);
    let by_event =
        stage.sample(&["explain", "5d2f1c3a-7c0e-4f0b-9a55-0a5be3a1d001"], SHOWN - clock);
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
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    } else {
        assert!(
            made == document,
            "{DOCUMENT} is not what the program prints: `UPDATE_DOCS=1 cargo test --test it samples` rewrites it\n{made}"
        );
    }
}
