//! Evaluates the condition of a query to the management plane. `Paging` remembers the query and how far its
//! answer has come.

use serde::Deserialize;

use super::super::held::HeldObject;

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
        match self.clause_connective {
            Some(Connective::Or) => self.values.iter().any(matches),
            Some(Connective::And) | None => self.values.iter().all(matches),
        }
    }
}

impl QueryCondition {
    pub(super) fn holds(&self, held: &HeldObject) -> bool {
        let mut clauses = self.clauses.iter();
        let of_type = self.stix_object_type.as_ref().is_none_or(|wanted| wanted == held.kind());
        of_type
            && match self.condition_connective {
                Some(Connective::Or) => clauses.any(|clause| clause.holds(held)),
                Some(Connective::And) | None => clauses.all(|clause| clause.holds(held)),
            }
    }
}

/// A query that is not at its end.
#[derive(Debug, Clone)]
pub(in super::super) struct Paging {
    pub(super) condition: QueryCondition,
    pub(super) page: usize,
    pub(super) after: (String, String),
}
