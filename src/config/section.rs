//! Defines the structs for sections of the configuration. The fields have the names of the keys.

use super::reader::Reader;

impl Reader {
    /// Calls `read` with the key. So the macro need not name the types of a closure's parameters.
    pub(super) fn at<T>(&mut self, key: &str, read: impl FnOnce(&mut Self, &str) -> T) -> T {
        read(self, key)
    }
}

/// Defines a struct and its `read`. Each field has its type and the function that reads it. The key has the
/// name of the field, or the one after `at`.
macro_rules! section {
    (@key $section:literal $field:ident) => { concat!($section, ".", stringify!($field)) };
    (@key $section:literal $field:ident $key:literal) => { $key };
    (
        $(#[$about:meta])*
        pub struct $name:ident at $section:literal {
            $($(#[$meaning:meta])* $field:ident $(at $key:literal)?: $type:ty = $read:expr,)*
        }
    ) => {
        $(#[$about])*
        pub struct $name {
            $($(#[$meaning])* pub $field: $type,)*
        }

        impl $name {
            pub(in crate::config) fn read(reader: &mut crate::config::reader::Reader) -> Self {
                Self { $($field: reader.at(section!(@key $section $field $($key)?), $read),)* }
            }
        }
    };
}

pub(super) use section;
