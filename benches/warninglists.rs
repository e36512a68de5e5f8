//! 100,000 attributes against the recorded warninglists and generated ones of 1.5 million entries in
//! all, release build, one thread: time, and what the lists take in memory.
//! `cargo bench --bench warninglists`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement fails by panicking and reports on standard output"
)]

mod measure;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use measure::memory;
use misp_sentinel_relay::pure::warninglist::{
    List, ListHead, ListKind, Lists, Texts, read_index, read_view,
};
use serde_json::Value;

const ATTRIBUTES: u32 = 100_000;
const NETWORK: [&str; 5] = ["ip-src", "ip-dst", "domain|ip", "ip-src|port", "ip-dst|port"];
const NAMES: [&str; 4] = ["domain", "hostname", "url", "domain|ip"];
const HASHES: [&str; 4] = ["md5", "sha1", "sha256", "filename|sha256"];
const MAIL: [&str; 2] = ["email-src", "email-dst"];

fn main() {
    let before = memory(std::process::id(), "VmRSS");
    let began = Instant::now();
    let generated: Vec<Arc<List>> = generated().collect();
    let entries: usize = generated.iter().map(|list| list.len()).sum();
    let built = began.elapsed();
    let after = memory(std::process::id(), "VmRSS");
    println!(
        "{} generated lists, {entries} entries: built in {built:.2?}, {:.0} MB",
        generated.len(),
        after - before
    );
    let lists = Lists::new(generated.into_iter().chain(recorded()).collect());
    println!("{} lists, {} entries in all", lists.len(), lists.entries());
    for mix in ["as MISP has them", "addresses", "names"] {
        let attributes: Vec<(&str, String)> = (0..ATTRIBUTES).map(|n| attribute(mix, n)).collect();
        let (time, hits) = judge(&lists, &attributes);
        println!("{ATTRIBUTES} attributes, {mix}: {time:.3?}, {hits} on a list");
        assert!(time < Duration::from_secs(1), "{time:?}");
    }
    let began = Instant::now();
    let mut file = Vec::new();
    lists.write(&mut file).unwrap();
    let written = began.elapsed();
    let began = Instant::now();
    assert_eq!(Lists::read(&file[..]).unwrap().fingerprint(), lists.fingerprint());
    println!(
        "kept in {:.0} MB: written in {written:.2?}, read in {:.2?}",
        file.len() as f64 / 1e6,
        began.elapsed()
    );
}

/// The shortest of three, and how many attributes are on a list.
fn judge(lists: &Lists, attributes: &[(&str, String)]) -> (Duration, usize) {
    let once = || {
        let began = Instant::now();
        let on_one = |(kind, value): &&(&str, String)| lists.hits(kind, value).count() > 0;
        let hits = attributes.iter().filter(on_one).count();
        (began.elapsed(), hits)
    };
    [once(), once(), once()].into_iter().min().unwrap()
}

/// A number that looks random.
fn mixed(number: u32) -> u32 {
    let mixed = (number ^ (number >> 16)).wrapping_mul(0x045d_9f3b);
    let mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x045d_9f3b);
    mixed ^ (mixed >> 16)
}

fn name(number: u32) -> String {
    format!("h{:x}.sites-of-{}.example", mixed(number), number % 977)
}

fn attribute(mix: &str, number: u32) -> (&'static str, String) {
    let random = mixed(number + (1 << 30));
    let address = std::net::Ipv4Addr::from(random);
    let place = match mix {
        "addresses" => number % 3,
        "names" => 3 + number % 4,
        _ => number % 12,
    };
    // Every fiftieth of the names is on lists.
    let host = name(if number.is_multiple_of(50) { number } else { number + 1_000_000_000 });
    match place {
        0 => ("ip-dst", address.to_string()),
        1 => ("ip-src", address.to_string()),
        2 => ("ip-dst|port", format!("{address}|443")),
        3 => ("domain", host),
        4 => ("hostname", format!("www.{host}")),
        5 => ("url", format!("https://cdn.{host}/a/b/c?id={random}")),
        6 => ("domain|ip", format!("{host}|{address}")),
        7 => ("md5", format!("{random:032x}")),
        8 => ("sha1", format!("{random:040x}")),
        9 => ("sha256", format!("{random:064x}")),
        10 => ("filename|sha256", format!("invoice-{number}.exe|{random:064x}")),
        _ => ("email-src", format!("user{number}@{host}")),
    }
}

/// 1.5 million entries, in the proportions of MISP's own lists with the largest switched on.
fn generated() -> impl Iterator<Item = Arc<List>> {
    let of = |kind, lists: u32, entries: u32, types: &'static [&'static str]| {
        (0..lists).map(move |list| (kind, list, entries, types))
    };
    let all = of(ListKind::String, 10, 60_000, &NAMES)
        .chain(of(ListKind::String, 2, 60_000, &HASHES))
        .chain(of(ListKind::Hostname, 10, 40_000, &NAMES))
        .chain(of(ListKind::Cidr, 35, 10_000, &NETWORK))
        .chain(of(ListKind::Substring, 2, 14_950, &MAIL))
        .chain(of(ListKind::Regex, 1, 100, &MAIL));
    all.enumerate().map(|(id, (kind, list, entries, types))| {
        let head = ListHead {
            id: 1_000 + id as u64,
            name: format!("Generated {id}"),
            kind,
            category: "false_positive".to_owned(),
            version: "1".to_owned(),
            entries: None,
            types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        let first = list * entries;
        let entries = (first..first + entries).map(|number| entry(kind, types, number));
        Arc::new(List::new(head, Texts::of(entries).unwrap()).unwrap())
    })
}

fn entry(kind: ListKind, types: &[&str], number: u32) -> String {
    match kind {
        ListKind::String if types[0] == "md5" => format!("{:064x}", mixed(number + 77)),
        ListKind::String | ListKind::Hostname => name(number),
        ListKind::Cidr => {
            let prefix = 24 + number % 9;
            let network = mixed(number + 1_000_000) & (u32::MAX << (32 - prefix));
            format!("{}/{prefix}", std::net::Ipv4Addr::from(network))
        }
        ListKind::Substring => format!("@{}", name(number)),
        ListKind::Regex => format!("/^(abuse|contact{number})@.*\\.{number}$/i"),
    }
}

fn recorded() -> Vec<Arc<List>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/lists-and-settings");
    let body = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut inflated = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
            bytes = inflated;
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        bytes.split_off(end + 4)
    };
    let index = std::path::Path::new(folder).join("warninglists_index_all.response.http");
    let mut index: Value = serde_json::from_slice(&body(&index)).unwrap();
    for list in index["Warninglists"].as_array_mut().unwrap() {
        list["Warninglist"]["enabled"] = Value::Bool(true);
    }
    let heads = read_index(index.to_string().as_bytes()).unwrap();
    let views = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    views
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let id: u64 = name.strip_prefix("warninglists_view_")?.get(..3)?.parse().ok()?;
            let head = heads.iter().find(|head| head.id == id)?.clone();
            (!name.contains("as_readonly"))
                .then(|| Arc::new(read_view(head, &body(&path)[..]).unwrap()))
        })
        .collect()
}
