//! Builds the bodies of restSearch requests. Pure. A body must never be empty, since MISP then returns
//! everything. MISP ignores parameters that it does not know, so a misspelt parameter has no effect.

use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Builds a request for whole events. MISP leaves out deleted attributes unless `deleted` asks for them. But
/// with `deleted` it leaves out events that hold no attribute at all (`Event::filterEventIds` joins the
/// attributes). A second request without `deleted` finds those.
pub(super) fn events(uuids: &[Uuid], deleted: Deleted, decay: bool) -> Map<String, Value> {
    let mut query = of_uuids(uuids);
    query.extend([
        ("published".to_owned(), json!([0, 1])),
        // MISP hides local tags from a sync user unless asked, and a local tag may forbid sending.
        ("excludeLocalTags".to_owned(), json!(0)),
        ("noEventReports".to_owned(), json!(1)),
        ("noShadowAttributes".to_owned(), json!(1)),
    ]);
    if decay {
        query.insert("includeDecayScore".to_owned(), json!(1));
    }
    if deleted == Deleted::Shown {
        query.insert("deleted".to_owned(), json!([0, 1]));
    }
    query
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    Shown,
    Left,
}

/// Builds a request for the heads of those events that the operator's search selects.
pub(super) fn selected(search: &Map<String, Value>, uuids: &[Uuid]) -> Map<String, Value> {
    let mut query = search.clone();
    query.extend(of_uuids(uuids));
    query.extend(metadata());
    query
}

/// Builds a request for a page of a listing of heads.
pub(super) fn heads(query: &Map<String, Value>, page: usize, limit: usize) -> Map<String, Value> {
    let mut query = query.clone();
    // As in `events`, `deleted` would hide the events without attributes. Heads hold no attributes anyway.
    query.remove("deleted");
    query.extend(metadata());
    query.extend(paged(page, limit));
    query
}

/// Returns the filter by uuids. MISP looks for them among events and among attributes.
fn of_uuids(uuids: &[Uuid]) -> Map<String, Value> {
    let mut query = paged(1, uuids.len());
    query.insert("uuid".to_owned(), json!(uuids));
    query
}

fn metadata() -> Map<String, Value> {
    let pairs =
        [("metadata", json!(1)), ("excludeGalaxy", json!(1)), ("sgReferenceOnly", json!(1))];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn paged(page: usize, limit: usize) -> Map<String, Value> {
    let pairs = [
        ("returnFormat", json!("json")),
        ("order", json!("Event.id asc")),
        ("page", json!(page)),
        ("limit", json!(limit.max(1))),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuids() -> [Uuid; 2] {
        [Uuid::from_u128(1), Uuid::from_u128(2)]
    }

    fn object(query: &Value) -> Map<String, Value> {
        query.as_object().unwrap().clone()
    }

    /// The parameters of MISP's restSearch.
    #[test]
    fn events_are_asked_for_whole_and_published_or_not() {
        let query = json!({
            "returnFormat": "json", "order": "Event.id asc", "page": 1, "limit": 2,
            "uuid": uuids(), "published": [0, 1], "excludeLocalTags": 0, "noEventReports": 1,
            "noShadowAttributes": 1,
        });
        assert_eq!(events(&uuids(), Deleted::Left, false), object(&query));
        let mut shown = object(&query);
        shown.insert("deleted".to_owned(), json!([0, 1]));
        assert_eq!(events(&uuids(), Deleted::Shown, false), shown);
        shown.insert("includeDecayScore".to_owned(), json!(1));
        assert_eq!(events(&uuids(), Deleted::Shown, true), shown);
    }

    #[test]
    fn a_search_is_kept_and_asks_for_heads_alone() {
        let search = object(&json!({"tags": ["!internal"], "deleted": [0, 1]}));
        let heads_of = json!({
            "tags": ["!internal"], "metadata": 1, "excludeGalaxy": 1, "sgReferenceOnly": 1,
            "returnFormat": "json", "order": "Event.id asc", "page": 3, "limit": 50,
        });
        assert_eq!(heads(&search, 3, 50), object(&heads_of));
        let mut selecting = object(&heads_of);
        selecting.extend(object(&json!({
            "uuid": uuids(), "deleted": [0, 1], "page": 1, "limit": 2,
        })));
        assert_eq!(selected(&search, &uuids()), selecting);
    }

    /// MISP would take a limit of 0 for no limit.
    #[test]
    fn a_page_is_never_without_a_limit() {
        assert_eq!(heads(&Map::new(), 1, 0)["limit"], 1);
    }
}
