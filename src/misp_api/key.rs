//! Parses MISP's answer about the user of the auth key (`/users/view/me`). `KeysView` holds what decides
//! which events MISP shows to that user; `intake::rest::key` checks that it stays the same.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The user to whom the key belongs, from `/users/view/me`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub user: i64,
    pub role: i64,
    /// The number of the organisation in MISP.
    pub organisation: i64,
    pub view: KeysView,
    /// The day on which the user expires. `None`: MISP names none. It never says here when the key expires.
    pub expires: Option<NaiveDate>,
    /// `perm_sighting`: the role may add sightings. A read-only key of it may not all the same.
    pub may_sight: bool,
    /// A description for people, e.g. `readonly@relay.test of RELAY (2), role Read Only`.
    pub words: String,
}

/// The properties of a key that decide which events and attributes MISP shows to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysView {
    /// The uuid of the organisation, or its number if MISP sends no uuid.
    pub organisation: String,
    /// `perm_site_admin`: the key sees every event, whatever its distribution.
    pub site_admin: bool,
    /// `perm_sync`: the key sees what synchronisation users see.
    pub sync: bool,
}

impl Key {
    /// Reads MISP's answer. `None`: the answer has another form.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let (user, role) = (answer.get("User")?, answer.get("Role")?);
        let number_of_organisation = number(user.get("org_id")?)?;
        let organisation = |key| answer.get("Organisation").and_then(|found| text(found, key));
        let words = format!(
            "{} of {} ({number_of_organisation}), role {}",
            text(user, "email").unwrap_or("a user without an address"),
            organisation("name").unwrap_or("organisation"),
            text(role, "name").unwrap_or("without a name"),
        );
        let uuid = organisation("uuid").map(str::to_lowercase).filter(|uuid| !uuid.is_empty());
        Some(Self {
            user: number(user.get("id")?)?,
            role: number(user.get("role_id")?)?,
            organisation: number_of_organisation,
            view: KeysView {
                organisation: uuid.unwrap_or_else(|| number_of_organisation.to_string()),
                site_admin: role.get("perm_site_admin").is_some_and(flag),
                sync: role.get("perm_sync").is_some_and(flag),
            },
            expires: text(user, "expiration").and_then(day),
            may_sight: role.get("perm_sighting").is_some_and(flag),
            words,
        })
    }
}

/// Parses the day of a date, or of a date with a time.
fn day(text: &str) -> Option<NaiveDate> {
    text.get(.."2026-12-31".len())?.parse().ok()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// Reads a number. MISP writes numbers as numbers or as strings.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Reads a flag. MISP writes flags as booleans, numbers or strings.
pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| number(value) == Some(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RELAY: &str = "f188eb93-968b-4111-8fb2-22f7c662bcd5";
    const TESTORG: &str = "4028eff6-8b64-45f8-ac36-ff18b327dc76";

    /// The answers of a MISP 2.5.1 for three users.
    #[test]
    fn the_recorded_users_are_read() {
        let organisation = "RELAY & Söhne \"Org\" (2)";
        let recorded = [
            (
                "readonly",
                [2, 6, 2],
                (RELAY, false, false),
                format!("readonly@relay.test of {organisation}, role Read Only"),
            ),
            (
                "sync",
                [3, 5, 2],
                (RELAY, false, true),
                format!("sync@relay.test of {organisation}, role Sync user"),
            ),
            (
                "siteadmin",
                [1, 1, 1],
                (TESTORG, true, true),
                "admin@admin.test of TESTORG (1), role admin".to_owned(),
            ),
        ];
        for (name, [user, role, number], (uuid, site_admin, sync), words) in recorded {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/rest-api");
            let path = format!("{folder}/users_view_me_{name}.response.http");
            let answer = std::fs::read_to_string(path).unwrap();
            let (start, end) = (answer.find("\n{").unwrap(), answer.rfind('}').unwrap());
            let body = answer.get(start..=end).unwrap();
            let key = Key::read(&serde_json::from_str(body).unwrap()).unwrap();
            let view = KeysView { organisation: uuid.to_owned(), site_admin, sync };
            let may_sight = name != "readonly";
            let expected =
                Key { user, role, organisation: number, view, expires: None, may_sight, words };
            assert_eq!(key, expected);
        }
    }

    #[test]
    fn another_answer_is_no_key() {
        let user = json!({"id": "1", "org_id": "1", "role_id": "1"});
        assert_eq!(Key::read(&json!({"User": user})), None);
        for missing in ["id", "org_id", "role_id"] {
            let mut user = user.clone();
            user.as_object_mut().unwrap().remove(missing);
            assert_eq!(Key::read(&json!({"User": user, "Role": {}})), None, "{missing}");
        }
    }

    #[test]
    fn numbers_and_flags_come_in_three_spellings() {
        for seven in [json!(7), json!("7"), json!(" 7 ")] {
            assert_eq!(number(&seven), Some(7), "{seven}");
        }
        for none in [json!("x"), json!(null), json!(true)] {
            assert_eq!(number(&none), None, "{none}");
        }
        for on in [json!(true), json!(1), json!("1")] {
            assert!(flag(&on), "{on}");
        }
        for off in [json!(false), json!(0), json!("0"), json!(null), json!("")] {
            assert!(!flag(&off), "{off}");
        }
    }

    #[test]
    fn a_user_may_expire() {
        let expires = |expiration: Value| {
            let user = json!({"id": "1", "org_id": "1", "role_id": "1", "expiration": expiration});
            Key::read(&json!({"User": user, "Role": {"id": "1"}})).unwrap().expires
        };
        let day = NaiveDate::from_ymd_opt(2026, 12, 31);
        assert_eq!(expires(json!("2026-12-31 00:00:00")), day);
        assert_eq!(expires(json!("2026-12-31")), day);
        for none in [json!(null), json!(""), json!("never"), json!(7)] {
            assert_eq!(expires(none), None);
        }
    }
}
