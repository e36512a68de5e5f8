//! The pure core: the same input gives the same output. Nothing here does I/O, asks a clock or logs; a
//! test holds every file of this folder to that.

pub mod backoff;
pub mod convert;
pub mod count;
pub mod explain;
pub mod misp;
pub mod policy;
pub mod safe;
pub mod stix;
pub mod verify;
pub mod warninglist;
