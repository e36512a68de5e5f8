//! What a value, or one half of it, is: how it is checked and spelled.

use super::file::Hash;
use super::skipped::Reason;
use super::{network, rule, url};
use crate::pure::stix::Observable;

/// A kind of observable, with its canonical form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// IPv4, IPv6 or a network of either.
    Ip,
    Domain,
    Onion,
    Url,
    /// A URL, or only its path.
    Uri,
    Email,
    Hash(&'static Hash),
    /// What stands at an object path, in the form that the function gives; `None`: no such value.
    At(&'static str, fn(&str) -> Option<String>),
    /// A rule in a language of its own: the whole pattern.
    Rule(&'static str),
    /// A STIX pattern.
    Pattern,
}

impl Kind {
    /// The observable that `value` spells.
    ///
    /// # Errors
    /// `InvalidValue`; for a STIX pattern also `ComplexPattern`.
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
            Self::Rule(language) => rule::rule(language, value),
            Self::Pattern => return rule::pattern(value),
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
            Self::Pattern => vec!["stix"],
        }
    }
}

/// The value without white space around it, which most have not.
pub(super) fn trimmed(value: &str) -> &str {
    let is_black = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = value.as_bytes();
    if is_black(bytes.first()) && is_black(bytes.last()) { value } else { value.trim() }
}
