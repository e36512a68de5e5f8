//! Checks the key that tells MISP of hits: whose it is, whether it may add sightings, and who sees them.

use serde_json::Value;

use super::diagnosis::{Diagnosis, Subject};
use super::misp::{PATIENCE, refused};
use crate::config::{Rest, Source};
use crate::misp_api::{Key, MispClient, RestError};

const SUBJECT: Subject<'static> = Subject("misp", "sightings");

const REMEDY: &str = "misp.sightings.key needs a user whose role has perm_sighting (User, Publisher, Sync user, or one of your own), and must not be a read-only key";

/// `reading`: the client with `misp.key`, whose user may be the only one who reads MISP's settings.
pub(super) async fn look(source: &Source, reading: &MispClient) -> Vec<Diagnosis> {
    let Some((rest, telling)) = source.rest.as_ref().zip(source.telling.as_ref()) else {
        return Vec::new();
    };
    let request_timeout = rest.request_timeout.min(PATIENCE);
    let rest = Rest { retries: 0, request_timeout, ..rest.clone() };
    let client = match MispClient::for_sightings(&rest, &telling.key) {
        Ok(client) => client,
        Err(error) => return vec![SUBJECT.error(error, "")],
    };
    match client.key().await {
        Ok(key) => vec![may_add(&client, &key).await, seen_by(&client, reading).await],
        Err(error) => vec![refused(SUBJECT, &error)],
    }
}

/// Asks MISP for a sighting of an attribute that there is not: a role and a key that may not are refused before.
async fn may_add(client: &MispClient, key: &Key) -> Diagnosis {
    if !key.may_sight {
        return SUBJECT.error(format!("{}: its role may not add sightings", key.words), REMEDY);
    }
    match client.may_add_sightings().await {
        Ok(()) => {
            let organisation = &key.view.organisation;
            SUBJECT.ok(format!(
                "{}: sightings of hits are of this organisation, {organisation}",
                key.words
            ))
        }
        Err(RestError::Refused { status, words, .. }) => {
            SUBJECT.error(format!("MISP refuses the key ({status}): {words}"), REMEDY)
        }
        Err(error) => refused(SUBJECT, &error),
    }
}

/// Tells who sees sightings in this MISP, if either key may read its setting.
async fn seen_by(client: &MispClient, reading: &MispClient) -> Diagnosis {
    const SETTING: &str = "Plugin.Sightings_policy";
    let mut read = client.setting(SETTING).await;
    if read.is_err() {
        read = reading.setting(SETTING).await;
    }
    match read {
        Ok(value) => {
            let (shown, words) = (shown(&value), meaning(&value));
            SUBJECT.note(format!(
                "{SETTING} is {shown}: {words}; servers with push_sightings carry sightings on"
            ))
        }
        Err(_) => SUBJECT.note(format!(
            "who sees sightings is not known: only a site administrator's key reads {SETTING}"
        )),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What MISP's values mean (`Sighting.php` of MISP 2.5.1).
fn meaning(value: &Value) -> &'static str {
    match shown(value).as_str() {
        "0" => "the owner of the event sees all, others their own",
        "1" => "who reported a sighting of the event sees all",
        "2" => "everybody who sees the event sees all",
        "3" => "the owner of the event, the host organisation and the reporter see a sighting",
        _ => "the relay does not know this value",
    }
}
