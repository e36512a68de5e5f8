//! A stand-in for MISP 2.5. It keeps events with MISP's semantics, returns the ZeroMQ frames that MISP would
//! send, and serves MISP's REST API with faults on order.

mod answer;
mod body;
mod change;
// The sandbox cuts connections in the same way: one file for both, and no crate for a hundred lines.
#[path = "../../src/sandbox/connection.rs"]
mod connection;
mod fault;
mod frame;
mod key;
mod model;
mod pull;
mod render;
mod search;
mod server;
mod settings;
mod sightings;
mod spoilt;
mod store;
mod tagging;
mod warninglists;
mod wire;

pub use change::Edit;
pub use fault::{Chance, RestFault};
pub use frame::Frame;
pub use key::Key;
pub use model::{
    Attribute, Audience, Event, NewAttribute, NewEvent, NewObject, Object, Organisation, Tag,
};
pub use render::sharing_group_uuid;
pub use server::{AskedFor, MispServer, MispSettings};
pub use sightings::Sighting;
pub use spoilt::Spoilt;
pub use store::Misp;
pub use warninglists::Warninglist;
