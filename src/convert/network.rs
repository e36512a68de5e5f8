//! Addresses, domain names and e-mail addresses in their canonical forms.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::stix::Observable;

/// An IPv4 or IPv6 address, or a network without host bits. A network of one address is the
/// address; IPv6 is in RFC 5952 form.
pub(super) fn ip(value: &str) -> Option<Observable> {
    let value = refang(value);
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&value);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Observable::new(path(&address), address.to_string()));
    }
    let network: IpNet = bare.parse().ok()?;
    let address = network.network();
    if network.prefix_len() == network.max_prefix_len() {
        return Some(Observable::new(path(&address), address.to_string()));
    }
    Some(Observable::new(path(&address), network.trunc().to_string()))
}

fn path(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4-addr:value",
        IpAddr::V6(_) => "ipv6-addr:value",
    }
}

/// A domain or host name.
pub(super) fn domain(value: &str) -> Option<Observable> {
    domain_name(value).map(|name| Observable::new("domain-name:value", name))
}

/// An e-mail address in lower case, its domain as of [`domain`].
pub(super) fn email(value: &str) -> Option<Observable> {
    let (local, domain) = value.rsplit_once('@')?;
    let forbidden = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '@' | '<' | '>')
    };
    if local.is_empty() || local.contains(forbidden) {
        return None;
    }
    let mut address = local.to_lowercase();
    address.push('@');
    address.push_str(&domain_name(domain)?);
    Some(Observable::new("email-addr:value", address))
}

/// A fully qualified name: host name rules, at least two labels, and a last one that is no number.
fn domain_name(value: &str) -> Option<String> {
    let name = host_name(value)?;
    let (_, last) = name.rsplit_once('.')?;
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    (!numeric).then_some(name)
}

/// A host name in lower case, IDNA names as ASCII, without a dot at the end. Labels may hold
/// underscores, which DNS allows and logs show.
pub(super) fn host_name(value: &str) -> Option<String> {
    let value = refang(value);
    let mut name = if value.is_ascii() {
        value.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(&value).ok()?
    };
    if name.ends_with('.') {
        name.pop();
    }
    (name.len() <= 253 && name.split('.').all(is_label)).then_some(name)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Undoes `[.]`.
pub(super) fn refang(value: &str) -> Cow<'_, str> {
    if value.contains("[.]") {
        return Cow::Owned(value.replace("[.]", "."));
    }
    Cow::Borrowed(value)
}
