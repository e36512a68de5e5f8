//! Writes the queries of `verify --kql`, which show in Log Analytics what a target holds. They lie in
//! `sentinel/kql`, from which the content for Sentinel is made as well.

/// The queries. The first line of each says what it shows.
const QUERIES: [&str; 4] = [
    include_str!("../../../sentinel/kql/verify/count.kql"),
    include_str!("../../../sentinel/kql/verify/newest.kql"),
    include_str!("../../../sentinel/kql/verify/one.kql"),
    include_str!("../../../sentinel/kql/verify/arrivals.kql"),
];

/// The source system as it stands in the files: the default one.
const SOURCE: &str = "\"misp-sentinel-relay\"";

/// Returns the queries for a target, each below a comment that names the target.
pub fn queries(target: &str, sourcesystem: &str) -> String {
    let source = literal(sourcesystem);
    let of_target = |query: &str| {
        let query = query.replace(SOURCE, &source);
        let what = query.trim_start_matches("// ");
        format!("// {target}. {what}")
    };
    QUERIES.map(of_target).join("\n")
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
        assert_eq!(kql.matches("// soc. ").count(), 4);
        assert!(kql.contains("arg_max(TimeGenerated, *) by Id"));
    }
}
