//! A list in a report: the number of its entries, and the first ten of them as examples.

use serde::{Deserialize, Serialize};

/// The most examples of a list.
const SHOWN: usize = 10;

/// A count, and the first few of what was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedExamples {
    pub count: u64,
    pub examples: Vec<Example>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    pub id: String,
    /// The pattern or name of the object.
    pub what: String,
    /// The properties that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
}

impl CountedExamples {
    pub fn add(&mut self, example: impl FnOnce() -> Example) {
        self.count += 1;
        if self.examples.len() < SHOWN {
            self.examples.push(example());
        }
    }
}

pub(super) fn list(line: &mut impl FnMut(String), title: &str, listed: &CountedExamples) {
    if listed.count == 0 {
        return;
    }
    line(format!("  {title}"));
    for Example { id, what, properties } in &listed.examples {
        let properties = match properties.as_slice() {
            [] => String::new(),
            names => format!("  ({})", names.join(", ")),
        };
        line(format!("    {id}  {what}{properties}"));
    }
    let more = listed.count.saturating_sub(listed.examples.len() as u64);
    if more > 0 {
        line(format!("    and {more} more"));
    }
}
