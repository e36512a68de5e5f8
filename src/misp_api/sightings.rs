//! Adds sightings to attributes, and lists those that an attribute has. MISP's refusals have status 200: what it took it
//! answers with the key `Sighting` (recorded of a MISP 2.5.1).

use serde_json::{Value, json};
use uuid::Uuid;

use super::key::number;
use super::refusal::{self, RestError};
use super::transport::{Ask, MispClient};

/// The longest list of the sightings of an attribute, in bytes: a hundred thousand.
const LONGEST_LIST: usize = 32 << 20;

/// MISP's type of a plain sighting.
const PLAIN: i64 = 0;

/// A plain sighting of an attribute.
#[derive(Debug, Clone, Copy)]
pub struct NewSighting<'a> {
    pub attribute: Uuid,
    /// What it names as its source.
    pub said_by: &'a str,
    /// Unix seconds.
    pub seen_at: i64,
}

/// MISP's answer to a sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SightingAnswer {
    /// It is there, under this uuid.
    Taken(Uuid),
    /// It is not, for a reason in MISP's words: no such attribute, for example.
    Refused(String),
}

/// A plain sighting that an attribute has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSighting {
    pub uuid: Uuid,
    /// MISP's number of the organisation.
    pub organisation: i64,
    pub said_by: String,
    /// Unix seconds.
    pub seen_at: i64,
}

impl MispClient {
    /// Adds a sighting. MISP makes another one of each request, whatever it has, so this sends it once.
    ///
    /// # Errors
    /// [`RestError`]. Only after a refusal it is sure that MISP does not have the sighting.
    pub async fn add_sighting(&self, new: NewSighting<'_>) -> Result<SightingAnswer, RestError> {
        let NewSighting { attribute, said_by, seen_at } = new;
        let path = format!("/sightings/add/{attribute}");
        let body = json!({"source": said_by, "type": "0", "timestamp": seen_at});
        let answer = self.once(&Ask::post(path.as_str(), &body)).await?.json().await?;
        if let Some(sighting) = answer.get("Sighting") {
            let uuid = text(sighting, "uuid").and_then(|uuid| uuid.parse().ok());
            let taken = uuid.map(SightingAnswer::Taken);
            return taken
                .ok_or_else(|| self.faults(&path).malformed("a sighting without uuid", &[]));
        }
        // So MISP words a refusal. Other JSON may be of a proxy, and then the sighting is in doubt.
        let is_refusal = answer.as_object().is_some_and(|all| all.len() == 1);
        let is_refusal = is_refusal && answer.get("message").is_some();
        let words = refusal::words(answer.to_string().as_bytes()).filter(|_| is_refusal);
        let refused = words.map(SightingAnswer::Refused);
        refused.ok_or_else(|| self.faults(&path).malformed("neither a sighting nor words", &[]))
    }

    /// Asks whether the key may add sightings, by one of an attribute that there is not.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Refused`] if the role does not allow it, or the key is read-only.
    pub async fn may_add_sightings(&self) -> Result<(), RestError> {
        let attribute = Uuid::new_v4();
        let new = NewSighting { attribute, said_by: "misp-sentinel-relay check", seen_at: 0 };
        self.add_sighting(new).await.map(drop)
    }

    /// Lists the plain sightings of an attribute, which MISP wants by its number.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn sightings_of(&self, attribute_id: i64) -> Result<Vec<ListedSighting>, RestError> {
        let path = format!("/sightings/listSightings/{attribute_id}/attribute");
        let reply = self.ask(&Ask::post(path.as_str(), &json!({}))).await?;
        let rows: Vec<Value> = reply
            .read_as(LONGEST_LIST, |body| {
                serde_json::from_slice(body).map_err(|error| format!("no list: {error}"))
            })
            .await?;
        Ok(rows.iter().filter_map(|row| listed(row.get("Sighting")?)).collect())
    }
}

/// `None`: it is no plain sighting.
fn listed(sighting: &Value) -> Option<ListedSighting> {
    let number_of = |key| number(sighting.get(key)?);
    if number_of("type")? != PLAIN {
        return None;
    }
    Some(ListedSighting {
        uuid: text(sighting, "uuid")?.parse().ok()?,
        organisation: number_of("org_id")?,
        said_by: text(sighting, "source")?.to_owned(),
        seen_at: number_of("date_sighting")?,
    })
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}
