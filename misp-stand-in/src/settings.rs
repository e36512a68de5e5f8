//! Serves `/servers/getSetting/NAME` in the recorded shape. As in MISP, only site administrators may ask.

use axum::response::Response;
use serde_json::json;

use super::answer;
use super::key::Key;
use super::store::Misp;

impl Misp {
    /// Switches a setting of MISP off, or on again; all are on.
    pub fn switch(&self, setting: &str, on: bool) {
        self.with(|store| match on {
            true => store.off.remove(setting),
            false => store.off.insert(setting.to_owned()),
        });
    }
}

pub(super) fn answer(misp: &Misp, key: &Key, path: &str) -> Response {
    if !key.site_admin {
        const NO: &str = "You do not have permission to use this functionality.";
        return answer::error(403, NO, path);
    }
    let name = path.trim_start_matches("/servers/getSetting/");
    let on = misp.with(|store| !store.off.contains(name));
    let body = json!({
        "level": 2,
        "description": "A setting of the stand-in",
        "value": on,
        "test": "testBool",
        "type": "boolean",
        "name": name,
    });
    answer::document(200, body.to_string())
}
