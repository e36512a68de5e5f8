//! Writes the configuration, and its secrets into files of their own. No file is overwritten, and only this
//! user can read them.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use toml::Value;

use super::answers::{Answers, SECRETS};
use crate::commands::output::write_new;
use crate::config::Secret;

const HEAD: &str = "\
# Made by `misp-sentinel-relay init`. It holds what differs from the defaults: config.toml.example documents
# every key. Variables such as MSR_LOG__LEVEL override it.
";

/// The sections in the order of config.toml.example, each with what is said of it. A target has its name.
const SECTIONS: [(&str, &str); 5] = [
    ("misp", "The source. What the user of the key sees is what the relay sends."),
    ("misp.zeromq", "The fast way: MISP's ZeroMQ feed."),
    ("ledger", "The relay's memory, on a local disk."),
    ("azure", "The way to Azure."),
    ("target", "A workspace. Write one such section for each; [target.NAME.policy] may differ."),
];

/// The files that were written.
#[derive(Debug)]
pub(super) struct Written {
    pub configuration: PathBuf,
    pub secrets: Vec<PathBuf>,
}

/// Writes the configuration and, unless they are to be `inside`, its secrets beside it.
///
/// # Errors
/// A file exists, or cannot be written.
pub(super) fn write(file: &Path, answers: &Answers, inside: bool) -> anyhow::Result<Written> {
    let secrets: Vec<PlacedSecret<'_>> = answers
        .secrets()
        .map(|(key, secret)| PlacedSecret::of(key, secret, answers, file, inside))
        .collect();
    let files = || secrets.iter().filter_map(|placed| Some((placed.file.as_ref()?, placed.secret)));
    for (file, _) in files() {
        refuse_existing(file)?;
    }
    if let Some(folder) = file.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
    }
    for (file, secret) in files() {
        write_new(file, secret.expose())?;
    }
    write_new(file, &text(answers, &secrets))?;
    let made = files().map(|(file, _)| file.clone()).collect();
    Ok(Written { configuration: file.to_owned(), secrets: made })
}

/// Refuses a file that is there for a secret which was given, or which the dialogue may ask for.
///
/// # Errors
/// There is such a file.
pub(super) fn refuse_old_secrets(
    file: &Path,
    answers: &Answers,
    inside: bool,
    asks: bool,
) -> anyhow::Result<()> {
    let given = answers.secrets().map(|(key, secret)| (key, secret.clone()));
    let to_come = SECRETS.into_iter().filter(|key| asks && answers.may_ask_for(key));
    let to_come = to_come.map(|key| (key, Secret::new("")));
    for (key, secret) in given.chain(to_come) {
        if let Some(file) = PlacedSecret::of(key, &secret, answers, file, inside).file {
            refuse_existing(&file)?;
        }
    }
    Ok(())
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    let (shown, exists) = (file.display(), file.try_exists()?);
    ensure!(
        !exists,
        "{shown} exists, and is left as it is\n  hint: move it away, give it as the answer (--misp-key-file, --zeromq-password-file, --client-secret-file), or name a file in another folder with --config"
    );
    Ok(())
}

/// A secret, and where it is written.
struct PlacedSecret<'a> {
    key: &'static str,
    secret: &'a Secret,
    /// The file for it; `None`: it stands in the configuration.
    file: Option<PathBuf>,
}

impl<'a> PlacedSecret<'a> {
    fn of(
        key: &'static str,
        secret: &'a Secret,
        answers: &Answers,
        beside: &Path,
        inside: bool,
    ) -> Self {
        let name = match key {
            "misp.key" => "misp.secret".to_owned(),
            "misp.zeromq.password" => "zeromq.secret".to_owned(),
            _ => format!("{}.secret", answers.target),
        };
        // Of a secret that lies elsewhere, the configuration only says where.
        let is_elsewhere =
            ["env:", "file:", "vault:"].iter().any(|kind| secret.expose().starts_with(kind));
        let file = (!inside && !is_elsewhere).then(|| beside.with_file_name(name));
        Self { key, secret, file }
    }
}

fn text(answers: &Answers, secrets: &[PlacedSecret<'_>]) -> String {
    let mut lines: Vec<(String, String)> = answers
        .texts()
        .map(|(key, text)| (key.to_owned(), value(key, text)))
        .chain(secrets.iter().map(|PlacedSecret { key, secret, file }| match file {
            Some(file) => (format!("{key}_file"), value(key, &file.display().to_string())),
            None => ((*key).to_owned(), value(key, secret.expose())),
        }))
        .collect();
    lines.sort_by_key(|(key, _)| place(key));
    let mut page = HEAD.to_owned();
    for (section, about) in SECTIONS {
        let of_section: Vec<_> =
            lines.iter().filter_map(|(key, value)| Some((leaf(key, section)?, value))).collect();
        if of_section.is_empty() {
            continue;
        }
        let name = answers.path(&format!("{section}."));
        // Writing to a string cannot fail.
        writeln!(page, "\n# {about}\n[{}]", name.trim_end_matches('.')).ok();
        for (leaf, value) in of_section {
            writeln!(page, "{leaf} = {value}").ok();
        }
    }
    page
}

/// Returns the rest of a key that stands in a section itself, and not in one below it.
fn leaf<'k>(key: &'k str, section: &str) -> Option<&'k str> {
    let leaf = key.strip_prefix(section)?.strip_prefix('.')?;
    (!leaf.contains('.')).then_some(leaf)
}

/// The keys in the order in which people think of them. All others follow.
fn place(key: &str) -> usize {
    const ORDER: [&str; 12] = [
        "misp.url",
        "misp.public_url",
        "misp.key",
        "misp.zeromq.endpoints",
        "misp.zeromq.username",
        "target.mode",
        "target.workspace_id",
        "target.credential",
        "target.tenant_id",
        "target.client_id",
        "target.client_secret",
        "target.endpoint",
    ];
    let key = key.strip_suffix("_file").unwrap_or(key);
    ORDER.iter().position(|one| *one == key).unwrap_or(ORDER.len())
}

/// Returns the value as TOML.
fn value(key: &str, text: &str) -> String {
    let string = |text: &str| Value::String(text.to_owned());
    match key {
        "misp.zeromq.endpoints" => {
            Value::Array(text.split(',').map(|one| string(one.trim())).collect()).to_string()
        }
        "misp.verify_tls" if matches!(text, "true" | "false") => text.to_owned(),
        _ => string(text).to_string(),
    }
}
