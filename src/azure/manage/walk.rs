//! Reads an answer of several pages. Each page has the URL of the next one, which must have the same host and
//! must not have been read before.

use std::collections::HashSet;

use rapidhash::v3::rapidhash_v3;
use reqwest::{Method, Url};

use super::shape::{self, WorkspaceObject};
use super::{ManageClient, ManageError, Message};

/// The pages of a query.
#[derive(Debug)]
pub struct Walk {
    client: ManageClient,
    body: Option<String>,
    /// `None`: the end.
    next: Option<Url>,
    is_first: bool,
    seen: HashSet<u64>,
}

impl Walk {
    pub(super) fn new(client: ManageClient, first: Message) -> Self {
        let Message { url, body, .. } = first;
        Self { client, body, next: Some(url), is_first: true, seen: HashSet::new() }
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// [`ManageError`]: nobody knows how much is missing.
    pub async fn page(&mut self) -> Result<Option<Vec<WorkspaceObject>>, ManageError> {
        let Some(url) = self.next.take() else { return Ok(None) };
        let reply = self.fetch(url).await?;
        self.is_first = false;
        let (found, next) = shape::page(&reply)?;
        if let Some(link) = next {
            self.next = Some(self.checked(&link)?);
        }
        Ok(Some(found))
    }

    /// Next pages are asked for by GET, as Azure Resource Manager has it. Should this one of its
    /// services not know that, by the same POST.
    async fn fetch(&self, url: Url) -> Result<Vec<u8>, ManageError> {
        if !self.is_first {
            let message = Message { method: Method::GET, url: url.clone(), body: None };
            let reply = self.client.exchange(&message).await?;
            match reply.status {
                200..=299 => return Ok(reply.body),
                404 | 405 => {}
                _ => return Err(self.client.refused(&reply).await),
            }
        }
        let message = Message { method: Method::POST, url, body: self.body.clone() };
        Ok(self.client.send(&message).await?.body)
    }

    fn checked(&mut self, link: &str) -> Result<Url, ManageError> {
        let unreadable = |why: &str| ManageError::Unreadable(format!("{why}: {link}"));
        let url = self.client.asked.scope.join(link).map_err(|_| unreadable("a bad nextLink"))?;
        self.client.check_host(&url)?;
        let place = rapidhash_v3(link.as_bytes());
        if !self.seen.insert(place) {
            return Err(unreadable("a nextLink that was followed before"));
        }
        Ok(url)
    }
}
