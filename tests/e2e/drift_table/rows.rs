//! The table.

use serde_json::{Value, json};

use super::{
    Does::{
        self, Apply, ApplyAsUs, Create, Delete, Merge, MergeAsUs, Put, PutAsUs, Strategic,
        Subresource,
    },
    Row,
    Shows::{self, Changed, Nothing},
    objects::{config_map, custom, deployment, secret, secret_of_strings, service},
};

fn row(change: &'static str, object: Value, does: impl Into<Vec<Does>>, shows: Shows) -> Row {
    Row {
        change,
        object,
        does: does.into(),
        shows,
    }
}

/// A strategic patch of the one container.
fn container(patch: Value) -> Does {
    let mut patch = patch;
    if patch.get("name").is_none() {
        patch["name"] = json!("web");
    }
    Strategic(json!({"spec": {"template": {"spec": {"containers": [patch]}}}}))
}

pub(super) fn add_sidecar() -> Does {
    container(json!({"name": "sidecar", "image": "registry.example.org/spy:1"}))
}

pub(super) fn all(custom_group: &str) -> Vec<Row> {
    let mut rows = workload();
    rows.extend(metadata());
    rows.extend(data());
    rows.extend(service_rows());
    rows.extend(custom_rows(custom_group));
    rows.extend(managers());
    rows.extend(gone());
    rows.extend(nothing_of_ours());
    rows
}

fn workload() -> Vec<Row> {
    vec![
        row(
            "image",
            deployment(),
            [container(
                json!({"image": "registry.example.org/cart:evil"}),
            )],
            Changed,
        ),
        row(
            "env value",
            deployment(),
            [container(
                json!({"env": [{"name": "MODE", "value": "slow"}]}),
            )],
            Changed,
        ),
        row(
            "env item removed",
            deployment(),
            [container(
                json!({"env": [{"name": "MODE", "$patch": "delete"}]}),
            )],
            Changed,
        ),
        row(
            "container renamed",
            deployment(),
            [Put(|o| {
                o["spec"]["template"]["spec"]["containers"][0]["name"] = json!("renamed")
            })],
            Changed,
        ),
        row(
            "atomic list: a value changed",
            deployment(),
            [container(json!({"args": ["--port", "9090"]}))],
            Changed,
        ),
        row(
            "atomic list: an item appended",
            deployment(),
            [container(json!({"args": ["--port", "8080", "--debug"]}))],
            Changed,
        ),
        row(
            "replicas by patch",
            deployment(),
            [Merge(json!({"spec": {"replicas": 3}}))],
            Changed,
        ),
        row(
            "replicas by PUT",
            deployment(),
            [Put(|o| o["spec"]["replicas"] = json!(3))],
            Changed,
        ),
        row(
            "replicas by the scale subresource",
            deployment(),
            [Subresource("scale", json!({"spec": {"replicas": 3}}))],
            Changed,
        ),
    ]
}

fn metadata() -> Vec<Row> {
    let patch = |key: &str, value: Value| Merge(json!({"metadata": {key: value}}));
    vec![
        row(
            "label: value changed",
            deployment(),
            [patch("labels", json!({"team": "other"}))],
            Changed,
        ),
        row(
            "label removed",
            deployment(),
            [patch("labels", json!({"team": null}))],
            Changed,
        ),
        row(
            "annotation: value changed",
            deployment(),
            [patch("annotations", json!({"owner": "eve"}))],
            Changed,
        ),
        row(
            "annotation removed",
            deployment(),
            [patch("annotations", json!({"owner": null}))],
            Changed,
        ),
    ]
}

fn data() -> Vec<Row> {
    vec![
        row(
            "ConfigMap key changed",
            config_map(),
            [Merge(json!({"data": {"colour": "red"}}))],
            Changed,
        ),
        row(
            "ConfigMap key removed",
            config_map(),
            [Merge(json!({"data": {"colour": null}}))],
            Changed,
        ),
        row(
            "ConfigMap data replaced",
            config_map(),
            [Put(|o| o["data"] = json!({"other": "1"}))],
            Changed,
        ),
        row(
            "Secret data changed",
            secret(),
            [Merge(json!({"data": {"password": "dHdv"}}))],
            Changed,
        ),
        row(
            "Secret data overwritten through stringData",
            secret(),
            [Merge(json!({"stringData": {"password": "two"}}))],
            Changed,
        ),
        row(
            "data of a Secret that we applied with stringData",
            secret_of_strings(),
            [Merge(json!({"data": {"password": "dHdv"}}))],
            Nothing,
        ),
    ]
}

