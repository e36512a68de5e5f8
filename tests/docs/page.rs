//! Compares a page with its generated parts, which stand between `<!-- made: NAME -->` and `<!-- end: NAME
//! -->`. All other text on a page is written by hand.

use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails when the page is behind the program. With `UPDATE_DOCS=1` it writes the page instead.
pub(crate) fn holds(path: &str, parts: &[(&str, String)]) {
    let file = root().join(path);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.matches("<!-- made: ").count(), parts.len(), "{path}");
    let mut made = written.clone();
    for (name, text) in parts {
        let (begin, end) = (format!("<!-- made: {name} -->"), format!("<!-- end: {name} -->"));
        let (before, rest) = made.split_once(&begin).expect(&begin);
        let (_, after) = rest.split_once(&end).expect(&end);
        made = format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    } else if made != written {
        panic!("{path} is behind the program; `UPDATE_DOCS=1 cargo test --test docs` rewrites it");
    }
}

/// Markdown files below a folder.
pub(crate) fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => pages(&path),
        false => vec![path],
    });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Every page of the project: those at its root, and those of `docs/` and `sentinel/`.
pub(crate) fn all() -> Vec<PathBuf> {
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    top.chain(["docs", "sentinel"].map(|folder| pages(&root().join(folder))).concat()).collect()
}

/// Source files below a folder, as one text.
pub(crate) fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter_map(|path| match path.is_dir() {
        true => Some(sources(&path)),
        false if path.extension().is_some_and(|extension| extension == "rs") => {
            Some(std::fs::read_to_string(&path).unwrap())
        }
        false => None,
    });
    texts.collect()
}

/// As code in a table, where a bar must be escaped.
pub(crate) fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}
