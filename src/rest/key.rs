//! Who the key belongs to: what it sees is the truth, as long as it is the same.

use serde_json::Value;

/// The user behind the key, from `/users/view/me`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub user: i64,
    pub organisation: i64,
    pub role: i64,
    /// Sees every event, whatever its distribution.
    pub site_admin: bool,
    /// For people, e.g. `readonly@relay.test of RELAY (2), role Read Only`.
    pub words: String,
}

impl Key {
    /// `None` if the answer is another.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let (user, role) = (answer.get("User")?, answer.get("Role")?);
        let organisation = number(user.get("org_id")?)?;
        let name = answer.get("Organisation").and_then(|found| text(found, "name"));
        let words = format!(
            "{} of {} ({organisation}), role {}",
            text(user, "email").unwrap_or("a user without an address"),
            name.unwrap_or("organisation"),
            text(role, "name").unwrap_or("without a name"),
        );
        Some(Self {
            user: number(user.get("id")?)?,
            organisation,
            role: number(user.get("role_id")?)?,
            site_admin: role.get("perm_site_admin").is_some_and(flag),
            words,
        })
    }
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// MISP writes numbers as numbers or as strings.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// MISP writes flags as booleans, numbers or strings.
pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| number(value) == Some(1))
}
