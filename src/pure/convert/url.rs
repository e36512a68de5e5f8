//! Checks URLs and brings their scheme and host into canonical form; the rest stays as MISP has it. It also
//! gives the form in which requests and the logs of proxies show a URL.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::network::{host_name, refang};
use super::scheme::{self, Split};
use crate::pure::stix::Observable;

pub(super) const URL: &str = "url:value";
/// The object path for the part of a request after the host (STIX 2.1, 6.12.3 "HTTP Request Extension").
pub(super) const REQUEST: &str = "network-traffic:extensions.'http-request-ext'.request_value";

/// Reads a URL. A value that begins with one slash is the part of a URL after the host.
pub(super) fn uri(value: &str) -> Option<Observable> {
    let is_path = value.starts_with('/') && !value.starts_with("//");
    if !is_path {
        return url(value);
    }
    (!value.contains(char::is_control)).then(|| Observable::new(REQUEST, value))
}

/// Reads a URL as it was written, with three changes. A URL without a scheme gets `http://`. Defanged or mistyped parts
/// before the path are corrected if they can have only one meaning. The scheme's default port is left out (RFC 3986,
/// 6.2.3).
pub(super) fn url(value: &str) -> Option<Observable> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let Split { scheme, rest, is_mended } = scheme::split(value);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end)?;
    let (user, host) = match authority.rsplit_once('@') {
        // Without a scheme it is an e-mail address, or `mailto:` and the like.
        Some(_) if scheme.is_none() => return None,
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = split_port(host)?;
    let scheme = scheme.as_deref().unwrap_or("http");
    let host = canonical_host(host)?;
    let looks_like_a_host = host.contains(['.', ':']);
    if scheme::is_scheme_word(&host) || is_mended && !looks_like_a_host {
        return None;
    }
    let mut url = String::with_capacity(value.len() + "http://".len());
    url.push_str(scheme);
    url.push_str("://");
    if let Some(user) = user {
        url.push_str(user);
        url.push('@');
    }
    url.push_str(&host);
    if !is_default(scheme, port) {
        url.push_str(port);
    }
    url.push_str(tail);
    Some(Observable::new(URL, url))
}

/// Returns the URL as requests and the logs of proxies have it, if it differs from the written form. An empty path
/// becomes a slash, and the browser does not send the fragment (RFC 9112, 3.2.1), nor blanks before it.
pub fn on_the_wire(observable: &Observable) -> Option<Observable> {
    if observable.path != URL {
        return None;
    }
    let (scheme, rest) = observable.value.split_once("://")?;
    if !matches!(scheme, "http" | "https" | "ftp") {
        return None;
    }
    let sent = rest.split_once('#').map_or(rest, |(sent, _)| sent.trim_end());
    let end = sent.find(['/', '?', '\\']).unwrap_or(sent.len());
    let (authority, tail) = sent.split_at_checked(end)?;
    let slash = if tail.is_empty() || tail.starts_with('?') { "/" } else { "" };
    let differs = !slash.is_empty() || sent.len() < rest.len();
    differs.then(|| Observable::new(URL, format!("{scheme}://{authority}{slash}{tail}")))
}

/// Whether a port, with its colon, is the default port of the scheme.
fn is_default(scheme: &str, port: &str) -> bool {
    let default = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ftp" => 21,
        _ => return false,
    };
    let digits = port.trim_start_matches(':');
    digits.is_empty() || digits.parse::<u32>() == Ok(default)
}

/// Splits off the port, with its colon. `None`: the port is not a number.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let behind_brackets = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority.get(behind_brackets..)?.rfind(':') else {
        return Some((authority, ""));
    };
    let (host, port) = authority.split_at_checked(behind_brackets + colon)?;
    let digits = port.get(1..)?;
    (digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some((host, port))
}

fn canonical_host(host: &str) -> Option<String> {
    let host = refang(host);
    if let Some(inside) = host.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(address.to_string());
    }
    host_name(&host)
}
