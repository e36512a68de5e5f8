//! Declares the statements of a table's file.

use std::sync::OnceLock;

use super::types::ParameterType;
use super::value::Value;

/// A statement, written for PostgreSQL: parameters are `$1`, `$2`, in any order and as often as needed.
#[derive(Debug)]
pub(in crate::ledger) struct Statement {
    sql: &'static str,
    parameters: &'static [ParameterType],
    /// For SQLite, see [`numbered`].
    sqlite: OnceLock<String>,
}

impl Statement {
    pub(in crate::ledger) const fn new(
        sql: &'static str,
        parameters: &'static [ParameterType],
    ) -> Self {
        Self { sql, parameters, sqlite: OnceLock::new() }
    }

    pub(super) fn sqlite(&self) -> &str {
        self.sqlite.get_or_init(|| numbered(self.sql))
    }

    #[cfg(test)]
    pub(in crate::ledger) fn sql(&self) -> &'static str {
        self.sql
    }

    #[cfg(test)]
    pub(in crate::ledger) fn parameters(&self) -> &'static [ParameterType] {
        self.parameters
    }

    /// Whether these values are of the types that the statement declares. SQLite would take any.
    pub(super) fn check(&self, values: &[Value<'_>]) {
        let fits =
            |(value, kind): (&Value<'_>, &ParameterType)| value.kind().is_none_or(|of| of == *kind);
        let are_right =
            values.len() == self.parameters.len() && values.iter().zip(self.parameters).all(fits);
        debug_assert!(are_right, "{values:?} are not the parameters of {}", self.sql);
    }
}

/// To SQLite `$2` is a name, numbered by its first appearance; `?2` is the second parameter.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Declares statements, and the list of all of them.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident($($type:ident),*) = $sql:expr;)+) => {
        $(
            $(#[$meta])*
            static $name: $crate::ledger::sql::Statement = $crate::ledger::sql::Statement::new(
                $sql,
                &[$($crate::ledger::sql::ParameterType::$type),*],
            );
        )+

        /// All statements of this file.
        #[cfg(test)]
        pub(in crate::ledger) static STATEMENTS: &[&$crate::ledger::sql::Statement] = &[$(&$name),+];
    };
}
pub(in crate::ledger) use statements;
