//! Makes the ARM template that deploys everything into a workspace without Content Hub.

use serde_json::{Map, Value, json};

use super::analytics::{DETAILS, GROUPED_BY, LINK, SEVERITY, STORY, TITLE};
use super::source::{self, About, Hunting, Rule, Rules};
use super::{connector, workbook};

/// The workbook's name must be a UUID; one of each workspace's own.
const WORKBOOK_NAME: &str = "[guid(resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace')), 'MispInSentinel')]";

const WORKSPACE: &str =
    "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace'))]";

pub(super) fn template(rules: &Rules, hunting: &Hunting) -> Value {
    let mut texts = Map::new();
    let mut resources = vec![connector_page(&mut texts), workbook_resource(&mut texts)];
    resources.extend(rules.rule.iter().map(|rule| analytic_rule(rule, &mut texts)));
    resources.extend(hunting.query.iter().map(|about| saved_search(about, &mut texts)));
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "workspace": {
                "type": "string",
                "metadata": { "description": "The name of the Log Analytics workspace with Microsoft Sentinel." },
            },
            "location": {
                "type": "string",
                "defaultValue": "[resourceGroup().location]",
                "metadata": { "description": "Where the workbook is stored." },
            },
            "sourceSystem": {
                "type": "string",
                "defaultValue": source::SOURCE,
                "metadata": { "description": "The relay's target.NAME.sourcesystem, without quotes and backslashes." },
            },
            "enableRules": {
                "type": "bool",
                "defaultValue": true,
                "metadata": { "description": "Whether the analytic rules run at once." },
            },
        },
        "variables": texts,
        "resources": resources,
    })
}

/// Keeps a text as a variable, and returns the expression that puts the source system into it. `quote` stands around
/// a literal in the text.
fn with_source(texts: &mut Map<String, Value>, name: &str, text: &str, quote: &str) -> String {
    texts.insert(name.to_owned(), Value::from(text));
    let default = format!("{quote}{}{quote}", source::SOURCE);
    format!(
        "[replace(variables('{name}'), '{default}', concat('{quote}', parameters('sourceSystem'), '{quote}'))]"
    )
}

fn analytic_rule(rule: &Rule, texts: &mut Map<String, Value>) -> Value {
    let about = &rule.about;
    json!({
        "type": "Microsoft.SecurityInsights/alertRules",
        "apiVersion": "2024-09-01",
        "scope": WORKSPACE,
        "name": about.id,
        "kind": "Scheduled",
        "properties": {
            "displayName": about.name,
            "description": about.description,
            "severity": rule.severity,
            "enabled": "[parameters('enableRules')]",
            "query": with_source(texts, &about.file, &about.query(), "\""),
            "queryFrequency": "PT1H",
            "queryPeriod": "P14D",
            "triggerOperator": "GreaterThan",
            "triggerThreshold": 0,
            "suppressionDuration": "PT1H",
            "suppressionEnabled": false,
            "tactics": about.tactics,
            "techniques": about.techniques,
            "entityMappings": entities(rule),
            "customDetails": DETAILS.iter().map(|(name, column)| ((*name).to_owned(), json!(column))).collect::<Map<_, _>>(),
            "alertDetailsOverride": {
                "alertDisplayNameFormat": TITLE,
                "alertDescriptionFormat": STORY,
                "alertSeverityColumnName": SEVERITY,
                "alertDynamicProperties": [{ "alertProperty": "AlertLink", "value": LINK }],
            },
            "eventGroupingSettings": { "aggregationKind": "AlertPerResult" },
            "incidentConfiguration": {
                "createIncident": true,
                "groupingConfiguration": {
                    "enabled": true,
                    "reopenClosedIncident": false,
                    "lookbackDuration": "P1D",
                    "matchingMethod": "Selected",
                    "groupByEntities": [],
                    "groupByAlertDetails": [],
                    "groupByCustomDetails": [GROUPED_BY],
                },
            },
        },
    })
}

fn entities(rule: &Rule) -> Vec<Value> {
    let mapping = |entity: &source::Entity| {
        let fields = entity.fields.iter();
        let fields = fields
            .map(|(identifier, column)| json!({ "identifier": identifier, "columnName": column }));
        json!({ "entityType": entity.kind, "fieldMappings": fields.collect::<Vec<Value>>() })
    };
    rule.entities.iter().map(mapping).collect()
}

fn saved_search(about: &About, texts: &mut Map<String, Value>) -> Value {
    json!({
        "type": "Microsoft.OperationalInsights/workspaces/savedSearches",
        "apiVersion": "2020-08-01",
        // Without it, a second deployment is refused.
        "etag": "*",
        "name": format!("[concat(parameters('workspace'), '/{}')]", about.id),
        "properties": {
            "category": "Hunting Queries",
            "displayName": about.name,
            "query": with_source(texts, &about.file, &about.query(), "\""),
            "version": 2,
            "tags": [
                { "name": "description", "value": about.description },
                { "name": "tactics", "value": about.tactics.join(",") },
                { "name": "techniques", "value": about.techniques.join(",") },
            ],
        },
    })
}

fn workbook_resource(texts: &mut Map<String, Value>) -> Value {
    let text = workbook::workbook().to_string();
    // The text has the source system as a literal of a query, and as the value of a parameter.
    let literals = with_source(texts, "workbook", &text, "\\\"");
    let literals = literals.trim_start_matches('[').trim_end_matches(']');
    let value = |name: &str| format!("'\"value\":\"{name}\"'");
    let (from, to) = (value(source::SOURCE), value("', parameters('sourceSystem'), '"));
    json!({
        "type": "Microsoft.Insights/workbooks",
        "apiVersion": "2022-04-01",
        "name": WORKBOOK_NAME,
        "location": "[parameters('location')]",
        "kind": "shared",
        "properties": {
            "displayName": workbook::NAME,
            "serializedData": format!("[replace({literals}, {from}, concat({to}))]"),
            "version": "Notebook/1.0",
            "category": "sentinel",
            "sourceId": WORKSPACE,
        },
    })
}

fn connector_page(texts: &mut Map<String, Value>) -> Value {
    let page = connector::page_with(|name| {
        with_source(texts, &name.replace('/', "_"), &source::kql(name), "\"")
    });
    json!({
        "type": "Microsoft.SecurityInsights/dataConnectorDefinitions",
        "apiVersion": "2024-09-01",
        "scope": WORKSPACE,
        "name": source::CONNECTOR,
        "kind": "Customizable",
        "properties": { "connectorUiConfig": page },
    })
}
