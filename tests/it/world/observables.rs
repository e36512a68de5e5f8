//! Maps a value of MISP to the patterns that must be sent for it. The test expects what this file says, so it
//! does not use the relay's code.

/// The patterns of a value from [`VALUES`](super::draw::VALUES).
pub(super) fn observables(kind: &str, value: &str) -> Vec<String> {
    let (first, last) = value.split_once('|').unwrap_or((value, value));
    let ip = |value: &str| {
        let version = if value.contains(':') { 6 } else { 4 };
        format!("[ipv{version}-addr:value = '{value}']")
    };
    let name = |value: &str| format!("[domain-name:value = '{value}']");
    match kind {
        "ip-src" | "ip-dst" | "ip-dst|port" => vec![ip(first)],
        "domain" | "hostname" => vec![name(value)],
        "domain|ip" => vec![name(first), ip(last)],
        "url" => vec![format!("[url:value = '{}']", value.replace('\'', "\\'"))],
        "sha256" | "filename|sha256" => vec![format!("[file:hashes.'SHA-256' = '{last}']")],
        "md5" => vec![format!("[file:hashes.MD5 = '{value}']")],
        "email-src" => vec![format!("[email-addr:value = '{value}']")],
        _ => vec![],
    }
}
