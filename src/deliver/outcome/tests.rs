//! Tests what the documented and the observed answers of Sentinel mean.

use super::*;

const WORKSPACE: Uuid = Uuid::from_u128(0x11);

fn reply(status: u16, body: &str) -> Reply {
    let content_type = Some("application/json; charset=utf-8".to_owned());
    Reply { status, body: body.as_bytes().to_vec(), content_type, ..Reply::default() }
}

fn asked(objects: usize) -> RequestFacts {
    RequestFacts { workspace: WORKSPACE, objects, accept_body: AcceptBody::Documented }
}

fn outcome(reply: Reply) -> UploadOutcome {
    UploadOutcome::of(&Ok(reply), asked(100))
}

fn accepted_with(rejected: &[(usize, &str)]) -> UploadOutcome {
    let rejected = rejected.iter().map(|(index, text)| (*index, (*text).to_owned())).collect();
    UploadOutcome::Accepted { rejected, stray: Vec::new() }
}

#[test]
fn empty_body_accepts_everything() {
    let error_free = r#"{"errors":[],"error":null}"#;
    for body in ["", "  \r\n", "null", r#"{"errors":[]}"#, r#"{"errors":null}"#, error_free] {
        assert_eq!(outcome(reply(200, body)), accepted_with(&[]), "{body:?}");
    }
}

#[test]
fn both_names_of_the_message_list_are_read() {
    let missing = "Error for Property=id: Required property is missing. Actual value: NULL.";
    for name in ["errorMessages", "validationErrorMessages"] {
        let body = format!(r#"{{"errors":[{{"recordIndex":3,"{name}":["{missing}"]}}]}}"#);
        assert_eq!(outcome(reply(200, &body)), accepted_with(&[(3, missing)]));
    }
}

#[test]
fn messages_of_one_record_are_joined() {
    let body = r#"{"errors":[
        {"recordIndex":0,"errorMessages":["a","b"]},
        {"recordIndex":99,"errorMessages":[]},
        {"recordIndex":0,"validationErrorMessages":["c"]}]}"#;
    let expected = accepted_with(&[(0, "a; b; c"), (99, "no reason given")]);
    assert_eq!(outcome(reply(200, body)), expected);
}

#[test]
fn complaint_about_no_record_of_the_request_rejects_nothing() {
    let body = r#"{"errors":[{"recordIndex":100,"errorMessages":["x"]},
        {"recordIndex":-1,"errorMessages":["y"]},{"errorMessages":["z"]},
        {"recordIndex":"7","errorMessages":["w"]}]}"#;
    let stray = ["record 100: x", "record -1: y", "record null: z"].map(str::to_owned).to_vec();
    let rejected = vec![(7, "w".to_owned())];
    assert_eq!(outcome(reply(200, body)), UploadOutcome::Accepted { rejected, stray });
}

/// Whether it may be the API's after all; fails where it is anything but foreign.
fn foreign(reply: Reply) -> bool {
    let (status, body) = (reply.status, String::from_utf8_lossy(&reply.body).into_owned());
    let outcome = outcome(reply);
    let UploadOutcome::Foreign { why, may_be_api } = outcome else {
        panic!("{status} {body}: {outcome:?}");
    };
    assert!(why.to_string().contains("proxy") && !why.to_string().contains('<'), "{why}");
    may_be_api
}

