//! Links between pages, and the index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::page::{pages, root};

fn all_pages() -> Vec<PathBuf> {
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    top.chain(pages(&root().join("docs"))).collect()
}

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
    for page in all_pages() {
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
