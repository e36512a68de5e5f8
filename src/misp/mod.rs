//! What MISP writes, in all its spellings.

pub mod notification;
