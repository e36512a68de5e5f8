//! Decides who may look: by the name under which a browser reached the relay, and by the token, where one is set.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::config::{Admin, Secret};
use crate::http::fields::bearer;

/// The name of the cookie that a browser gets for the token.
const COOKIE: &str = "relay-session";

/// Who may look.
#[derive(Debug)]
pub(super) struct Visitors {
    /// The names besides `localhost`, in lower case.
    hosts: Vec<String>,
    /// Empty: everybody may look.
    token: Secret,
    /// Makes a cookie of the token. It is another one at each start, so a cookie ends with the relay.
    key: [u8; 32],
}

impl Visitors {
    pub(super) fn new(settings: &Admin) -> Self {
        let hosts = settings
            .hosts
            .iter()
            .map(|host| host.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        Self { hosts, token: settings.token.clone(), key: rand::random() }
    }

    /// Returns whether the request names this relay as a browser would that is meant to see it. A web site that has
    /// its own name point to the relay's address (DNS rebinding) is refused by that name. An address in digits is
    /// nobody's name.
    pub(super) fn is_named(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else {
            return false;
        };
        let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.');
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    /// Returns whether a page of another site has the browser ask, for example for a picture. A link that somebody
    /// follows from there is no such thing. A client that says nothing of it is no browser, or an old one.
    pub(super) fn is_embedded(headers: &HeaderMap) -> bool {
        let says = |name: &str, words: &str| headers.get(name).is_some_and(|said| said == words);
        says("sec-fetch-site", "cross-site") && !says("sec-fetch-dest", "document")
    }

    /// Returns whether a token is asked for.
    pub(super) fn need_token(&self) -> bool {
        self.token.is_given()
    }

    /// Returns whether the request shows the token, or the cookie for it, or need not.
    pub(super) fn may_look(&self, headers: &HeaderMap) -> bool {
        !self.need_token()
            || self.is_token(bearer(headers).as_bytes())
            || self.is_signed_in(headers)
    }

    /// Returns whether this is the token. Both are hashed, so that the time of the comparison tells nothing, not
    /// even the length.
    pub(super) fn is_token(&self, shown: &[u8]) -> bool {
        let token = blake3::hash(self.token.expose().as_bytes());
        token.as_bytes().ct_eq(blake3::hash(shown).as_bytes()).into()
    }

    /// Returns the header that gives a browser the cookie for the token.
    pub(super) fn cookie(&self) -> String {
        format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Max-Age=43200", self.session())
    }

    fn session(&self) -> String {
        blake3::keyed_hash(&self.key, self.token.expose().as_bytes()).to_hex().to_string()
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        let session = self.session();
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = lines.flat_map(|line| line.split(';')).filter_map(|one| one.split_once('='));
        let mut shown = cookies.filter(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value);
        shown.any(|value| session.as_bytes().ct_eq(value.trim().as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::policy::Tlp;

    fn visitors(token: &str) -> Visitors {
        Visitors::new(&Admin {
            listen: "127.0.0.1:0".parse().unwrap(),
            hosts: vec!["Relay.example.org.".to_owned()],
            token: Secret::new(token),
            show_tlp: Tlp::Green,
        })
    }

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_our_names_and_addresses_are_ours() {
        let visitors = visitors("");
        for ours in [
            "localhost",
            "LOCALHOST:9477",
            "127.0.0.1:9477",
            "[::1]:9477",
            "10.1.2.3",
            "relay.example.org",
            "relay.EXAMPLE.org:80",
            "localhost.",
        ] {
            assert!(visitors.is_named(&with(header::HOST, ours)), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9477",
            "relay.example.org.evil.example",
            "notlocalhost",
            "",
            "a b",
            "0x7f000001",
        ] {
            assert!(!visitors.is_named(&with(header::HOST, other)), "{other}");
        }
        assert!(!visitors.is_named(&HeaderMap::new()), "no host at all");
    }

    #[test]
    fn the_token_and_its_cookie_open_and_nothing_else() {
        let visitors = visitors("sixteen letters!");
        assert!(!visitors.may_look(&HeaderMap::new()));
        let bearer = |shown: &str| visitors.may_look(&with(header::AUTHORIZATION, shown));
        assert!(bearer("Bearer sixteen letters!") && bearer("bearer sixteen letters!"));
        assert!(!bearer("Bearer sixteen letters") && !bearer("sixteen letters!") && !bearer("Be"));
        let cookie = visitors.cookie();
        let (session, rest) = cookie.split_once(';').unwrap();
        assert!(rest.contains("HttpOnly") && rest.contains("SameSite=Strict"), "{rest}");
        assert!(!cookie.contains("sixteen"));
        let shown = |cookies: &str| visitors.may_look(&with(header::COOKIE, cookies));
        assert!(shown(session) && shown(&format!("a=b; {session}")));
        assert!(!shown("relay-session=") && !shown(&session.replace('=', "=0")));
        // Another start has another cookie.
        assert!(!self::visitors("sixteen letters!").may_look(&with(header::COOKIE, session)));
    }

    #[test]
    fn without_a_token_everybody_may_look() {
        assert!(visitors("").may_look(&HeaderMap::new()));
    }
}
