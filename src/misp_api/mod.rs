//! The client for MISP's REST API. It knows HTTP and MISP's answers, but neither the ledger nor STIX.

mod answer;
mod client;
mod elements;
mod faults;
mod heads;
mod key;
mod limit;
mod listing;
mod pace;
mod page;
mod refusal;
mod reply;
mod search;
mod sightings;
mod spooling;
mod transport;
mod warninglists;

pub use answer::EventsAnswer;
pub use elements::{Element, Elements, NotAnAnswer};
pub use heads::{EventHead, Heads, HeadsPage};
pub use key::{Key, KeysView};
pub use page::EventPage;
pub use refusal::RestError;
pub use sightings::{ListedSighting, NewSighting, SightingAnswer};
pub use transport::MispClient;
