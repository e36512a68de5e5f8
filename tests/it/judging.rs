//! Tests that nothing leaves under a former policy while the ledger is judged anew, and that no new withdrawal waits for
//! it.

use std::collections::BTreeMap;

use misp_sentinel_relay::ledger::Ledger;

use super::support::event::{publication, then, to_ids_off};
use super::support::ledger::{Relay, TARGET, VIEW};
use super::support::sentinel::Sentinel;

const VALUES: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

/// Whether each value that is to be sent, or to be withdrawn, has to wait.
async fn waiting(relay: &Relay) -> BTreeMap<&'static str, bool> {
    let pending = relay.ledger.pending(VIEW, TARGET, 0, None, Ledger::now(), 100).await.unwrap();
    let value = |body: &str| *VALUES.iter().find(|value| body.contains(*value)).unwrap();
    pending.iter().map(|one| (value(&one.body), relay.ledger.is_unjudged(VIEW, one))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_judged_anew_waits_and_new_withdrawals_do_not() {
    let mut relay = Relay::start().await;
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| (number, VALUES[number - 1], &[][..]));
    relay.hear(&publication(then(), &[a, b, c])).await;
    Sentinel::default().accept_all(&relay).await;
    relay.hear(&publication(then() + 1, &[a, b, c, d])).await;
    relay.hear(&to_ids_off(2, VALUES[1], then() + 2)).await;
    assert_eq!(waiting(&relay).await, VALUES.map(|value| (value, false)).into());

    relay.reconfigure_unjudged(&[("MSR_POLICY__NEVER", "c.example")]).await;
    assert!(relay.ledger.is_judging());
    assert_eq!(waiting(&relay).await, VALUES.map(|value| (value, true)).into());
    relay.hear(&to_ids_off(1, VALUES[0], then() + 3)).await;
    assert_eq!(waiting(&relay).await, VALUES.map(|value| (value, value != VALUES[0])).into());

    relay.ledger.reevaluate(&relay.views, Ledger::now(), |_| {}).await.unwrap();
    assert!(!relay.ledger.is_judging());
    assert_eq!(waiting(&relay).await, VALUES.map(|value| (value, false)).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_while_the_policy_is_the_same() {
    let mut relay = Relay::start().await;
    relay.reconfigure(&[]).await;
    relay.hear(&publication(then(), &[(1, VALUES[0], &[])])).await;
    relay.reconfigure_unjudged(&[]).await;
    assert!(!relay.ledger.is_judging());
    assert_eq!(waiting(&relay).await, [(VALUES[0], false)].into());
}
