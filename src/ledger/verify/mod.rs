//! What `verify` reads of the ledger and writes into it: how objects stand at a target, and which of
//! them are to be sent again.

pub(super) mod deletion;
pub(super) mod look;
pub(super) mod mend;

pub use deletion::{Deletable, Deletion};
pub use look::{Accepted, Delivered};
pub use mend::{Mending, Stray};

pub(super) use deletion::ON_ITS_WAY;
pub(super) use mend::FOREIGN;
