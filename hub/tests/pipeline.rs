//! One commit through all stages, with real renderer processes and a real store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use countersign_ledger::statement::PermitKind;
use support::git::Repo;
use support::hub::World;
use support::until;

const CLUSTERS: &[(&str, &str)] = &[("metal-fra", "prod"), ("eks-eu", "staging")];

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: default\ndata:\n  value: \"{value}\"\n"
    )
}

fn cluster(name: &str, environment: &str) -> String {
    format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: {name}\nspec:\n  labels:\n    env: {environment}\n"
    )
}

fn maps(count: usize) -> String {
    (0..count)
        .map(|n| map(&format!("m{n:02}"), "1"))
        .collect::<Vec<_>>()
        .join("---\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_becomes_a_signed_head_and_a_commit_that_touches_nothing_one_source_entry() {
    let repo = Repo::new();
    let first = repo.push(&[
        ("clusters/metal-fra/a.yaml", &map("a", "1")),
        ("clusters/eks-eu/b.yaml", &map("b", "1")),
    ]);
    let world = World::new(&repo.path(), CLUSTERS);
    let hub = world.start().await;
    until("both clusters sealed", || {
        world.desired("metal-fra").len() == 1 && world.desired("eks-eu").len() == 1
    })
    .await;
    assert_eq!(world.lines("metal-fra"), ["a metal-fra"]);
    let head = &world.desired("metal-fra")[0];
    assert_eq!(
        (
            head.generation,
            head.environment.as_str(),
            head.commit.as_str()
        ),
        (1, "prod", first.to_string().as_str())
    );
    assert!(head.renderer.contains("countersign-renderer"));
    let object = &world.objects("metal-fra")["a"];
    assert_eq!(
        object["metadata"]["labels"]["countersign.dev/app"],
        "metal-fra"
    );
    assert_eq!(
        world.entries().len(),
        4,
        "the trust root; then one source, two desired, one batch"
    );

    let files = [
        ("clusters/metal-fra/a.yaml", map("a", "2")),
        ("clusters/eks-eu/b.yaml", map("b", "1")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, content)| (*path, content.as_str()))
        .collect();
    let second = repo.push(&files);
    until("the second head", || world.desired("metal-fra").len() == 2).await;
    let heads = world.desired("metal-fra");
    assert_eq!(
        (heads[1].generation, heads[1].commit.as_str()),
        (2, second.to_string().as_str())
    );
    assert_eq!(
        world.desired("eks-eu").len(),
        1,
        "the other cluster did not change"
    );

    let readme = [files.clone(), vec![("docs/README.md", "hello")]].concat();
    let third = repo.push(&readme);
    until("the third source entry", || world.sources().len() == 3).await;
    assert_eq!(world.sources()[2].new, third.to_string());
    assert_eq!(world.sources()[2].old, second.to_string());
    assert_eq!(world.entries().len(), 7, "and nothing else");
    hub.until_fleet_says(&third.to_string()).await;
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_app_keeps_its_last_good_objects_and_the_others_move_on() {
    let repo = Repo::new();
    let app = |name: &str| {
        format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata:\n  name: {name}\nspec:\n  source:\n    path: apps/{name}\n  clusters:\n    matchLabels:\n      name: metal-fra\n"
        )
    };
    let (good, bad) = (app("good"), app("bad"));
    let files = |good_value: &str, bad_file: &str| {
        vec![
            (
                "clusters/metal-fra/cluster.yaml".to_owned(),
                cluster("metal-fra", "prod"),
            ),
            ("clusters/good.yaml".to_owned(), good.clone()),
            ("clusters/bad.yaml".to_owned(), bad.clone()),
            ("apps/good/x.yaml".to_owned(), map("g", good_value)),
            ("apps/bad/y.yaml".to_owned(), bad_file.to_owned()),
        ]
    };
    let push = |files: Vec<(String, String)>| {
        repo.push(
            &files
                .iter()
                .map(|(path, content)| (path.as_str(), content.as_str()))
                .collect::<Vec<_>>(),
        )
    };
    push(files("1", &map("b", "1")));
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.lines("metal-fra") == ["b bad", "g good"]).await;
    let second = push(files("2", "apiVersion: v1\nkind: [broken"));
    until("the good app moved", || {
        world.desired("metal-fra").len() == 2
    })
    .await;
    assert_eq!(world.lines("metal-fra"), ["b bad", "g good"]);
    assert_eq!(world.objects("metal-fra")["g"]["data"]["value"], "2");
    assert_eq!(world.objects("metal-fra")["b"]["data"]["value"], "1");
    hub.until_fleet_says(&second.to_string()).await;
    let app = hub.get("/api/v1/apps/bad").await;
    assert!(app.to_string().contains("YAML_INVALID"), "{app:#}");
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_commit_removes_is_a_tombstone_and_too_much_waits_for_a_permit() {
    let repo = Repo::new();
    let path = "clusters/metal-fra/maps.yaml";
    repo.push(&[(path, &maps(30))]);
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.lines("metal-fra").len() == 30).await;
    repo.push(&[(path, &maps(28))]);
    until("two tombstones", || world.desired("metal-fra").len() == 2).await;
    let lines = world.lines("metal-fra");
    assert_eq!(lines[..2], ["-m28 metal-fra", "-m29 metal-fra"]);
    repo.push(&[(path, &maps(3))]);
    let fleet = hub.until_fleet_says("permitsNeeded\":[{").await;
    assert_eq!(world.desired("metal-fra").len(), 2, "nothing is sealed");
    let mut permit = fleet["permitsNeeded"][0]["permit"].clone();
    let status = hub
        .post(
            "/api/v1/permits",
            &serde_json::json!({ "permit": permit.take(), "reason": "the shop closes" }),
        )
        .await;
    assert!((200..300).contains(&status), "{status}");
    until("permitted", || world.desired("metal-fra").len() == 3).await;
    let head = world.desired("metal-fra").pop().unwrap();
    assert_eq!(head.permits.len(), 1);
    assert_eq!(head.permits[0].reason, "the shop closes");
    assert_eq!(
        world
            .lines("metal-fra")
            .iter()
            .filter(|line| line.starts_with('-'))
            .count(),
        27
    );
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_environment_differs_from_the_trust_root_is_refused_by_name() {
    let repo = Repo::new();
    repo.push(&[
        (
            "clusters/metal-fra/cluster.yaml",
            &cluster("metal-fra", "staging"),
        ),
        ("clusters/metal-fra/a.yaml", &map("a", "1")),
        (
            "clusters/eks-eu/cluster.yaml",
            &cluster("eks-eu", "staging"),
        ),
        ("clusters/eks-eu/b.yaml", &map("b", "1")),
        ("clusters/stranger/c.yaml", &map("c", "1")),
    ]);
    let world = World::new(&repo.path(), CLUSTERS);
    let hub = world.start().await;
    let fleet = hub.until_fleet_says("ENVIRONMENT_WRONG").await;
    assert!(fleet.to_string().contains("CLUSTER_UNKNOWN"));
    until("the right one sealed", || {
        world.desired("eks-eu").len() == 1
    })
    .await;
    assert!(world.desired("metal-fra").is_empty() && world.desired("stranger").is_empty());
    hub.end().await;
}

const POLICY: &str = r#"apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-forbidden}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"]}
  validations:
    - expression: "object.data.value != 'forbidden'"
      message: "value is forbidden"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-forbidden}
