//! Makes the workbook "MISP in Sentinel" from `sentinel/workbook.toml`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::source::{self, kql, read};

pub(super) const FILE: &str = "Workbooks/MispInSentinel.json";

pub(super) const NAME: &str = "MISP in Sentinel";

/// The query of the parameter that lists the source systems.
const SOURCES: &str = "workbook/sources";

const TABLES: &str = "microsoft.operationalinsights/workspaces";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workbook {
    tab: Vec<Tab>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tab {
    name: String,
    text: String,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    query: String,
    /// A query that stands before it.
    before: Option<String>,
    window: Window,
    shape: String,
    /// In percent.
    width: u8,
}

/// How far back a panel looks.
#[derive(Deserialize)]
enum Window {
    /// As far as the reader says.
    #[serde(rename = "range")]
    Range,
    #[serde(rename = "14d")]
    TwoWeeks,
    #[serde(rename = "30d")]
    Month,
}

fn written() -> Workbook {
    toml::from_str(&read("workbook.toml")).unwrap()
}

/// The names of all queries of the workbook.
pub(super) fn queries() -> Vec<String> {
    let panels = written().tab.into_iter().flat_map(|tab| tab.panels);
    let names = panels.flat_map(|panel| [Some(panel.query), panel.before]);
    names.flatten().chain([SOURCES.to_owned()]).collect()
}

pub(super) fn workbook() -> Value {
    let tabs = written().tab;
    let mut items = vec![head(), links(&tabs)];
    items.extend(tabs.iter().map(group));
    json!({
        "version": "Notebook/1.0",
        "items": items,
        "fallbackResourceIds": [],
        "fromTemplateId": "sentinel-MispInSentinel",
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    })
}

/// The parameters of every workbook of Sentinel, in their usual order, and the source system.
fn head() -> Value {
    json!({
        "type": 9,
        "name": "parameters",
        "content": {
            "version": "KqlParameterItem/1.0",
            "style": "pills",
            "queryType": 0,
            "resourceType": TABLES,
            "parameters": [help(), first_subscription(), subscription(), workspace(), time_range(), source_system()],
        },
    })
}

fn help() -> Value {
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a01",
        "version": "KqlParameterItem/1.0",
        "name": "Help",
        "label": "Guide",
        "type": 10,
        "isRequired": true,
        "typeSettings": { "additionalResourceOptions": [], "showDefault": false },
        "jsonData": r#"[{"value": "Yes", "label": "Yes", "selected": true}, {"value": "No", "label": "No"}]"#,
    })
}

fn first_subscription() -> Value {
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a02",
        "version": "KqlParameterItem/1.0",
        "name": "DefaultSubscription_Internal",
        "type": 1,
        "isRequired": true,
        "isHiddenWhenLocked": true,
        "query": format!("where type =~ '{TABLES}'\n| take 1\n| project subscriptionId"),
        "crossComponentResources": ["value::selected"],
        "queryType": 1,
        "resourceType": "microsoft.resourcegraph/resources",
    })
}

fn subscription() -> Value {
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a03",
        "version": "KqlParameterItem/1.0",
        "name": "Subscription",
        "type": 6,
        "isRequired": true,
        "multiSelect": true,
        "quote": "'",
        "delimiter": ",",
        "query": "summarize by subscriptionId\n| project value = strcat('/subscriptions/', subscriptionId), label = subscriptionId, selected = iff(subscriptionId =~ '{DefaultSubscription_Internal}', true, false)",
        "crossComponentResources": ["value::all"],
        "typeSettings": { "additionalResourceOptions": ["value::all"], "showDefault": false },
        "queryType": 1,
        "resourceType": "microsoft.resourcegraph/resources",
        "value": ["value::all"],
    })
}

fn workspace() -> Value {
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a04",
        "version": "KqlParameterItem/1.0",
        "name": "Workspace",
        "type": 5,
        "isRequired": true,
        "multiSelect": true,
        "quote": "'",
        "delimiter": ",",
        "query": format!("resources\n| where type =~ '{TABLES}'\n| order by name asc\n| take 100\n| project value = id, label = name, selected = true"),
        "crossComponentResources": ["{Subscription}"],
        "typeSettings": { "additionalResourceOptions": ["value::all"], "showDefault": false },
        "queryType": 1,
        "resourceType": "microsoft.resourcegraph/resources",
        "value": ["value::all"],
    })
}

