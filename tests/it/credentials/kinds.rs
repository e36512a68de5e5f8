//! Tests that for each kind of credential the token is fetched, cached, and renewed before its end and on
//! demand.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Shorter than the five minutes before their end in which tokens are renewed.
const SHORT_LIVED: Duration = Duration::from_secs(4);

/// A sandbox with a machine in it, and how the machine's metadata service is reached.
async fn machine(settings: Settings) -> (Sandbox, Azure) {
    let mut sandbox = start_with(Settings { quota_requests: 0, ..settings }).await;
    let metadata = sandbox.serve_metadata().await.unwrap();
    let azure = Azure { metadata_endpoint: format!("http://{metadata}"), ..azure(&sandbox) };
    (sandbox, azure)
}

/// Makes the credential for a sandbox, which it prepares.
type Make<'a> = &'a dyn Fn(&Sandbox) -> Credential;

/// `asked` counts what was asked for in a sign-in.
async fn is_cached_and_renewed(make: Make<'_>, asked: impl Fn(&Sandbox) -> usize) {
    let (sandbox, azure) = machine(Settings::default()).await;
    let source = source_by(&sandbox, make(&sandbox), &azure);
    let first = source.token().await.unwrap();
    assert_eq!(source.token().await.unwrap(), first);
    assert_eq!(asked(&sandbox), 1, "cached");
    source.renew().unwrap();
    let second = source.token().await.unwrap();
    assert_ne!(second, first, "renewed on demand, as after a 401");
    assert_eq!(asked(&sandbox), 2);
    assert!(!format!("{source:?}").contains(second.expose()));

    let short = Settings { token_lifetime: SHORT_LIVED, ..Settings::default() };
    let (sandbox, azure) = machine(short).await;
    let source = source_by(&sandbox, make(&sandbox), &azure);
    let first = source.token().await.unwrap();
    assert_eq!(source.token().await.unwrap(), first, "used while it lasts");
    tokio::time::sleep(SHORT_LIVED / 2 + Duration::from_millis(100)).await;
    assert_ne!(source.token().await.unwrap(), first, "renewed before its end");
    assert_eq!(asked(&sandbox), 2);
}

#[tokio::test]
async fn client_secret() {
    let make = |sandbox: &Sandbox| {
        let (tenant_id, client_id) = application(sandbox);
        let secret = sandbox.settings().accounts[0].client_secret.clone();
        Credential { tenant_id, client_id, proof: Proof::ClientSecret(secret) }
    };
    is_cached_and_renewed(&make, Sandbox::sign_ins).await;
}

#[tokio::test]
async fn certificate() {
    let make = |sandbox: &Sandbox| {
        let (tenant_id, client_id) = application(sandbox);
        sandbox.register_certificate(&client_id, certificate_der("one.crt"));
        let (file, password) = (certificate_file("one.pem"), Secret::new(""));
        Credential { tenant_id, client_id, proof: Proof::Certificate { file, password } }
    };
    is_cached_and_renewed(&make, Sandbox::sign_ins).await;
}

#[tokio::test]
async fn managed_identity_by_each_kind_of_id() {
    type Name = fn(MachineIdentity) -> ManagedIdentity;
    let names: [Name; 4] = [
        |_| ManagedIdentity::SystemAssigned,
        |identity| ManagedIdentity::ClientId(identity.client_id),
        |identity| ManagedIdentity::ObjectId(identity.object_id),
        |identity| ManagedIdentity::ResourceId(identity.resource_id),
    ];
    for name in names {
        let make = |sandbox: &Sandbox| {
            sandbox.assign(identity(sandbox, 1, false));
            sandbox.assign(identity(sandbox, 2, true));
            Credential::of_machine(name(identity(sandbox, 1, false)))
        };
        is_cached_and_renewed(&make, Sandbox::metadata_requests).await;
    }
}

#[tokio::test]
async fn workload_identity() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let make = |sandbox: &Sandbox| {
        let (tenant_id, client_id) = application(sandbox);
        std::fs::write(&token_file, project(sandbox, PATIENCE) + "\n").unwrap();
        Credential {
            tenant_id,
            client_id,
            proof: Proof::WorkloadIdentity { token_file: token_file.clone() },
        }
    };
    is_cached_and_renewed(&make, Sandbox::sign_ins).await;
}

