//! The frame of every page: the head, the heading, the ways between pages. Links are relative, so that the pages also
//! work below a path of a reverse proxy.

use maud::{DOCTYPE, Markup, html};

/// Which page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The overview, which loads itself again.
    Live,
    /// The overview, which stays as it is: whoever reads it or listens to it is not interrupted.
    Paused,
    Search,
    SignIn,
}

/// After how many seconds the overview loads itself again.
const AGAIN: u32 = 5;

/// A small icon. Without one, browsers ask for /favicon.ico.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%230a4fb0'/%3E%3Cpath d='M3 8h8M8 4l4 4-4 4' stroke='white' stroke-width='2' fill='none'/%3E%3C/svg%3E";

/// Puts a page into its frame. `title` is that of the window.
pub(super) fn frame(page: Page, title: &str, subtitle: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                @if page == Page::Live {
                    meta http-equiv="refresh" content=(AGAIN);
                }
                title { (title) " – misp-sentinel-relay" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(concat!("style.css?", env!("CARGO_PKG_VERSION")));
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    div {
                        h1 { "misp-sentinel-relay" }
                        p.dim { (subtitle) }
                    }
                    @if page != Page::SignIn {
                        (ways(page))
                    }
                }
                main #content { (content) }
            }
        }
    }
}

fn ways(page: Page) -> Markup {
    let is_overview = matches!(page, Page::Live | Page::Paused);
    let (state, href, words) = match page {
        Page::Paused => ("Paused. ", "./", "Go on"),
        Page::Live | Page::Search | Page::SignIn => {
            ("Loads again every 5 s. ", "./?paused", "Pause")
        }
    };
    html! {
        nav aria-label="Pages" {
            ul {
                li { a href="./" aria-current=[is_overview.then_some("page")] { "Overview" } }
                li {
                    a href="search" aria-current=[(page == Page::Search).then_some("page")] { "Search" }
                }
                @if is_overview {
                    li { span.dim { (state) } a href=(href) { (words) } }
                }
            }
        }
    }
}
