//! A live API server that is asked for its verdict: dry-run requests, the answer's denial and warnings.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use countersign_fleet::{document::Kubernetes, kinds::Kinds};
use countersign_tests::{
    cluster::{Cluster, Options},
    until,
};
use http::Request;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    client::Body,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// An API server with a policy set, and nobody else on it.
pub(super) struct Live {
    client: Client,
    kinds: Kinds,
    _cluster: Cluster,
}

/// How the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It would take the object.
    Taken,
    /// This policy refuses it.
    Denied(String),
    /// It is invalid, whatever the policies say.
    Invalid(String),
}

/// The ruling, and every policy that has something against the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ruling: Ruling,
    pub(super) warned: BTreeSet<String>,
}

/// Group and version of an object.
pub(super) fn group_version(object: &Value) -> (&str, &str) {
    let whole = object["apiVersion"].as_str().unwrap();
    whole.split_once('/').unwrap_or(("", whole))
}

/// The policy that a message of the API server names.
fn policy(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("ValidatingAdmissionPolicy '")?;
    rest.split_once('\'').map(|(name, _)| name.to_owned())
}

impl Live {
    pub(super) async fn start(namespaces: &[&str]) -> Self {
        let cluster = Cluster::start(Options {
            nodes: Vec::new(),
            ..Options::default()
        })
        .await
        .unwrap();
        let client = cluster.client().await.unwrap();
        for name in namespaces {
            let namespace: Namespace =
                serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            Api::<Namespace>::all(client.clone())
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        for name in namespaces.iter().chain(&["kube-system"]) {
            // A pod is refused until its account is there.
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
            until(&format!("{name} has its account"), LIMIT, async || {
                accounts.get("default").await.map(drop)
            })
            .await;
        }
        Self {
            client,
            kinds: Kinds::of(&Kubernetes::default()),
            _cluster: cluster,
        }
    }

    /// Installs policies with their bindings, and beside each binding one that warns: a denial names one policy alone,
    /// warnings name all.
    pub(super) async fn install(&self, files: &[(String, Bytes)]) {
        for (_, text) in files {
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(std::str::from_utf8(text).unwrap()).unwrap();
            for document in documents {
                self.apply(&document).await;
                if document["kind"] == "ValidatingAdmissionPolicyBinding" {
                    let mut warning = document.clone();
                    let name = document["metadata"]["name"].as_str().unwrap();
                    warning["metadata"]["name"] = format!("{name}-warn").into();
                    warning["spec"]["validationActions"] = json!(["Warn"]);
                    self.apply(&warning).await;
                }
            }
        }
    }

    async fn apply(&self, object: &Value) {
        let (group, version) = group_version(object);
        let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
        let api =
            Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        let name = object["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("test").force();
        api.patch(name, &params, &Patch::Apply(object))
            .await
            .unwrap();
    }

    /// Makes a pod for real, without its debugging containers: those can only be added to a pod that is there.
    pub(super) async fn make_without_ephemeral(&self, pod: &Value) {
        let mut pod = pod.clone();
        pod["spec"]
            .as_object_mut()
            .unwrap()
            .remove("ephemeralContainers");
        let namespace = pod["metadata"]["namespace"].as_str().unwrap().to_owned();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Api::<Pod>::namespaced(self.client.clone(), &namespace)
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }

    /// Asks what would become of the object, were it applied.
    pub(super) async fn ask(&self, object: &Value) -> Answer {
        let (group, version) = group_version(object);
        let known = self
            .kinds
            .get(group, object["kind"].as_str().unwrap())
            .unwrap();
        let mut path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        if known.namespaced {
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            path += &format!("/namespaces/{namespace}");
        }
        path += &format!("/{}", known.resource);
        let (method, kind, body) = match object["spec"].get("ephemeralContainers") {
            Some(containers) if object["kind"] == "Pod" => {
                let name = object["metadata"]["name"].as_str().unwrap();
                path += &format!("/{name}/ephemeralcontainers");
                let body = json!({"spec": {"ephemeralContainers": containers}});
                ("PATCH", "application/strategic-merge-patch+json", body)
            }
            _ => ("POST", "application/json", object.clone()),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "{path}?dryRun=All&fieldValidation=Strict&fieldManager=test"
            ))
            .header("content-type", kind)
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap();
        let response = self.client.send(request).await.unwrap();
        let warned = response
            .headers()
            .get_all("warning")
            .iter()
            .filter_map(|value| policy(value.to_str().ok()?))
            .collect();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let ruling = if status.is_success() {
            Ruling::Taken
        } else {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let message = body["message"].as_str().unwrap_or_default();
            match policy(message) {
                Some(policy) => Ruling::Denied(policy),
                None => Ruling::Invalid(format!("{status}: {message}")),
            }
        };
        Answer { ruling, warned }
    }
}
