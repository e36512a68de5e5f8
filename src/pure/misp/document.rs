//! Parses the documents that hold events: publications, webhook bodies, Kafka messages and answers of MISP's
//! REST API. A publication that lists neither attributes nor objects is refused, since as an empty event it
//! would withdraw everything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::Utf8Error;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::event::{Event, EventFields, Org};
use super::lenient::{Maybe, Text, TolerantList};
use super::tag::{self, Tags};

/// Why a document gives no event.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    #[error("not UTF-8: {0}")]
    NotUtf8(#[from] Utf8Error),
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON of another shape; says which.
    #[error("JSON, but no MISP event: {0}")]
    Other(String),
}

impl From<serde_json::Error> for NotAnEvent {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::Other(error.to_string()) } else { Self::NotJson(error) }
    }
}

/// The top of a document. Kafka puts the event's lists beside `Event`; all others put them into it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Top<'a> {
    #[serde(borrow, rename = "Event")]
    event: Maybe<EventFields<'a>>,
    #[serde(borrow, rename = "Attribute")]
    attributes: Option<&'a RawValue>,
    #[serde(borrow, rename = "Object")]
    objects: Option<&'a RawValue>,
    #[serde(borrow, rename = "EventTag")]
    event_tags: Option<&'a RawValue>,
    #[serde(borrow, rename = "Orgc")]
    creator: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Text<'a>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    /// Of an event without `Event` around it.
    #[serde(borrow)]
    uuid: Option<&'a RawValue>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

/// Whether an event must list its attributes or objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedLists {
    Required,
    /// As in restSearch answers with `metadata`.
    Optional,
}

impl<'a> Event<'a> {
    /// Reads a document that holds one whole event: a `misp_json` publication, a webhook's body, a
    /// Kafka `misp_event_publish` message, or an answer of `/events/view`.
    ///
    /// # Errors
    /// [`NotAnEvent`] says what was found instead. An event that lists neither attributes nor
    /// objects is none, nor is a Kafka message whose `action` is another than `publish`: read as an
    /// empty publication it would withdraw everything.
    pub fn parse(document: &'a [u8]) -> Result<Self, NotAnEvent> {
        let text = std::str::from_utf8(document)?;
        event(top(text)?, text, ExpectedLists::Required)
    }
}

/// The events of a document, read when asked for. A broken one does not end the walk.
pub type Events<'a> = Box<dyn Iterator<Item = Result<Event<'a>, NotAnEvent>> + 'a>;

/// Walks the events of a document of any shape: a single event, also without `Event` around it as PyMISP writes it, or
/// an answer of `/events`, `/attributes` or `/objects/restSearch`. In an answer of the last two, each attribute or
/// object becomes an event that holds only it. The fields of this event that the answer lacks are empty or 0.
///
/// # Errors
/// [`NotAnEvent`] if the document is none of these.
pub fn events(document: &[u8]) -> Result<Events<'_>, NotAnEvent> {
    let text = std::str::from_utf8(document)?;
    if let Some(tops) = whole_events(text) {
        let read = |top| event(top, "", ExpectedLists::Optional);
        return Ok(Box::new(tops.into_iter().map(read)));
    }
    if text.trim_ascii_start().starts_with('[') {
        let TolerantList(answers) = serde_json::from_str(text)?;
        return Ok(Box::new(answers.into_iter().map(answer)));
    }
    let top = top(text)?;
    match top.response {
        Some(response) => answers(response),
        None => {
            let event =
                bare(&top, text).unwrap_or_else(|| event(top, text, ExpectedLists::Optional))?;
            Ok(Box::new(std::iter::once(Ok(event))))
        }
    }
}

/// The events of `[{"Event":…},…]`, also behind `response`, read in one pass. `None`: the document is of
/// another shape, or one of its events is broken, so that each must be read on its own.
fn whole_events(text: &str) -> Option<Vec<Top<'_>>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        response: Vec<Top<'a>>,
    }
    let text = text.trim_ascii_start();
    let tops: Vec<Top<'_>> = if text.starts_with('[') {
        serde_json::from_str(text).ok()?
    } else {
        let inside = text.strip_prefix('{')?.trim_ascii_start();
        inside.strip_prefix("\"response\"")?;
        serde_json::from_str::<Answer<'_>>(text).ok()?.response
    };
    tops.iter().all(|top| top.event.0.is_some()).then_some(tops)
}

fn top(text: &str) -> Result<Top<'_>, NotAnEvent> {
    let found = match text.trim_ascii_start().bytes().next() {
        None => "nothing",
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(_) => return Ok(serde_json::from_str(text)?),
    };
    Err(NotAnEvent::Other(format!("found {found}")))
}

