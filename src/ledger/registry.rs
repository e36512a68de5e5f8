//! All statements of the program, for the tests that prepare every one of them.

use super::sql::{Connection, Options, Statement};

/// The statements of each file.
static FILES: &[&[&Statement]] = &[
    super::apply::STATEMENTS,
    super::begin::STATEMENTS,
    super::change::STATEMENTS,
    super::check::STATEMENTS,
    super::check::rules::STATEMENTS,
    super::claimed::STATEMENTS,
    super::claims::STATEMENTS,
    super::clock::STATEMENTS,
    super::context::STATEMENTS,
    super::copy::STATEMENTS,
    super::decay::STATEMENTS,
    super::delivered::STATEMENTS,
    super::event_tags::STATEMENTS,
    super::events::STATEMENTS,
    super::explain::STATEMENTS,
    super::export::STATEMENTS,
    super::forget::STATEMENTS,
    super::generations::STATEMENTS,
    super::guard::STATEMENTS,
    super::head::STATEMENTS,
    super::heal::STATEMENTS,
    super::judged::STATEMENTS,
    super::meant::STATEMENTS,
    super::named::STATEMENTS,
    super::narrow::STATEMENTS,
    super::open::STATEMENTS,
    super::prune::STATEMENTS,
    super::queue::STATEMENTS,
    super::read::STATEMENTS,
    super::reads::STATEMENTS,
    super::renew::STATEMENTS,
    super::resync::STATEMENTS,
    super::running::STATEMENTS,
    super::sending::STATEMENTS,
    super::sightings::STATEMENTS,
    super::small::STATEMENTS,
    super::standing::STATEMENTS,
    super::start::STATEMENTS,
    super::status::STATEMENTS,
    super::suppressed::STATEMENTS,
    super::tag_changes::STATEMENTS,
    super::tags::STATEMENTS,
    super::targets::STATEMENTS,
    super::unread::STATEMENTS,
    super::verify::deletion::STATEMENTS,
    super::verify::look::STATEMENTS,
    super::verify::mend::STATEMENTS,
    super::wanted::STATEMENTS,
    super::warninglists::adopt::STATEMENTS,
    super::withdraw::STATEMENTS,
];

pub(super) fn all() -> impl Iterator<Item = &'static Statement> {
    FILES.iter().flat_map(|file| file.iter().copied())
}

#[test]
fn sqlite_prepares_every_statement() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { fsync: false, cache: 1_000 };
    let mut connection = Connection::open(&folder.path().join("ledger.db"), options).unwrap();
    connection.run(include_str!("schema.sql")).unwrap();
    let transaction = connection.snapshot().unwrap();
    for statement in all() {
        transaction.prepare(statement).unwrap_or_else(|error| panic!("{statement:?}: {error}"));
    }
}
