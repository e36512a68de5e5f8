//! Tests the pages: their links lead somewhere, the files that they name exist, the index names every page,
//! the first pages are short, and the tests named in ARCHITECTURE.md exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::page::{self, pages, root};

/// The first pages stay short: bytes at most.
const SHORT: [(&str, usize); 2] = [("README.md", 8_000), ("ARCHITECTURE.md", 9_000)];

/// The page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    text.split("\n```").step_by(2).collect::<Vec<&str>>().join("\n")
}

/// Targets of the links on a page, those to other hosts left out.
fn links(page: &Path) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

/// Where GitHub lets a link point to on a page.
fn anchors(page: &Path) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let is_kept = |sign: &char| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_');
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in page::all() {
        for link in links(&page) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let is_there =
                target.exists() && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut missing = Vec::new();
    for page in page::all().into_iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        let prose = prose(&page);
        let is_file = |code: &&str| code.ends_with(".rs") && !code.contains(char::is_whitespace);
        for file in prose.split('`').skip(1).step_by(2).filter(is_file) {
            if !root().join(file).exists() && !root().join("src").join(file).exists() {
                missing.push(format!("{}: {file}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_index_names_every_page() {
    let index = root().join("docs/README.md");
    let folder = index.parent().unwrap();
    let decisions = folder.join("decisions/README.md");
    let named = [&index, &decisions].into_iter().flat_map(|page| {
        let links = links(page).into_iter();
        links.map(|link| page.parent().unwrap().join(link.split('#').next().unwrap()))
    });
    let named: BTreeSet<PathBuf> = named.collect();
    let missing: Vec<PathBuf> =
        pages(folder).into_iter().filter(|page| *page != index && !named.contains(page)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_first_pages_are_short() {
    for (page, most) in SHORT {
        let bytes = std::fs::metadata(root().join(page)).unwrap().len();
        assert!(bytes <= most as u64, "{page} has {bytes} bytes, at most {most} are wanted");
    }
}

#[test]
fn what_holds_each_invariant_exists() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = page.split_once("| held by |").unwrap();
    let names: Vec<&str> = table.lines().filter_map(|row| row.rsplit('|').nth(1)).collect();
    let names: Vec<&str> =
        names.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 15, "{names:?}");
    let text = ["src", "tests"].map(|folder| page::sources(&root().join(folder))).concat();
    let is_there = |name: &str| match name.contains('-') {
        true => text.contains(&format!("\"{name}\"")),
        false => text.contains(&format!("fn {name}(")),
    };
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
