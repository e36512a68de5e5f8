//! Tests the client for the management plane against the sandbox.

use misp_sentinel_relay::azure::manage::{Condition, ManageClient, ManageError, WorkspaceObject};
use misp_sentinel_relay::sandbox::{Fault, Sandbox, Settings};

use super::support::sandbox::{
    SOURCE, Uploader, all_well, azure, id, indicator, managed, management, manager, start,
    start_with,
};

const OURS: Condition<'static> = Condition { kind: "indicator", source: Some(SOURCE), ids: &[] };

/// A sandbox that holds so many indicators of ours, and one of another product.
async fn filled(count: usize) -> Sandbox {
    let sandbox = start().await;
    fill(&sandbox, count).await;
    sandbox
}

async fn fill(sandbox: &Sandbox, count: usize) {
    let uploader = Uploader::new(sandbox);
    let all: Vec<String> = (0..count).map(indicator).collect();
    for batch in all.chunks(100) {
        assert_eq!(uploader.send(batch).await, all_well());
    }
    let other = serde_json::from_str(&indicator(0)).unwrap();
    sandbox.put(sandbox.settings().workspaces[0], "another", other);
}

async fn all(
    client: &ManageClient,
    condition: &Condition<'_>,
) -> Result<Vec<WorkspaceObject>, ManageError> {
    let (mut walk, mut found) = (client.walk(condition), Vec::new());
    while let Some(page) = walk.page().await? {
        found.extend(page);
    }
    Ok(found)
}

#[tokio::test]
async fn a_walk_takes_every_page_and_only_what_is_meant() {
    let sandbox = filled(35).await;
    let client = manager(&sandbox);
    assert_eq!(client.count(&OURS).await, Ok(35));
    let found = all(&client, &OURS).await.unwrap();
    let ids: Vec<&str> = found.iter().map(WorkspaceObject::id).collect();
    let mut expected: Vec<String> = (0..35).map(id).collect();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(found.iter().all(|one| one.source == SOURCE));
    // Pages of 10.
    let pages = sandbox.managed().into_iter().filter(|asked| asked.what == "query");
    assert_eq!(pages.map(|asked| asked.method).collect::<Vec<_>>(), ["POST", "GET", "GET", "GET"]);

    let any = Condition { source: None, ids: &[id(0), id(3)], ..OURS };
    assert_eq!(all(&client, &any).await.unwrap().len(), 3);
    let none = Condition { kind: "identity", ..OURS };
    assert_eq!(all(&client, &none).await.unwrap(), []);
}

#[tokio::test]
async fn a_deletion_takes_exactly_one() {
    let sandbox = filled(3).await;
    let client = manager(&sandbox);
    let which = Condition { ids: &[id(1)], ..OURS };
    let [found] = &all(&client, &which).await.unwrap()[..] else { panic!("not one") };
    assert_eq!(client.delete(&found.resource).await, Ok(true));
    assert_eq!(client.delete(&found.resource).await, Ok(false));
    assert_eq!(client.count(&OURS).await, Ok(2));
}

#[tokio::test]
async fn faults_and_throttling_are_waited_out() {
    let sandbox = filled(12).await;
    let client = manager(&sandbox);
    let throttled = Fault::Throttled { seconds: None, header: Some(0) };
    sandbox.script_management([
        Fault::ServerError,
        throttled,
        Fault::ResetBefore,
        Fault::None,
        Fault::Throttled { seconds: None, header: None },
    ]);
    assert_eq!(all(&client, &OURS).await.unwrap().len(), 12);

    sandbox.script_management(vec![Fault::ServerError; 4]);
    let given_up = client.count(&OURS).await.unwrap_err();
    assert!(matches!(given_up, ManageError::Unreachable(_)), "{given_up}");
    assert!(given_up.to_string().contains("HTTP 500"), "{given_up}");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let sandbox = filled(1).await;
    let client = manager(&sandbox);
    sandbox.script_management([Fault::TokenRefused]);
    assert_eq!(client.count(&OURS).await, Ok(1));
    sandbox.script_management([Fault::TokenRefused, Fault::TokenRefused]);
    let refused = client.count(&OURS).await.unwrap_err();
    assert!(refused.to_string().contains("Microsoft Sentinel Reader"), "{refused}");
}

#[tokio::test]
async fn a_missing_role_names_role_scope_and_object() {
    let settings = Settings::default();
    let client_id = settings.accounts[0].client_id.clone();
    let sandbox = start_with(Settings { unprivileged: vec![client_id], ..settings }).await;
    let refused = manager(&sandbox).count(&OURS).await.unwrap_err().to_string();
    let scope = format!(
        "/subscriptions/{}/resourceGroups/sandbox/providers/Microsoft.OperationalInsights/workspaces/workspace-1",
        sandbox.settings().subscription_id
    );
    for words in ["AuthorizationFailed", "Microsoft Sentinel Reader", "object id", &scope] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[tokio::test]
async fn wrong_names_are_named() {
    let sandbox = start().await;
    let Uploader { tokens, .. } = Uploader::new(&sandbox);
    let azure = azure(&sandbox);
    let http = misp_sentinel_relay::azure::http::client(&azure).unwrap();
    let mut workspace = managed(&sandbox);
    workspace.workspace_name = "workspace-7".to_owned();
    let tokens = std::sync::Arc::new(tokens);
    let client = ManageClient::new(http, &azure, &workspace, tokens, &management()).unwrap();
    let refused = client.count(&OURS).await.unwrap_err().to_string();
    assert!(
        refused.contains("check subscription_id, resource_group and workspace_name"),
        "{refused}"
    );
}

/// A token stays with the host that it is for, and a list that never ends is seen.
#[tokio::test]
async fn links_that_lead_elsewhere_or_in_circles_are_errors() {
    let sandbox = start().await;
    let page = |link: &str| {
        let body = serde_json::json!({"value": [], "nextLink": link}).to_string();
        Fault::Answer { status: 200, body }
    };
    for link in [
        "https://evil.example/x",
        "//evil.example/x",
        "https://localhost:1/x",
        "http://localhost/x",
    ] {
        sandbox.script_management([page(link)]);
        let error = all(&manager(&sandbox), &OURS).await.unwrap_err();
        assert!(error.to_string().contains("no token is sent"), "{link}: {error}");
    }
    let asked = sandbox.managed().len();
    assert_eq!(asked, 4);
    sandbox.script_management([page(&scope_link(&sandbox)), page(&scope_link(&sandbox))]);
    let error = all(&manager(&sandbox), &OURS).await.unwrap_err();
    assert!(error.to_string().contains("followed before"), "{error}");
}

fn scope_link(sandbox: &Sandbox) -> String {
    format!(
        "{}{}/providers/Microsoft.SecurityInsights/threatIntelligence/main/query?page=2",
        sandbox.base_url(),
        manager(sandbox).scope()
    )
}

#[tokio::test]
async fn deletions_stay_in_the_workspace() {
    let sandbox = start().await;
    let client = manager(&sandbox);
    for resource in
        ["/subscriptions/other/x", "//evil.example/subscriptions/x", "https://evil.example/"]
    {
        let error = client.delete(resource).await.unwrap_err();
        assert!(error.to_string().contains("no token is sent"), "{resource}: {error}");
    }
    assert!(sandbox.managed().is_empty());
}
