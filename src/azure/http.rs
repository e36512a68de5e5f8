//! Makes the HTTP client for all requests to Azure, sign-ins and uploads alike. So certificate authorities,
//! proxy and time-outs are the same everywhere, and TLS is always verified.

use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url};

use super::reply::Reply;
use crate::config::Azure;
pub use crate::http::HttpError;
use crate::http::{ClientOptions, Trust, certificate_error, chain};

/// Makes the client for Azure.
///
/// # Errors
/// [`HttpError`], each with its remedy.
pub fn client(azure: &Azure) -> Result<reqwest::Client, HttpError> {
    way(azure).client()
}

/// Returns how Azure is reached: authorities, proxy and connect time-out.
pub fn way(azure: &Azure) -> ClientOptions<'_> {
    ClientOptions {
        section: "azure",
        https_only: true,
        trust: Trust::Authorities,
        ca_file: azure.ca_file.as_deref(),
        proxy: azure.proxy.as_deref(),
        connect_timeout: azure.connect_timeout,
    }
}

/// Makes the client for the machine's own metadata service. It never uses a proxy, and uses no TLS if the
/// URL begins with `http://`.
///
/// # Errors
/// [`HttpError`]
pub(super) fn metadata_client(azure: &Azure) -> Result<reqwest::Client, HttpError> {
    ClientOptions { https_only: false, proxy: Some("none"), ..way(azure) }.client()
}

/// Sends a request, and reads its answer as [`read`] does.
///
/// # Errors
/// No answer came, or it broke off.
pub async fn exchange(request: RequestBuilder, most: usize) -> reqwest::Result<Reply> {
    read(request.send().await?, most).await
}

/// Reads an answer, and at most `most` bytes of its body.
///
/// # Errors
/// The answer broke off.
pub async fn read(mut response: Response, most: usize) -> reqwest::Result<Reply> {
    let header = |name: HeaderName| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let mut reply = Reply {
        status: response.status().as_u16(),
        retry_after: header(RETRY_AFTER),
        date: header(DATE),
        error_code: header(HeaderName::from_static("x-ms-error-code")),
        content_type: header(CONTENT_TYPE),
        ..Reply::default()
    };
    while let Some(chunk) = response.chunk().await? {
        // This cannot underflow: the body never gets longer than `most`.
        let room = most - reply.body.len();
        reply.body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            reply.is_cut = true;
            break;
        }
    }
    Ok(reply)
}

/// Tells that no whole answer came: who was asked, where and by which way, and what went wrong.
pub fn silence(who: &str, url: &Url, proxy: Option<&str>, why: &reqwest::Error) -> String {
    let what = if why.is_connect() { "cannot be reached" } else { "gives no whole answer" };
    let place = url.origin().ascii_serialization();
    let way = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    format!("{who} {what} at {place}{way}: {}", explain(why))
}

/// Returns a transport error in one line, with the remedy if the certificate is the cause.
fn explain(error: &reqwest::Error) -> String {
    let text = chain(error);
    if certificate_error(error).is_some() {
        return format!(
            "{text}; the other side's certificate is not trusted here: if a proxy or a private \
             cloud signs with its own authority, set azure.ca_file (or SSL_CERT_FILE) to it"
        );
    }
    text
}
