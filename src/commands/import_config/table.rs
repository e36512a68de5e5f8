//! Decides for each setting of misp2sentinel what it becomes in the relay's configuration. It knows config.py
//! of April 2026, the older names of the Graph API, and the lists in constants.py.

use super::filters;
use super::page::{SECRET, TomlPage};
use super::python::{Literal, Setting};

/// The settings without a counterpart: names, a colon, and why they have none.
const WITHOUT: &str = r#"
ms_api_version: belongs to another API; the relay knows its own (target.NAME.api_version)
ms_useragent: the relay names itself
ms_target_product targetProduct ms_action action ms_passiveonly passiveOnly: Graph API only
network_ignore_direction write_post_json: Graph API only
ignore_localtags misp_ignore_localtags: local tags never leave; policy reads them all the same
misp_flatten_attributes: each attribute of an object is an indicator of its own, always
misp_remove_eventreports: event reports are never asked for
remove_pipe_from_misp_attribute: each half of a composite is treated as what it is: docs/reference/mapping.md
log_file: the log goes to standard error: systemd or Docker keep it
write_parsed_indicators: `convert FILE` shows what is sent, `explain` why; or set mode = "dry-run"
write_parsed_eventid: the log has a line for each event
sentinel_write_response: Sentinel's words are in the log, in `status` and in `explain`
ms_check_if_exist_in_sentinel: the ledger knows what was sent: nothing is sent twice
timeframe_toids_change: to_ids switched off withdraws at once
UPLOAD_INDICATOR_API_ACCEPTED_TYPES: indicators always; see indicator.context for what else
TLP_MARKING_OBJECT_DEFINITION: the markings are STIX's own
MISP_ANALYSIS MISP_THREATLEVEL: MISP's own words are known
local_mode: only switched misp_verifycert
keyVaultName KVUri credential client: secrets may stay in the vault: misp.key and target.sentinel.client_secret take "vault:https://VAULT.vault.azure.net/secrets/NAME"
retrieved_mispkey retrieved_clientsecret mispkey mispurl: an intermediate value of misp_key, misp_domain or ms_auth
tenant_id client_id client_secret workspace_id misp_event_filters_raw: an intermediate value of ms_auth or misp_event_filters
"#;

/// The settings of misp2sentinel that [`translate`] takes over.
const TAKEN: &str = "\
    ms_auth graph_auth misp_event_filters misp_key misp_domain misp_verifycert \
    misp_event_limit_per_page default_confidence defaultConfidenceLevel days_to_expire \
    days_to_expire_start days_to_expire_mapping days_to_expire_ignore_misp_last_seen \
    ms_max_indicators_request ms_max_requests_minute sourcesystem dry_run verbose_log \
    SENTINEL_DEFAULT_TLP SENTINEL_DEFAULT_THREATTYPE MISP_ALLOWED_TAXONOMIES \
    MISP_TAGS_IGNORE MISP_CONFIDENCE UPLOAD_INDICATOR_MISP_ACCEPTED_TYPES";

/// Returns whether misp2sentinel has a setting of this name. Names that any program may use for a client or a
/// credential do not count.
pub(super) fn is_known(setting: &Setting) -> bool {
    const OF_ANYBODY: &str =
        "credential client tenant_id client_id client_secret workspace_id local_mode";
    let name = &setting.name;
    is_one_of(name, TAKEN) || why_without(name).is_some() && !is_one_of(name, OF_ANYBODY)
}

fn is_one_of(name: &str, names: &str) -> bool {
    names.split(' ').any(|one| one == name)
}

fn why_without(name: &str) -> Option<&'static str> {
    let mut lines = WITHOUT.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(names, _)| is_one_of(name, names)).map(|(_, why)| why)
}

