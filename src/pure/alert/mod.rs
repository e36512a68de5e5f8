//! An alert of a workspace, as far as it tells that an indicator of ours was seen in logs.

mod custom_details;
mod entities;

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::stix::Observable;

/// One alert of Log Analytics' table `SecurityAlert`:
/// <https://learn.microsoft.com/en-us/azure/azure-monitor/reference/tables/securityalert>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `SystemAlertId`: names the alert in its workspace, for ever.
    pub id: String,
    /// The name of the rule that raised it. `AlertName` is what the alert is called, which of our rules holds a value.
    pub rule: String,
    /// `StartTime`: the first log row that the alert stands for.
    pub first_seen: DateTime<Utc>,
    /// `EndTime`: the last one.
    pub last_seen: DateTime<Utc>,
    pub named: Vec<Named>,
}

/// What an alert names, and what the ledger may know as an indicator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    /// The id of an indicator, e.g. `indicator--5c1d…`: the product's own rules carry it.
    Indicator(String),
    /// An entity of the alert: it is a hit only if it is exactly an indicator's observable. A rule may map
    /// entities that matched nothing.
    Entity(Observable),
}

/// A row of the table, with what tells of an alert; texts as Log Analytics gives them, empty where it gives none.
#[derive(Debug, Clone, Copy)]
pub struct AlertRow<'r> {
    /// `SystemAlertId`
    pub id: &'r str,
    /// `AlertName`
    pub name: &'r str,
    /// `StartTime` and `EndTime`, ISO 8601.
    pub start: &'r str,
    pub end: &'r str,
    /// `Entities`: JSON.
    pub entities: &'r str,
    /// `ExtendedProperties`: JSON.
    pub extended_properties: &'r str,
}

/// The most things that one alert may name. One of our rules stands for at most 1,000 indicators.
const MOST_NAMED: usize = 1_000;

/// What stands for a rule of the solution whose name an alert does not tell.
const OUR_RULE: &str = "a rule of the MISP solution";

/// The longest name of a rule that is kept, in characters.
const LONGEST_RULE: usize = 200;

/// Reads a row. `None`: it has no id, or no time at which something was seen. An alert that carries ids of indicators
/// says exactly what it matched, so its entities are not asked.
pub fn read(row: &AlertRow<'_>) -> Option<Alert> {
    let last_seen: DateTime<Utc> = row.end.parse().or_else(|_| row.start.parse()).ok()?;
    let first_seen =
        row.start.parse().map_or(last_seen, |start: DateTime<Utc>| start.min(last_seen));
    let indicators = custom_details::indicators(row.extended_properties, MOST_NAMED);
    let mut named: Vec<Named> = indicators.into_iter().map(Named::Indicator).collect();
    let rule = match custom_details::rule(row.extended_properties) {
        Some(rule) => rule,
        None if named.is_empty() => row.name.to_owned(),
        None => OUR_RULE.to_owned(),
    };
    if named.is_empty() && is_of_microsoft(&rule) {
        let mut seen = HashSet::new();
        let observables = entities::observables(row.entities).into_iter();
        let each_once = observables.filter(|one| seen.insert(one.clone()));
        named.extend(each_once.take(MOST_NAMED).map(Named::Entity));
    }
    let rule = rule.chars().take(LONGEST_RULE).collect();
    let is_known = !row.id.is_empty();
    is_known.then(|| Alert { id: row.id.to_owned(), rule, first_seen, last_seen, named })
}

/// Whether a rule is one of Microsoft's for threat intelligence, by the words in their names. What other alerts name
/// matched something else.
fn is_of_microsoft(rule: &str) -> bool {
    rule.to_ascii_lowercase().contains("ti map")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "indicator--11111111-2222-4333-8444-555555555555";

    fn row() -> AlertRow<'static> {
        AlertRow {
            id: "alert-1",
            name: "TI map IP entity",
            start: "2026-11-30T10:00:00.1234567Z",
            end: "2026-11-30T11:00:00Z",
            entities: r#"[{"Type":"ip","Address":"198.51.100.7"}]"#,
            extended_properties: "",
        }
    }

    #[test]
    fn an_alert_with_ids_names_them_alone() {
        let entity = read(&row()).unwrap();
        assert!(matches!(&entity.named[..], [Named::Entity(_)]), "{entity:?}");
        let details = format!(r#"{{"Custom Details":"{{\"IndicatorId\":[\"{ID}\"]}}"}}"#);
        let exact = read(&AlertRow { extended_properties: &details, ..row() }).unwrap();
        assert_eq!(exact.named, [Named::Indicator(ID.to_owned())]);
        assert_eq!(exact.rule, OUR_RULE, "its name may hold the value of another indicator");
        let renamed = r#"{"Analytic Rule Name":"TI map IP entity to DnsEvents"}"#;
        let renamed =
            read(&AlertRow { name: "Hit", extended_properties: renamed, ..row() }).unwrap();
        assert_eq!(
            (renamed.rule.as_str(), renamed.named.len()),
            ("TI map IP entity to DnsEvents", 1)
        );
        let other = read(&AlertRow { name: "A rule of ours", ..row() }).unwrap();
        assert_eq!(other.named, []);
    }

    #[test]
    fn an_alert_needs_an_id_and_a_time() {
        assert_eq!(read(&AlertRow { id: "", ..row() }), None);
        assert_eq!(read(&AlertRow { start: "", end: "soon", ..row() }), None);
        let without_end = read(&AlertRow { end: "", ..row() }).unwrap();
        assert_eq!(without_end.first_seen, without_end.last_seen);
    }

    #[test]
    fn what_an_alert_names_twice_counts_once_and_no_alert_names_more_than_it_may() {
        let address =
            |n: usize| format!(r#"{{"Type":"ip","Address":"11.0.{}.{}"}}"#, n / 200, n % 200);
        let many: Vec<String> = (0..2_000).map(address).collect();
        let entities = format!("[{0},{0}]", many.join(","));
        let alert = read(&AlertRow { entities: &entities, ..row() }).unwrap();
        assert_eq!(alert.named.len(), MOST_NAMED);
        assert_eq!(alert.named.iter().collect::<HashSet<_>>().len(), MOST_NAMED);
    }

    proptest! {
        #[test]
        fn no_text_is_a_fault(entities in ".*", properties in ".*", start in ".*") {
            let row = AlertRow {
                start: &start, entities: &entities, extended_properties: &properties, ..row()
            };
            prop_assert!(read(&row).is_none_or(|alert| alert.named.len() <= MOST_NAMED));
        }
    }
}
