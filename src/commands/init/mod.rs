//! The command `init` asks for the settings that every configuration needs, tries each answer, and writes the file.
//! Nothing is written before the last answer.

mod answers;
mod dialogue;
mod next;
mod page;
mod question;
mod trial;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, anyhow, ensure};
use clap::Args;

use super::check::Severity;
use super::output::print_to_copy;
use crate::config::{ConfigSource, DEFAULT_FILE};
use answers::Answers;
use question::{STEPS, Step};
use trial::Trial;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct InitOptions {
    /// Ask nothing: these options, MSR_ variables and defaults are the answers. Without a terminal on
    /// standard input nothing is asked either
    #[arg(long)]
    pub yes: bool,

    /// Do not try the answers
    #[arg(long)]
    pub no_test: bool,

    /// Write the secrets into the configuration, and not into files of their own beside it
    #[arg(long)]
    pub secrets_inside: bool,

    /// Address of MISP, e.g. `https://misp.example.org`
    #[arg(long, value_name = "URL")]
    pub misp_url: Option<String>,

    /// Address of MISP for browsers, if it is another one
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// File that holds the key of a MISP user with the role Read Only
    #[arg(long, value_name = "FILE")]
    pub misp_key_file: Option<PathBuf>,

    /// PEM file with the authority of MISP's certificate, or with the certificate itself
    #[arg(long, value_name = "FILE")]
    pub misp_ca_file: Option<PathBuf>,

    /// Publisher of MISP's ZeroMQ feed, e.g. tcp://misp-core:50000
    #[arg(long, value_name = "ENDPOINT")]
    pub zeromq: Option<String>,

    /// MISP's Plugin.ZeroMQ_username
    #[arg(long, value_name = "NAME")]
    pub zeromq_username: Option<String>,

    /// File that holds MISP's Plugin.ZeroMQ_password
    #[arg(long, value_name = "FILE")]
    pub zeromq_password_file: Option<PathBuf>,

    /// Name of the target: a-z, 0-9 and -
    #[arg(long, value_name = "NAME", default_value = "sentinel")]
    pub target: String,

    /// Workspace ID, on the workspace's Overview page
    #[arg(long, value_name = "UUID")]
    pub workspace_id: Option<String>,

    /// How to sign in: client-secret, certificate, managed-identity, workload-identity,
    /// federated-managed-identity or azure-cli
    #[arg(long, value_name = "KIND")]
    pub credential: Option<String>,

    /// Directory (tenant) ID of the application
    #[arg(long, value_name = "ID")]
    pub tenant_id: Option<String>,

    /// Application (client) ID
    #[arg(long, value_name = "UUID")]
    pub client_id: Option<String>,

    /// File that holds the Value of the client secret
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,

    /// PEM or PKCS#12 file with the certificate and its RSA key
    #[arg(long, value_name = "FILE")]
    pub certificate_file: Option<PathBuf>,

    /// live, or dry-run: what would be sent is only written to a file
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Folder of the ledger
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// The exit code if an answer was kept that failed when it was tried.
const KEPT_A_FAULT: u8 = 1;

/// Asks, tries, writes, and tells what comes next. Returns the exit code: 1 if an answer was kept that failed.
///
/// # Errors
/// A file exists, the answers are no configuration, the dialogue was ended early, or a file cannot be
/// written.
pub(super) async fn init(settings: &ConfigSource, options: &InitOptions) -> anyhow::Result<u8> {
    let file = settings.used_file().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let file = absolute(&file).with_context(|| format!("find {}", file.display()))?;
    refuse_existing(&file)?;
    refuse_closed_folder(&file)?;
    let asks = !options.yes && io::stdin().is_terminal();
    let mut answers = Answers::given(options, settings, &file)?;
    page::refuse_old_secrets(&file, &answers, options.secrets_inside, asks)?;
    let trial = Trial { environment: &settings.environment, is_wanted: !options.no_test };
    let mut has_fault = false;
    for step in &STEPS {
        has_fault |= match asks {
            true => ask(step, &mut answers, &trial).await?,
            false => take(step, &mut answers, &trial).await?,
        };
    }
    // Mistakes come before the first file: half of a configuration helps nobody.
    trial.settings(&answers).read(Default::default()).map_err(|wrong| answers.blamed(wrong))?;
    let written = page::write(&file, &answers, options.secrets_inside)?;
    let left = answers.left_in_environment(settings);
    print_to_copy(&next::words(&written, &answers, &left))?;
    Ok(if has_fault { KEPT_A_FAULT } else { 0 })
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    let shown = file.display();
    ensure!(
        !file.try_exists().map_err(|error| unwritable(file, &error))?,
        "{shown} exists, and is left as it is\n  hint: name another file with --config, or move this one away"
    );
    Ok(())
}

/// Tries whether this user can make the file, and the folders that it still needs. Nothing stays of that.
fn refuse_closed_folder(file: &Path) -> anyhow::Result<()> {
    let folder = file.ancestors().skip(1).find(|folder| folder.exists());
    let tried = tempfile::tempfile_in(folder.unwrap_or(file));
    tried.map(drop).map_err(|error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &io::Error) -> anyhow::Error {
    let (shown, why) = (file.display(), error.kind());
    anyhow!(
        "{shown} cannot be made: {why}\n  hint: name a file with --config, or run it as the service's user"
    )
}

/// Asks the questions of a step until what was answered works, or is kept. Returns whether it failed.
async fn ask(step: &Step, answers: &mut Answers, trial: &Trial<'_>) -> anyhow::Result<bool> {
    dialogue::begin(step.title)?;
    let mut is_again = false;
    loop {
        for question in step.questions {
            if question.is_due(answers, is_again) {
                dialogue::ask(question, answers)?;
            }
        }
        let worst = trial.try_step(step, answers).await?;
        if worst < Severity::Error {
            return Ok(false);
        }
        if !dialogue::wants_to_correct()? {
            return Ok(true);
        }
        is_again = true;
    }
}

/// Takes the answers of a step as they were given. Returns whether they failed.
async fn take(step: &Step, answers: &mut Answers, trial: &Trial<'_>) -> anyhow::Result<bool> {
    for question in step.questions {
        if !question.is_secret && question.is_due(answers, false) {
            answers.take_suggestion(question.key);
        }
    }
    Ok(trial.try_step(step, answers).await? == Severity::Error)
}
