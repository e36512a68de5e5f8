//! Reads an answer of several pages. Each page has the URL of the next one, which must have the same host and
//! must not have been read before.

use std::collections::HashSet;

use rapidhash::v3::rapidhash_v3;
use reqwest::{Method, Url};

use super::shape::{self, WorkspaceObject};
use super::{ManageClient, ManageError, Message};

/// The pages of a query. Objects of another source system than the query's are left out.
#[derive(Debug)]
pub struct Walk<'c> {
    client: &'c ManageClient,
    body: Option<String>,
    source: Option<String>,
    /// The URL of the next page. `None` after the last page, and after an error.
    next: Option<Url>,
    is_first: bool,
    /// The hashes of the links that were followed, so that a loop of pages ends.
    seen: HashSet<u64>,
}

impl<'c> Walk<'c> {
    pub(super) fn new(client: &'c ManageClient, first: Message, source: Option<&str>) -> Self {
        let Message { url, body, .. } = first;
        let (source, next) = (source.map(str::to_owned), Some(url));
        Self { client, body, source, next, is_first: true, seen: HashSet::new() }
    }

    /// Asks for the next page. `None` after the last one.
    ///
    /// # Errors
    /// [`ManageError`]. Then it is unknown how many objects are missing.
    pub async fn page(&mut self) -> Result<Option<Vec<WorkspaceObject>>, ManageError> {
        // `next` is taken first, so that the walk ends after an error.
        let Some(url) = self.next.take() else { return Ok(None) };
        let reply = self.fetch(url).await?;
        self.is_first = false;
        let (mut found, next) = shape::page(&reply)?;
        // This does not rely on the service's filter: other senders' objects must not be deleted.
        found.retain(|one| self.source.as_ref().is_none_or(|source| one.source == *source));
        if let Some(link) = next {
            self.next = Some(self.checked(&link)?);
        }
        Ok(Some(found))
    }

    /// Asks for all remaining pages, and returns their objects.
    ///
    /// # Errors
    /// As [`Walk::page`].
    pub async fn all(mut self) -> Result<Vec<WorkspaceObject>, ManageError> {
        let mut all = Vec::new();
        while let Some(page) = self.page().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// Asks for a page. Azure Resource Manager defines GET for all pages after the first. If this service
    /// does not support that (404 or 405), the first POST is sent to the page's URL.
    async fn fetch(&self, url: Url) -> Result<Vec<u8>, ManageError> {
        if !self.is_first {
            let message = Message::new(Method::GET, url.clone(), None);
            let reply = self.client.send(&message, &[404, 405]).await?;
            if reply.is_success() {
                return Ok(reply.body);
            }
        }
        let message = Message::new(Method::POST, url, self.body.clone());
        Ok(self.client.send(&message, &[]).await?.body)
    }

    fn checked(&mut self, link: &str) -> Result<Url, ManageError> {
        let unreadable = |why: &str| ManageError::Unreadable(format!("{why}: {link}"));
        let url = self
            .client
            .scope
            .join(link)
            .map_err(|_| unreadable("a nextLink that is no address"))?;
        self.client.check_host(&url)?;
        let place = rapidhash_v3(link.as_bytes());
        if !self.seen.insert(place) {
            return Err(unreadable("a nextLink that was followed before"));
        }
        Ok(url)
    }
}
