//! Health rules from `policies/health/`: they reach the agent in the signed state and judge objects of their kind.

use std::time::Duration;

use countersign_fleet::{load::load, tree::WorkTree};
use countersign_health::{
    HealthStatus, judge,
    rules::{Rules, from_json},
};
use countersign_tests::{cluster::Options, until, workspace};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::fixture::Stand;

const LIMIT: Duration = Duration::from_secs(60);

/// The rules that this repository ships.
fn shipped() -> Rules {
    let tree = WorkTree::open(workspace::root()).unwrap();
    let (fleet, mistakes) = load(&tree).unwrap();
    assert_eq!(mistakes, []);
    let rules: Vec<Value> = fleet
        .health_rules
        .values()
        .map(|at| at.rule.clone())
        .collect();
    let (rules, mistakes) = Rules::compile(&from_json(&rules).unwrap());
    assert_eq!(mistakes, []);
    rules
}

#[test]
fn the_shipped_health_rules_judge_the_kinds_that_they_name() {
    let rules = shipped();
    let ready = |status: &str, reason: &str| json!({"type": "Ready", "status": status, "reason": reason, "message": "because"});
    let certificate = |status: Value| json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "status": status});
    let secret = |status: Value| json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "status": status});
    let rollout = |paused: bool, status: Value| json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"generation": 3}, "spec": {"paused": paused}, "status": status});
    let issuer = |status: &str| json!({"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "status": {"conditions": [ready(status, "")]}});
    for (object, status, message) in [
        (certificate(json!({})), HealthStatus::Progressing, ""),
        (
            certificate(json!({"conditions": [ready("True", "Ready")]})),
            HealthStatus::Healthy,
            "",
        ),
        (
            certificate(json!({"conditions": [ready("False", "DoesNotExist")]})),
            HealthStatus::Progressing,
            "",
        ),
        (
            certificate(json!({"conditions": [ready("False", "Expired")]})),
            HealthStatus::Degraded,
            "because",
        ),
        (
            certificate(
                json!({"failedIssuanceAttempts": 2, "conditions": [ready("False", "DoesNotExist"), {"type": "Issuing", "status": "False", "message": "refused"}]}),
            ),
            HealthStatus::Degraded,
            "issuing failed 2 times: refused",
        ),
        (
            certificate(
                json!({"failedIssuanceAttempts": 2, "conditions": [ready("True", "Ready")]}),
            ),
            HealthStatus::Healthy,
            "",
        ),
        (issuer("True"), HealthStatus::Healthy, ""),
        (issuer("False"), HealthStatus::Degraded, "because"),
        (secret(json!({})), HealthStatus::Progressing, ""),
        (
            secret(json!({"conditions": [ready("True", "SecretSynced")]})),
            HealthStatus::Healthy,
            "",
        ),
        (
            secret(json!({"conditions": [ready("False", "SecretSyncedError")]})),
            HealthStatus::Degraded,
            "because",
        ),
        (
            rollout(true, json!({"phase": "Healthy"})),
            HealthStatus::Suspended,
            "paused by hand",
        ),
        (
            rollout(false, json!({"phase": "Degraded", "message": "no image"})),
            HealthStatus::Degraded,
            "no image",
        ),
        (
            rollout(false, json!({"phase": "Paused", "message": "canary"})),
            HealthStatus::Suspended,
            "canary",
        ),
        (
            rollout(
                false,
                json!({"phase": "Healthy", "observedGeneration": "3"}),
            ),
            HealthStatus::Healthy,
            "",
        ),
        (
            rollout(
                false,
                json!({"phase": "Healthy", "observedGeneration": "2"}),
            ),
            HealthStatus::Progressing,
            "",
        ),
    ] {
        let health = judge(&object, &rules);
        assert_eq!(
            (health.status, health.message.as_str()),
            (status, message),
            "{object}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_fleet_judges_the_objects_of_two_apps_and_a_change_of_it_judges_anew() {
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: tables.casino.example\nspec:\n  group: casino.example\n  scope: Namespaced\n  names: {kind: Table, plural: tables}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n";
    let table = |name: &str, open: bool| {
        format!(
            "apiVersion: casino.example/v1\nkind: Table\nmetadata: {{name: {name}}}\nspec: {{open: {open}}}\n"
        )
    };
    let rule = |message: &str| {
        format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: HealthRules\nmetadata: {{name: casino}}\nspec:\n  rules:\n    - group: casino.example\n      kind: Table\n      checks:\n        - {{status: Degraded, when: self.spec.closed, message: {message}}}\n      otherwise: Healthy\n"
        )
    };
    let app = |name: &str| crate::fixture::plain_app(name, &format!("apps/{name}"));
    let stand = Stand::with(
        &[
            ("clusters/one/crd.yaml", crd),
            ("clusters/a.yaml", &app("a")),
            ("clusters/b.yaml", &app("b")),
            ("apps/a/t.yaml", &table("roulette", true)),
            ("apps/b/t.yaml", &table("poker", true)),
            ("policies/health/casino.yaml", &rule("nobody plays")),
        ],
        Options::default(),
        |options| options,
    )
    .await;
    let kind = GroupVersionKind::gvk("casino.example", "v1", "Table");
    let resource = ApiResource::from_gvk_with_plural(&kind, "tables");
    let tables = Api::<DynamicObject>::namespaced_with(stand.client.clone(), "default", &resource);
    // A field beside ours: no drift, but the rule sees it.
    tables
        .patch(
            "poker",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"closed": true}})),
        )
        .await
        .unwrap();
    let shows = async |message: &str| {
        until(&format!("the app says {message}"), LIMIT, async || {
            let app = stand.world.operator.app("b").await?;
            let text = serde_json::to_string(&app)?;
            anyhow::ensure!(
                text.contains(message) && text.contains("Degraded"),
                "{text}"
            );
            Ok(())
        })
        .await;
    };
    shows("nobody plays").await;
    let other = serde_json::to_string(&stand.world.operator.app("a").await.unwrap()).unwrap();
    assert!(!other.contains("Degraded"), "{other}");

    stand
        .world
        .push_files(
            &[("policies/health/casino.yaml", &rule("the house is closed"))],
            "other words",
        )
        .unwrap();
    shows("the house is closed").await;
    assert!(
        !stand.agent.process.log().contains("HEALTH_RULE"),
        "one rule in two apps is one rule"
    );
}