/// A token as a cluster projects it, of an issuer that the application trusts.
fn project(sandbox: &Sandbox, lifetime: Duration) -> String {
    let federated = Federated {
        issuer: "https://oidc.aks.example/1/".to_owned(),
        subject: "system:serviceaccount:soc:relay".to_owned(),
        audience: EXCHANGE.to_owned(),
    };
    sandbox.trust(&application(sandbox).1, federated.clone());
    sandbox.federated_token(federated, lifetime)
}

/// What an application trusts so that a managed identity may speak for it.
fn trusted(identity: &MachineIdentity, audience: &str) -> Federated {
    Federated {
        issuer: format!("https://login.microsoftonline.com/{}/v2.0", identity.tenant_id),
        subject: identity.object_id.clone(),
        audience: audience.to_owned(),
    }
}

fn federated(sandbox: &Sandbox, identity: &MachineIdentity) -> Credential {
    let (tenant_id, client_id) = application(sandbox);
    let identity = ManagedIdentity::ClientId(identity.client_id.clone());
    let proof = Proof::FederatedManagedIdentity { identity, audience: EXCHANGE.to_owned() };
    Credential { tenant_id, client_id, proof }
}

#[tokio::test]
async fn federated_managed_identity() {
    let make = |sandbox: &Sandbox| {
        let identity = identity(sandbox, 1, false);
        sandbox.assign(identity.clone());
        sandbox.trust(&application(sandbox).1, trusted(&identity, EXCHANGE));
        federated(sandbox, &identity)
    };
    is_cached_and_renewed(&make, Sandbox::sign_ins).await;
}

/// In a process of its own, since PATH belongs to the whole process.
#[test]
fn azure_cli() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::var_os("INSIDE_AZ").is_some() {
        return runtime.block_on(with_az());
    }
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "credentials::kinds::azure_cli"])
        .env("INSIDE_AZ", folder.path())
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