spec: {policyName: no-forbidden, validationActions: [Deny]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_can_not_lower_its_own_checks_not_even_in_two_steps() {
    let repo = Repo::new();
    let path = "clusters/metal-fra/a.yaml";
    repo.push(&[(path, &map("a", "1")), ("policies/p.yaml", POLICY)]);
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.desired("metal-fra").len() == 1).await;
    assert!(world.desired("metal-fra")[0].admission.policies.is_some());
    repo.push(&[(path, &map("a", "forbidden")), ("policies/p.yaml", POLICY)]);
    until("seen", || world.sources().len() == 2).await;
    repo.push(&[(path, &map("a", "2"))]);
    until("removed the policy, kept an allowed value", || {
        world.desired("metal-fra").len() == 2
    })
    .await;
    repo.push(&[(path, &map("a", "forbidden"))]);
    until("seen", || world.sources().len() == 4).await;
    let refused = hub.until_fleet_says("\"kind\":\"policies\"").await;
    assert_eq!(
        world.desired("metal-fra").len(),
        2,
        "the removed policy still judges"
    );
    let needed = refused["permitsNeeded"]
        .as_array()
        .unwrap()
        .iter()
        .find(|needed| needed["permit"].to_string().contains("policies"))
        .unwrap();
    let body = serde_json::json!({ "permit": needed["permit"], "reason": "no longer needed" });
    assert!((200..300).contains(&hub.post("/api/v1/permits", &body).await));
    until("permitted", || world.desired("metal-fra").len() == 3).await;
    assert_eq!(
        world.objects("metal-fra")["a"]["data"]["value"],
        "forbidden"
    );
    let permits = &world.desired("metal-fra")[2].permits;
    assert_eq!(permits.len(), 1, "the statement says who let it be");
    assert_eq!(
        (permits[0].permit, permits[0].reason.as_str()),
        (PermitKind::Policies, "no longer needed")
    );
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_above_the_limit_is_listed_with_the_permit_that_deletes() {
    let repo = Repo::new();
    let app = "apiVersion: countersign.dev/v1alpha1\nkind: App\nmetadata: {name: big}\nspec:\n  onRemoval: delete\n  source: {path: apps/big}\n";
    let own = ("clusters/metal-fra/a.yaml", map("a", "1"));
    let own = (own.0, own.1.as_str());
    repo.push(&[
        own,
        ("clusters/big.yaml", app),
        ("apps/big/maps.yaml", &maps(60)),
    ]);
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.lines("metal-fra").len() == 61).await;
    repo.push(&[own]);
    let fleet = hub.until_fleet_says("REMOVAL_NEEDS_PERMIT").await;
    assert!(world.lines("metal-fra").contains(&"?m00 big".to_owned()));
    let needed = &fleet["permitsNeeded"][0];
    assert_eq!(needed["cluster"], "metal-fra");
    let body = serde_json::json!({ "permit": needed["permit"], "reason": "it is not played" });
    assert!((200..300).contains(&hub.post("/api/v1/permits", &body).await));
    until("deleted", || {
        world.lines("metal-fra").contains(&"-m00 big".to_owned())
    })
    .await;
    hub.until_fleet_says("\"permitsNeeded\":[]").await;
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_for_a_rewrite_is_used_once_also_across_a_restart() {
    let repo = Repo::new();
    let path = "clusters/metal-fra/a.yaml";
    let main = "refs/heads/main";
    let first = repo.push(&[(path, &map("a", "1"))]);
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.desired("metal-fra").len() == 1).await;
    let aside = repo.commit(&[], &[(path, &map("a", "aside"))]);
    repo.set(main, aside);
    hub.until_fleet_says("FORCE_PUSH").await;
    let permit =
        serde_json::json!({"kind": "rewrite", "reference": main, "commit": aside.to_string()});
    let body = serde_json::json!({"permit": permit, "reason": "history cleaned"});
    assert!((200..300).contains(&hub.post("/api/v1/permits", &body).await));
    until("permitted", || world.desired("metal-fra").len() == 2).await;
    let second = repo.push(&[(path, &map("a", "2"))]);
    until("on top of it", || world.desired("metal-fra").len() == 3).await;
    hub.until_processed(&second.to_string()).await;
    hub.end().await;

    let hub = world.start().await;
    hub.until_processed(&second.to_string()).await;
    let permits = hub.get("/api/v1/permits").await;
    assert_eq!(permits["permits"][0]["used"], true, "{permits:#}");
    // Back to where the permit once let it go: that needs another word.
    repo.set(main, aside);
    hub.until_fleet_says("FORCE_PUSH").await;
    assert_eq!(world.desired("metal-fra").len(), 3);
    repo.set(main, first);
    assert_eq!(world.desired("metal-fra").len(), 3);
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_the_record_ends() {
    let repo = Repo::new();
    let path = "clusters/metal-fra/a.yaml";
    repo.push(&[(path, &map("a", "1"))]);
    let world = World::new(&repo.path(), &[("metal-fra", "prod")]);
    let hub = world.start().await;
    until("sealed", || world.desired("metal-fra").len() == 1).await;
    hub.end().await;
    let hub = world.start().await;
    hub.until_fleet_says("UpToDate").await;
    assert_eq!(
        world.entries().len(),
        3,
        "the trust root, a source, a state: the same commit is not sealed twice"
    );
    repo.push(&[(path, &map("a", "2"))]);
    until("the next generation", || {
        world.desired("metal-fra").len() == 2
    })
    .await;
    let heads = world.desired("metal-fra");
    assert_eq!(heads[1].generation, 2);
    assert!(heads[1].previous.is_some());
    hub.end().await;
}
