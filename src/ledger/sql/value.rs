//! Holds the value of a parameter.

use std::borrow::Cow;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use uuid::Uuid;

use super::types::ParameterType;

/// The value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Value<'v> {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(&'v str),
    Bytes(&'v [u8]),
    /// Sixteen bytes.
    Id(Uuid),
}

impl Value<'_> {
    /// `None`: NULL is of every type.
    pub(super) fn kind(&self) -> Option<ParameterType> {
        match self {
            Self::Null => None,
            Self::Integer(_) => Some(ParameterType::Integer),
            Self::Boolean(_) => Some(ParameterType::Boolean),
            Self::Text(_) => Some(ParameterType::Text),
            Self::Bytes(_) | Self::Id(_) => Some(ParameterType::Bytes),
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Integer(number) => ToSqlOutput::from(*number),
            Self::Boolean(boolean) => ToSqlOutput::from(*boolean),
            Self::Text(text) => match without_nul(text) {
                Cow::Borrowed(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
                Cow::Owned(text) => ToSqlOutput::from(text),
            },
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Id(id) => ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes())),
        })
    }
}

/// PostgreSQL's texts hold no U+0000, and SQLite's functions end a text there.
fn without_nul(text: &str) -> Cow<'_, str> {
    if memchr::memchr(0, text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\0', "\u{fffd}"))
}

macro_rules! from {
    ($($given:ty => $value:ident => $made:expr;)*) => {$(
        impl<'v> From<$given> for Value<'v> {
            fn from($value: $given) -> Self {
                $made
            }
        }
    )*};
}

from! {
    i64 => number => Self::Integer(number);
    i32 => number => Self::Integer(i64::from(number));
    i16 => number => Self::Integer(i64::from(number));
    u8 => number => Self::Integer(i64::from(number));
    u32 => number => Self::Integer(i64::from(number));
    bool => boolean => Self::Boolean(boolean);
    &'v str => text => Self::Text(text);
    &'v String => text => Self::Text(text);
    &'v [u8] => bytes => Self::Bytes(bytes);
    Uuid => id => Self::Id(id);
    &'v Uuid => id => Self::Id(*id);
    &'v i64 => number => Self::Integer(*number);
}

impl<'v, T: Into<Self>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values of a statement's parameters, in their order.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::ledger::sql::Value::from($value)),*]
    };
}
pub(in crate::ledger) use values;
