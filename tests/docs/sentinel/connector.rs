//! Makes the page of the data connector, which says "Connected" as long as rows of the relay arrive. It connects
//! nothing: the upload API needs no connector.

use serde_json::{Value, json};

use super::source::{CONNECTOR, kql};

pub(super) const FILE: &str = "Data Connectors/MispSentinelRelay.json";

pub(super) const QUERIES: [&str; 4] =
    ["connector/connected", "connector/graph", "connector/last", "connector/live"];

const TABLE: &str = "ThreatIntelIndicators";

pub(super) fn page() -> Value {
    page_with(kql)
}

/// The page, as the file of a solution and as the `connectorUiConfig` of a template have it; `query` gives the text
/// of a query by its name.
pub(super) fn page_with(mut query: impl FnMut(&str) -> String) -> Value {
    json!({
        "id": CONNECTOR,
        "title": "MISP (misp-sentinel-relay)",
        "publisher": "misp-sentinel-relay",
        "descriptionMarkdown": "misp-sentinel-relay runs beside MISP and uploads what MISP publishes through the upload API for STIX objects. This page shows whether its indicators arrive.",
        "graphQueries": [{
            "metricName": "Indicators sent by the relay",
            "legend": TABLE,
            "baseQuery": query("connector/graph"),
        }],
        "sampleQueries": [{
            "description": "Live indicators by kind",
            "query": query("connector/live"),
        }],
        "dataTypes": [{ "name": TABLE, "lastDataReceivedQuery": query("connector/last") }],
        "connectivityCriteria": [{
            "type": "IsConnectedQuery",
            "value": [query("connector/connected")],
        }],
        "availability": { "status": 1, "isPreview": false },
        "permissions": {
            "resourceProvider": [{
                "provider": "Microsoft.OperationalInsights/workspaces",
                "permissionsDisplayText": "read permission on the workspace is required to see this page.",
                "providerDisplayName": "Workspace",
                "scope": "Workspace",
                "requiredPermissions": { "read": true },
            }],
            "customs": [{
                "name": "An application in Entra ID",
                "description": "The relay signs in as an application with the role Microsoft Sentinel Contributor on the workspace.",
            }],
        },
        "instructionSteps": [{
            "title": "Run the relay beside MISP",
            "description": "1. Register an application in Entra ID, and give it the role **Microsoft Sentinel Contributor** on this workspace.\n2. Write its credential and the workspace's id into the relay's configuration.\n3. `misp-sentinel-relay check` says what is missing; `misp-sentinel-relay run` starts it.\n\nIndicators show here minutes after the relay has sent them.",
        }],
    })
}
