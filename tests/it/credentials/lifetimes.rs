//! Tests tokens that are close to their end, and tokens with an impossible lifetime.

use std::time::Instant;

use super::rotation::{Stage, key};
use super::vault::{VAULT, access, address, with_vault};
use super::*;
use crate::support::sandbox::eventually;

const PACED: (&str, &str) = ("MSR_AZURE__SIGN_IN_PAUSE", "200ms");

/// The most sign-ins of one credential since `begun`: three at once, then one in 200 ms.
fn most(begun: Instant) -> usize {
    3 + usize::try_from(begun.elapsed().as_millis()).unwrap() / 200 + 1
}

impl Stage {
    fn status(&self) -> String {
        String::from_utf8_lossy(&self.relay.command(&["status"]).stdout).into_owned()
    }

    async fn tells(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.status().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} is not in {}", self.status());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_near_its_end_is_used_while_it_lasts_and_told() {
    for (seconds, sign_ins) in [(240, 1..=1), (60, 1..=1), (2, 2..=8)] {
        let token_lifetime = Duration::from_secs(seconds);
        let settings = Settings { token_lifetime, quota_requests: 0, ..Settings::default() };
        let stage = Stage::set(start_with(settings).await, &[PACED]).await;
        for count in 1..=5 {
            stage.delivers(count).await;
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let asked = stage.sandbox.sign_ins();
        println!("tokens of {seconds} s: {asked} sign-ins in 3 s, all delivered");
        assert!(sign_ins.contains(&asked), "{asked} sign-ins with tokens of {seconds} s");
        let requests = stage.sandbox.requests();
        let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
        // On a busy machine a request can be overtaken by the end of a token of 2 s.
        assert!(seconds == 2 || statuses == [Some(200); 5], "{statuses:?}");
        stage.tells("tokens that last less than five minutes").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_usual_length_is_no_trouble() {
    let stage = Stage::set(start().await, &[]).await;
    stage.delivers(1).await;
    assert!(!stage.status().contains("tokens that last"), "{}", stage.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetime_that_cannot_be_is_told_and_tried_slowly() {
    for told in [Some(0), None, Some(-3_600), Some(300_000_000_000), Some(-300_000_000_000)] {
        let sandbox = start().await;
        sandbox.always_sign_in(Some(SignInFault::Lifetime(told)));
        let settings = [PACED, ("MSR_DELIVERY__DEGRADED_RETRY", "10ms")];
        let mut stage = Stage::set(sandbox, &settings).await;
        let begun = Instant::now();
        stage.publishes(1).await;
        stage.tells("the token cannot be used").await;
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let (sign_ins, uploads) = (stage.sandbox.sign_ins(), stage.sandbox.requests().len());
        println!("expires_in {told:?}: {sign_ins} sign-ins, {uploads} uploads");
        assert!(stage.relay.runs(), "{told:?}");
        assert!((3..=most(begun)).contains(&sign_ins), "{sign_ins} sign-ins, expires_in {told:?}");
        assert_eq!(uploads, 0);
        stage.sandbox.heal();
        stage.arrives(1).await;
    }
}

/// Two targets: Entra answers for one of them what no calendar holds, the machine's identity is sound.
#[tokio::test(flavor = "multi_thread")]
async fn sign_in_that_breaks_costs_its_own_target_only() {
    let workspaces = vec![uuid::Uuid::from_u128(0x71), uuid::Uuid::from_u128(0x72)];
    let settings = Settings { workspaces, quota_requests: 0, ..Settings::default() };
    let mut sandbox = start_with(settings).await;
    let metadata = format!("http://{}", sandbox.serve_metadata().await.unwrap());
    sandbox.assign(identity(&sandbox, 1, true));
    sandbox.always_sign_in(Some(SignInFault::Lifetime(Some(300_000_000_000))));
    let second = |leaf: &str| format!("MSR_TARGET__SANDBOX_2__{leaf}");
    let settings = [
        ("MSR_AZURE__METADATA_ENDPOINT".to_owned(), metadata),
        (second("CREDENTIAL"), "managed-identity".to_owned()),
        (second("TENANT_ID"), String::new()),
        (second("CLIENT_ID"), String::new()),
        (second("CLIENT_SECRET"), String::new()),
        // A machine's identity may be of another tenant, so each target says what may leave.
        (second("POLICY__TLP_MAX"), "amber".to_owned()),
        ("MSR_TARGET__SANDBOX__POLICY__TLP_MAX".to_owned(), "amber".to_owned()),
    ];
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut stage = Stage::set(sandbox, &settings).await;
    stage.publishes(3).await;
    let other = stage.sandbox.settings().workspaces[1];
    eventually(&stage.sandbox, |sandbox| sandbox.count(other) == 3).await;
    stage.tells("sandbox: the token cannot be used: Entra says that it lasts").await;
    assert!(stage.relay.runs());
    assert!(!stage.status().contains("sandbox-2: "), "{}", stage.status());
    stage.sandbox.heal();
    stage.arrives(3).await;
}

/// The metadata service keeps tokens, and may give one that is over.
#[tokio::test]
async fn token_of_the_metadata_service_that_is_over_is_not_used() {
    let mut sandbox = start().await;
    let metadata_endpoint = format!("http://{}", sandbox.serve_metadata().await.unwrap());
    sandbox.assign(identity(&sandbox, 1, true));
    let by = Azure { metadata_endpoint, ..azure(&sandbox) };
    let credential = Credential::of_machine(ManagedIdentity::SystemAssigned);
    let source = source_by(&sandbox, credential, &by);
    sandbox.script_metadata([SignInFault::Lifetime(Some(-60)), SignInFault::Lifetime(Some(90))]);
    let error = source.token().await.unwrap_err();
    assert!(matches!(error, SignInError::Unusable(_)), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");
    source.token().await.unwrap();
    assert!(source.standing().trouble.unwrap().contains("managed identity endpoint"));
}

/// However often, and by how many at once, a token is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_are_paced_whoever_asks() {
    let sandbox = start().await;
    sandbox.always_sign_in(Some(SignInFault::Lifetime(Some(0))));
    let (tenant_id, client_id) = application(&sandbox);
    let secret = sandbox.settings().accounts[0].client_secret.clone();
    let credential = Credential { tenant_id, client_id, proof: Proof::ClientSecret(secret) };
    let by = Azure { sign_in_pause: Duration::from_millis(200), ..azure(&sandbox) };
    let source = std::sync::Arc::new(source_by(&sandbox, credential, &by));
    let ask = async |source: std::sync::Arc<TokenSource>| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            assert!(source.token().await.is_err());
        }
    };
    let asking = (0..4).map(|_| ask(std::sync::Arc::clone(&source)));
    futures::future::join_all(asking).await;
    // Three at once, five in the second, and one for each that waited at its end.
    assert!((5..=12).contains(&sandbox.sign_ins()), "{}", sandbox.sign_ins());
}

/// Each refused sign-in looks the secret up again.
#[tokio::test(flavor = "multi_thread")]
async fn vault_is_asked_no_more_often_than_there_are_sign_ins() {
    let (sandbox, proxy) = with_vault().await;
    sandbox.keep_secret(VAULT, "entra", Secret::new("sandbox-secret"), &[]);
    let client_id = application(&sandbox).1;
    let mut settings = access(&sandbox, &proxy);
    let paced = [PACED, ("MSR_DELIVERY__DEGRADED_RETRY", "10ms")];
    settings.extend(paced.map(|(key, value)| (key.to_owned(), value.to_owned())));
    settings.push((key("CLIENT_SECRET"), address("entra")));
    let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let stage = Stage::set(sandbox, &settings).await;
    stage.delivers(1).await;
    let (sign_ins, reads) = (stage.sandbox.sign_ins(), stage.sandbox.vault_reads());
    // Nobody tells the vault.
    stage.sandbox.rotate_secret(&client_id, Secret::new("the-next-one"));
    stage.sandbox.invalidate_tokens();
    let begun = Instant::now();
    stage.publishes(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sign_ins = stage.sandbox.sign_ins() - sign_ins;
    let reads = stage.sandbox.vault_reads() - reads;
    println!("a secret that is no longer good: {sign_ins} sign-ins, {reads} look-ups in 2 s");
    // Those of the vault's own identity are among them.
    assert!((2..=2 * most(begun)).contains(&sign_ins), "{sign_ins} sign-ins");
    assert!((1..=most(begun)).contains(&reads), "{reads} look-ups");
    stage.tells("AADSTS7000222").await;
}
