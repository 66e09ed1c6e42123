//! The charts on a real API server: it takes every object, the pods pass restricted Pod Security, and the agent's account
//! may do what the values say and nothing else.

use std::time::Duration;

use countersign_tests::{cluster::Cluster, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, discovery};
use serde_json::{Value, json};

use super::golden;

const LIMIT: Duration = Duration::from_secs(120);

/// A namespace that enforces the restricted level.
pub(super) async fn namespace(client: &Client, name: &str) {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    Api::<Namespace>::all(client.clone())
        .patch(
            name,
            &PatchParams::apply("charts"),
            &Patch::Apply(namespace),
        )
        .await
        .unwrap();
}

/// Applies an object as an installer would, unknown fields refused.
pub(super) async fn apply(client: &Client, case: &str, object: &Value) {
    let (group, version) = {
        let whole = object["apiVersion"].as_str().unwrap();
        whole.split_once('/').unwrap_or(("", whole))
    };
    let kind = object["kind"].as_str().unwrap();
    let (resource, _) =
        discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind))
            .await
            .unwrap();
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("charts").force()
    };
    if let Err(error) = api.patch(name, &params, &Patch::Apply(object)).await {
        panic!("{case}: {kind} {name}: {error}");
    }
}

/// Applies a golden render, its own namespace replaced by another one.
async fn install(client: &Client, chart: &str, case: &str, into: &str) {
    for name in [into, "shop", "search"] {
        namespace(client, name).await;
    }
    for mut object in golden(chart, case) {
        if object["metadata"]["namespace"] == "countersign" {
            object["metadata"]["namespace"] = into.into();
        }
        apply(client, &format!("{chart}/{case}"), &object).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chart_installs_and_its_pods_pass_restricted_pod_security() {
    let cluster = Cluster::shared().await.unwrap();
    let client = cluster.client().await.unwrap();
    for chart in super::CHARTS {
        for case in super::stems(
            &super::root().join("manifests").join(chart).join("ci"),
            "-values.yaml",
        ) {
            let into = format!("{chart}-{case}");
            install(&client, chart, &case, &into).await;
            let api: Api<Deployment> = Api::namespaced(client.clone(), &into);
            until(
                &format!("the pod of {chart} {case} is made"),
                LIMIT,
                || async {
                    let seen = api.get(chart).await.map_err(|error| error.to_string())?;
                    let status = seen.status.unwrap_or_default();
                    if status.updated_replicas == Some(1) {
                        Ok(())
                    } else {
                        Err(format!("{status:?}"))
                    }
                },
            )
            .await;
        }
    }
}

/// Asks the API server whether the agent's account may.
async fn may(client: &Client, verb: &str, what: &str, namespace: &str) -> bool {
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some("system:serviceaccount:countersign:countersign-agent".to_owned()),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: optional(group),
                resource: Some(resource.to_owned()),
                subresource: optional(subresource),
                namespace: optional(namespace),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    Api::<SubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap()
        .allowed
}

/// Never, whatever the values say.
const NEVER: [(&str, &str, &str); 11] = [
    ("impersonate", "users", ""),
    ("impersonate", "serviceaccounts", "shop"),
    ("escalate", "clusterroles.rbac.authorization.k8s.io", ""),
    ("bind", "clusterroles.rbac.authorization.k8s.io", ""),
    ("bind", "roles.rbac.authorization.k8s.io", "shop"),
    ("create", "serviceaccounts/token", "shop"),
    ("create", "pods/exec", "shop"),
    ("create", "pods/ephemeralcontainers", "shop"),
    ("get", "nodes/proxy", ""),
    ("approve", "signers.certificates.k8s.io", ""),
    ("deletecollection", "configmaps", "shop"),
];

/// On a cluster of its own: roles of other installations would answer too.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_account_may_do_what_the_values_say_and_nothing_else() {
    let cluster = Cluster::start(countersign_tests::cluster::Options::default())
        .await
        .unwrap();
    let client = cluster.client().await.unwrap();

    install(&client, "countersign-agent", "namespaced", "countersign").await;
    for (verb, what, namespace, want) in [
        ("patch", "deployments.apps", "shop", true),
        ("create", "configmaps", "search", true),
        ("delete", "jobs.batch", "shop", true),
        ("watch", "deployments.apps", "", true),
        ("get", "namespaces", "", true),
        ("patch", "deployments.apps", "kube-system", false),
        ("create", "configmaps", "default", false),
        ("get", "secrets", "shop", false),
        ("list", "secrets", "", false),
        (
            "patch",
            "customresourcedefinitions.apiextensions.k8s.io",
            "",
            false,
        ),
        ("create", "namespaces", "", false),
        ("create", "leases.coordination.k8s.io", "countersign", true),
        ("create", "leases.coordination.k8s.io", "shop", false),
        ("list", "secrets", "countersign", false),
    ] {
        settled(&client, "namespaced", verb, what, namespace, want).await;
    }
    never(&client, "namespaced").await;

    install(&client, "countersign-agent", "cluster", "countersign").await;
    for (verb, what, namespace, want) in [
        ("patch", "deployments.apps", "kube-system", true),
        ("create", "namespaces", "", true),
        (
            "patch",
            "customresourcedefinitions.apiextensions.k8s.io",
            "",
            true,
        ),
        ("create", "clusterroles.rbac.authorization.k8s.io", "", true),
        ("patch", "secrets", "shop", true),
        ("create", "rollouts.argoproj.io", "shop", true),
        (
            "patch",
            "httproutes.gateway.networking.k8s.io",
            "shop",
            true,
        ),
        ("create", "things.example.com", "shop", false),
        ("update", "deployments.apps", "shop", false),
        ("delete", "nodes", "", false),
    ] {
        settled(&client, "cluster", verb, what, namespace, want).await;
    }
    never(&client, "cluster").await;
}

async fn never(client: &Client, case: &str) {
    for (verb, what, namespace) in NEVER {
        assert!(
            !may(client, verb, what, namespace).await,
            "{case}: {verb} {what} in {namespace:?}"
        );
    }
}

/// The authorizer sees roles by a watch, a moment after they were written.
async fn settled(client: &Client, case: &str, verb: &str, what: &str, namespace: &str, want: bool) {
    until(
        &format!("{case}: {verb} {what} in {namespace:?} is {want}"),
        LIMIT,
        || async { may(client, verb, what, namespace).await == want },
    )
    .await;
}
