//! MISP's warninglists, matched in memory exactly as MISP matches them.
//!
//! The source of every rule here is `app/Model/Warninglist.php` and `app/Lib/Tools/CidrTool.php` of
//! MISP 2.5.1: also where it looks like a mistake, since the verdicts have to be MISP's own.

mod bloom;
mod cidr;
mod head;
mod list;
mod lists;
mod pattern;
mod store;
mod texts;
mod value;
mod view;

pub use head::{ListHead, ListKind, NotAnIndex, read_index};
pub use list::{Builder, List};
pub use lists::{Hit, Lists};
pub use store::NotOurs;
pub use view::{NotAList, read_view};

#[cfg(test)]
mod tests;
