//! Makes structs of the sections of the configuration: the fields are called like the keys.

use super::reader::Reader;

impl Reader {
    /// What `read` makes of a key.
    pub(super) fn at<T>(&mut self, key: &str, read: impl FnOnce(&mut Self, &str) -> T) -> T {
        read(self, key)
    }
}

/// A struct that can be read: each field with its type and with what reads it, of the key that is called
/// like it, or `at` another one.
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
