//! Checks IP addresses, networks, domain names and e-mail addresses and brings them into their canonical
//! form. It also undoes defanging, such as `[.]` for a dot.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::pure::stix::Observable;

pub(super) const IPV4: &str = "ipv4-addr:value";
pub(super) const IPV6: &str = "ipv6-addr:value";
pub(super) const DOMAIN: &str = "domain-name:value";
pub(super) const EMAIL: &str = "email-addr:value";

/// An IPv4 or IPv6 address, or a network without host bits. A network of one address is the
/// address, and the network of all addresses is none; IPv6 is in RFC 5952 form, and an IPv4 address
/// that is written as IPv6 is the IPv4 address.
pub(super) fn ip(value: &str) -> Option<Observable> {
    if let Some(address) = address(value) {
        return Some(address);
    }
    let value = refang(value);
    let network = without_mapping(bare(&value).parse().ok()?);
    if network.prefix_len() == 0 {
        return None;
    }
    let address = network.network();
    if network.prefix_len() == network.max_prefix_len() {
        return Some(Observable::new(path(&address), address.to_string()));
    }
    Some(Observable::new(path(&address), network.trunc().to_string()))
}

/// One address.
fn address(value: &str) -> Option<Observable> {
    let value = refang(value);
    let value = bare(&value);
    let address = value.parse::<IpAddr>().ok()?;
    if address.is_ipv4() {
        // Rust reads an IPv4 address in one spelling only, without leading zeros.
        return Some(Observable::new(IPV4, value));
    }
    let address = address.to_canonical();
    Some(Observable::new(path(&address), address.to_string()))
}

fn bare(value: &str) -> &str {
    value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value)
}

/// A network of IPv4 that is written as one of IPv6 (RFC 4291, 2.5.5.2).
fn without_mapping(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let ipv4 = mapped.network().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
    let ipv4 = ipv4.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    ipv4.map_or(network, IpNet::V4)
}

fn path(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}

/// A domain or host name. A single label is one as well: policy knows that it leads nowhere. MISP takes
/// addresses for names, and feeds write them so: they are addresses.
pub(super) fn domain(value: &str) -> Option<Observable> {
    let name = || domain_name(value).map(|name| Observable::new(DOMAIN, name));
    address(value.strip_suffix('.').unwrap_or(value)).or_else(name)
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

/// An e-mail address in lower case, since Sentinel's rules compare it with logs that they have lowered.
/// Its domain is a name with a dot in it.
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
    Some(Observable::new(EMAIL, format!("{}@{domain}", local.to_lowercase())))
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
