//! Shows what the sandbox holds: as an HTML page for people, and as JSON for scripts.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Html;
use serde::Serialize;
use uuid::Uuid;

use super::life::{HeldObject, Life};
use super::state::{self, World};

/// `GET /objects`: all objects of all workspaces.
pub(super) async fn objects(State(world): State<Arc<World>>) -> Json<Vec<InWorkspace>> {
    let workspaces = &world.settings.workspaces;
    let all = workspaces.iter().flat_map(|workspace| {
        let held = world.with(|state| state.objects(*workspace));
        held.into_iter().map(|held| InWorkspace { workspace: *workspace, held })
    });
    Json(all.collect())
}

#[derive(Debug, Serialize)]
pub(super) struct InWorkspace {
    workspace: Uuid,
    #[serde(flatten)]
    held: HeldObject,
}

/// `GET /`
pub(super) async fn page(State(world): State<Arc<World>>) -> Html<String> {
    Html(world.with(|state| render(state, &world.settings.workspaces)))
}

fn render(state: &state::SandboxState, workspaces: &[Uuid]) -> String {
    let mut page = String::from(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <title>Sandbox</title><style>body{font:15px system-ui;margin:2em}table{border-collapse:\
         collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}</style>\
         <h1>Microsoft Sentinel sandbox</h1>\
         <table><tr><th>workspace<th>objects<th>indicators live<th>not yet valid<th>revoked, not over\
         <th>over<th>writes",
    );
    for workspace in workspaces {
        let (objects, now) = (state.objects(*workspace), state.now());
        let lives: Vec<Life> =
            objects.iter().filter_map(|held| Life::of(&held.json, now)).collect();
        let count = |life: Life| lives.iter().filter(|one| **one == life).count();
        let [live, later, revoked, over] =
            [Life::Live, Life::NotYet, Life::Revoked, Life::Over].map(count);
        let writes = objects.iter().map(|held| held.writes).sum();
        let figures = [objects.len(), live, later, revoked, over, writes];
        let figures = figures.map(|figure| figure.to_string());
        row(&mut page, [workspace.to_string()].into_iter().chain(figures));
    }
    let (sign_ins, uploads) = (state.sign_ins, state.uploads.len());
    // Writing to a String cannot fail.
    let _written = write!(
        page,
        "</table><p>{sign_ins} sign-ins, {uploads} upload requests; <a href=/objects>all objects as JSON</a></p><h2>Last accepted</h2>\
         <table><tr><th>id<th>source<th>pattern<th>valid_until<th>revoked<th>writes"
    );
    for held in state.latest.iter().rev() {
        let text = |property: &str| match held.json.get(property) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let times = [text("valid_until"), text("revoked"), held.writes.to_string()];
        let named = [held.id.clone(), held.sourcesystem.clone(), text("pattern")];
        row(&mut page, named.into_iter().chain(times));
    }
    page.push_str("</table></html>");
    page
}

fn row(page: &mut String, cells: impl Iterator<Item = String>) {
    page.push_str("<tr>");
    for cell in cells {
        page.push_str("<td>");
        page.push_str(&cell.replace('&', "&amp;").replace('<', "&lt;"));
    }
}
