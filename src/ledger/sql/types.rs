//! Names the types that values have.

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum ParameterType {
    Integer,
    Boolean,
    Text,
    Bytes,
}
