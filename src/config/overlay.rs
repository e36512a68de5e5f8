//! Reads a section of a target that overrides the section for all targets key by key.

use super::reader::Reader;

/// The keys of a section. If a target's section leaves a key out, its value is taken from `base`.
pub(super) struct Overlay<'r, 'b, B> {
    pub(super) reader: &'r mut Reader,
    pub(super) section: String,
    /// The values for all targets. `None`: this is the section for all targets itself.
    pub(super) base: Option<&'b B>,
}

impl<B> Overlay<'_, '_, B> {
    /// Reads a key that a target can override, or inherits its value.
    pub(super) fn own<T: Clone>(
        &mut self,
        leaf: &str,
        inherited: impl Fn(&B) -> &T,
        read: impl Fn(&mut Reader, &str) -> T,
    ) -> T {
        let key = format!("{}.{leaf}", self.section);
        match self.base {
            Some(base) if !self.reader.holds(&key) => inherited(base).clone(),
            _ => read(self.reader, &key),
        }
    }

    /// Reads a value that no target can override, or inherits it.
    pub(super) fn common<T: Clone>(
        &mut self,
        inherited: impl Fn(&B) -> &T,
        read: impl Fn(&mut Reader) -> T,
    ) -> T {
        self.base.map_or_else(|| read(self.reader), |base| inherited(base).clone())
    }
}

/// A struct whose fields `own` are called like their keys, each with what reads it.
macro_rules! overlaid {
    ($type:ident, $keys:ident, own { $($own:ident: $read:expr,)* } common { $($common:ident: $once:expr,)* }) => {
        $type {
            $($own: $keys.own(stringify!($own), |base| &base.$own, $read),)*
            $($common: $keys.common(|base| &base.$common, $once),)*
        }
    };
}

pub(super) use overlaid;