/// Translates a setting into the page.
pub(super) fn translate(setting: &Setting, page: &mut TomlPage) {
    let Setting { name, value, line, .. } = setting;
    let from = setting.origin();
    if let Some(why) = why_without(name) {
        return page.leave(&format!("{name} (line {line})"), why);
    }
    let mut put = Put { page, from };
    match (name.as_str(), value) {
        ("ms_auth" | "graph_auth", _) => sign_in(setting, put.page),
        ("misp_event_filters", _) => filters::translate(setting, put.page),
        ("misp_key", _) => put.secret("misp", "key", value),
        ("misp_domain", _) => put.filled("misp", "url", value),
        ("misp_verifycert", Literal::Flag(false)) => {
            put.from.push_str("; better true, with MISP's certificate in ca_file");
            put.value("misp", "verify_tls", value);
        }
        ("misp_verifycert", _) => put.value("misp", "verify_tls", value),
        ("misp_event_limit_per_page", _) => put.value("misp.rest", "page_events", value),
        ("default_confidence" | "defaultConfidenceLevel", _) => {
            if matches!(value, Literal::Integer(..=50)) {
                put.from.push_str("; better 51, since a built-in rule takes only more than 50");
            }
            put.value("indicator", "default_confidence", value);
        }
        ("days_to_expire", _) => put.value("expiry", "default_days", value),
        ("days_to_expire_start", _) => match value.text() {
            Some("valid_from") => put.text("expiry", "from", "timestamp"),
            Some("current_date") => put.text("expiry", "from", "first_seen_by_relay"),
            _ => put.leave("neither \"valid_from\" nor \"current_date\""),
        },
        ("days_to_expire_mapping", Literal::Table(days)) => {
            days.iter().for_each(|(path, days)| put.value("expiry.days", path, days));
        }
        ("days_to_expire_ignore_misp_last_seen", Literal::Flag(ignored)) => {
            put.value("expiry", "last_seen_is_expiry", &Literal::Flag(!ignored));
        }
        ("ms_max_indicators_request", _) => put.at_most("max_objects", value, 100),
        ("ms_max_requests_minute", _) => put.at_most("quota_requests", value, 99),
        ("sourcesystem", _) => put.source(value),
        ("dry_run", Literal::Flag(true)) => put.text("target.sentinel", "mode", "dry-run"),
        ("verbose_log", Literal::Flag(true)) => put.text("log", "level", "debug"),
        ("dry_run" | "verbose_log", Literal::Flag(false)) => put.leave("the default"),
        _ => constants(name, &mut put, value),
    }
}

/// Translates the lists of constants.py that operators edit.
fn constants(name: &str, put: &mut Put<'_>, value: &Literal) {
    match (name, value) {
        ("SENTINEL_DEFAULT_TLP", Literal::Text(tlp)) => {
            let level = tlp.trim_start_matches("tlp:").replace("white", "clear");
            put.text("policy", "tlp_untagged", &level);
        }
        ("SENTINEL_DEFAULT_THREATTYPE", _) => put.value("indicator", "default_threat_type", value),
        ("MISP_ALLOWED_TAXONOMIES", _) => put.value("indicator", "labels_taxonomies", value),
        ("MISP_TAGS_IGNORE", Literal::List(beginnings)) => {
            let mut patterns = Vec::new();
            for beginning in beginnings.iter().filter_map(Literal::text) {
                // misp2sentinel compares the beginnings of tags, and the relay matches patterns.
                let pattern = Literal::Text(format!("{beginning}*"));
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            }
            put.value("indicator", "labels_ignore", &Literal::List(patterns));
        }
        ("MISP_CONFIDENCE", Literal::Table(parts)) => confidence(put, parts),
        ("UPLOAD_INDICATOR_MISP_ACCEPTED_TYPES", Literal::List(types)) => {
            // The old list names every type that is sent, so all others are switched off.
            put.page.set("convert.types", "*", false, put.from.clone());
            for kind in types.iter().filter_map(Literal::text) {
                put.page.set("convert.types", kind, true, put.from.clone());
            }
        }
        ("UPLOAD_INDICATOR_MISP_ACCEPTED_TYPES", _) => put.leave(
            "the types that are on are in docs/reference/mapping.md; [convert.types] switches them",
        ),
        (_, Literal::Code(code)) => put.leave(&format!(
            "its value `{code}` is made by running the file, which is not done: set it by hand"
        )),
        _ => put.leave("no setting of misp2sentinel that is known here"),
    }
}

/// Translates `{"prefix": "misp:confidence-level", "matches": {"usually-confident": 75, …}}`.
fn confidence(put: &mut Put<'_>, parts: &[(String, Literal)]) {
    let part = |name: &str| parts.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let (Some(Literal::Text(prefix)), Some(Literal::Table(levels))) =
        (part("prefix"), part("matches"))
    else {
        return put.leave("not of the shape that misp2sentinel reads");
    };
    for (level, number) in levels {
        put.value("indicator.confidence", &format!("{prefix}=\"{level}\""), number);
    }
}

