//! Damages a correct answer as the network or PHP may do it: bytes that are not UTF-8, a PHP warning, an
//! endless body or a wrong count.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream;
use uuid::Uuid;

/// What is done to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// The `info` of this event begins with a byte that is no UTF-8.
    NotUtf8(Uuid),
    /// PHP prints a warning before the JSON (`debug` is on).
    PhpWarning,
    /// Before its end blanks come drop by drop, one each time, for ever.
    Drips(Duration),
    /// `X-Result-Count` promises so many events, whatever comes.
    Promises(u64),
}

/// As PHP writes it with `html_errors` on.
const WARNING: &[u8] = b"<br />\n<b>Warning</b>:  Undefined array key \"Tag\" in <b>/var/www/MISP/app/Model/Event.php</b> on line <b>42</b><br />\n";

const INFO: &[u8] = br#""info":""#;

impl Spoilt {
    pub(super) async fn spoil(self, response: Response) -> Response {
        let (mut head, body) = response.into_parts();
        if let Self::Promises(count) = self {
            head.headers.insert("x-result-count", HeaderValue::from(count));
            return Response::from_parts(head, body);
        }
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Response::from_parts(head, Body::empty());
        };
        head.headers.remove(header::CONTENT_LENGTH);
        let body = match self {
            Self::NotUtf8(event) => Body::from(not_utf8(&body, event)),
            Self::PhpWarning => Body::from([WARNING, &body].concat()),
            Self::Drips(pause) => drips(&body, pause),
            Self::Promises(_) => Body::from(body),
        };
        Response::from_parts(head, body)
    }
}

fn not_utf8(body: &Bytes, event: Uuid) -> Vec<u8> {
    let named = find(body, event.to_string().as_bytes()).unwrap_or_default();
    let before = body.get(..named).unwrap_or_default();
    let info = memchr::memmem::rfind(before, INFO).map(|at| at + INFO.len());
    let (front, back) = body.split_at(info.unwrap_or_default().min(body.len()));
    match info {
        Some(_) => [front, b"\xe9", back].concat(),
        None => body.to_vec(),
    }
}

fn find(body: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(body, what)
}

fn drips(body: &Bytes, pause: Duration) -> Body {
    let begun = body.slice(..body.len().saturating_sub(2));
    Body::from_stream(stream::unfold(Some(begun), move |begun| async move {
        if let Some(begun) = begun {
            return Some((Ok::<_, io::Error>(begun), None));
        }
        tokio::time::sleep(pause).await;
        Some((Ok(Bytes::from_static(b" ")), None))
    }))
}
