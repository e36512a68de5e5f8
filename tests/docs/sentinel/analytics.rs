//! Makes the analytic rules and hunting queries as YAML, in the form that Azure/Azure-Sentinel takes.

use std::fmt::Write;

use super::source::{About, Entity, Hunting, Rule, Rules};

/// What each alert carries: the name in the alert, and the column of the query. Sentinel takes 20 at most.
pub(super) const DETAILS: [(&str, &str); 18] = [
    ("IndicatorId", "IndicatorId"),
    ("IndicatorIds", "IndicatorIds"),
    ("Observable", "ShortObservable"),
    ("Kind", "Kind"),
    ("MispEvent", "MispEvent"),
    ("MispEvents", "MispEvents"),
    ("MispEventName", "MispEventName"),
    ("MispLink", "MispLink"),
    ("Confidence", "Confidence"),
    ("Tlp", "Tlp"),
    ("Labels", "Labels"),
    ("ValidUntil", "ValidUntil"),
    ("Hits", "Hits"),
    ("FirstSeen", "FirstSeen"),
    ("Logs", "Logs"),
    ("Seen", "Seen"),
    ("Hosts", "Hosts"),
    ("Accounts", "Accounts"),
];

/// How an alert is named, described and rated, and where its link leads. Braces hold columns.
pub(super) const TITLE: &str = "MISP: {{Title}}";
pub(super) const STORY: &str = "{{Story}}";
pub(super) const SEVERITY: &str = "Severity";
pub(super) const LINK: &str = "MispLink";

/// Alerts of one rule and one MISP event become one incident, for a day.
pub(super) const GROUPED_BY: &str = "MispEvent";

pub(super) fn files(rules: &Rules) -> Vec<(String, String)> {
    let path = |rule: &Rule| format!("Analytic Rules/{}.yaml", rule.about.file);
    rules.rule.iter().map(|rule| (path(rule), yaml(rule))).collect()
}

pub(super) fn hunting_files(hunting: &Hunting) -> Vec<(String, String)> {
    let path = |about: &About| format!("Hunting Queries/{}.yaml", about.file);
    hunting.query.iter().map(|about| (path(about), hunting_yaml(about))).collect()
}

fn yaml(rule: &Rule) -> String {
    let about = &rule.about;
    let mut text = head(about);
    write!(
        text,
        "severity: {}
{}queryFrequency: 1h
queryPeriod: 14d
triggerOperator: gt
triggerThreshold: 0
{}{}{}",
        rule.severity,
        connectors(about),
        attack(about),
        query(about),
        entities(&rule.entities)
    )
    .unwrap();
    text.push_str("customDetails:\n");
    for (name, column) in DETAILS {
        writeln!(text, "  {name}: {column}").unwrap();
    }
    write!(
        text,
        "alertDetailsOverride:
  alertDisplayNameFormat: '{TITLE}'
  alertDescriptionFormat: '{STORY}'
  alertSeverityColumnName: {SEVERITY}
  alertDynamicProperties:
    - alertProperty: AlertLink
      value: {LINK}
eventGroupingSettings:
  aggregationKind: AlertPerResult
incidentConfiguration:
  createIncident: true
  groupingConfiguration:
    enabled: true
    reopenClosedIncident: false
    lookbackDuration: P1D
    matchingMethod: Selected
    groupByEntities: []
    groupByAlertDetails: []
    groupByCustomDetails:
      - {GROUPED_BY}
version: {}
kind: Scheduled
",
        about.version
    )
    .unwrap();
    text
}

fn hunting_yaml(about: &About) -> String {
    let (connectors, attack, query) = (connectors(about), attack(about), query(about));
    format!("{}{connectors}{attack}{query}version: {}\n", head(about), about.version)
}

fn head(about: &About) -> String {
    let description = wrapped(&about.description);
    format!("id: {}\nname: '{}'\ndescription: |\n{description}", about.id, about.name)
}

/// A block of YAML, in lines of a readable length.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if line.len() + word.len() > 110 {
            writeln!(lines, "  {}", line.trim_end()).unwrap();
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(lines, "  {}", line.trim_end()).unwrap();
    lines
}

fn connectors(about: &About) -> String {
    let mut text = "requiredDataConnectors:\n".to_owned();
    for (id, tables) in about.data_types() {
        writeln!(text, "  - connectorId: {id}\n    dataTypes:").unwrap();
        tables.iter().for_each(|table| writeln!(text, "      - {table}").unwrap());
    }
    text
}

fn attack(about: &About) -> String {
    let list = |words: &[String]| words.iter().map(|w| format!("  - {w}\n")).collect::<String>();
    let (tactics, techniques) = (list(&about.tactics), list(&about.techniques));
    format!("tactics:\n{tactics}relevantTechniques:\n{techniques}")
}

fn query(about: &About) -> String {
    let query = about.query();
    let lines = query.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    });
    format!("query: |\n{}", lines.collect::<String>())
}

fn entities(entities: &[Entity]) -> String {
    let mut text = "entityMappings:\n".to_owned();
    for entity in entities {
        writeln!(text, "  - entityType: {}\n    fieldMappings:", entity.kind).unwrap();
        for (identifier, column) in &entity.fields {
            let field = format!("      - identifier: {identifier}\n        columnName: {column}\n");
            text.push_str(&field);
        }
    }
    text
}