/// Translates `ms_auth`, or `graph_auth` of the first releases, as a whole or one of its keys.
fn sign_in(setting: &Setting, page: &mut TomlPage) {
    let whole = match (&setting.key, &setting.value) {
        (Some(key), value) => vec![(key.clone(), value.clone())],
        (None, Literal::Table(parts)) => parts.clone(),
        (None, _) => {
            return page.leave(&setting.name, "not the dictionary that misp2sentinel reads");
        }
    };
    for (key, value) in &whole {
        let mut put = Put { from: setting.origin_of(key), page };
        match (key.as_str(), value) {
            ("tenant", _) => put.filled("target.sentinel", "tenant_id", value),
            ("client_id" | "workspace_id", _) => put.filled("target.sentinel", key, value),
            ("client_secret", _) => put.secret("target.sentinel", key, value),
            ("scope", Literal::Text(scope)) if scope.contains("graph.microsoft.com") => {
                put.leave("the Graph API is not used; the scope of the upload API is the default");
            }
            ("scope", _) => put.value("target.sentinel", "scope", value),
            ("new_upload_api" | "graph_api", _) => {
                put.leave("the STIX objects API is used, which is the one that Microsoft keeps");
            }
            ("subscription_id" | "resourceGroupName" | "workspaceName", _) => {
                put.leave("the management plane is not used");
            }
            _ => put.leave("no setting of misp2sentinel that is known here"),
        }
    }
}

/// The translation of one setting into the page.
struct Put<'p> {
    page: &'p mut TomlPage,
    from: String,
}

impl Put<'_> {
    fn value(&mut self, section: &str, key: &str, value: &Literal) {
        match value.toml() {
            Some(value) => self.page.set(section, key, value, self.from.clone()),
            None => self.unknown(section, key, value),
        }
    }

    fn text(&mut self, section: &str, key: &str, text: &str) {
        self.page.set(section, key, text, self.from.clone());
    }

    /// Puts a required value. A `<placeholder>` counts as no value.
    fn filled(&mut self, section: &str, key: &str, value: &Literal) {
        if value.text().is_some_and(is_placeholder) {
            self.from.push_str(" has no value yet");
            return self.text(section, key, "");
        }
        self.value(section, key, value);
    }

    fn secret(&mut self, section: &str, key: &str, value: &Literal) {
        if value.text().is_some_and(|text| !is_placeholder(text)) {
            let advice = format!("; {SECRET}, named by {key}_file");
            self.from.push_str(&advice);
        }
        self.filled(section, key, value);
    }

    /// Puts a comment on a value that is known only from the environment, or when the file runs.
    fn unknown(&mut self, section: &str, key: &str, value: &Literal) {
        let from = &self.from;
        let why = if let Literal::Environment(variable) = value {
            let ours = format!("{section}__{key}").replace('.', "__").to_uppercase();
            format!("{from}: the environment variable {variable}; the relay's is MSR_{ours}")
        } else {
            format!("{from}: made by running the file, which is not done; set it by hand")
        };
        let is_text = ["misp", "target.sentinel"].contains(&section) && key != "verify_tls";
        if is_text {
            return self.page.set(section, key, "", why);
        }
        self.page.leave(&format!("{section}.{key}"), &why);
    }

    fn at_most(&mut self, key: &str, value: &Literal, most: i64) {
        let Some(number) = value.integer().filter(|number| *number > most) else {
            return self.value("delivery", key, value);
        };
        self.from.push_str(&format!(" says {number}; {most} is the most"));
        self.value("delivery", key, &Literal::Integer(most));
    }

    /// Puts the source. With the old source the relay continues the old ids, if they are those of attributes.
    fn source(&mut self, value: &Literal) {
        self.from.push_str(
            "; to leave the old indicators alone until they expire, take this and indicator.identity out",
        );
        self.value("target.sentinel", "sourcesystem", value);
        self.text("indicator", "identity", "attribute");
    }

    fn leave(&mut self, why: &str) {
        self.page.leave(&self.from, why);
    }
}

fn is_placeholder(text: &str) -> bool {
    text.starts_with('<')
}
