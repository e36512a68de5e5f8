//! `docs/reference/metrics.md`: every metric as the program declares it.

use std::fmt::Write;

use misp_sentinel_relay::metrics::METRICS;

use crate::page;

#[test]
fn the_page_of_metrics_is_their_declaration() {
    let mut text = "| metric | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels: Vec<String> = metric.labels.iter().map(|label| page::code(label)).collect();
        let labels = labels.join(", ");
        writeln!(text, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).unwrap();
    }
    page::holds("docs/reference/metrics.md", &[("metrics", text)]);
}
