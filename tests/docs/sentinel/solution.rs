//! Makes the input of Microsoft's packager, which makes a solution for Content Hub of this folder.

use serde_json::{Value, json};

use super::source::{Hunting, Rules};
use super::{connector, workbook};

pub(super) const FILE: &str = "Data/Solution_MispSentinelRelay.json";

const VERSION: &str = "3.0.0";

pub(super) fn packaging(rules: &Rules, hunting: &Hunting) -> Value {
    let rule = |file: &String| format!("Analytic Rules/{file}.yaml");
    let query = |file: &String| format!("Hunting Queries/{file}.yaml");
    json!({
        "Name": "misp-sentinel-relay",
        "Author": "The maintainers of misp-sentinel-relay - misp-sentinel-relay@users.noreply.github.com",
        "Logo": "<img src=\"https://raw.githubusercontent.com/Azure/Azure-Sentinel/master/Logos/Azure_Sentinel.svg\" width=\"75px\" height=\"75px\">",
        "Description": "Workbook, analytic rules and hunting queries for the indicators that [misp-sentinel-relay](https://github.com/misp-sentinel-relay/misp-sentinel-relay) uploads from MISP. Each alert carries the indicator's id, the MISP event and its link.\n\n**Underlying Microsoft Technologies used:**\n\na. [Microsoft Sentinel upload API for STIX objects](https://learn.microsoft.com/azure/sentinel/stix-objects-api)",
        "Data Connectors": [connector::FILE],
        "Workbooks": [workbook::FILE],
        "Analytic Rules": rules.rule.iter().map(|one| rule(&one.about.file)).collect::<Vec<_>>(),
        "Hunting Queries": hunting.query.iter().map(|one| query(&one.file)).collect::<Vec<_>>(),
        "BasePath": "C:\\GitHub\\Azure-Sentinel\\Solutions\\misp-sentinel-relay",
        "Version": VERSION,
        "Metadata": "SolutionMetadata.json",
        "TemplateSpec": true,
        "Is1PConnector": false,
    })
}
