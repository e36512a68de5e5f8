//! Tests how the relay handles Sentinel's answers: throttling, errors, rejected records, and no answer at
//! all.

use std::time::{Duration, Instant};

use misp_sentinel_relay::ledger::Ledger;
use misp_sentinel_relay::sandbox::Fault;

use super::{Event, Scene, live_patterns, of_pattern};
use crate::support::relay::held;
use crate::support::sandbox::eventually;
use crate::support::scene::is_live;

/// The pause between the first request and the second, when the first is throttled.
async fn pause_after(fault: Fault) -> Duration {
    let scene = Scene::start(&[]).await;
    scene.sandbox.script([fault]);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    scene.drained().await;
    assert_eq!(scene.statuses(), [429, 200]);
    scene.assert_written(1);
    let requests = scene.sandbox.requests();
    requests[1].arrived - requests[0].answered.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_waits_as_the_header_says() {
    let pause = pause_after(Fault::Throttled { seconds: Some(30), header: Some(1) }).await;
    assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(3), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_waits_as_the_message_says() {
    let pause = pause_after(Fault::Throttled { seconds: Some(1), header: None }).await;
    assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(3), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_without_a_number_waits_the_default() {
    let pause = pause_after(Fault::Throttled { seconds: None, header: None }).await;
    assert!(pause >= Duration::from_millis(200) && pause < Duration::from_secs(1), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_errors_are_waited_out() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.script([Fault::ServerError, Fault::ServerError, Fault::ServerError]);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    scene.drained().await;
    assert_eq!(scene.statuses(), [500, 500, 500, 200]);
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_that_fail_together_are_one_failure() {
    let scene = Scene::start(&[]).await;
    scene.sandbox.always(Some(Fault::ServerError));
    scene.publish(&Event::new(1, 0..1_000)).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let while_broken = scene.requests();
    scene.sandbox.heal();
    scene.holds(1_000).await;
    // Two rounds of four, then one request each 100 to 200 ms.
    assert!(while_broken <= 22, "{while_broken}");
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_errors_reject_only_the_records_named() {
    let mut scene = Scene::start(&[]).await;
    let event = Event::new(1, 0..10);
    let bad = [event.pattern(3), event.pattern(7)];
    scene.sandbox.reject_where(move |object| {
        let is_bad = bad.iter().any(|pattern| object["pattern"] == **pattern);
        is_bad.then(|| "Error for Property=pattern: not liked here.".to_owned())
    });
    scene.publish(&event).await;
    scene.holds(8).await;
    scene.logs("not liked here").await;
    assert_eq!(scene.statuses(), [200]);
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (8, 2, [0; 3]));
    assert!(status.refusals.iter().all(|refusal| refusal.words.contains("not liked here")));

    // Nothing is tried again by itself, but a change is.
    scene.restart().await;
    scene.publish(&event.commented("altered")).await;
    scene.asked(2).await;
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected), (8, 2));
    assert_eq!(scene.requests(), 2);

    // And all by retry_rejected.
    scene.sandbox.heal();
    let ledger = scene.ledger().await;
    assert_eq!(ledger.retry_rejected(None, Ledger::now()).await.unwrap(), 2);
    ledger.close().await;
    drop(ledger);
    scene.restart().await;
    scene.holds(10).await;
    assert_eq!(scene.requests(), 3);
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (10, 0, [0; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_record_with_words_is_rejected_at_once() {
    let mut scene = Scene::start(&[]).await;
    scene.sandbox.reject_where(|_| Some("no good".to_owned()));
    scene.publish(&Event::new(1, 0..1)).await;
    scene.logs("no good").await;
    let status = scene.status().await;
    assert_eq!((status.rejected, status.queue), (1, [0; 3]));
    assert_eq!(scene.statuses(), [400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_among_a_hundred_is_found_and_harms_no_other() {
    let mut scene = Scene::start(&[]).await;
    scene.publish(&Event::new(1, 61..62)).await;
    scene.holds(1).await;
    scene.sandbox.poison([of_pattern(&scene.sandbox, &Event::new(1, []).pattern(61)).id]);
    scene.publish(&Event::new(1, 0..100).commented("altered")).await;
    scene.holds(100).await;
    scene.logs("Sentinel rejects an object").await;
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (100, 1, [0; 3]));
    assert!(status.refusals[0].words.contains("One of the objects is not valid"), "{status:?}");
    // The good one, the batch, and two for each halving.
    assert!(scene.requests() <= 16, "{}", scene.requests());
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bad_records_in_different_halves_do_not_slow_the_others() {
    let mut scene = Scene::start(&[("MSR_DELIVERY__DEGRADED_RETRY", "2s")]).await;
    let event = Event::new(1, [10, 80]);
    scene.publish(&event).await;
    scene.holds(2).await;
    let bad = [10, 80].map(|domain| of_pattern(&scene.sandbox, &event.pattern(domain)).id);
    scene.sandbox.poison(bad);
    let published = Instant::now();
    scene.publish(&Event::new(1, 0..300).commented("altered")).await;
    scene.holds(300).await;
    let took = published.elapsed();
    scene.logs("Sentinel rejects an object").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let status = scene.status().await;
    assert_eq!((status.rejected, status.queue), (2, [0; 3]));
    assert!(took < Duration::from_millis(1_900), "{took:?}");
    assert!(scene.requests() <= 45, "{}", scene.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_refused_again_do_not_speak_against_their_target() {
    for bad in [&[10][..], &[10, 80], &[10, 11, 80, 81]] {
        let mut scene = Scene::start(&[("MSR_DELIVERY__DEGRADED_RETRY", "2s")]).await;
        let event = Event::new(1, bad.iter().copied());
        scene.publish(&event).await;
        scene.holds(bad.len()).await;
        scene.publish(&Event::new(2, 0..1)).await;
        scene.holds(bad.len() + 1).await;
        let ids = bad.iter().map(|domain| of_pattern(&scene.sandbox, &event.pattern(*domain)).id);
        scene.sandbox.poison(ids.collect::<Vec<_>>());
        scene.publish(&Event::new(1, 0..100).commented("altered")).await;
        scene.holds(101).await;
        let all = (bad.len() as i64, [0; 3]);
        let status = scene.status().await;
        assert_eq!((status.rejected, status.queue), all);
        for _ in 0..2 {
            let ledger = scene.ledger().await;
            let retried = ledger.retry_rejected(None, Ledger::now()).await.unwrap();
            assert_eq!(retried, bad.len() as u64);
            ledger.close().await;
            drop(ledger);
            let degraded = |scene: &Scene| scene.relay.log().matches("\"target_degraded\"").count();
            let before = (scene.requests(), degraded(&scene));
            scene.restart().await;
            let status = scene.status().await;
            assert_eq!((status.rejected, status.queue), all, "{bad:?}");
            let requests = scene.requests() - before.0;
            assert!((1..=2 * bad.len()).contains(&requests), "{bad:?}: {requests}");
            assert_eq!(degraded(&scene), before.1, "{}", scene.relay.log());
        }
    }
}

/// A quarter of an event's records is bad: the search takes long, and goes on beside the rest.
#[tokio::test(flavor = "multi_thread")]
async fn search_for_bad_records_holds_up_no_withdrawal_and_no_other_event() {
    let settings = [("MSR_DELIVERY__QUOTA_REQUESTS", "20"), ("MSR_DELIVERY__QUOTA_WINDOW", "1s")];
    let mut scene = Scene::start(&settings).await;
    let (first, event) = (Event::new(1, 0..2), Event::new(2, (0..100).step_by(4)));
    scene.publish(&first).await;
    scene.publish(&event).await;
    scene.holds(27).await;
    let id = |domain: &u32| of_pattern(&scene.sandbox, &event.pattern(*domain)).id;
    let bad: Vec<String> = event.domains.iter().map(id).collect();
    scene.sandbox.poison(bad);
    scene.commit(&Event::new(2, 0..100).commented("altered")).await;
    scene.logs("to find the bad record").await;

    let (published, before) = (Instant::now(), scene.requests());
    scene.publish(&first.only([0])).await;
    let withdrawn = first.pattern(1);
    eventually(&scene.sandbox, |held| !live_patterns(held).contains(&withdrawn)).await;
    let small = Event::new(3, 0..2);
    scene.publish(&small).await;
    eventually(&scene.sandbox, |held| live_patterns(held).contains(&small.pattern(0))).await;
    let requests = scene.requests() - before;
    assert!(requests <= 7, "{requests} requests, {:?}", published.elapsed());
    assert!(held(&scene.sandbox).len() < 104, "the search was still under way");

    scene.relay.stop();
    scene.relay.set("MSR_DELIVERY__QUOTA_REQUESTS", "0");
    scene.restart().await;
    eventually(&scene.sandbox, |sandbox| held(sandbox).len() == 104).await;
    let status = scene.status().await;
    assert_eq!((status.rejected, status.queue), (25, [0; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_refuses_everything_for_a_while_rejects_nothing() {
    let mut scene = Scene::start(&[]).await;
    scene.sandbox.always(Some(Fault::BadRequest));
    scene.publish(&Event::new(1, 0..300)).await;
    for number in 2..6 {
        scene.publish(&Event::new(number, 0..1)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let while_broken = scene.requests();
    scene.sandbox.heal();
    scene.holds(304).await;
    scene.assert_written(1);
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (304, 0, [0; 3]));
    // At most ten slow tries in two seconds, and the first requests.
    assert!((3..=20).contains(&while_broken), "{while_broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_record_refused_with_everything_else_is_tried_again() {
    let mut scene = Scene::start(&[]).await;
    scene.publish(&Event::new(1, 0..1)).await;
    scene.holds(1).await;
    scene.sandbox.script([Fault::BadRequest]);
    scene.publish(&Event::new(2, 0..1)).await;
    scene.holds(2).await;
    scene.drained().await;
    assert_eq!(scene.statuses(), [200, 400, 200]);
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_waited_out_and_the_port_returns() {
    let mut scene = Scene::start(&[]).await;
    scene.publish(&Event::new(1, 0..10)).await;
    scene.holds(10).await;
    scene.sandbox.stop().await;
    scene.publish(&Event::new(2, 0..500)).await;
    let down = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tries = || scene.relay.log().matches("\"pause_ms\"").count();
    while tries() < 3 {
        assert!(down.elapsed() < Duration::from_secs(10), "{}", tries());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (tries, seconds) = (tries(), down.elapsed().as_secs_f64());
    scene.sandbox.restart().await.unwrap();
    scene.holds(510).await;
    scene.assert_written(1);
    assert!(tries as f64 <= 22.0 * seconds, "{tries} in {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_never_comes_holds_up_nobody_else() {
    let scene = Scene::start(&[("MSR_DELIVERY__REQUEST_TIMEOUT", "1s")]).await;
    scene.sandbox.script([Fault::NeverAnswers]);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.asked(1).await;
    let published = Instant::now();
    scene.publish(&Event::new(2, 0..10)).await;
    scene.holds(10).await;
    assert!(published.elapsed() < Duration::from_millis(800), "{:?}", published.elapsed());
    scene.holds(20).await;
    assert_eq!(scene.requests(), 3);
    scene.assert_written(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_and_unknown_are_tried_slowly_and_named() {
    for (fault, words) in [
        (Fault::Forbidden, "Microsoft Sentinel Contributor"),
        (Fault::ForbiddenPage, "You do not have permission to view this directory or page"),
        (Fault::UnknownWorkspace, "check workspace_id"),
    ] {
        let mut scene = Scene::start(&[]).await;
        scene.sandbox.always(Some(fault));
        scene.publish(&Event::new(1, 0..1_000)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let while_broken = scene.sandbox.requests().len();
        scene.sandbox.heal();
        scene.holds(1_000).await;
        scene.assert_written(1);
        scene.logs(words).await;
        let workspace = scene.sandbox.settings().workspaces[0].to_string();
        scene.logs(&workspace).await;
        assert!((2..=10).contains(&while_broken), "{while_broken}");
        assert_eq!(scene.status().await.rejected, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_requests_are_halved() {
    let mut scene = Scene::start(&[]).await;
    scene.sandbox.script([Fault::TooLarge, Fault::TooLarge]);
    scene.publish(&Event::new(1, 0..100)).await;
    scene.holds(100).await;
    scene.assert_written(1);
    assert_eq!(scene.statuses()[..2], [413, 413]);
    assert!(scene.requests() <= 6, "{:?}", scene.statuses());
    assert_eq!(scene.status().await.rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_withdrawal_is_an_alarm_and_is_tried_again_on_the_next_one() {
    let mut scene = Scene::start(&[]).await;
    let event = Event::new(1, 0..2);
    scene.publish(&event).await;
    scene.holds(2).await;
    scene
        .sandbox
        .reject_where(|object| (!is_live(object)).then(|| "withdrawals are not liked".to_owned()));
    scene.publish(&event.only([0])).await;
    scene.logs("Sentinel rejects a withdrawal").await;
    assert!(
        scene
            .relay
            .log()
            .lines()
            .any(|line| { line.contains("ERROR") && line.contains("withdrawals are not liked") })
    );
    assert_eq!(scene.status().await.rejected, 1);
    assert_eq!(live_patterns(&scene.sandbox).len(), 2);

    // Published again it is what Sentinel holds anyway; withdrawn again it is another withdrawal.
    scene.restart().await;
    scene.commit(&event.only([0]).only([0, 1])).await;
    assert_eq!(scene.status().await.rejected, 0);
    scene.sandbox.heal();
    scene.restart().await;
    scene.publish(&event.only([0]).only([0, 1]).only([0])).await;
    scene.holds(1).await;
    assert_eq!(scene.status().await.rejected, 0);
    assert_eq!(scene.statuses(), [200, 400, 200]);
    assert_eq!(held(&scene.sandbox).len(), 2);
}

fn answer(status: u16, body: &str) -> Fault {
    Fault::Answer { status, body: body.to_owned() }
}

fn status(scene: &Scene) -> String {
    String::from_utf8_lossy(&scene.relay.command(&["status"]).stdout).into_owned()
}

/// Waits until `status` says so, and returns all that it says.
async fn tells(scene: &Scene, words: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let told = status(scene);
        if told.contains(words) {
            return told;
        }
        assert!(Instant::now() < deadline, "{words:?} is not in {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A captive portal, a proxy that blocks, a proxy that answers for a server that is away.
#[tokio::test(flavor = "multi_thread")]
async fn success_that_is_not_sentinels_is_no_acceptance() {
    let error = r#"{"error":{"code":"Blocked","message":"by policy"}}"#;
    for (code, body, may_be_api) in [
        (200, "{}", true),
        (200, "[]", true),
        (200, r#"{"message":"Please sign in"}"#, true),
        (200, error, false),
        (200, "<html>Hotel WLAN</html>", false),
        (202, "", true),
        (204, "", true),
        (202, r#"{"errors":[]}"#, true),
    ] {
        let scene = Scene::start(&[]).await;
        scene.sandbox.always(Some(answer(code, body)));
        let begun = Instant::now();
        scene.publish(&Event::new(1, 0..200)).await;
        let told = tells(&scene, "a proxy or a sign-in page").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (while_foreign, took) = (scene.requests(), begun.elapsed());
        let most = 6 + took.as_millis() as usize / 50;
        assert_eq!(told.contains("delivery.accept_body = \"any-json\""), may_be_api, "{told}");
        assert!(!scene.relay.log().contains("\"change_accepted\""), "{code} {body}");
        assert!((3..=most).contains(&while_foreign), "{while_foreign} in {took:?}");
        scene.sandbox.heal();
        scene.holds(200).await;
        scene.assert_written(1);
        scene.logs("\"change_accepted\"").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_another_shape_is_accepted_where_the_operator_says_so() {
    let scene = Scene::start(&[("MSR_DELIVERY__ACCEPT_BODY", "any-json")]).await;
    scene.sandbox.always(Some(answer(200, r#"{"accepted":10}"#)));
    scene.publish(&Event::new(1, 0..10)).await;
    scene.logs("\"change_accepted\"").await;
    assert_eq!(scene.statuses(), [200]);
    scene.sandbox.always(Some(answer(200, r#"{"error":{"code":"x"}}"#)));
    scene.publish(&Event::new(2, 0..10)).await;
    scene.asked(3).await;
    assert_eq!(scene.relay.log().matches("\"change_accepted\"").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_another_status_is_accepted_where_the_operator_says_so() {
    for (code, body) in [(202, ""), (204, ""), (202, r#"{"errors":[]}"#)] {
        let scene = Scene::start(&[("MSR_DELIVERY__ACCEPT_BODY", "any-json")]).await;
        scene.sandbox.always(Some(answer(code, body)));
        scene.publish(&Event::new(1, 0..10)).await;
        scene.logs("\"change_accepted\"").await;
        assert_eq!(scene.statuses(), [code]);
    }
}

/// A .NET service writes `null` for an empty list.
#[tokio::test(flavor = "multi_thread")]
async fn nulls_in_the_list_of_errors_reject_the_records_that_are_named() {
    let mut scene = Scene::start(&[]).await;
    let body = r#"{"errors":[{"recordIndex":3,"errorMessages":null},null,
        {"recordIndex":5,"errorMessages":null,"validationErrorMessages":["bad pattern"]}]}"#;
    scene.sandbox.script([answer(200, body)]);
    scene.publish(&Event::new(1, 0..10)).await;
    scene.logs("bad pattern").await;
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (8, 2, [0; 3]));
    assert_eq!(scene.statuses(), [200], "nothing is sent again");
}

/// Half of the records are rejected with 30 kB of words each.
#[tokio::test(flavor = "multi_thread")]
async fn list_of_errors_that_is_too_long_is_halved_until_it_can_be_read() {
    let mut scene = Scene::start(&[]).await;
    let event = Event::new(1, 0..100);
    let bad: Vec<String> = (0..100).step_by(2).map(|domain| event.pattern(domain)).collect();
    scene.sandbox.reject_where(move |object| {
        let is_bad = bad.iter().any(|pattern| object["pattern"] == **pattern);
        is_bad.then(|| "x".repeat(30_000))
    });
    scene.publish(&event).await;
    scene.logs("Sentinel rejects an object").await;
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (50, 50, [0; 3]));
    // Three times whole, and the two halves.
    assert_eq!(scene.requests(), 5, "{:?}", scene.statuses());
}

/// What nobody can read is not sent for ever, and rejects nothing while the target is as bad to all.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_can_read_are_asked_for_ever_more_slowly() {
    let mut scene = Scene::start(&[]).await;
    scene.sandbox.always(Some(answer(200, r#"{"errors":[{"recordIndex":"#)));
    let begun = Instant::now();
    scene.publish(&Event::new(1, 0..100)).await;
    tells(&scene, "cannot be read").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Whole, halved to the end, and then slowly.
    let most = 25 + begun.elapsed().as_millis() as usize / 100;
    assert!(scene.requests() <= most, "{} in {:?}", scene.requests(), begun.elapsed());
    scene.sandbox.heal();
    scene.holds(100).await;
    scene.assert_written(1);
    let status = scene.status().await;
    assert_eq!((status.delivered, status.rejected, status.queue), (100, 0, [0; 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_says_where_it_writes_and_never_that_sentinel_accepted() {
    let scene = Scene::start(&[("MSR_TARGET__SANDBOX__MODE", "dry-run")]).await;
    let event = Event::new(1, 0..3);
    scene.publish(&event).await;
    scene.logs("\"change_written\"").await;
    let file = scene.relay.folder().join("dry-run-sandbox.ndjson").display().to_string();
    let log = scene.relay.log();
    assert!(log.contains(&file) && !log.contains("accepted\""), "{log}");
    assert!(status(&scene).contains(&file), "{}", status(&scene));
    let told = scene.relay.command(&["explain", "d1.e1.example"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("written to dry_run_file"), "{told}");
    assert!(!told.contains("accepted"), "{told}");
    assert_eq!(scene.requests(), 0);
}
