//! What the rows apply: one small object of each kind, without a name.

use serde_json::{Value, json};

pub(super) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "labels": {"app": "cart", "team": "shop"},
            "annotations": {"owner": "ada"},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "cart"}},
            "template": {
                "metadata": {"labels": {"app": "cart"}},
                "spec": {"containers": [{
                    "name": "web",
                    "image": "registry.example.org/cart:1",
                    "args": ["--port", "8080"],
                    "env": [{"name": "MODE", "value": "fast"}, {"name": "ZONE", "value": "a"}],
                }]},
            },
        },
    })
}

pub(super) fn config_map() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"labels": {"team": "shop"}},
        "data": {"colour": "blue", "size": "9"},
    })
}

pub(super) fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"labels": {"team": "shop"}},
        "data": {"password": "b25l"},
    })
}

/// A Secret with `stringData`, which owns nothing that is stored: the hub turns it into `data` before it seals.
pub(super) fn secret_of_strings() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"labels": {"team": "shop"}},
        "stringData": {"password": "one"},
    })
}

pub(super) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"labels": {"team": "shop"}},
        "spec": {
            "selector": {"app": "cart"},
            "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
    })
}

/// An object of the kind that [`definition`] defines.
pub(super) fn custom(group: &str) -> Value {
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"labels": {"team": "shop"}},
        "spec": {"shape": {"sides": 4, "names": ["a", "b"]}},
    })
}

/// A custom resource whose contents no schema describes.
pub(super) fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }},
            }],
        },
    })
}
