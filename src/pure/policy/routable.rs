//! Decides whether an address or host can be reached from the internet, by IANA's registries of special addresses and
//! names. An indicator for one that cannot be reached would match the operator's own machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::pure::stix::Observable;

/// IANA, "IPv4 Special-Purpose Address Registry": what is not globally reachable; multicast (RFC
/// 5771); reserved and broadcast (RFC 1112).
const IPV4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// IANA, "IPv6 Special-Purpose Address Registry": what is not globally reachable; site-local (RFC
/// 3879); multicast (RFC 4291).
const IPV6: [([u16; 8], u8); 13] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 127),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// IPv6 networks whose last 32 bits are an IPv4 address: mapped (RFC 4291), NAT64 (RFC 6052).
const EMBEDDING: [[u16; 6]; 2] = [[0, 0, 0, 0, 0, 0xffff], [0x64, 0xff9b, 0, 0, 0, 0]];

/// Top-level names for names of one's own: RFC 6761, 6762, 8375; ICANN's `internal`; those that
/// ICANN will never delegate, and what routers use.
const LOCAL: [&str; 13] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "home.arpa",
    "home",
    "corp",
    "mail",
    "lan",
    "test",
    "invalid",
];

/// Whether what is observed can be reached from the internet; true for all but addresses, names and
/// URLs.
pub(super) fn is_routable(observable: &Observable) -> bool {
    let value = observable.value.as_str();
    match observable.path.as_ref() {
        "ipv4-addr:value" | "ipv6-addr:value" => address(value),
        "domain-name:value" => name(value),
        "url:value" => observable.url_host().is_none_or(host),
        _ => true,
    }
}

/// Of an address or a network: one that is wider than what it shares with a local one is routable.
fn address(value: &str) -> bool {
    let network: Option<IpNet> =
        value.parse::<IpAddr>().map(IpNet::from).or_else(|_| value.parse()).ok();
    match network {
        Some(IpNet::V4(network)) => of_ipv4(network.network(), network.prefix_len()),
        Some(IpNet::V6(network)) => of_ipv6(network.network(), network.prefix_len()),
        None => true,
    }
}

fn of_ipv4(address: Ipv4Addr, length: u8) -> bool {
    let bits = u32::from(address);
    !IPV4.iter().any(|(start, prefix)| {
        let differing = bits ^ u32::from(Ipv4Addr::from(*start));
        length >= *prefix && differing.leading_zeros() >= u32::from(*prefix)
    })
}

fn of_ipv6(address: Ipv6Addr, length: u8) -> bool {
    let [a, b, c, d, e, f, ..] = address.segments();
    if length >= 96 && EMBEDDING.contains(&[a, b, c, d, e, f]) {
        let [.., w, x, y, z] = address.octets();
        return of_ipv4(Ipv4Addr::new(w, x, y, z), length - 96);
    }
    let bits = u128::from(address);
    !IPV6.iter().any(|(start, prefix)| {
        let differing = bits ^ u128::from(Ipv6Addr::from(*start));
        length >= *prefix && differing.leading_zeros() >= u32::from(*prefix)
    })
}

/// A name without a dot is one of the own network.
fn name(value: &str) -> bool {
    value.contains('.')
        && !LOCAL.iter().any(|local| {
            let before = value.strip_suffix(local);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
}

/// Of a URL.
fn host(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(_) => address(host),
        Err(_) => name(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routable(path: &'static str, value: &str) -> bool {
        is_routable(&Observable::new(path, value))
    }

    #[test]
    fn addresses_that_the_internet_does_not_route() {
        for local in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.254",
            "127.0.0.53",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.2.1",
            "192.168.1.10",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.251",
            "239.255.255.250",
            "255.255.255.255",
            "10.0.0.0/8",
            "192.168.0.0/24",
        ] {
            assert!(!routable("ipv4-addr:value", local), "{local}");
        }
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.255.255",
            "223.255.255.255",
            "8.0.0.0/6",
        ] {
            assert!(routable("ipv4-addr:value", public), "{public}");
        }
    }

    #[test]
    fn addresses_of_ipv6_and_ipv4_inside_them() {
        for local in [
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "2001:db8::1",
            "2001:db8:1::/48",
            "3fff::1",
            "100::1",
            "::ffff:192.168.1.1",
            "64:ff9b::a00:1",
        ] {
            assert!(!routable("ipv6-addr:value", local), "{local}");
        }
        for public in [
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            // Wider than the local network that is in it.
            "64:ff9b::/100",
        ] {
            assert!(routable("ipv6-addr:value", public), "{public}");
        }
    }

    #[test]
    fn names_and_urls_of_ones_own_network() {
        for local in ["localhost", "dc01", "printer.local", "db.corp", "a.home.arpa", "x.internal"]
        {
            assert!(!routable("domain-name:value", local), "{local}");
            let url = format!("http://user@{local}:8080/x?u=evil.com");
            assert!(!routable("url:value", &url), "{url}");
        }
        for local in ["http://10.0.0.1/x", "http://[::1]:80/", "http://127.0.0.1"] {
            assert!(!routable("url:value", local), "{local}");
        }
        for public in ["evil.com", "www.notlocal", "local.evil.com", "mylocal.com", "a.test.org"] {
            assert!(routable("domain-name:value", public), "{public}");
        }
        assert!(routable("url:value", "http://evil.com/?next=http://localhost/"));
        assert!(routable("url:value", "http://8.8.8.8:53/"));
        assert!(routable("file:name", "localhost"));
    }
}
