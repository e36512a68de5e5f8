//! The pure core: the same input always gives the same output. Nothing here does I/O, reads a clock or logs;
//! the test `pure_rooms_touch_nothing_outside` checks every file of this folder.

pub mod age;
pub mod alert;
pub mod backoff;
pub mod convert;
pub mod count;
pub mod explain;
pub mod misp;
pub mod outage;
pub mod pacer;
pub mod policy;
pub mod safe;
pub mod stix;
pub mod title;
pub mod verify;
pub mod warninglist;
