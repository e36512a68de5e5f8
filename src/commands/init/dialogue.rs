//! Asks the operator on the terminal. The terminal itself edits the lines, and a secret is not shown.

use std::io::{self, Write};

use anyhow::bail;
use console::Term;

use super::answers::Answers;
use super::question::Question;
use crate::config::Secret;

/// The word for no answer, where an empty line stands for another one.
const NONE: &str = "none";

/// Prints the title of a step.
pub(super) fn begin(title: &str) -> io::Result<()> {
    writeln!(io::stdout(), "\n{title}")
}

/// Asks a question. An empty line takes what stands in brackets.
///
/// # Errors
/// The input has ended, or the terminal is gone.
pub(super) fn ask(question: &Question, answers: &mut Answers) -> anyhow::Result<()> {
    let (key, words) = (question.key, question.words);
    if question.is_secret {
        let shown = if answers.holds(key) { " [as before]" } else { "" };
        print(&format!("  {words}{shown}: "))?;
        let text = Term::stdout().read_secure_line()?;
        match text.trim() {
            "" => {}
            NONE => answers.forget_secret(key),
            text => answers.answer_secret(key, Secret::new(text)),
        }
        return Ok(());
    }
    let suggestion = answers.suggestion(key);
    let shown = if suggestion.is_empty() { String::new() } else { format!(" [{suggestion}]") };
    let line = line(&format!("  {words}{shown}: "))?;
    let text = match line.trim() {
        "" => suggestion,
        NONE => String::new(),
        text => text.to_owned(),
    };
    answers.answer(key, text);
    Ok(())
}

/// Asks whether to answer the step again, after it failed.
///
/// # Errors
/// The input has ended, or the terminal is gone.
pub(super) fn wants_to_correct() -> anyhow::Result<bool> {
    let line = line("  Answer again? n keeps these answers [Y/n]: ")?;
    Ok(!line.trim().to_lowercase().starts_with('n'))
}

fn line(prompt: &str) -> anyhow::Result<String> {
    print(prompt)?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        bail!("ended before the last answer: nothing is written");
    }
    Ok(line)
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
