//! Tests that `docs/reference/hosts.md` lists the hosts that a target in each cloud uses.

use std::fmt::Write;

use misp_sentinel_relay::config::{self, Target};

use crate::page;

const CLOUDS: [&str; 3] = ["public", "us-government", "china"];

/// A target in a cloud, all else being as by default.
fn target(cloud: &str) -> Target {
    let settings = [
        ("MSR_MISP__PUBLIC_URL", "https://misp.example.org"),
        ("MSR_MISP__ZEROMQ__ENDPOINTS", "tcp://misp-core:50000"),
        ("MSR_TARGET__SOC__CLOUD", cloud),
        ("MSR_TARGET__SOC__WORKSPACE_ID", "11111111-2222-4333-8444-555555555555"),
        ("MSR_TARGET__SOC__TENANT_ID", "t"),
        ("MSR_TARGET__SOC__CLIENT_ID", "c"),
        ("MSR_TARGET__SOC__CLIENT_SECRET", "s"),
        ("MSR_TARGET__SOC__SUBSCRIPTION_ID", "11111111-2222-4333-8444-666666666666"),
        ("MSR_TARGET__SOC__RESOURCE_GROUP", "soc"),
        ("MSR_TARGET__SOC__WORKSPACE_NAME", "sentinel"),
        ("MSR_TARGET__SOC__HITS", "true"),
    ];
    let empty = tempfile::NamedTempFile::new().unwrap();
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = config::load(Some(empty.path()), environment.into_iter());
    config.unwrap_or_else(|mistakes| panic!("{mistakes}")).targets.remove(0)
}

#[test]
fn the_page_of_hosts_has_those_of_each_cloud() {
    let host = |address: &str| address.trim_start_matches("https://").to_owned();
    let mut text =
        "| cloud | sign-in | upload | management plane | Log Analytics |\n|---|---|---|---|---|\n"
            .to_owned();
    for cloud in CLOUDS {
        let target = target(cloud);
        let (management, logs) = (target.managed.unwrap().management, target.hits.unwrap().logs);
        let [sign_in, upload, management, logs] =
            [&target.authority, &target.endpoint, &management, &logs].map(|address| host(address));
        writeln!(text, "| `{cloud}` | {sign_in} | {upload} | {management} | {logs} |").unwrap();
    }
    page::holds("docs/reference/hosts.md", &[("clouds", text)]);
}
