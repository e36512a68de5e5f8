//! URLs: with a scheme, scheme and host in canonical form, the rest as MISP has it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::network::{host_name, refang};
use crate::stix::Observable;

pub(super) const URL: &str = "url:value";
/// Of a request, what stands behind the host (STIX 2.1, 6.12.3 "HTTP Request Extension").
pub(super) const REQUEST: &str = "network-traffic:extensions.'http-request-ext'.request_value";

/// A URL, or where it begins with a slash the part behind the host.
pub(super) fn uri(value: &str) -> Option<Observable> {
    let is_path = value.starts_with('/') && !value.starts_with("//");
    if !is_path {
        return url(value);
    }
    (!value.contains(char::is_control)).then(|| Observable::new(REQUEST, value))
}

/// A URL. Where it has no scheme it gets `http://`; `hxxp`, `[:]` and `[.]` in front of the path are
/// undone.
pub(super) fn url(value: &str) -> Option<Observable> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let (scheme, rest) = split_scheme(value);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end)?;
    let (user, host) = match authority.rsplit_once('@') {
        // Without a scheme it is an e-mail address, or `mailto:` and the like.
        Some(_) if scheme.is_none() => return None,
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = split_port(host)?;
    let mut url = String::with_capacity(value.len() + "http://".len());
    push_scheme(scheme.unwrap_or("http"), &mut url)?;
    url.push_str("://");
    if let Some(user) = user {
        url.push_str(user);
        url.push('@');
    }
    url.push_str(&canonical_host(host)?);
    url.push_str(port);
    url.push_str(tail);
    Some(Observable::new(URL, url))
}

/// What stands before `://` (or its defanged spellings), if anything does, and what behind it.
fn split_scheme(value: &str) -> (Option<&str>, &str) {
    for mark in ["://", "[:]//", "[://]"] {
        let Some((scheme, rest)) = value.split_once(mark) else { continue };
        if is_scheme(scheme) {
            return (Some(scheme), rest);
        }
    }
    (None, value.strip_prefix("//").unwrap_or(value))
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// In lower case, `hxxp` and `hxxps` (MISP's and others' defanging) as `http` and `https`.
fn push_scheme(scheme: &str, url: &mut String) -> Option<()> {
    let start = url.len();
    url.push_str(scheme);
    url.get_mut(start..)?.make_ascii_lowercase();
    if url.get(start..)?.starts_with("hxxp") {
        url.replace_range(start + 1..start + 3, "tt");
    }
    Some(())
}

/// The host, and the port with its colon. `None` where the port is no number.
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
