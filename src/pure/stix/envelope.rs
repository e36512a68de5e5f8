//! Completes the stored body of an object for sending: it adds the members that the body does not hold, such
//! as `valid_until`, `created` and `modified`. The same arguments give the same bytes.

use super::time::push_member;

/// The object as sent: the body with `valid_until`, `created` and `modified`, Unix milliseconds.
/// The same arguments give the same bytes, so that a repeat is byte-identical.
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
pub fn context(body: &str, revoked: bool, created: i64, modified: i64) -> String {
    let mut object = String::with_capacity(body.len() + 96);
    object.push_str(body.strip_suffix('}').unwrap_or(body));
    push_member(&mut object, "created", created);
    push_member(&mut object, "modified", modified);
    object.push_str(if revoked { ",\"revoked\":true}" } else { "}" });
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sending_adds_stands_behind_the_body() {
        let body = r#"{"type":"indicator","x":{}}"#;
        assert_eq!(
            live(body, 1_000, 0, 86_400_001),
            r#"{"type":"indicator","x":{},"valid_until":"1970-01-01T00:00:01.000Z","created":"1970-01-01T00:00:00.000Z","modified":"1970-01-02T00:00:00.001Z"}"#
        );
    }

    #[test]
    fn a_context_object_has_no_validity_and_may_be_revoked() {
        let times = r#""created":"1970-01-01T00:00:00.000Z","modified":"1970-01-01T00:00:01.000Z""#;
        let body = r#"{"type":"identity"}"#;
        let of = |revoked| context(body, revoked, 0, 1_000);
        assert_eq!(of(false), format!(r#"{{"type":"identity",{times}}}"#));
        assert_eq!(of(true), format!(r#"{{"type":"identity",{times},"revoked":true}}"#));
    }
}
