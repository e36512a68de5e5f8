//! Answers the requests of people's browsers: who may look, the overview, the search and the sign-in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::desk::{Desk, PATIENCE};
use super::page::{self, Searched, Sight};
use super::request::Explain;
use super::shared::Made;
use super::visitor::Visitors;
use crate::http::fields::Fields;
use crate::pure::explain::{ExplainLine, Story, tag_name};
use crate::pure::policy::Tlp;
use crate::recent::History;

/// How long a search may take, MISP's answers included.
const SEARCH: Duration = Duration::from_secs(10);

/// How many stories a search shows.
const MOST_STORIES: usize = 20;

/// How many notes a search shows.
const MOST_NOTES: usize = 20;

/// How many characters a search may name.
const LONGEST: usize = 1_000;

/// Refuses a request under a name that is not ours, and one that a page of another site makes in secret: each search
/// has MISP asked.
pub(super) async fn know_the_name(
    State(desk): State<Arc<Desk>>,
    request: Request,
    next: Next,
) -> Response {
    if Visitors::is_embedded(request.headers()) {
        let words = "a page of another site asked for this; open it by itself\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    if desk.visitors.is_named(request.headers()) {
        return next.run(request).await;
    }
    let words = "this relay is not known under the name in the request's Host header; ask for it as localhost or by its address, or add the name to admin.hosts\n";
    (StatusCode::MISDIRECTED_REQUEST, words).into_response()
}

/// Refuses a request without the token, where one is set. People get the form to sign in.
pub(super) async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    if desk.visitors.may_look(request.headers()) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    if is_browser(request.headers()) {
        return (StatusCode::UNAUTHORIZED, challenge, page::sign_in(false)).into_response();
    }
    let words = "show admin.token, as the header Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, challenge, words).into_response()
}

fn is_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// Takes the token from the form, and gives a cookie for it.
pub(super) async fn sign_in(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    // A body that drips must not hold its connection for ever.
    let form = match timeout(PATIENCE, String::from_request(request, &())).await {
        Ok(Ok(form)) => Fields::of(&form),
        Ok(Err(refused)) => return refused.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    if !desk.visitors.is_token(form.get("token").as_bytes()) {
        return (StatusCode::UNAUTHORIZED, page::sign_in(true)).into_response();
    }
    let headers =
        [(header::SET_COOKIE, desk.visitors.cookie()), (header::LOCATION, "./".to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

pub(super) async fn overview(State(desk): State<Arc<Desk>>, uri: Uri) -> Response {
    let paused = uri.query() == Some("paused");
    match desk.status.get(&desk.services).await {
        Ok(made) => {
            let history = desk.services.ledger.recent().now();
            page::overview(sight(&desk, &made, &history), paused).into_response()
        }
        Err(error) => {
            let words = page::fault(&format!("The ledger cannot be read: {error}"));
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}

pub(super) async fn search(State(desk): State<Arc<Desk>>, uri: Uri) -> Response {
    let fields = Fields::of(uri.query().unwrap_or_default());
    let asked = fields.get("q").trim();
    let show_tlp = desk.show_tlp;
    let is_too_long = asked.chars().count() > LONGEST;
    let (code, asked, found) = if is_too_long {
        let ended = Some(format!("It is longer than {LONGEST} characters."));
        (StatusCode::BAD_REQUEST, "", Some(Searched { ended, ..Searched::default() }))
    } else if asked.is_empty() {
        (StatusCode::OK, "", None)
    } else {
        (StatusCode::OK, asked, Some(find(&desk, asked).await))
    };
    // Without a status the search tells all the same.
    let made = desk.status.get(&desk.services).await.ok();
    let history = desk.services.ledger.recent().now();
    let sight = made.as_deref().map(|made| sight(&desk, made, &history));
    (code, page::search(asked, found.as_ref(), show_tlp, sight)).into_response()
}

fn sight<'s>(desk: &Desk, made: &'s Made, history: &'s History) -> Sight<'s> {
    let Made { status, withdrawn, as_of, .. } = made;
    let (now, show_tlp) = (Utc::now(), desk.show_tlp);
    Sight { status, as_of: *as_of, withdrawn, history, now, show_tlp }
}

/// Finds out what became of something, within a time and one search after the other.
async fn find(desk: &Desk, asked: &str) -> Searched {
    let mut found = Searched::default();
    let Ok(_turn) = timeout(SEARCH, desk.searching.acquire()).await else {
        let words = "Another search is under way. Ask again in a moment.";
        return Searched { ended: Some(words.to_owned()), ..found };
    };
    let ended = timeout(SEARCH, gather(desk, asked, &mut found)).await;
    found.ended = ended.unwrap_or_else(|_| {
        let words = "The search was ended after 10 s: `misp-sentinel-relay explain` takes longer.";
        Some(words.to_owned())
    });
    found
}

/// Gathers what the command `explain` would print. Returns why there is no more, unless that is all.
async fn gather(desk: &Desk, asked: &str, found: &mut Searched) -> Option<String> {
    let (lines, mut told) = mpsc::channel(1);
    let asked = Explain { what: asked.to_owned(), stix: false };
    let mut explaining = (desk.explain.execute)(&desk.services, asked, lines);
    let mut failed = None;
    let mut is_over = false;
    loop {
        let line = tokio::select! {
            line = told.recv() => line,
            explained = &mut explaining, if !is_over => {
                (is_over, failed) = (true, explained.err());
                continue;
            }
        };
        match line {
            None => return failed.map(|error| format!("{error:#}")),
            Some(ExplainLine::Note(note)) if found.notes.len() < MOST_NOTES => {
                found.notes.push(note)
            }
            Some(ExplainLine::Story(story)) if found.stories.len() < MOST_STORIES => {
                let level = level_of(desk, &story);
                found.stories.push((*story, level));
            }
            // Nobody listens any more, and so it ends.
            Some(_) => {
                let words = "There is more: `misp-sentinel-relay explain` shows all of it.";
                return Some(words.to_owned());
            }
        }
    }
}

/// Returns the strictest level that the tags of an attribute and its event say. `None`: they could not be read.
fn level_of(desk: &Desk, story: &Story) -> Option<Tlp> {
    let levels = desk.services.views.iter().map(|view| {
        // A tag that was taken off since the publication counts too, as it does for policy.
        view.strictest(story.tags.iter().map(|tag| tag_name(tag)))
    });
    levels.max().filter(|_| story.is_read())
}
