//! MISP's REST API, as a judge that is asked: it knows HTTP and MISP's answers, no ledger and no
//! STIX.

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
mod transport;
mod warninglists;

pub use answer::Answer;
pub use client::Client;
pub use elements::{Element, Elements, NotAnAnswer};
pub use heads::{Head, Heads, HeadsPage};
pub use key::{Key, KeysView};
pub use page::Page;
pub use refusal::RestError;
