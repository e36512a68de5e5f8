//! Reads the columns of a row.

use rusqlite::types::{Type, ValueRef};
use uuid::Uuid;

use super::error::SqlError;
use super::value::Value;

/// The columns of a row, taken from the first to the last.
#[derive(Debug)]
pub(in crate::ledger) struct Columns<'r> {
    row: &'r rusqlite::Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r rusqlite::Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    /// How many there are.
    pub(in crate::ledger) fn len(&self) -> usize {
        self.row.as_ref().column_count()
    }

    /// The name of a column.
    pub(in crate::ledger) fn name(&self, column: usize) -> Result<&'r str, SqlError> {
        Ok(self.row.as_ref().column_name(column)?)
    }

    /// A column as it is stored, whatever its type. SQLite keeps booleans as integers, and ids are bytes.
    pub(in crate::ledger) fn stored(&self, column: usize) -> Result<Value<'r>, SqlError> {
        let stored = self.row.get_ref(column)?;
        let value = match stored {
            ValueRef::Null => Some(Value::Null),
            ValueRef::Integer(number) => Some(Value::Integer(number)),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Value::Text),
            ValueRef::Blob(bytes) => Some(Value::Bytes(bytes)),
            ValueRef::Real(_) => None,
        };
        value.ok_or_else(|| SqlError::Column { column, found: stored.data_type().to_string() })
    }

    /// The next column.
    ///
    /// # Errors
    /// It is of another type, or there is none.
    pub(in crate::ledger) fn take<T: FromColumn>(&mut self) -> Result<T, SqlError> {
        let column = self.next;
        self.next += 1;
        let value = self.row.get_ref(column)?;
        T::from_column(value)
            .ok_or_else(|| SqlError::Column { column, found: value.data_type().to_string() })
    }
}

/// What a column holds.
pub(in crate::ledger) trait FromColumn: Sized {
    /// `None`: it is something else.
    fn from_column(value: ValueRef<'_>) -> Option<Self>;
}

impl FromColumn for i64 {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_i64().ok()
    }
}

macro_rules! smaller_integers {
    ($($integer:ty),*) => {$(
        impl FromColumn for $integer {
            fn from_column(value: ValueRef<'_>) -> Option<Self> {
                Self::try_from(value.as_i64().ok()?).ok()
            }
        }
    )*};
}
smaller_integers!(i16, u8, u32, u64);

impl FromColumn for bool {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_i64().ok().map(|number| number != 0)
    }
}

impl FromColumn for String {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_str().ok().map(str::to_owned)
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_blob().ok().map(<[u8]>::to_vec)
    }
}

impl FromColumn for Uuid {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        Self::from_slice(value.as_blob().ok()?).ok()
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        if value.data_type() == Type::Null {
            return Some(None);
        }
        T::from_column(value).map(Some)
    }
}

/// What a row holds.
pub(in crate::ledger) trait FromRow: Sized {
    /// # Errors
    /// A column is of another type, or lacks.
    fn from_row(columns: &mut Columns<'_>) -> Result<Self, SqlError>;
}

macro_rules! tuples {
    ($($($column:ident)+;)*) => {$(
        impl<$($column: FromColumn),+> FromRow for ($($column,)+) {
            fn from_row(columns: &mut Columns<'_>) -> Result<Self, SqlError> {
                Ok(($(columns.take::<$column>()?,)+))
            }
        }
    )*};
}
macro_rules! single_columns {
    ($($column:ty),*) => {$(
        impl FromRow for $column {
            fn from_row(columns: &mut Columns<'_>) -> Result<Self, SqlError> {
                columns.take()
            }
        }
    )*};
}
single_columns!(i64, bool, Uuid, String);

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

/// Declares a struct whose fields are the columns of a row, in their order. `field: Type as Column`: the column
/// is read as `Column` and turned into `Type`.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visible:vis $field:ident: $type:ty $(as $column:ty)?,)+
        }
    ) => {
        $(#[$meta])*
        $visible struct $name {
            $($(#[$field_meta])* $field_visible $field: $type,)+
        }

        impl $crate::ledger::sql::FromRow for $name {
            fn from_row(
                columns: &mut $crate::ledger::sql::Columns<'_>,
            ) -> Result<Self, $crate::ledger::sql::SqlError> {
                Ok(Self { $($field: row!(@ columns $(, $column)?),)+ })
            }
        }
    };
    (@ $columns:ident) => { $columns.take()? };
    (@ $columns:ident, $column:ty) => { $columns.take::<$column>()?.into() };
}
pub(in crate::ledger) use row;
