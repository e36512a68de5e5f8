//! Stores warninglists and serves `/warninglists/index` and `/warninglists/view`, as MISP 2.5 does.

use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::body;
use super::fault::RestFault;
use super::frame::Frame;
use super::store::Misp;

/// A warninglist with its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warninglist {
    pub id: u64,
    pub name: String,
    /// `string`, `substring`, `hostname`, `regex` or `cidr`.
    pub kind: String,
    pub version: u64,
    pub enabled: bool,
    /// The attribute types that it applies to.
    pub types: Vec<String>,
    pub entries: Vec<String>,
}

impl Warninglist {
    /// An enabled one.
    #[must_use]
    pub fn new(id: u64, kind: &str, types: &[&str], entries: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            id,
            name: format!("List {id}"),
            kind: kind.to_owned(),
            version: 1,
            enabled: true,
            types: owned(types),
            entries: owned(entries),
        }
    }

    fn head(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "name": self.name,
            "type": self.kind,
            "description": "A list of the stand-in",
            "version": self.version.to_string(),
            "enabled": self.enabled,
            "default": false,
            "category": "false_positive",
        })
    }

    fn in_index(&self) -> Value {
        let mut list = self.head();
        if let Value::Object(fields) = &mut list {
            let entries = self.entries.len().to_string();
            fields.insert("warninglist_entry_count".to_owned(), Value::from(entries));
            fields.insert("valid_attributes".to_owned(), Value::from(self.types.join(", ")));
        }
        json!({"Warninglist": list})
    }

    fn whole(&self) -> Value {
        let id = self.id.to_string();
        let entry = |(number, value): (usize, &String)| {
            let number = number.to_string();
            json!({"id": number, "value": value, "warninglist_id": id, "comment": null})
        };
        let kind = |(number, kind): (usize, &String)| json!({"id": number.to_string(), "type": kind, "warninglist_id": id});
        let entries: Vec<Value> = self.entries.iter().enumerate().map(entry).collect();
        let types: Vec<Value> = self.types.iter().enumerate().map(kind).collect();
        let mut list = self.head();
        if let Value::Object(fields) = &mut list {
            fields.insert("WarninglistEntry".to_owned(), Value::from(entries));
            fields.insert("WarninglistType".to_owned(), Value::from(types));
        }
        json!({"Warninglist": list})
    }
}

impl Misp {
    /// Adds a list, or puts it in the place of the one with its number. As MISP does when a list is
    /// edited or switched, it is told of, without its entries.
    pub fn set_warninglist(&self, list: Warninglist) -> Vec<Frame> {
        self.with(|store| {
            let head = list.head();
            let before = store.warninglists.insert(list.id, list);
            let action = if before.is_some() { "edit" } else { "add" };
            vec![Frame::warninglist(&head, action)]
        })
    }

    /// Removes a list, of which MISP says nothing.
    pub fn remove_warninglist(&self, id: u64) {
        self.with(|store| store.warninglists.remove(&id));
    }
}

/// `/warninglists/index` with its filter in the path, and `/warninglists/view/N`.
pub(super) fn answer(misp: &Misp, path: &str, fault: &RestFault) -> Response {
    let path_alone = path.trim_end_matches(".json");
    if let Some(filter) = path_alone.strip_prefix("/warninglists/index") {
        let only_enabled = filter == "/enabled:1";
        let lists: Vec<Value> = misp.with(|store| {
            let shown = store.warninglists.values().rev();
            let shown = shown.filter(|list| list.enabled || !only_enabled);
            shown.map(Warninglist::in_index).collect()
        });
        let lists = if *fault == RestFault::Empty { Vec::new() } else { lists };
        return document(&json!({"Warninglists": lists}), fault);
    }
    let id = path_alone.strip_prefix("/warninglists/view/").and_then(|id| id.parse().ok());
    let list = misp.with(|store| Some(store.warninglists.get(&id?)?.whole()));
    match list {
        Some(list) => document(&list, fault),
        None => answer::error(404, "Warninglist not found.", path),
    }
}

fn document(json: &Value, fault: &RestFault) -> Response {
    let bytes = serde_json::to_vec_pretty(json).unwrap_or_default();
    answer::document(200, body::of_bytes(bytes, fault))
}
