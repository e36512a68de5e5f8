//! Matches values against MISP's warninglists in memory, with exactly the results of MISP. The rules are
//! those of `app/Model/Warninglist.php` and `app/Lib/Tools/CidrTool.php` of MISP 2.5.1. They are kept even
//! where they look like a mistake, since the verdicts must be MISP's own.

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
pub use list::List;
pub use lists::{Hit, Lists};
pub use store::NotOurs;
pub use texts::{Texts, TooManyTexts};
pub use view::{NotAList, read_view};

#[cfg(test)]
mod tests;
