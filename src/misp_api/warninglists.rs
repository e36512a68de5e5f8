//! Asks MISP for its warninglists: for the index of the enabled ones, and for each list with its entries. A
//! read-only key may read both.

use super::refusal::RestError;
use super::transport::{Ask, MispClient};
use crate::pure::warninglist::{List, ListHead, read_index, read_view};

/// The longest index, in bytes. The index of a thousand lists takes about half a megabyte.
const LONGEST_INDEX: usize = 16 << 20;

impl MispClient {
    /// Asks for the index of the enabled warninglists, without their entries.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn warninglists(&self) -> Result<Vec<ListHead>, RestError> {
        let reply = self.ask(&Ask::get("/warninglists/index/enabled:1.json")).await?;
        reply.read_as(LONGEST_INDEX, |body| read_index(body).map_err(|no| no.to_string())).await
    }

    /// Asks for a whole list that the index named. Its answer may have at most `most` bytes.
    ///
    /// # Errors
    /// [`RestError`], also if the list no longer matches the index.
    pub async fn warninglist(&self, head: ListHead, most: usize) -> Result<List, RestError> {
        let reply = self.ask(&Ask::get(format!("/warninglists/view/{}.json", head.id))).await?;
        let read = |pieces| read_view(head, pieces).map_err(|no| no.to_string());
        reply.read_along(most, read).await
    }
}