/// `{"Attribute": […]}`, `[{"Event": …}, …]` or `[{"Object": …}, …]`
fn answers(response: &RawValue) -> Result<Events<'_>, NotAnEvent> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Attributes<'a> {
        #[serde(borrow, rename = "Attribute")]
        attributes: Option<TolerantList<&'a RawValue>>,
    }
    if response.get().starts_with('{') {
        let Attributes { attributes } = serde_json::from_str(response.get())?;
        if let Some(TolerantList(attributes)) = attributes {
            return Ok(Box::new(attributes.into_iter().map(around_attribute)));
        }
    }
    let TolerantList(answers) = serde_json::from_str(response.get())?;
    Ok(Box::new(answers.into_iter().map(answer)))
}

/// An event without `Event` around it: it has a uuid, an info, and lists what it holds.
fn bare<'a>(top: &Top<'a>, text: &'a str) -> Option<Result<Event<'a>, NotAnEvent>> {
    let lists = top.attributes.is_some() || top.objects.is_some();
    if top.event.0.is_some() || !lists || top.uuid.is_none() || top.info.is_none() {
        return None;
    }
    let body = serde_json::from_str(text).map_err(NotAnEvent::from);
    Some(body.and_then(|body| with_uuid(Event::from_body(body))))
}

fn with_uuid(event: Event<'_>) -> Result<Event<'_>, NotAnEvent> {
    if event.uuid.is_nil() {
        return Err(NotAnEvent::Other("the event has no uuid".to_owned()));
    }
    Ok(event)
}

fn answer(raw: &RawValue) -> Result<Event<'_>, NotAnEvent> {
    let top = top(raw.get())?;
    if let Some(event) = bare(&top, raw.get()) {
        return event;
    }
    match (&top.event, top.objects) {
        (Maybe(None), Some(object)) => around_object(object),
        _ => event(top, raw.get(), ExpectedLists::Optional),
    }
}

fn event<'a>(top: Top<'a>, text: &str, lists: ExpectedLists) -> Result<Event<'a>, NotAnEvent> {
    if !matches!(top.action.0.as_ref(), "" | "publish") {
        let what = format!("it tells of the action `{}`, which is no publication", top.action.0);
        return Err(NotAnEvent::Other(what));
    }
    let Some(mut body) = top.event.0 else {
        return Err(NotAnEvent::Other(format!("no `Event` in it; found {}", keys(text))));
    };
    if let Some(beside) = top.attributes {
        body.attributes = Some(serde_json::from_str(beside.get())?);
    }
    if let Some(beside) = top.objects {
        body.objects = Some(serde_json::from_str(beside.get())?);
    }
    if let (Maybe(None), Some(beside)) = (&body.creator, top.creator) {
        body.creator = serde_json::from_str::<Maybe<Org<'a>>>(beside.get())?;
    }
    if lists == ExpectedLists::Required && body.attributes.is_none() && body.objects.is_none() {
        let what = "the event lists neither `Attribute` nor `Object`";
        return Err(NotAnEvent::Other(what.to_owned()));
    }
    let mut event = with_uuid(Event::from_body(body))?;
    if let Some(beside) = top.event_tags {
        tag::collect(serde_json::from_str::<Tags<'a>>(beside.get())?, &mut event.tags);
    }
    Ok(event)
}

/// The members around an attribute or object in an answer: a small event, and the object of an attribute.
#[derive(Default, Deserialize)]
#[serde(default)]
struct EventBeside<'a> {
    #[serde(borrow, rename = "Event")]
    event: Maybe<EventFields<'a>>,
    #[serde(borrow, rename = "Object")]
    object: Option<&'a RawValue>,
}

/// `/attributes/restSearch`: each attribute carries a small event, and its object's distribution.
fn around_attribute(raw: &RawValue) -> Result<Event<'_>, NotAnEvent> {
    let EventBeside { event, object } = if raw.get().starts_with('{') {
        serde_json::from_str(raw.get())?
    } else {
        EventBeside::default()
    };
    let mut event = Event::from_body(event.0.unwrap_or_default());
    match object {
        Some(object) => event.hold_attribute(object, raw),
        None => event.attributes = vec![raw],
    }
    Ok(event)
}

/// `/objects/restSearch`: each object carries a small event, without its uuid.
fn around_object(raw: &RawValue) -> Result<Event<'_>, NotAnEvent> {
    let EventBeside { event, .. } = serde_json::from_str(raw.get())?;
    let mut event = Event::from_body(event.0.unwrap_or_default());
    event.hold(vec![raw]);
    Ok(event)
}

/// The keys of a JSON object, as words for an error.
fn keys(text: &str) -> String {
    let keys: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_str(text).unwrap_or_default();
    if keys.is_empty() {
        return "no keys".to_owned();
    }
    let keys: Vec<_> = keys.into_keys().take(8).map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
