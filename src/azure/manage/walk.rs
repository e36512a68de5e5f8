//! Reads an answer of several pages. Each page has the URL of the next one, which must have the same host and
//! must not have been read before.

use std::collections::HashSet;

use rapidhash::v3::rapidhash_v3;
use reqwest::{Method, Url};

use super::shape::{self, WorkspaceObject};
use super::{ManageClient, ManageError, Message};

/// The pages of a query. What is of another source than the query's is left out.
#[derive(Debug)]
pub struct Walk<'c> {
    client: &'c ManageClient,
    body: Option<String>,
    source: Option<String>,
    /// `None`: the end.
    next: Option<Url>,
    is_first: bool,
    seen: HashSet<u64>,
}

impl<'c> Walk<'c> {
    pub(super) fn new(client: &'c ManageClient, first: Message, source: Option<&str>) -> Self {
        let Message { url, body, .. } = first;
        let (source, next) = (source.map(str::to_owned), Some(url));
        Self { client, body, source, next, is_first: true, seen: HashSet::new() }
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// [`ManageError`]: nobody knows how much is missing.
    pub async fn page(&mut self) -> Result<Option<Vec<WorkspaceObject>>, ManageError> {
        let Some(url) = self.next.take() else { return Ok(None) };
        let reply = self.fetch(url).await?;
        self.is_first = false;
        let (mut found, next) = shape::page(&reply)?;
        found.retain(|one| self.source.as_ref().is_none_or(|source| one.source == *source));
        if let Some(link) = next {
            self.next = Some(self.checked(&link)?);
        }
        Ok(Some(found))
    }

    /// The objects of all pages that are left.
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
        let url = self.client.scope.join(link).map_err(|_| unreadable("a bad nextLink"))?;
        self.client.check_host(&url)?;
        let place = rapidhash_v3(link.as_bytes());
        if !self.seen.insert(place) {
            return Err(unreadable("a nextLink that was followed before"));
        }
        Ok(url)
    }
}
