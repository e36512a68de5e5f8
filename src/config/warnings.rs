//! What is allowed and probably not meant: told at start and by `check-config`.

use std::time::Duration;

use uuid::Uuid;

use super::Config;

/// A sentence for each doubtful setting.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.delivery.quota_requests == 0 {
        warnings.push("delivery.quota_requests = 0: no limit, Sentinel will answer 429".to_owned());
    } else if config.delivery.quota_window < Duration::from_secs(60) {
        warnings.push("delivery.quota_window is shorter than Sentinel's 60s".to_owned());
    }
    if config.policy.tlp_untagged > config.policy.tlp_max {
        warnings.push(
            "policy.tlp_untagged is stricter than policy.tlp_max: what has no tlp: tag never leaves"
                .to_owned(),
        );
    }
    for target in &config.targets {
        if Uuid::try_parse(target.client_secret.expose()).is_ok() {
            warnings.push(format!(
                "target.{}.client_secret looks like a Secret ID; Entra wants the secret's Value",
                target.name
            ));
        }
        if !target.enabled {
            warnings.push(format!("target.{} is not enabled", target.name));
        }
    }
    if config.admin.listen.ip().is_unspecified() {
        warnings.push("admin.listen is open to every network that reaches this host".to_owned());
    }
    warnings
}
