//! The kinds of values that attributes hold, such as an address, a URL or a hash. A kind checks a value (or
//! one half of a composite value) and makes the observable of it.

use super::file::Hash;
use super::skipped::Reason;
use super::{network, url};
use crate::pure::stix::Observable;

/// A kind of observable, with its canonical form.
#[derive(Debug, Clone, Copy)]
pub(super) enum ValueKind {
    /// IPv4, IPv6 or a network of either.
    Ip,
    Domain,
    Onion,
    Url,
    /// A URL, or only its path.
    Uri,
    Email,
    Hash(Hash),
    /// What stands at an object path, in the form that the function gives; `None`: no such value.
    At(&'static str, fn(&str) -> Option<String>),
    /// A rule in a language of its own: the whole pattern.
    Rule(&'static str),
}

impl ValueKind {
    /// The observable that `value` spells.
    ///
    /// # Errors
    /// `InvalidValue`
    pub(super) fn observable(self, value: &str) -> Result<Observable, Reason> {
        let value = trimmed(value);
        let observable = match self {
            Self::Ip => network::ip(value),
            Self::Domain => network::domain(value),
            Self::Onion => network::onion(value),
            Self::Url => url::url(value),
            Self::Uri => url::uri(value),
            Self::Email => network::email(value),
            Self::Hash(hash) => hash.observable(value),
            Self::At(path, canonical) => {
                canonical(value).map(|canonical| Observable::new(path, canonical))
            }
            Self::Rule(language) => rule(language, value),
        };
        observable.ok_or(Reason::InvalidValue)
    }

    /// The object paths it may give.
    pub(super) fn paths(self) -> Vec<&'static str> {
        match self {
            Self::Ip => vec![network::IPV4, network::IPV6],
            Self::Domain => vec![network::DOMAIN, network::IPV4, network::IPV6],
            Self::Onion => vec![network::DOMAIN],
            Self::Url => vec![url::URL],
            Self::Uri => vec![url::URL, url::REQUEST],
            Self::Email => vec![network::EMAIL],
            Self::Hash(hash) => vec![hash.path],
            Self::At(path, _) => vec![path],
            Self::Rule(language) => vec![language],
        }
    }
}

/// A rule as it is: its language checks it. Line ends and tabs belong to it.
fn rule(language: &'static str, value: &str) -> Option<Observable> {
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!value.is_empty() && !value.contains(forbidden)).then(|| Observable::new(language, value))
}

/// The value without white space around it. Most values have none.
pub(super) fn trimmed(value: &str) -> &str {
    let is_visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = value.as_bytes();
    if is_visible(bytes.first()) && is_visible(bytes.last()) { value } else { value.trim() }
}
