//! Lists events page by page. A listing holds only the heads of the events, without their attributes.

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::key::{flag, number};
use super::listing::{RankedListing, Window};
use super::refusal::RestError;
use super::reply::Arrived;
use super::search;
use super::transport::{Ask, MispClient, SEARCH};
use crate::caught::caught_now;

/// The head of an event, as a listing holds it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    pub uuid: Uuid,
    /// The number of the event in MISP.
    pub id: i64,
    pub timestamp: i64,
    /// The time of the last publication. 0: it was never published.
    pub publish_timestamp: i64,
    pub published: bool,
    /// The number of live attributes, as MISP counts them.
    pub attributes: usize,
}

/// A page of a listing, without the heads that an earlier page held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadsPage {
    pub heads: Vec<EventHead>,
    /// The time of MISP's clock at this page, in Unix seconds. `None`: MISP did not send it.
    pub date: Option<i64>,
}

/// A listing that is read page by page.
#[derive(Debug)]
pub struct Heads {
    client: MispClient,
    query: Map<String, Value>,
    listing: RankedListing,
    date: Option<i64>,
}

impl Heads {
    pub(super) fn new(client: MispClient, query: Map<String, Value>) -> Self {
        Self { client, query, listing: RankedListing::default(), date: None }
    }

    /// Asks for the next page, in the order of MISP's ids. `None` after the last page.
    ///
    /// # Errors
    /// [`RestError`]. It is [`RestError::Unstable`] if events come and go faster than they are listed, and
    /// [`RestError::Uncounted`] in place of the end if MISP sends no count.
    /// The next call tries the same page again.
    pub async fn next(&mut self) -> Result<Option<HeadsPage>, RestError> {
        while !self.listing.has_ended() {
            let (window, mut page, total) = self.fetch().await?;
            self.date = page.date.or(self.date);
            let ids: Vec<i64> = page.heads.iter().map(|head| head.id).collect();
            let known = self.listing.take(&window, &ids, total)?;
            // Pages overlap, and the heads of the overlap were returned before.
            page.heads.drain(..known.min(ids.len()));
            if !page.heads.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// Returns the time of MISP's clock at the last page, also if that held no new heads. In Unix seconds.
    pub fn date(&self) -> Option<i64> {
        self.date
    }

    /// Asks for a page, with retries. After an answer that was too much for MISP the next attempt is smaller.
    async fn fetch(&self) -> Result<(Window, HeadsPage, Option<usize>), RestError> {
        let mut failures = 0;
        loop {
            // It is computed in each attempt, because a failure may have made the page smaller.
            let window = self.listing.window(self.client.page().events);
            match self.page(&window).await {
                Ok((page, total)) => return Ok((window, page, total)),
                Err(error) => failures = self.client.again(failures, error).await?,
            }
        }
    }

    async fn page(&self, window: &Window) -> Result<(HeadsPage, Option<usize>), RestError> {
        let query = search::heads(&self.query, window.page, window.limit);
        let reply = self.client.once(&Ask::search(query, true)).await?;
        let (date, total) = (reply.date(), reply.total());
        let mut stream = reply.elements();
        let mut heads = Vec::with_capacity(window.limit);
        while let Some(element) = stream.next().await? {
            heads.push(self.head(element)?);
        }
        Ok((HeadsPage { heads, date }, total))
    }

    fn head(&self, element: Arrived) -> Result<EventHead, RestError> {
        let head = match element {
            Arrived::Whole(event) => event.into_bytes().map_err(|error| error.to_string()).and_then(|event| {
                caught_now(|| read(&event).or_else(|_| read(&mended(&event)))).unwrap_or_else(|| Err("the relay failed at reading a head: this is a fault of the relay, please report it".to_owned()))
            }),
            Arrived::TooLarge(_) => {
                Err("a head that is larger than misp.rest.max_event".to_owned())
            }
        };
        head.map_err(|why| self.client.faults(SEARCH).malformed(&why, &[]))
    }
}

pub(super) fn uuid(element: &Arrived) -> Option<Uuid> {
    match element {
        Arrived::Whole(event) => event.event(),
        Arrived::TooLarge(event) => *event,
    }
}

/// Replaces control characters, which JSON does not allow. They stand in texts that a head does not need. One
/// such event must not make the whole listing fail.
fn mended(event: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(event);
    text.replace(|character: char| character.is_control(), " ").into_bytes()
}

fn read(event: &[u8]) -> Result<EventHead, String> {
    #[derive(Deserialize)]
    struct WrappedHead {
        #[serde(rename = "Event")]
        event: Fields,
    }
    #[derive(Deserialize)]
    struct Fields {
        uuid: Uuid,
        id: Value,
        timestamp: Value,
        #[serde(default)]
        publish_timestamp: Value,
        #[serde(default)]
        published: Value,
        #[serde(default)]
        attribute_count: Value,
    }
    let WrappedHead { event } = serde_json::from_slice(event).map_err(|error| error.to_string())?;
    let attributes = number(&event.attribute_count).and_then(|count| usize::try_from(count).ok());
    Ok(EventHead {
        uuid: event.uuid,
        id: number(&event.id).ok_or("an event without id")?,
        timestamp: number(&event.timestamp).ok_or("an event without timestamp")?,
        publish_timestamp: number(&event.publish_timestamp).unwrap_or(0),
        published: flag(&event.published),
        attributes: attributes.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whatever_bytes_its_texts_hold() {
        for text in [&b"caf\xe9"[..], b"a\x02b", b"\\ud83d", b"two\nlines"] {
            let before =
                br#"{"Event":{"id":"7","uuid":"62724408-1cb5-4198-8ceb-3e542ad28bcd","info":""#;
            let event = [&before[..], text, br#"","timestamp":"9"}}"#].concat();
            let head = read(&event).or_else(|_| read(&mended(&event)));
            assert_eq!(head.map(|head| (head.id, head.timestamp)), Ok((7, 9)), "{text:?}");
        }
        assert!(read(&mended(br#"{"Event":{"id":"7"}}"#)).is_err());
    }
}
