//! Writes the queries of `verify --kql`, which show in Log Analytics what a target holds. The table
//! `ThreatIntelIndicators` has one row for each write, so a query takes the newest row of each id.

/// Returns the queries for a target, each below a comment that says what it shows.
pub fn queries(target: &str, sourcesystem: &str) -> String {
    let source = literal(sourcesystem);
    let of_source = format!("ThreatIntelIndicators\n| where SourceSystem == {source}");
    format!(
        "// {target}: how many indicators there are, active, revoked, and without an observable
{of_source}
| summarize arg_max(TimeGenerated, *) by Id
| summarize total=count(), active=countif(IsActive and not(IsDeleted)), revoked=countif(Revoked), unparsed=countif(isempty(ObservableKey))

// {target}: the newest version of each, to compare with `misp-sentinel-relay ledger export`
{of_source}
| summarize arg_max(TimeGenerated, *) by Id
| where not(IsDeleted)
| project StixId=tostring(split(Id, '---')[1]), ObservableKey, ObservableValue, Confidence, ValidFrom, ValidUntil, Revoked, Modified, TimeGenerated

// {target}: one indicator, all its versions (put in its id)
{of_source}
| where Id endswith \"indicator--00000000-0000-0000-0000-000000000000\"
| order by TimeGenerated desc

// {target}: what arrived within an hour, and how long Sentinel took
{of_source} and TimeGenerated > ago(1h)
| summarize n=dcount(Id), last=max(TimeGenerated), delay=avg(ingestion_time() - TimeGenerated) by ObservableKey
"
    )
}

/// Writes a string literal of KQL, which escapes as JSON does:
/// <https://learn.microsoft.com/en-us/kusto/query/scalar-data-types/string>.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_cannot_end_its_literal() {
        assert_eq!(literal(r#"a" | take 1 \"#), r#""a\" | take 1 \\""#);
        assert_eq!(literal("a\nb"), r#""a\nb""#);
        let kql = queries("soc", "x\"y");
        assert_eq!(kql.matches(r#"SourceSystem == "x\"y""#).count(), 4);
        assert!(kql.contains("arg_max(TimeGenerated, *) by Id"));
    }
}
