//! What is to be said of a document besides what is left out of it: in words, on standard error.

use crate::config::PLACEHOLDER_URL;
use crate::pure::misp::Event;

/// Of an event that nothing comes of, since it has nothing.
pub(super) fn of_event(event: &Event<'_>) -> Option<String> {
    let is_empty = event.attributes().next().is_none();
    is_empty.then(|| format!("event {} of the document has no attributes", event.uuid))
}

/// Of links that lead nowhere.
pub(super) fn of_links() -> String {
    format!(
        "neither misp.public_url nor misp.url is set: links to MISP begin with the placeholder {PLACEHOLDER_URL}"
    )
}