fn service_rows() -> Vec<Row> {
    vec![
        row(
            "Service port",
            service(),
            [Put(|o| o["spec"]["ports"][0]["port"] = json!(81))],
            Changed,
        ),
        row(
            "Service targetPort",
            service(),
            [Put(|o| o["spec"]["ports"][0]["targetPort"] = json!(9090))],
            Changed,
        ),
        row(
            "key added to an atomic map",
            service(),
            [Merge(json!({"spec": {"selector": {"track": "evil"}}}))],
            Changed,
        ),
    ]
}

fn custom_rows(group: &str) -> Vec<Row> {
    vec![
        row(
            "custom resource: nested value",
            custom(group),
            [Merge(json!({"spec": {"shape": {"sides": 5}}}))],
            Changed,
        ),
        row(
            "custom resource: list item appended",
            custom(group),
            [Merge(
                json!({"spec": {"shape": {"names": ["a", "b", "c"]}}}),
            )],
            Changed,
        ),
    ]
}

/// Whoever plays with managers themselves.
fn managers() -> Vec<Row> {
    vec![
        row(
            "another manager applies another value with force",
            config_map(),
            [Apply(json!({"data": {"colour": "red"}}))],
            Changed,
        ),
        row(
            "PUT without managedFields",
            config_map(),
            [Put(|o| {
                o["metadata"]
                    .as_object_mut()
                    .unwrap()
                    .remove("managedFields");
                o["data"]["colour"] = json!("red");
            })],
            Changed,
        ),
        row(
            "PUT with managedFields [], else equal",
            config_map(),
            [Put(|o| {
                o["metadata"]["managedFields"] = json!([]);
            })],
            Changed,
        ),
        row(
            "PUT with managedFields [{}], else equal",
            config_map(),
            [Put(|o| {
                o["metadata"]["managedFields"] = json!([{}]);
            })],
            Changed,
        ),
        row(
            "PUT under our name with our old entry",
            config_map(),
            [PutAsUs(|o| o["data"]["colour"] = json!("red"))],
            Changed,
        ),
        row(
            "PATCH under our name",
            config_map(),
            [MergeAsUs(json!({"data": {"colour": "red"}}))],
            Changed,
        ),
        row(
            "an apply under our name of fewer fields",
            config_map(),
            [ApplyAsUs(|o| {
                o["data"].as_object_mut().unwrap().remove("size");
            })],
            Changed,
        ),
    ]
}

fn gone() -> Vec<Row> {
    vec![
        row("deleted", config_map(), [Delete], Changed),
        row(
            "deleted and recreated with equal data",
            config_map(),
            [Delete, Create],
            Changed,
        ),
    ]
}

/// Nothing that we applied changes: our entry rightly stays.
fn nothing_of_ours() -> Vec<Row> {
    vec![
        row(
            "status written",
            deployment(),
            [Subresource(
                "status",
                json!({"status": {"observedGeneration": 1}}),
            )],
            Nothing,
        ),
        row(
            "foreign label",
            config_map(),
            [Merge(json!({"metadata": {"labels": {"theirs": "1"}}}))],
            Nothing,
        ),
        row(
            "foreign env item",
            deployment(),
            [container(
                json!({"env": [{"name": "THEIRS", "value": "1"}]}),
            )],
            Nothing,
        ),
        row(
            "foreign ConfigMap key",
            config_map(),
            [Merge(json!({"data": {"theirs": "1"}}))],
            Nothing,
        ),
        row(
            "sidecar container added",
            deployment(),
            [add_sidecar()],
            Nothing,
        ),
        row(
            "another manager applies the same value",
            config_map(),
            [Apply(json!({"data": {"colour": "blue"}}))],
            Nothing,
        ),
    ]
}