fn time_range() -> Value {
    let days = |days: u64| json!({ "durationMs": days * 86_400_000 });
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a05",
        "version": "KqlParameterItem/1.0",
        "name": "TimeRange",
        "label": "Time range",
        "type": 4,
        "isRequired": true,
        "value": days(1),
        "typeSettings": {
            "selectableValues": [days(1), days(2), days(7), days(14), days(30)],
            "allowCustom": true,
        },
        "timeContextFromParameter": "TimeRange",
    })
}

fn source_system() -> Value {
    json!({
        "id": "5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7a06",
        "version": "KqlParameterItem/1.0",
        "name": "SourceSystem",
        "label": "Source system",
        "type": 2,
        "isRequired": true,
        "query": kql(SOURCES),
        "crossComponentResources": ["{Workspace}"],
        "typeSettings": { "additionalResourceOptions": [], "showDefault": false },
        "timeContext": Window::TwoWeeks.milliseconds(),
        "queryType": 0,
        "resourceType": TABLES,
        "value": source::SOURCE,
    })
}

fn links(tabs: &[Tab]) -> Value {
    let link = |(number, tab): (usize, &Tab)| {
        json!({
            "id": format!("5f1c63ab-5b46-4c1e-9d64-2f0b6a1f7b{number:02}"),
            "cellValue": "TAB",
            "linkTarget": "parameter",
            "linkLabel": tab.name,
            "subTarget": tab.name,
            "style": "link",
        })
    };
    let links: Vec<Value> = tabs.iter().enumerate().map(link).collect();
    json!({
        "type": 11,
        "name": "tabs",
        "content": { "version": "LinkItem/1.0", "style": "tabs", "links": links },
    })
}

fn group(tab: &Tab) -> Value {
    let mut items = vec![json!({
        "type": 1,
        "name": format!("{} guide", tab.name),
        "content": { "json": tab.text },
        "conditionalVisibility": { "parameterName": "Help", "comparison": "isEqualTo", "value": "Yes" },
    })];
    items.extend(tab.panels.iter().map(panel));
    json!({
        "type": 12,
        "name": tab.name,
        "content": { "version": "NotebookGroup/1.0", "groupType": "editable", "items": items },
        "conditionalVisibility": { "parameterName": "TAB", "comparison": "isEqualTo", "value": tab.name },
    })
}

fn panel(panel: &Panel) -> Value {
    let before = panel.before.iter().map(|name| kql(name) + "\n");
    let query = before.collect::<String>() + &kql(&panel.query);
    let mut content = json!({
        "version": "KqlItem/1.0",
        "query": query.replace(&source::literal(), r#""{SourceSystem}""#),
        "size": 0,
        "title": panel.title,
        "noDataMessage": "Nothing within this time.",
        "showExportToExcel": true,
        "queryType": 0,
        "resourceType": TABLES,
        "crossComponentResources": ["{Workspace}"],
        "visualization": panel.shape,
    });
    match panel.window {
        Window::Range => content["timeContextFromParameter"] = json!("TimeRange"),
        Window::TwoWeeks | Window::Month => {
            content["timeContext"] = panel.window.milliseconds();
        }
    }
    if panel.shape == "table" {
        content["gridSettings"] = grid();
    }
    json!({
        "type": 3,
        "name": panel.title,
        "content": content,
        "customWidth": panel.width.to_string(),
    })
}

/// A table that can be filtered, whose column `Link` leads into MISP.
fn grid() -> Value {
    json!({
        "filter": true,
        "rowLimit": 1000,
        "formatters": [{
            "columnMatch": "Link",
            "formatter": 7,
            "formatOptions": { "linkTarget": "Url", "linkLabel": "MISP" },
        }],
    })
}

impl Window {
    fn milliseconds(&self) -> Value {
        let days: u64 = match self {
            Self::Range => 1,
            Self::TwoWeeks => 14,
            Self::Month => 30,
        };
        json!({ "durationMs": days * 86_400_000 })
    }
}
