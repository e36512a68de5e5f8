//! An observable: a STIX object path and a value, which Sentinel compares with logs. It gives the pattern and
//! the id of its indicator.

use std::borrow::Cow;

use memchr::memchr2;
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// Languages of rules that are patterns by themselves.
const LANGUAGES: [&str; 4] = ["sigma", "snort", "suricata", "yara"];

/// Paths of whole numbers: a string there would compare with nothing (STIX 2.1, 9.2 "Constants").
const NUMBERS: [&str; 3] = ["autonomous-system:number", "file:size", "network-traffic:dst_port"];

/// One equality comparison of a STIX object path with a value, which an indicator matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Observable {
    /// e.g. `ipv4-addr:value`, `file:hashes.'SHA-256'`; the language of a rule, e.g. `yara`.
    pub path: Cow<'static, str>,
    /// The value in the canonical form of its path, or the whole text of a rule.
    pub value: String,
}

impl Observable {
    pub fn new(path: &'static str, value: impl Into<String>) -> Self {
        Self { path: Cow::Borrowed(path), value: value.into() }
    }

    /// The STIX 2.1 pattern, e.g. `[ipv4-addr:value = '198.51.100.7']`; a rule in another language
    /// is its own pattern. In a string literal a backslash and a quote are escaped by a backslash,
    /// and nothing else is (STIX 2.1, 9.2 "Constants").
    pub fn pattern(&self) -> String {
        if self.language().is_some() {
            return self.value.clone();
        }
        let quote = if NUMBERS.contains(&self.path.as_ref()) { "" } else { "'" };
        let mut pattern = String::with_capacity(self.path.len() + self.value.len() + 8);
        pattern.push('[');
        pattern.push_str(&self.path);
        pattern.push_str(" = ");
        pattern.push_str(quote);
        let mut rest = self.value.as_str();
        while let Some((plain, escaped)) =
            memchr2(b'\'', b'\\', rest.as_bytes()).and_then(|place| rest.split_at_checked(place))
        {
            pattern.push_str(plain);
            pattern.push('\\');
            let (special, behind) = escaped.split_at_checked(1).unwrap_or((escaped, ""));
            pattern.push_str(special);
            rest = behind;
        }
        pattern.push_str(rest);
        pattern.push_str(quote);
        pattern.push(']');
        pattern
    }

    /// The host of a URL, without user, port and brackets. `None`: it is no URL.
    pub fn url_host(&self) -> Option<&str> {
        if self.path != "url:value" {
            return None;
        }
        let (_, rest) = self.value.split_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.split(']').next()?,
            None => host.split(':').next()?,
        };
        Some(host).filter(|host| !host.is_empty())
    }

    /// What the pattern is written in (STIX 2.1, 10.13 "Pattern Type Vocabulary").
    pub fn pattern_type(&self) -> &'static str {
        self.language().unwrap_or("stix")
    }

    /// The language of a rule, which stands in place of the path.
    fn language(&self) -> Option<&'static str> {
        LANGUAGES.into_iter().find(|language| *language == self.path)
    }

    /// The uuid of the indicator: UUIDv5 of `path = value` in the namespace. Hashed piece by piece,
    /// by the processor's own instructions where it has them: it is done for every claim.
    pub fn id(&self, namespace: &Uuid) -> Uuid {
        let name = [self.path.as_bytes(), b" = ", self.value.as_bytes()];
        let mut hasher = Sha1::new_with_prefix(namespace);
        name.iter().for_each(|piece| hasher.update(piece));
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
        uuid::Builder::from_sha1_bytes(bytes).into_uuid()
    }

    /// The uuid of the `generation`th successor of a revoked indicator, 1 the first: UUIDv5 of
    /// `generation N of path = value` in the namespace. No observable's own name begins so.
    pub fn successor(&self, namespace: &Uuid, generation: i16) -> Uuid {
        let name = format!("generation {generation} of {} = {}", self.path, self.value);
        Uuid::new_v5(namespace, name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected by `uuid.uuid5` of Python.
    #[test]
    fn an_id_is_a_function_of_namespace_and_observable() {
        let namespace = Uuid::from_u128(7);
        let address = Observable::new("ipv4-addr:value", "198.51.100.7");
        assert_eq!(address.id(&namespace).to_string(), "739bd13c-3678-5d80-90db-eda67c00831f");
        assert_eq!(
            address.successor(&namespace, 2).to_string(),
            "12740eda-1379-57ad-b1bb-27d10eb5e7e0"
        );
        let others = [
            address.id(&Uuid::nil()),
            Observable::new("ipv4-addr:value", "198.51.100.8").id(&namespace),
            Observable::new("domain-name:value", "198.51.100.7").id(&namespace),
            address.successor(&namespace, 1),
        ];
        assert!(!others.contains(&address.id(&namespace)));
    }

    /// STIX 2.1, 9.2 "Constants".
    #[test]
    fn quotes_and_backslashes_are_escaped_and_numbers_stand_alone() {
        for (path, value, pattern) in [
            ("file:name", "a.exe", "[file:name = 'a.exe']"),
            ("file:name", r"C:\it's", r"[file:name = 'C:\\it\'s']"),
            ("file:size", "4096", "[file:size = 4096]"),
            ("sigma", "title: 'x'", "title: 'x'"),
        ] {
            assert_eq!(Observable::new(path, value).pattern(), pattern);
        }
        assert_eq!(Observable::new("sigma", "x").pattern_type(), "sigma");
        assert_eq!(Observable::new("file:name", "x").pattern_type(), "stix");
    }

    #[test]
    fn a_url_has_a_host_without_user_port_and_brackets() {
        for (url, host) in [
            ("https://evil.example/a@b", Some("evil.example")),
            ("https://evil.example?a@b", Some("evil.example")),
            ("https://evil.example#a@b", Some("evil.example")),
            (r"https://evil.example\a@b", Some("evil.example")),
            ("ftp://user:pass@evil.example:8080/", Some("evil.example")),
            ("http://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://", None),
            ("evil.example", None),
        ] {
            assert_eq!(Observable::new("url:value", url).url_host(), host, "{url}");
        }
        assert_eq!(Observable::new("file:name", "http://evil.example/").url_host(), None);
    }
}
