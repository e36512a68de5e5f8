//! Evaluates the condition of a query to the management plane. `Paging` remembers the query and how far its
//! answer has come.

use serde::Deserialize;

use super::super::life::HeldObject;

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryCondition {
    stix_object_type: Option<String>,
    clauses: Vec<Clause>,
    condition_connective: Option<Connective>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Connective {
    And,
    Or,
}

impl Connective {
    fn join(connective: Option<Self>, mut parts: impl Iterator<Item = bool>) -> bool {
        match connective {
            Some(Self::Or) => parts.any(|part| part),
            Some(Self::And) | None => parts.all(|part| part),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clause {
    clause_connective: Option<Connective>,
    field: Field,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Field {
    Id,
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    Equals,
    NotEquals,
}

impl Clause {
    fn holds(&self, held: &HeldObject) -> bool {
        let value = match self.field {
            Field::Id => &held.id,
            Field::Source => &held.sourcesystem,
        };
        let matches = |wanted: &String| (wanted == value) == (self.operator == Operator::Equals);
        Connective::join(self.clause_connective, self.values.iter().map(matches))
    }
}

impl QueryCondition {
    pub(super) fn holds(&self, held: &HeldObject) -> bool {
        let clauses = self.clauses.iter().map(|clause| clause.holds(held));
        self.stix_object_type.as_ref().is_none_or(|wanted| wanted == held.kind())
            && Connective::join(self.condition_connective, clauses)
    }
}

/// A query whose answer has further pages.
#[derive(Debug, Clone)]
pub(in super::super) struct Paging {
    pub(super) condition: QueryCondition,
    pub(super) page: usize,
    pub(super) after: (String, String),
}
