//! Addresses, domain names and e-mail addresses in their canonical forms.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::stix::Observable;

pub(super) const IPV4: &str = "ipv4-addr:value";
pub(super) const IPV6: &str = "ipv6-addr:value";
pub(super) const DOMAIN: &str = "domain-name:value";
pub(super) const EMAIL: &str = "email-addr:value";

/// An IPv4 or IPv6 address, or a network without host bits. A network of one address is the
/// address, and the network of all addresses is none; IPv6 is in RFC 5952 form.
pub(super) fn ip(value: &str) -> Option<Observable> {
    let value = refang(value);
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&value);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Observable::new(path(&address), address.to_string()));
    }
    let network: IpNet = bare.parse().ok().filter(|network: &IpNet| network.prefix_len() > 0)?;
    let address = network.network();
    if network.prefix_len() == network.max_prefix_len() {
        return Some(Observable::new(path(&address), address.to_string()));
    }
    Some(Observable::new(path(&address), network.trunc().to_string()))
}

fn path(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}

/// A domain or host name. A single label is one as well: policy knows that it leads nowhere.
pub(super) fn domain(value: &str) -> Option<Observable> {
    domain_name(value).map(|name| Observable::new(DOMAIN, name))
}

/// An address of the Tor network, with or without `.onion` (RFC 7686).
pub(super) fn onion(value: &str) -> Option<Observable> {
    const SUFFIX: &str = ".onion";
    let mut name = domain_name(value)?;
    if !name.ends_with(SUFFIX) && matches!(name.len(), 16 | 56) && !name.contains('.') {
        name.push_str(SUFFIX);
    }
    name.ends_with(SUFFIX).then(|| Observable::new(DOMAIN, name))
}

/// An e-mail address, its domain as of [`domain`] and with a dot in it. What stands before the `@`
/// keeps its case: that is the receiving host's to read (RFC 5321, 2.4).
pub(super) fn email(value: &str) -> Option<Observable> {
    let value = ["[@]", "[at]", "(at)", "(@)"]
        .iter()
        .find(|defanged| value.contains(**defanged))
        .map_or(Cow::Borrowed(value), |defanged| Cow::Owned(value.replacen(defanged, "@", 1)));
    let (local, domain) = value.rsplit_once('@')?;
    let forbidden = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '@' | '<' | '>')
    };
    if local.is_empty() || local.contains(forbidden) {
        return None;
    }
    let domain = domain_name(domain).filter(|domain| domain.contains('.'))?;
    Some(Observable::new(EMAIL, format!("{local}@{domain}")))
}

/// A host name whose last label is no number: that would be an address.
fn domain_name(value: &str) -> Option<String> {
    let name = host_name(value)?;
    let last = name.rsplit('.').next()?;
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

/// Undoes `[.]` and its like.
pub(super) fn refang(value: &str) -> Cow<'_, str> {
    const DOTS: [&str; 5] = ["[.]", "(.)", "{.}", "[dot]", "(dot)"];
    let mut value = Cow::Borrowed(value);
    if value.contains(['[', '(', '{']) {
        for dot in DOTS {
            if value.contains(dot) {
                value = Cow::Owned(value.replace(dot, "."));
            }
        }
    }
    value
}
