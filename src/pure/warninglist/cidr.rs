//! Matches addresses and networks against the networks of a warninglist, exactly as MISP's `CidrTool` does.

use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The networks of a list. Of nested ones only the widest is kept: it is the one that MISP finds.
#[derive(Debug, Clone, Default)]
pub(super) struct Networks {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

/// The value of an attribute that cidr lists are asked for: an address, and what stands behind a `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressValue<'a> {
    address: IpAddr,
    prefix: Option<&'a str>,
}

impl<'a> AddressValue<'a> {
    /// Reads a value. `None`: it begins with no address.
    pub(super) fn read(value: &'a str) -> Option<Self> {
        let mut parts = value.split('/');
        let address = parts.next()?.parse().ok()?;
        Some(Self { address, prefix: parts.next() })
    }
}

impl<'e> FromIterator<&'e str> for Networks {
    fn from_iter<I: IntoIterator<Item = &'e str>>(entries: I) -> Self {
        let mut all = Self::default();
        for entry in entries {
            match network(entry) {
                Some(IpNet::V4(network)) => all.v4.push(network),
                Some(IpNet::V6(network)) => all.v6.push(network),
                None => {}
            }
        }
        all.v4.sort_unstable();
        all.v4.dedup_by(|next, kept| kept.contains(&*next));
        all.v4.shrink_to_fit();
        all.v6.sort_unstable();
        all.v6.dedup_by(|next, kept| kept.contains(&*next));
        all.v6.shrink_to_fit();
        all
    }
}

impl Networks {
    /// Returns the network around an address. A range is looked up by its address. It must not be wider than
    /// the network, unless its prefix is 0 or empty, which MISP does not look at.
    pub(super) fn find(&self, asked: &AddressValue<'_>) -> Option<String> {
        let network: IpNet = match asked.address {
            IpAddr::V4(address) => last(&self.v4, |network| network.addr() <= address)?.into(),
            IpAddr::V6(address) => last(&self.v6, |network| network.addr() <= address)?.into(),
        };
        let prefix = asked.prefix.filter(|prefix| !prefix.is_empty() && *prefix != "0");
        let wider = prefix.is_some_and(|prefix| is_less(prefix, network.prefix_len()));
        (!wider && network.contains(&asked.address)).then(|| network.to_string())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = String> {
        let v4 = self.v4.iter().map(ToString::to_string);
        v4.chain(self.v6.iter().map(ToString::to_string))
    }
}

/// Returns the last of the sorted networks that begins at or before an address. No other can be around it.
fn last<N: Copy>(networks: &[N], begins: impl Fn(&N) -> bool) -> Option<N> {
    networks.get(networks.partition_point(begins).checked_sub(1)?).copied()
}

/// Reads an entry. `None`: it can never match. MISP looks up the network of an address, so an IPv4 entry with
/// bits behind its prefix (`10.1.2.3/8`), or written in another way, never matches. Such an IPv6 entry does.
fn network(entry: &str) -> Option<IpNet> {
    let mut parts = entry.splitn(2, '/');
    let (address, prefix) = (parts.next()?, parts.next());
    match address.parse().ok()? {
        IpAddr::V4(address) => {
            let length = prefix.map_or(Some(32), canonical)?;
            let network = Ipv4Net::new(address, length).ok()?;
            (network.addr() == network.network()).then_some(network.into())
        }
        IpAddr::V6(address) => {
            let length = prefix.map_or(Ok(128), |text| text.trim().parse()).ok()?;
            Some(Ipv6Net::new(address, length).ok()?.trunc().into())
        }
    }
}

/// Reads a prefix that is written as MISP itself would write it.
fn canonical(prefix: &str) -> Option<u8> {
    let number: u8 = prefix.parse().ok()?;
    (number.to_string() == prefix).then_some(number)
}

/// Compares as PHP does in `$prefix < "$length"`: by number if both are numbers, else by bytes.
fn is_less(prefix: &str, length: u8) -> bool {
    let number = |text: &str| -> Option<f64> {
        let text = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        let plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        text.parse().ok().filter(|_| text.bytes().all(plain))
    };
    match number(prefix) {
        Some(number) => number < f64::from(length),
        None => prefix.as_bytes().cmp(length.to_string().as_bytes()) == Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(entries: &[&str], value: &str) -> Option<String> {
        entries.iter().copied().collect::<Networks>().find(&AddressValue::read(value)?)
    }

    /// Every case is derived from `CidrTool::contains` and `filterInputList`.
    #[test]
    fn an_address_is_found_in_the_widest_network_around_it() {
        let list = ["10.1.0.0/16", "10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "2001:db8:1::/48"];
        let cases = [
            ("10.1.2.3", Some("10.0.0.0/8")),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("192.0.2.8", None),
            ("2001:db8:1::5", Some("2001:db8::/32")),
            ("2001:DB8::1", Some("2001:db8::/32")),
            ("2001:db9::", None),
            ("::ffff:10.1.2.3", None),
            ("010.1.2.3", None),
            (" 10.1.2.3", None),
            ("10.1.2", None),
            ("example.com", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(find(&list, value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_range_must_not_be_wider_than_the_network() {
        let list = ["10.0.0.0/8", "8.8.8.8", "2001:db8::/32"];
        let cases = [
            ("10.0.0.0/8", true),
            ("10.0.0.0/7", false),
            ("10.0.0.0/24", true),
            ("8.8.8.0/24", false),
            ("8.8.8.8/32", true),
            ("8.8.8.8/24", false),
            ("2001:db8::/32", true),
            ("2001:db8::/16", false),
            // PHP: "0" and "" are false, so the prefix is not compared.
            ("10.0.0.0/0", true),
            ("10.0.0.0/", true),
            // By bytes: "p" is greater than "8".
            ("10.0.0.1/path", true),
            // "+" is less than "8"; as a number " 24" is not.
            ("10.0.0.1/+x", false),
            ("10.0.0.1/ 24", true),
            // What stands behind a second slash is not looked at.
            ("10.0.0.1/24/7", true),
        ];
        for (value, expected) in cases {
            assert_eq!(find(&list, value).is_some(), expected, "{value}");
        }
    }

    #[test]
    fn entries_that_misp_can_never_find_are_none() {
        for entry in [
            "10.1.2.3/8",
            "10.0.0.0/08",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "10.0.0.0/",
            "010.0.0.0/8",
            "10.0.0/8",
            "2001:db8::/129",
            "2001:db8::/x",
            "example.com",
            "",
        ] {
            assert_eq!(network(entry), None, "{entry}");
        }
        // Behind the prefix of an IPv6 entry nothing is compared.
        assert!(find(&["2001:db8::5/32"], "2001:db8::6").is_some());
    }

    #[test]
    fn the_network_of_everything_holds_everything_of_its_family() {
        assert_eq!(find(&["0.0.0.0/0", "10.0.0.0/8"], "10.0.0.1").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(find(&["0.0.0.0/0"], "255.255.255.255").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(find(&["0.0.0.0/0"], "::1"), None);
        assert_eq!(find(&["::/0"], "ffff::").as_deref(), Some("::/0"));
    }
}
