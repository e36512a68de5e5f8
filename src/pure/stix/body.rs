//! Writes the JSON of an indicator (STIX 2.1, 4.7 Indicator) with its members in a fixed order, so that the
//! same content gives the same bytes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;
use uuid::Uuid;

use super::Observable;

/// The members of a body that do not come from observable, comment, object and times. Each piece is JSON with a comma
/// before it.
#[derive(Debug)]
pub(super) struct Parts {
    creator: String,
    about: String,
    types: String,
    phases: String,
}

#[derive(Serialize)]
pub(super) struct Creator {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by_ref: Option<String>,
    /// In the order in which they are sent.
    pub labels: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct About<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub object_marking_refs: Vec<&'static str>,
    pub name: &'a str,
}

#[derive(Serialize)]
pub(super) struct Types {
    pub indicator_types: BTreeSet<String>,
}

#[derive(Serialize)]
pub(super) struct Phases {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kill_chain_phases: Vec<KillChainPhase>,
}

#[derive(Serialize)]
pub(super) struct ExternalReference {
    pub source_name: &'static str,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub external_id: Uuid,
}

#[derive(Serialize)]
pub(super) struct KillChainPhase {
    pub kill_chain_name: String,
    pub phase_name: String,
}

impl Parts {
    pub(super) fn new(
        creator: &Creator,
        about: &About<'_>,
        types: &Types,
        phases: &Phases,
    ) -> Option<Self> {
        Some(Self {
            creator: members(creator)?,
            about: members(about)?,
            types: members(types)?,
            phases: members(phases)?,
        })
    }
}

/// The members of an object without its braces, with a comma before them; nothing of an empty one.
/// Strings and numbers only: serialising cannot fail.
fn members(object: &impl Serialize) -> Option<String> {
    let mut json = serde_json::to_string(object).ok()?;
    json.pop();
    if json.len() == 1 {
        return Some(String::new());
    }
    json.replace_range(..1, ",");
    Some(json)
}

/// What is written of one indicator.
pub(super) struct IndicatorBody<'a> {
    pub id: Uuid,
    pub parts: &'a Parts,
    pub confidence: u8,
    pub description: Cow<'a, str>,
    pub observable: &'a Observable,
    /// As STIX writes it.
    pub valid_from: &'a str,
}

impl IndicatorBody<'_> {
    pub(super) fn json(&self) -> Option<String> {
        let Parts { creator, about, types, phases } = self.parts;
        let texts = self.description.len() + self.observable.value.len();
        let fixed = creator.len() + about.len() + types.len() + phases.len() + 320;
        let mut json = String::with_capacity(fixed + texts + texts / 8);
        json.push_str(r#"{"type":"indicator","spec_version":"2.1","id":"indicator--"#);
        json.push_str(self.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        json.push('"');
        json.push_str(creator);
        write!(json, r#","confidence":{}"#, self.confidence).ok()?;
        json.push_str(about);
        json.push_str(r#","description":"#);
        push_text(&mut json, &self.description)?;
        json.push_str(types);
        json.push_str(r#","pattern":"#);
        push_text(&mut json, &self.observable.pattern())?;
        json.push_str(r#","pattern_type":""#);
        json.push_str(self.observable.pattern_type());
        json.push('"');
        if self.observable.pattern_type() == "stix" {
            json.push_str(r#","pattern_version":"2.1""#);
        }
        json.push_str(phases);
        json.push_str(r#","valid_from":""#);
        json.push_str(self.valid_from);
        json.push_str(r#""}"#);
        Some(json)
    }
}

/// Appends a JSON string. Most hold nothing to escape (RFC 8259, 7), which is seen at a glance.
fn push_text(json: &mut String, text: &str) -> Option<()> {
    let escapes = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | escapes(byte)) {
        json.push_str(&serde_json::to_string(text).ok()?);
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8259, 7: quotes, backslashes and control characters are escaped, all else may stand.
    #[test]
    fn a_text_is_written_as_json_has_it() {
        for (text, json) in [
            ("plain é 漢", r#""plain é 漢""#),
            ("\"", r#""\"""#),
            ("a\"b\"", r#""a\"b\"""#),
            ("\\", r#""\\""#),
            ("\u{1f}", r#""\u001f""#),
            ("\n", r#""\n""#),
        ] {
            let mut written = String::new();
            push_text(&mut written, text).unwrap();
            assert_eq!(written, json);
        }
    }
}
