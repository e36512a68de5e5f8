//! Parses MISP's index of warninglists (`GET /warninglists/index`), which holds everything about a list
//! except its entries.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a list's entries match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ListKind {
    /// An entry is the whole value.
    String,
    /// An entry stands anywhere in the value.
    Substring,
    /// An entry is the value's host or a domain above it.
    Hostname,
    /// An entry is a Perl-compatible regular expression with delimiters.
    Regex,
    /// An entry is a network around the value, or its address.
    Cidr,
}

/// A list without its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHead {
    /// MISP's number of the list.
    pub id: u64,
    pub name: String,
    pub kind: ListKind,
    /// `false_positive` or `known`: MISP enforces both.
    pub category: String,
    pub version: String,
    /// The number of entries, if MISP tells it.
    pub entries: Option<u64>,
    /// The attribute types to which it applies. `ALL` stands for every type.
    pub types: Vec<String>,
}

/// The answer is no index of warninglists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no index of warninglists: {0}")]
pub struct NotAnIndex(pub String);

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "Warninglists")]
    lists: Vec<HeadAround>,
}

#[derive(Deserialize)]
struct HeadAround {
    #[serde(rename = "Warninglist")]
    list: HeadFields,
}

#[derive(Deserialize)]
struct HeadFields {
    id: Value,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    category: Value,
    #[serde(default)]
    version: Value,
    enabled: Value,
    #[serde(default)]
    warninglist_entry_count: Value,
    valid_attributes: String,
}

/// Reads the enabled lists of an index, in the order of their ids, in which MISP asks them. A list of a kind
/// that MISP 2.5.1 does not know is left out, since it never matches there.
///
/// # Errors
/// [`NotAnIndex`]: the answer is another document, or a list lacks what is needed to match it.
pub fn read_index(answer: &[u8]) -> Result<Vec<ListHead>, NotAnIndex> {
    let index: Index =
        serde_json::from_slice(answer).map_err(|error| NotAnIndex(error.to_string()))?;
    let enabled = index.lists.into_iter().filter(|around| is_on(&around.list.enabled));
    let heads = enabled.filter_map(|around| around.list.head().transpose());
    let mut heads = heads.collect::<Result<Vec<_>, _>>()?;
    heads.sort_by_key(|head| head.id);
    Ok(heads)
}

impl HeadFields {
    fn head(self) -> Result<Option<ListHead>, NotAnIndex> {
        let id = number(&self.id).ok_or_else(|| NotAnIndex("a list has no id".to_owned()))?;
        let Ok(kind) = self.kind.parse() else { return Ok(None) };
        let types = self.valid_attributes.split(", ").filter(|name| !name.is_empty());
        Ok(Some(ListHead {
            id,
            kind,
            category: text(&self.category),
            version: text(&self.version),
            entries: number(&self.warninglist_entry_count),
            types: types.map(str::to_owned).collect(),
            name: self.name,
        }))
    }
}

/// Whether a switch is on: `true`, `1` or `"1"`.
fn is_on(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| number(value).is_some_and(|number| number != 0))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(
        || if value.is_null() { String::new() } else { value.to_string() },
        str::to_owned,
    )
}
