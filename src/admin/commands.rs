//! The type `Commands`: what the running relay answers with the code of commands, which stands on a floor below.

use axum::Router;

use super::control::Control;
use super::request::{Explain, LongRequest};
use crate::pure::explain::ExplainLine;

/// What the running relay answers with the code of commands.
#[derive(Debug)]
pub struct Commands {
    /// The routes of the control socket.
    pub routes: Router<Control>,
    /// How the page for people finds out what became of something.
    pub explain: LongRequest<Explain, ExplainLine>,
}
