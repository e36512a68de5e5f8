//! Tries the answers of a step, with the steps of `check`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::answers::Answers;
use super::question::{Part, Step};
use crate::admin::Needs;
use crate::commands::check::{Diagnosis, Severity, parts};
use crate::commands::output::print;
use crate::config::{Config, ConfigSource, Mistakes, Mode, variable};

/// How long MISP's feed may be silent: MISP says something at least every 10 s.
const SILENCE: Duration = Duration::from_secs(12);

/// What stands for answers that are still to come. The steps that need them are not tried before.
const UNKNOWN: [(&str, &str); 5] = [
    ("misp.zeromq.endpoints", "tcp://127.0.0.1:50000"),
    ("target.workspace_id", "00000000-0000-4000-8000-000000000000"),
    ("target.tenant_id", "example.onmicrosoft.com"),
    ("target.client_id", "00000000-0000-4000-8000-000000000000"),
    ("target.client_secret", "unknown"),
];

/// A file without settings: the answers are the configuration, and not a file of this machine.
const NO_FILE: &str = "/dev/null";

pub(super) struct Trial<'e> {
    /// The environment of this process, whose variables count as they will for `run`.
    pub environment: &'e [(String, String)],
    pub is_wanted: bool,
}

impl Trial<'_> {
    /// Returns the answers as a source of settings. Nothing is written for that, so secrets stay in memory.
    pub(super) fn settings(&self, answers: &Answers) -> ConfigSource {
        let mut variables: BTreeMap<String, String> = self.environment.iter().cloned().collect();
        for (key, text) in answers.texts() {
            variables.insert(variable(&answers.path(key)), text.to_owned());
        }
        for (key, secret) in answers.secrets() {
            variables.insert(variable(&answers.path(key)), secret.expose().to_owned());
        }
        ConfigSource {
            file: Some(PathBuf::from(NO_FILE)),
            environment: variables.into_iter().collect(),
        }
    }

    /// Tries the answers of a step and prints what was found. Returns the worst of it.
    pub(super) async fn try_step(
        &self,
        step: &Step,
        answers: &Answers,
    ) -> anyhow::Result<Severity> {
        if !self.is_wanted {
            return Ok(Severity::Ok);
        }
        let found = match self.configuration(step.part, answers).await {
            Ok(config) => try_part(step.part, config).await,
            Err(error) => parts::of_error(&error),
        };
        let text: String = found.iter().map(Diagnosis::text).collect();
        print(&text)?;
        Ok(found.iter().map(|one| one.severity).max().unwrap_or(Severity::Ok))
    }

    /// Returns the configuration as far as it is known, with made-up values for the steps to come.
    async fn configuration(&self, part: Part, answers: &Answers) -> anyhow::Result<Config> {
        let mut settings = self.settings(answers);
        let is_before_target = matches!(part, Part::Source | Part::Feed);
        if is_before_target {
            // What options say of the target is judged when its turn comes.
            let own = variable(&answers.path("target."));
            settings.environment.retain(|(name, _)| !name.starts_with(&own));
        }
        for (key, text) in UNKNOWN {
            let name = variable(&answers.path(key));
            let is_to_come =
                is_before_target && (key.starts_with("target.") || part == Part::Source);
            let is_known = settings.environment.iter().any(|(other, _)| *other == name);
            if is_to_come && !is_known {
                settings.environment.push((name, text.to_owned()));
            }
        }
        settings.load(Needs::Secrets).await.map_err(|error| match error.downcast::<Mistakes>() {
            Ok(mistakes) => answers.blamed(mistakes).into(),
            Err(error) => error,
        })
    }
}

async fn try_part(part: Part, mut config: Config) -> Vec<Diagnosis> {
    match part {
        Part::Source => parts::misp(&config).await,
        Part::Feed => parts::feed(&config, SILENCE).await,
        Part::Target => {
            // A dry run asks nobody, and the credential should be right all the same.
            config.targets.iter_mut().for_each(|target| target.mode = Mode::Live);
            parts::targets(&config).await
        }
        Part::Ledger => parts::ledger(&config).await,
    }
}
