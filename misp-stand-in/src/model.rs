//! The types of what MISP stores: events, objects, attributes, tags and organisations, with MISP's field
//! names. Times are Unix seconds of the stand-in's own clock.

use uuid::Uuid;

/// An event with all that belongs to it, deleted attributes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub uuid: Uuid,
    pub info: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Creator and owner alike.
    pub organisation: Organisation,
    /// 0 organisation, 1 community, 2 connected communities, 3 all, 4 sharing group.
    pub distribution: u8,
    /// The number of its sharing group where `distribution` is 4, else 0.
    pub sharing_group: u64,
    pub threat_level: u8,
    pub analysis: u8,
    pub timestamp: i64,
    pub published: bool,
    /// 0: never published.
    pub publish_timestamp: i64,
    /// It was pulled from another MISP. Only such an event is changed by a later pull.
    pub locked: bool,
    pub tags: Vec<Tag>,
    /// Those outside of objects.
    pub attributes: Vec<Attribute>,
    pub objects: Vec<Object>,
}

/// An attribute, deleted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub id: u64,
    pub uuid: Uuid,
    /// MISP's `type`.
    pub kind: String,
    pub category: String,
    pub value: String,
    pub comment: String,
    pub to_ids: bool,
    /// Soft-deleted: kept, shown only to those who ask for it.
    pub deleted: bool,
    /// As the event's; 5 is inherited.
    pub distribution: u8,
    pub sharing_group: u64,
    /// As MISP writes it, e.g. `2026-10-01T10:34:56.123456+00:00`.
    pub first_seen: Option<String>,
    pub timestamp: i64,
    /// What the one decaying model says: score and whether it is decayed.
    pub decay: Option<(u8, bool)>,
    /// `object_relation`.
    pub relation: Option<String>,
    pub tags: Vec<Tag>,
}

/// An object with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub id: u64,
    pub uuid: Uuid,
    pub name: String,
    pub deleted: bool,
    pub distribution: u8,
    pub sharing_group: u64,
    pub timestamp: i64,
    pub attributes: Vec<Attribute>,
}

/// A tag on an event or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub id: u64,
    pub name: String,
    pub local: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    pub id: u64,
    pub name: String,
    pub uuid: Uuid,
}

/// An event to be added: as little as `NewEvent { uuid, attributes, ..NewEvent::default() }`.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub uuid: Uuid,
    pub info: String,
    pub organisation: Organisation,
    pub distribution: u8,
    pub sharing_group: u64,
    /// Names, with whether they are local.
    pub tags: Vec<(String, bool)>,
    pub attributes: Vec<NewAttribute>,
    pub objects: Vec<NewObject>,
}

/// An attribute to be added.
#[derive(Debug, Clone)]
pub struct NewAttribute {
    pub uuid: Uuid,
    pub kind: String,
    pub category: String,
    pub value: String,
    pub comment: String,
    pub to_ids: bool,
    pub distribution: u8,
    pub sharing_group: u64,
    pub first_seen: Option<String>,
    /// Names, with whether they are local.
    pub tags: Vec<(String, bool)>,
}

/// An object to be added.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub uuid: Uuid,
    pub name: String,
    pub distribution: u8,
    pub sharing_group: u64,
    pub attributes: Vec<NewAttribute>,
}

/// Who may see something: MISP's `distribution`, and the sharing group's number where it is 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    pub distribution: u8,
    pub group: u64,
}

impl Organisation {
    /// The one of the recordings, which site administrators belong to.
    #[must_use]
    pub fn own() -> Self {
        Self {
            id: 1,
            name: "TESTORG".to_owned(),
            uuid: Uuid::from_u128(0x4028_eff6_8b64_45f8_ac36_ff18_b327_dc76),
        }
    }

    /// Another one.
    #[must_use]
    pub fn other() -> Self {
        Self {
            id: 2,
            name: "RELAY & Söhne \"Org\"".to_owned(),
            uuid: Uuid::from_u128(0xf188_eb93_968b_4111_8fb2_22f7_c662_bcd5),
        }
    }
}

impl Default for NewEvent {
    /// An empty one for all communities, with a new uuid.
    fn default() -> Self {
        Self {
            uuid: Uuid::new_v4(),
            info: "An event".to_owned(),
            organisation: Organisation::own(),
            distribution: 3,
            sharing_group: 0,
            tags: Vec::new(),
            attributes: Vec::new(),
            objects: Vec::new(),
        }
    }
}

impl NewAttribute {
    /// An indicator with a new uuid that inherits the event's distribution.
    #[must_use]
    pub fn new(kind: &str, value: &str) -> Self {
        Self {
            uuid: Uuid::new_v4(),
            kind: kind.to_owned(),
            category: "Network activity".to_owned(),
            value: value.to_owned(),
            comment: String::new(),
            to_ids: true,
            distribution: 5,
            sharing_group: 0,
            first_seen: None,
            tags: Vec::new(),
        }
    }
}

impl Default for NewObject {
    /// An empty `domain-ip` with a new uuid.
    fn default() -> Self {
        Self {
            uuid: Uuid::new_v4(),
            name: "domain-ip".to_owned(),
            distribution: 5,
            sharing_group: 0,
            attributes: Vec::new(),
        }
    }
}

impl Event {
    /// All attributes with the object that they are part of.
    pub fn all(&self) -> impl Iterator<Item = (Option<&Object>, &Attribute)> {
        let bare = self.attributes.iter().map(|attribute| (None, attribute));
        bare.chain(self.objects.iter().flat_map(|object| {
            object.attributes.iter().map(move |attribute| (Some(object), attribute))
        }))
    }

    /// The attribute with this uuid, with its object.
    #[must_use]
    pub fn attribute(&self, uuid: Uuid) -> Option<(Option<&Object>, &Attribute)> {
        self.all().find(|(_, attribute)| attribute.uuid == uuid)
    }

    pub(super) fn attribute_mut(&mut self, uuid: Uuid) -> Option<&mut Attribute> {
        let inside = self.objects.iter_mut().flat_map(|object| object.attributes.iter_mut());
        self.attributes.iter_mut().chain(inside).find(|attribute| attribute.uuid == uuid)
    }

    /// MISP's `attribute_count`: those not deleted.
    #[must_use]
    pub fn attribute_count(&self) -> usize {
        self.all().filter(|(_, attribute)| !attribute.deleted).count()
    }
}
