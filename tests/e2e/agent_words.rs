//! No secret comes back in what an agent tells: not from a custom resource that holds one, not from an admission that
//! echoes what it refused.

use bytes::Bytes;
use countersign_agent::apply::client;
use countersign_agent::world::Sync;
use http::Method;
use serde_json::{Value, json};

use crate::rig::{APPLY, MERGE, Rig, rig, unique, until};

const CANARY: &str = "cAnArY-7f3a";

fn vault(group: &str, namespace: &str, name: &str, mode: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Vault", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "mode": mode, "password": CANARY,
        "template": {"kind": "Secret", "stringData": {"k": CANARY}}}})
}

/// Everything that the agent has to tell, as a person would see it.
fn told(rig: &Rig) -> String {
    let news = rig.engine.news();
    let drifts: Vec<String> = news.drifts().map(|drift| format!("{drift:?}")).collect();
    let refusals: Vec<String> = news
        .refusals()
        .map(|refusal| format!("{refusal:?}"))
        .collect();
    drop(news);
    let world = rig.engine.world();
    let objects: Vec<String> = world
        .iter()
        .map(|(id, object)| format!("{id} {object:?}"))
        .collect();
    [drifts, refusals, objects].concat().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_back_from_a_custom_resource_or_an_admission_that_echoes() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), &unique("words")).await;
    rig.namespace();
    let namespace = rig.namespace.clone();
    let group = format!("{namespace}.example.org");
    rig.want("base", 0, json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("vaults.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "vaults", "singular": "vault", "kind": "Vault", "listKind": "VaultList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "mode": {"type": "string"},
                    "password": {"type": "string", "x-kubernetes-validations": [
                        {"rule": "self != 'never'", "message": "no"}]},
                    "size": {"type": "integer", "maximum": 3},
                    "template": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                    "x-kubernetes-validations": [{"rule": "self.mode != 'invalid'", "messageExpression": "'refused: ' + self.password"}]}}}}}]}}));
    let good = rig.want("base", 1, vault(&group, &namespace, "good", "fine"));
    rig.push();
    rig.applied().await;

    // Its drift shows what was done, not what it holds.
    let body = json!({"spec": {"mode": "other", "password": format!("{CANARY}-2"), "template": {"stringData": {"k": "x"}}}});
    assert_eq!(
        rig.rival(Method::PATCH, &good, "?fieldManager=mallory", MERGE, body)
            .await,
        200
    );
    let drift = rig.drift_of(&good).await;
    assert!(
        drift.patch.contains("other") && drift.patch.contains("(masked)"),
        "{drift:?}"
    );

    // A policy that echoes the object, once it is in force.
    let policies = "/apis/admissionregistration.k8s.io/v1";
    for (plural, object) in [
        (
            "validatingadmissionpolicies",
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": group}, "spec": {"failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["vaults"]}]},
                "validations": [{"expression": "object.spec.mode != 'denied'", "messageExpression": "'refused: ' + object.spec.password"}]}}),
        ),
        (
            "validatingadmissionpolicybindings",
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": group}, "spec": {"policyName": group, "validationActions": ["Deny"]}}),
        ),
    ] {
        let body = Some(("application/json", Bytes::from(object.to_string())));
        let answer = rig
            .engine
            .api
            .call(
                Method::POST,
                &format!("{policies}/{plural}"),
                client::FULL,
                body,
                client::CALL_MAX,
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 201);
    }
    let probe = vault(&group, &namespace, "probe", "denied");
    let id = crate::rig::id_of(&probe);
    until("the policy in force", || async {
        let query = "?dryRun=All&fieldManager=probe&force=true";
        let status = rig
            .rival(Method::PATCH, &id, query, APPLY, probe.clone())
            .await;
        (status == 422).then_some(())
    })
    .await;
    let denied = rig.want("cart", 0, vault(&group, &namespace, "denied", "denied"));
    let invalid = rig.want("cart", 0, vault(&group, &namespace, "invalid", "invalid"));
    let mut odd = vault(&group, &namespace, "odd", "fine");
    odd["spec"]["unknown"] = CANARY.into();
    let odd = rig.want("cart", 0, odd);
    rig.push();
    for (id, word) in [
        (&denied, format!("ValidatingAdmissionPolicy {group}")),
        (&invalid, "spec".to_owned()),
        (&odd, ".spec.unknown".to_owned()),
    ] {
        until("its refusal", || async {
            let world = rig.engine.world();
            match &world.get(id)?.sync {
                Sync::Failed(problem) => {
                    assert!(problem.text.contains(&word), "{problem}");
                    Some(())
                }
                _ => None,
            }
        })
        .await;
    }
    let told = told(&rig);
    assert!(!told.contains(CANARY), "{told}");
}
