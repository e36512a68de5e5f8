//! Splits an attribute's value into the parts that warninglists are asked for, as MISP does. Each part is
//! hashed once for all lists.

use std::cell::OnceCell;

use super::bloom::Bloom;
use super::cidr::AddressValue;
use super::texts::Hashed;

/// A value, or one of the two parts of a composite value.
#[derive(Debug)]
pub(super) struct ValuePart<'a, 's> {
    pub(super) text: &'a str,
    bloom: &'s Bloom,
    whole: OnceCell<Option<Hashed>>,
    address: OnceCell<Option<AddressValue<'a>>>,
    domains: OnceCell<Vec<(&'a str, Hashed)>>,
}

/// Returns the parts of a value; `bloom` holds the texts of the lists that are asked. MISP splits at the first
/// `|`, if the type says that the value is composite.
pub(super) fn parts<'a, 's>(
    kind: &str,
    value: &'a str,
    bloom: &'s Bloom,
) -> Vec<ValuePart<'a, 's>> {
    let is_composite = kind == "malware-sample" || kind.contains('|');
    let parts = value.splitn(if is_composite { 2 } else { 1 }, '|');
    parts.map(|text| ValuePart::new(text, bloom)).collect()
}

impl<'a, 's> ValuePart<'a, 's> {
    fn new(text: &'a str, bloom: &'s Bloom) -> Self {
        Self {
            text,
            bloom,
            whole: OnceCell::new(),
            address: OnceCell::new(),
            domains: OnceCell::new(),
        }
    }

    /// Returns what a list of whole values is asked for. `None`: no list has it.
    pub(super) fn whole(&self) -> Option<Hashed> {
        let hashed = || Some(Hashed::of(self.text)).filter(|text| self.bloom.passes(*text));
        *self.whole.get_or_init(hashed)
    }

    /// Returns what a list of networks is asked for. `None`: the part begins with no address.
    pub(super) fn address(&self) -> Option<&AddressValue<'a>> {
        self.address.get_or_init(|| AddressValue::read(self.text)).as_ref()
    }

    /// Returns what a list of hosts is asked for, in MISP's order, without what no list has.
    pub(super) fn domains(&self) -> &[(&'a str, Hashed)] {
        self.domains.get_or_init(|| {
            let hashed = domains(self.text).into_iter().map(|domain| (domain, Hashed::of(domain)));
            hashed.filter(|(_, domain)| self.bloom.passes(*domain)).collect()
        })
    }
}

/// Returns the host in a value and the domains above it, the topmost first. MISP takes for the host what stands
/// before the first slash, or behind the second slash if there are two in a row. It keeps port, user and case.
fn domains(value: &str) -> Vec<&str> {
    let place = if value.contains("//") { 2 } else { 0 };
    let Some(host) = value.split('/').nth(place) else { return Vec::new() };
    let host = host.trim_end_matches('.');
    let (mut found, mut begin, mut end) = (Vec::new(), host.len(), host.len());
    loop {
        let above = host.get(begin..end).unwrap_or_default();
        let before = if begin == host.len() { begin } else { begin - 1 };
        // For PHP "0" is empty, so MISP begins anew there.
        if above.is_empty() || above == "0" {
            end = before;
        }
        let dot = host.get(..before).and_then(|rest| rest.rfind('.'));
        begin = dot.map_or(0, |dot| dot + 1);
        found.extend(host.get(begin..end));
        if dot.is_none() {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from `Warninglist::__evalHostname`.
    #[test]
    fn a_host_is_asked_for_with_all_domains_above_it() {
        let cases: [(&str, &[&str]); 17] = [
            ("a.b.example", &["example", "b.example", "a.b.example"]),
            ("example", &["example"]),
            ("youtube.com.", &["com", "youtube.com"]),
            ("youtube.com..", &["com", "youtube.com"]),
            ("https://google.com/search?q=a.b", &["com", "google.com"]),
            ("//google.com/", &["com", "google.com"]),
            ("google.com/a.b", &["com", "google.com"]),
            // The third piece, whatever the first two are.
            ("google.com/a//b.example", &[""]),
            ("google.com//b.example", &["example", "b.example"]),
            ("https://google.com:443/", &["com:443", "google.com:443"]),
            ("https://user@google.com/", &["com", "user@google.com"]),
            ("x@mail.google.com", &["com", "google.com", "x@mail.google.com"]),
            ("GOOGLE.COM", &["COM", "GOOGLE.COM"]),
            ("", &[""]),
            ("/path", &[""]),
            (".example", &["example", ".example"]),
            ("a..example", &["example", ".example", "a..example"]),
        ];
        for (value, expected) in cases {
            assert_eq!(domains(value), expected, "{value}");
        }
    }

    #[test]
    fn a_last_label_of_zero_is_forgotten() {
        assert_eq!(domains("evil.0"), ["0", "evil"]);
        assert_eq!(domains("a.evil.0"), ["0", "evil", "a.evil"]);
        assert_eq!(domains("a.0.0"), ["0", "0", "a"]);
        assert_eq!(domains("a..0"), ["0", "", "a"]);
        assert_eq!(domains("10.0.0.10"), ["10", "0.10", "0.0.10", "10.0.0.10"]);
    }

    #[test]
    fn only_composite_types_are_split_and_only_once() {
        let bloom = Bloom::default();
        let texts = |kind, value| -> Vec<&str> {
            parts(kind, value, &bloom).iter().map(|part| part.text).collect()
        };
        assert_eq!(texts("domain|ip", "a.example|192.0.2.1"), ["a.example", "192.0.2.1"]);
        assert_eq!(texts("malware-sample", "a.exe|0123"), ["a.exe", "0123"]);
        assert_eq!(texts("filename|md5", "a|b|c"), ["a", "b|c"]);
        assert_eq!(texts("filename|md5", "alone"), ["alone"]);
        assert_eq!(texts("url", "http://a/|b"), ["http://a/|b"]);
    }
}
