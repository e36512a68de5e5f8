//! The last touches before sending: the members of an indicator that are outside its fingerprint.

use super::time::push_member;

/// The object as sent: the body with `valid_until`, `created` and `modified`, Unix milliseconds.
/// The same arguments give the same bytes, so that a repeat is byte-identical.
#[must_use]
pub fn live(body: &str, valid_until: i64, created: i64, modified: i64) -> String {
    let mut object = String::with_capacity(body.len() + 128);
    object.push_str(body.strip_suffix('}').unwrap_or(body));
    push_member(&mut object, "valid_until", valid_until);
    push_member(&mut object, "created", created);
    push_member(&mut object, "modified", modified);
    object.push('}');
    object
}

/// A context object as sent, which has no validity: the body with `created` and `modified`, and
/// `revoked` where it is over.
#[must_use]
pub fn context(body: &str, revoked: bool, created: i64, modified: i64) -> String {
    let mut object = String::with_capacity(body.len() + 96);
    object.push_str(body.strip_suffix('}').unwrap_or(body));
    push_member(&mut object, "created", created);
    push_member(&mut object, "modified", modified);
    object.push_str(if revoked { ",\"revoked\":true}" } else { "}" });
    object
}
