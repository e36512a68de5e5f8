//! Reads web addresses from the configuration: URLs of services, of Azure and of proxies.

use reqwest::Url;

use super::mistake::Problem;
use super::reader::Reader;

pub(super) const WEB_ADDRESS: &str = "an http or https URL without user or password";
const HTTPS: &str = "an https URL without user or password";

/// Parses an http or https URL. A user or password in it is refused, because it would end up in logs.
pub(super) fn web_address(text: &str) -> Result<Url, Problem> {
    let url = Url::parse(text).map_err(|error| Problem::new(format!("no URL: {error}")))?;
    match (url.scheme(), url.username(), url.password()) {
        ("http" | "https", "", None) => Ok(url),
        ("http" | "https", ..) => Err("holds a user or password".into()),
        _ => Err("neither http nor https".into()),
    }
}

/// Returns the URL without a slash at its end.
pub(super) fn trimmed(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Reads an https URL, without a slash at its end. Returns `otherwise` if none is set.
pub(super) fn https(reader: &mut Reader, key: &str, otherwise: &str) -> String {
    let given = reader.optional(key, HTTPS, |text| {
        let url = web_address(text)?;
        if url.scheme() == "https" {
            return Ok(trimmed(&url));
        }
        Err(Problem::new("not https").hint("tokens and indicators do not travel in the clear"))
    });
    given.unwrap_or_else(|| otherwise.to_owned())
}

/// The value of a proxy setting that forbids any proxy.
const NO_PROXY: &str = "none";

/// Reads a proxy's URL, or `none`, which forbids any proxy. `None`: the key is empty.
pub(super) fn proxy(reader: &mut Reader, key: &str) -> Option<String> {
    let allowed = "an http or https URL without user or password, or \"none\"";
    let hint = "a proxy with user and password goes into HTTPS_PROXY of the environment";
    reader.optional(key, allowed, |text| match text {
        NO_PROXY => Ok(text.to_owned()),
        _ => web_address(text).map(String::from).map_err(|problem| problem.hint(hint)),
    })
}
