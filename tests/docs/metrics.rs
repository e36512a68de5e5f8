//! Tests that `docs/reference/metrics.md` lists every metric as the program declares it, and every reason of
//! `misp_sentinel_relay_degraded`.

use std::collections::BTreeSet;
use std::fmt::Write;

use misp_sentinel_relay::metrics::{METRICS, PROCESS_METRICS};

use crate::page;

#[test]
fn the_page_of_metrics_is_their_declaration() {
    let mut text = "| metric | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS.iter().chain(PROCESS_METRICS) {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels: Vec<String> = metric.labels.iter().map(|label| page::code(label)).collect();
        let labels = labels.join(", ");
        writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).unwrap();
    }
    page::holds("docs/reference/metrics.md", &[("metrics", text)]);
}

/// Reasons as the sources record them: `metrics::degraded(part, "late", …)`.
#[test]
fn the_page_of_metrics_has_every_reason_to_be_degraded() {
    let text = page::sources(&page::root().join("src"));
    let calls = text.split("metrics::degraded(").skip(1);
    let reasons = calls.map(|call| call.split('"').nth(1).unwrap());
    let reasons: BTreeSet<&str> = reasons.collect();
    assert!(reasons.len() > 10, "{reasons:?}");
    let page = std::fs::read_to_string(page::root().join("docs/reference/metrics.md")).unwrap();
    let missing = reasons.iter().filter(|reason| !page.contains(&format!("| `{reason}` |")));
    let missing: Vec<&&str> = missing.collect();
    assert!(missing.is_empty(), "{missing:?}");
}