/// The pieces of `az` that matter: it counts its runs and says what it was asked.
async fn with_az() {
    let folder = PathBuf::from(std::env::var_os("INSIDE_AZ").unwrap());
    let az = folder.join("az");
    let install = |script: &str| {
        std::fs::write(&az, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let sandbox = start().await;
    let cli = || Credential {
        tenant_id: "contoso.example".to_owned(),
        client_id: String::new(),
        proof: Proof::AzureCli,
    };

    let error = source(&sandbox, cli()).token().await.unwrap_err();
    assert!(error.to_string().contains("az is not found"), "{error}");

    install("echo 'ERROR: Please run az login to setup account.' >&2; exit 1");
    let error = source(&sandbox, cli()).token().await.unwrap_err();
    assert!(matches!(error, SignInError::Settings(_)), "{error}");
    assert!(error.to_string().contains("Please run az login"), "{error}");

    let runs = folder.join("runs");
    let answer = |lasts: u64| {
        format!(
            "echo \"$@\" >> {}\nn=$(wc -l < {0})\n\
             echo '{{\"accessToken\":\"token-'$n'\",\"expires_on\":'$(($(date +%s) + {lasts}))',\"tokenType\":\"Bearer\"}}'",
            runs.display()
        )
    };
    install(&answer(3600));
    let cached = source(&sandbox, cli());
    assert_eq!(cached.token().await.unwrap().expose(), "token-1");
    assert_eq!(cached.token().await.unwrap().expose(), "token-1", "az is not run for each upload");
    cached.renew().unwrap();
    assert_eq!(cached.token().await.unwrap().expose(), "token-2");
    let asked = std::fs::read_to_string(&runs).unwrap();
    let scope = "--scope https://management.azure.com/.default";
    assert!(asked.contains(scope) && asked.contains("--tenant contoso.example"), "{asked}");

    install(&answer(4));
    let short = source(&sandbox, cli());
    assert_eq!(short.token().await.unwrap().expose(), "token-3");
    assert_eq!(short.token().await.unwrap().expose(), "token-3", "used while it lasts");
    tokio::time::sleep(SHORT_LIVED / 2 + Duration::from_millis(100)).await;
    assert_eq!(short.token().await.unwrap().expose(), "token-4", "renewed before its end");

    install("sleep 60");
    let hasty = Azure { token_timeout: Duration::from_millis(200), ..azure(&sandbox) };
    let error = source_by(&sandbox, cli(), &hasty).token().await.unwrap_err();
    assert!(matches!(error, SignInError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn identity_that_the_machine_lacks_is_named_at_once() {
    let (sandbox, azure) = machine(Settings::default()).await;
    let unknown = ManagedIdentity::ClientId("not-here".to_owned());
    let source = source_by(&sandbox, Credential::of_machine(unknown), &azure);
    let refusal = refusal(&source).await;
    assert_eq!((refusal.who, refusal.status), (Who::ManagedIdentity, 400));
    assert_eq!(refusal.description, "Identity not found");
    assert!(refusal.remedy.contains("client:not-here"), "{refusal}");
    assert_eq!(sandbox.metadata_requests(), 1);
}

#[tokio::test]
async fn metadata_service_is_asked_once_a_sign_in_whatever_it_answers() {
    let (sandbox, azure) = machine(Settings::default()).await;
    sandbox.assign(identity(&sandbox, 1, true));
    let credential = || Credential::of_machine(ManagedIdentity::SystemAssigned);
    sandbox.script_metadata([
        SignInFault::Unavailable,
        SignInFault::Answer { status: 404, body: String::new() },
        SignInFault::Answer { status: 429, body: String::new() },
        SignInFault::Answer { status: 200, body: "{}".to_owned() },
    ]);
    for asked in 1..=4 {
        let error = source_by(&sandbox, credential(), &azure).token().await.unwrap_err();
        assert!(matches!(error, SignInError::Unreachable(_)), "{error}");
        assert_eq!(sandbox.metadata_requests(), asked, "the SDK's own retries would take a minute");
    }
    sandbox.script_metadata([SignInFault::NeverAnswers]);
    let hasty = Azure { token_timeout: Duration::from_millis(200), ..azure.clone() };
    let error = source_by(&sandbox, credential(), &hasty).token().await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    source_by(&sandbox, credential(), &azure).token().await.unwrap();
}

#[tokio::test]
async fn machine_outside_of_azure_is_told_that_nobody_answers() {
    let sandbox = start().await;
    let credential = Credential::of_machine(ManagedIdentity::SystemAssigned);
    let error = source(&sandbox, credential).token().await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains("managed identity endpoint cannot be reached"), "{words}");
    assert!(words.contains("http://127.0.0.1:1"), "{words}");
}

#[tokio::test]
async fn issuer_subject_and_audience_must_be_trusted() {
    let (sandbox, azure) = machine(Settings::default()).await;
    let identity = identity(&sandbox, 1, false);
    sandbox.assign(identity.clone());
    let client_id = application(&sandbox).1;
    let ask = async || refusal(&source_by(&sandbox, federated(&sandbox, &identity), &azure)).await;

    let stranger = ask().await;
    assert_eq!(stranger.code, "AADSTS700211", "{stranger}");
    assert!(stranger.remedy.contains("no federated credential of this issuer"), "{stranger}");
    let other = MachineIdentity { object_id: "other".to_owned(), ..identity.clone() };
    sandbox.trust(&client_id, trusted(&other, EXCHANGE));
    assert_eq!(ask().await.code, "AADSTS700213");
    sandbox.trust(&client_id, trusted(&identity, "api://AzureADTokenExchangeUSGov"));
    let audience = ask().await;
    assert_eq!(audience.code, "AADSTS700212");
    assert!(audience.remedy.contains(EXCHANGE), "{audience}");
    sandbox.trust(&client_id, trusted(&identity, EXCHANGE));
    source_by(&sandbox, federated(&sandbox, &identity), &azure).token().await.unwrap();
}

#[tokio::test]
async fn projected_token_is_read_anew_and_its_end_is_named() {
    let sandbox = start().await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let (tenant_id, client_id) = application(&sandbox);
    let credential = Credential {
        tenant_id,
        client_id,
        proof: Proof::WorkloadIdentity { token_file: token_file.clone() },
    };
    let source = source(&sandbox, credential);
    let error = source.token().await.unwrap_err();
    assert!(matches!(error, SignInError::Settings(_)), "{error}");
    assert!(error.to_string().contains("azure.workload.identity/use"), "{error}");

    std::fs::write(&token_file, project(&sandbox, Duration::ZERO)).unwrap();
    let late = refusal(&source).await;
    assert_eq!(late.code, "AADSTS700024");
    assert!(late.remedy.contains(token_file.to_str().unwrap()), "{late}");
    std::fs::write(&token_file, project(&sandbox, PATIENCE)).unwrap();
    source.token().await.unwrap();
}