#[test]
fn success_that_is_not_the_apis_is_no_acceptance() {
    for body in ["{}", "[]", "true", r#"{"message":"Please sign in"}"#, r#"{"id":7}"#] {
        assert!(foreign(reply(200, body)), "{body}");
        assert!(foreign(reply(202, body)), "{body}");
    }
    for body in [
        r#"{"error":{"code":"Blocked","message":"no"}}"#,
        r#"{"error":"blocked","errors":[]}"#,
        "<html><title>Sign in</title><body>Hotel WLAN</body></html>",
        "welcome",
    ] {
        assert!(!foreign(reply(200, body)), "{body}");
    }
    for status in [201, 202, 204, 206] {
        for body in ["", "null", r#"{"errors":[]}"#, r#"{"errors":7}"#] {
            assert!(foreign(reply(status, body)), "{status} {body}");
        }
        let bare = Reply { content_type: None, ..reply(status, "") };
        assert!(foreign(bare), "{status}: an empty body has no type");
        let page = Reply { content_type: None, ..reply(status, r#"{"errors":[]}"#) };
        assert!(!foreign(page), "{status}: not declared as JSON");
        assert!(!foreign(reply(status, r#"{"error":"blocked","errors":[]}"#)), "{status}");
    }
    for kind in [None, Some("text/html"), Some("text/plain; charset=application/json")] {
        let declared = Reply { content_type: kind.map(str::to_owned), ..reply(200, "{}") };
        assert!(!foreign(declared), "{kind:?}");
    }
    let problem = Some("Application/Problem+JSON".to_owned());
    assert!(foreign(Reply { content_type: problem, ..reply(200, "{}") }));
}

#[test]
fn page_of_a_proxy_is_quoted_without_markup() {
    let page = "<html><title>Sign in</title><body>Hotel WLAN</body></html>";
    let UploadOutcome::Foreign { why, .. } = outcome(reply(200, page)) else {
        panic!("a login page")
    };
    assert!(why.to_string().contains("Hotel WLAN") && !why.to_string().contains('<'), "{why}");
}

#[test]
fn any_json_is_accepted_where_that_is_set_unless_it_tells_of_an_error() {
    let of = |reply: Reply| {
        UploadOutcome::of(
            &Ok(reply),
            RequestFacts { accept_body: AcceptBody::AnyJson, ..asked(100) },
        )
    };
    for body in ["{}", r#"{"accepted":100}"#, "[]"] {
        assert_eq!(of(reply(200, body)), UploadOutcome::accepted_all(), "{body}");
        assert_eq!(of(reply(202, body)), UploadOutcome::accepted_all(), "{body}");
    }
    assert!(matches!(of(reply(200, r#"{"error":{"code":"x"}}"#)), UploadOutcome::Foreign { .. }));
    let page = Reply { content_type: None, ..reply(200, "<html></html>") };
    assert!(matches!(of(page), UploadOutcome::Foreign { .. }));
    for status in [202, 204] {
        for body in ["", "null", r#"{"errors":[]}"#] {
            assert_eq!(of(reply(status, body)), UploadOutcome::accepted_all(), "{status} {body}");
        }
    }
    let listed = r#"{"errors":[{"recordIndex":1,"errorMessages":["bad"]}],"accepted":99}"#;
    for status in [200, 202] {
        assert_eq!(of(reply(status, listed)), accepted_with(&[(1, "bad")]));
    }
    assert!(matches!(of(reply(202, r#"{"errors":7}"#)), UploadOutcome::Unreadable { .. }));
}

/// A .NET service writes `null` for an empty list.
#[test]
fn readable_indices_count_whatever_stands_beside_them() {
    let body = r#"{"errors":[
        {"recordIndex":1,"errorMessages":null},
        {"recordIndex":2,"errorMessages":null,"validationErrorMessages":["bad pattern"]},
        {"recordIndex":3,"errorMessages":[null,"no id",{"code":7},""]},
        {"recordIndex":4,"errorMessages":"a text"},
        null, "overloaded",
        {"recordIndex":null,"errorMessages":["nobody"]},
        {"recordIndex":2.5,"errorMessages":null}]}"#;
    let rejected =
        [(1, "no reason given"), (2, "bad pattern"), (3, r#"no id; {"code":7}"#), (4, "a text")];
    let UploadOutcome::Accepted { rejected: read, stray } = outcome(reply(200, body)) else {
        panic!("a readable list");
    };
    assert_eq!(read, rejected.map(|(index, text)| (index, text.to_owned())));
    let expected = [
        "record null: no reason given",
        "record null: overloaded",
        "record null: nobody",
        "record 2.5: no reason given",
    ];
    assert_eq!(stray, expected);
}

#[test]
fn list_that_cannot_be_read_accepts_and_rejects_nothing() {
    let cut = r#"{"errors":[{"recordIndex":0,"errorMessages":["a"]},{"recordInd"#;
    for body in [cut, r#"{"errors":{"stixobjects":["bad"]}}"#, r#"{"errors":7}"#] {
        let UploadOutcome::Unreadable { why } = outcome(reply(200, body)) else { panic!("{body}") };
        assert!(why.to_string().contains("cannot be read"), "{why}");
    }
    assert!(!foreign(Reply { content_type: None, ..reply(200, cut) }));
    assert!(!foreign(reply(200, "[1,")));
}

const THROTTLED: &str =
    r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 17 seconds."}"#;

fn throttled(header: Option<&str>, date: Option<&str>, body: &str) -> Option<u64> {
    let reply = Reply {
        retry_after: header.map(str::to_owned),
        date: date.map(str::to_owned),
        ..reply(429, body)
    };
    let UploadOutcome::Throttled { wait } = outcome(reply) else { panic!("429 is throttled") };
    wait.map(|wait| wait.as_secs())
}

#[test]
fn throttled_waits_for_the_header_then_the_message() {
    assert_eq!(throttled(Some("5"), None, THROTTLED), Some(5));
    assert_eq!(throttled(None, None, THROTTLED), Some(17));
    assert_eq!(throttled(Some("soon"), None, THROTTLED), Some(17));
    assert_eq!(throttled(None, None, "<html>slow down</html>"), None);
    assert_eq!(throttled(None, None, ""), None);
    assert_eq!(throttled(Some("86400"), None, ""), Some(3600));
}

#[test]
fn date_in_retry_after_counts_from_the_answers_own_date() {
    let until = Some("Fri, 13 Nov 2026 10:00:42 GMT");
    assert_eq!(throttled(until, Some("Fri, 13 Nov 2026 10:00:02 GMT"), ""), Some(40));
    assert_eq!(throttled(until, Some("Fri, 13 Nov 2026 10:05:00 GMT"), ""), Some(0));
    assert_eq!(throttled(until, None, THROTTLED), Some(17));
}

#[test]
fn server_error_keeps_the_activity_id() {
    let body = r#"{"statusCode":500,"message":"Internal server error",
        "activityId":"1bc9b1f0-0000-4000-8000-000000000001"}"#;
    let UploadOutcome::Transient { why, ambiguous: true, wait: None } = outcome(reply(500, body))
    else {
        panic!("500 is transient");
    };
    assert_eq!(
        why.to_string(),
        "HTTP 500: Internal server error (activityId 1bc9b1f0-0000-4000-8000-000000000001)"
    );
    let unavailable = Reply { retry_after: Some("9".to_owned()), ..reply(503, "") };
    let nine = Some(Duration::from_secs(9));
    let expected =
        UploadOutcome::Transient { why: "HTTP 503".to_owned().into(), ambiguous: true, wait: nine };
    assert_eq!(outcome(unavailable), expected);
}

#[test]
fn missing_role_is_named_under_401_and_403() {
    let body = r#"{"error":{"code":"UnauthorizedAccess","message":"The Object ID [1] does not have required permission to perform this action on the workspace [2].","details":[],"target":null,"additionalInfo":null}}"#;
    let (UploadOutcome::Unauthorized { why: by_401 }, UploadOutcome::Forbidden { why: by_403 }) =
        (outcome(reply(401, body)), outcome(reply(403, body)))
    else {
        panic!("401 is unauthorized, 403 forbidden");
    };
    for why in [by_401, by_403] {
        assert!(why.to_string().contains("does not have required permission"), "{why}");
        assert!(why.to_string().contains("Microsoft Sentinel Contributor"), "{why}");
        assert!(why.to_string().contains(&WORKSPACE.to_string()), "{why}");
    }
}

#[test]
fn html_403_is_quoted_without_markup() {
    let page = "<html><head><style>p{}</style></head><body><h1>You do not have permission to view \
                this directory or page.</h1></body></html>";
    let UploadOutcome::Forbidden { why } = outcome(reply(403, page)) else {
        panic!("403 is forbidden")
    };
    assert!(
        why.to_string().contains("You do not have permission to view this directory or page."),
        "{why}"
    );
    assert!(!why.to_string().contains('<'), "{why}");
    let UploadOutcome::Forbidden { why } = outcome(reply(403, "2 > 1 <b>x</b> y")) else {
        panic!()
    };
    assert!(why.to_string().contains("2 > 1 x y"), "a sign alone is no markup: {why}");
}

#[test]
fn plain_401_does_not_speak_of_roles() {
    let denied =
        r#"{"statusCode":401,"message":"Unauthorized. Access token is missing or invalid."}"#;
    let UploadOutcome::Unauthorized { why } = outcome(reply(401, denied)) else { panic!("401") };
    assert_eq!(why.to_string(), "HTTP 401: Unauthorized. Access token is missing or invalid.");
    let bare = Reply { error_code: Some("InvalidToken".to_owned()), ..reply(401, "") };
    let UploadOutcome::Unauthorized { why } = outcome(bare) else { panic!("401") };
    assert_eq!(why.to_string(), "HTTP 401 InvalidToken");
}

#[test]
fn other_statuses_are_what_they_call_for() {
    let bad = r#"{"error":{"code":"BadRequest","message":"stixobjects is required"}}"#;
    let UploadOutcome::BadRequest { why } = outcome(reply(400, bad)) else { panic!("400") };
    assert_eq!(why.to_string(), "HTTP 400 BadRequest: stixobjects is required");
    let listed = r#"{"errors":[{"recordIndex":0,"errorMessages":["no id"]}]}"#;
    let UploadOutcome::BadRequest { why } = outcome(reply(400, listed)) else { panic!("400") };
    assert_eq!(why.to_string(), "HTTP 400: record 0: no id");
    assert!(matches!(outcome(reply(413, "")), UploadOutcome::TooLarge { .. }));
    assert!(matches!(outcome(reply(408, "")), UploadOutcome::Transient { .. }));
    for status in [302, 404, 405, 415, 451] {
        assert!(
            matches!(outcome(reply(status, "")), UploadOutcome::Misconfigured { .. }),
            "{status}"
        );
    }
    for (status, advice) in [(404, WORKSPACE.to_string()), (302, "redirects".to_owned())] {
        let UploadOutcome::Misconfigured { why } = outcome(reply(status, "")) else {
            panic!("{status}")
        };
        assert!(why.to_string().contains(&advice), "{why}");
    }
    let of_none = UploadOutcome::of(&Ok(reply(400, r#"{"errors":[]}"#)), asked(0));
    assert!(matches!(of_none, UploadOutcome::BadRequest { .. }), "nothing was asked");
}

/// The words of the label `outcome` of `misp_sentinel_relay_upload_requests_total`.
#[test]
fn each_outcome_has_its_word() {
    for (status, body, word) in [
        (200, "", "accepted"),
        (200, "<html>", "foreign"),
        (200, r#"{"errors":7}"#, "unreadable"),
        (400, "", "bad_request"),
        (401, "", "unauthorized"),
        (403, "", "forbidden"),
        (404, "", "misconfigured"),
        (413, "", "too_large"),
        (429, "", "throttled"),
        (503, "", "transient"),
    ] {
        assert_eq!(outcome(reply(status, body)).word(), word, "{status} {body}");
    }
}

#[test]
fn a_reply_tells_its_words_and_its_wait() {
    let reply = reply(429, THROTTLED);
    assert_eq!(reply.words(), "HTTP 429: Rate limit is exceeded. Try again in 17 seconds.");
    assert_eq!(reply.wait(), Some(Duration::from_secs(17)));
}

#[test]
fn bad_request_that_names_every_record_rejects_each_with_its_words() {
    let body = r#"{"errors":[{"recordIndex":1,"errorMessages":["b"]},
        {"recordIndex":0,"errorMessages":["a"]}]}"#;
    let of = |objects| UploadOutcome::of(&Ok(reply(400, body)), asked(objects));
    assert_eq!(of(2), accepted_with(&[(1, "b"), (0, "a")]));
    assert!(matches!(of(3), UploadOutcome::BadRequest { .. }), "the third is not named");
}

#[test]
fn no_reply_keeps_its_doubt() {
    for ambiguous in [true, false] {
        let none = NoReply { why: "connection reset".to_owned().into(), ambiguous };
        let expected = UploadOutcome::Transient {
            why: "connection reset".to_owned().into(),
            ambiguous,
            wait: None,
        };
        assert_eq!(UploadOutcome::of(&Err(none), asked(1)), expected);
    }
}

#[test]
fn long_and_broken_bodies_are_cut() {
    let body = vec![0xff; 100_000];
    let UploadOutcome::BadRequest { why } =
        outcome(Reply { status: 400, body, ..Reply::default() })
    else {
        panic!("400 is a bad request");
    };
    assert!(
        why.to_string().chars().count() < 400,
        "{} characters",
        why.to_string().chars().count()
    );
}
