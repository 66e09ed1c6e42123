//! What an app may touch is judged on the final object, by one function, whatever way led there.

use countersign_fleet::{
    document::{Kubernetes, Project},
    kinds::Kinds,
    object::{Context, normalise},
};
use serde_json::{Value, json};

/// The code of the refusal, or none.
fn ask(object: &Value, project: Option<&Project>, namespace: &str) -> Option<String> {
    let kinds = Kinds::of(&Kubernetes::default());
    let context = Context {
        app: "web",
        namespace,
        project,
        kinds: &kinds,
        from_git: true,
        encrypted: countersign_fleet::object::Encrypted::Shown,
        skip_documents: false,
    };
    normalise(object, "a.yaml", 1, &context)
        .err()
        .map(|failure| failure.code)
}

/// Namespaces and kinds that a project lists.
type Limits = (
    Option<&'static [&'static str]>,
    Option<&'static [&'static str]>,
);
/// A way to name a target: what it is called, and what it makes of an object.
type Way = (&'static str, fn(Value, &str) -> Value);

/// THREATS 1.3: CVE-2022-1025, CVE-2022-24768, CVE-2023-22736, CVE-2023-23947, CVE-2024-31990, Fleet#5285; CVE-2026-77459.
/// Creating, updating, taking over and rolling back are one and the same here: no verdict depends on what was before.
#[test]
fn threat_cve_2022_1025_every_way_to_a_target_meets_every_limit() {
    let limits: [Limits; 6] = [
        (None, None),
        (Some(&["shop"]), None),
        (None, Some(&["ConfigMap"])),
        (
            Some(&["shop"]),
            Some(&["ConfigMap", "ClusterRole.rbac.authorization.k8s.io"]),
        ),
        (Some(&[]), None),
        (None, Some(&[])),
    ];
    let targets = [
        ("", "v1", "ConfigMap"),
        ("apps", "apps/v1", "Deployment"),
        (
            "rbac.authorization.k8s.io",
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
        ),
    ];
    let ways: [Way; 8] = [
        ("explicit namespace", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            o
        }),
        ("the app's namespace", |o, _| o),
        ("an empty namespace", |mut o, _| {
            o["metadata"]["namespace"] = "".into();
            o
        }),
        ("an item of a list", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            json!({"apiVersion": "v1", "kind": "List", "items": [o]})
        }),
        ("a hook before", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            o["metadata"]["annotations"] = json!({"helm.sh/hook": "pre-install,pre-upgrade"});
            o
        }),
        ("a hook after", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            o["metadata"]["annotations"] = json!({"helm.sh/hook": "post-upgrade,post-delete"});
            o
        }),
        ("a late wave", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            o["metadata"]["annotations"] = json!({"countersign.dev/wave": "900"});
            o
        }),
        ("labels of another app's tools", |mut o, ns| {
            o["metadata"]["namespace"] = ns.into();
            o["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
            o
        }),
    ];
    let mut cells = 0;
    for (namespaces, kinds) in limits {
        let project: Project = serde_json::from_value(json!({
            "namespaces": namespaces,
            "kinds": kinds,
        }))
        .unwrap();
        for (group, version, kind) in targets {
            for namespace in ["shop", "kube-system"] {
                for (way, make) in ways {
                    let object =
                        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
                    let whole_cluster = kind == "ClusterRole";
                    let name = if group.is_empty() {
                        kind.to_owned()
                    } else {
                        format!("{kind}.{group}")
                    };
                    let kind_allowed = kinds.is_none_or(|kinds| kinds.contains(&name.as_str()));
                    let place_allowed = match namespaces {
                        None => true,
                        Some(_) if whole_cluster => kinds.is_some(),
                        Some(namespaces) => namespaces.contains(&namespace),
                    };
                    let refused = ask(&make(object, namespace), Some(&project), namespace);
                    let wanted =
                        (!(kind_allowed && place_allowed)).then(|| "PROJECT_DENIED".to_owned());
                    assert_eq!(
                        refused, wanted,
                        "{name} in {namespace} by {way}, namespaces {namespaces:?}, kinds {kinds:?}"
                    );
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 6 * 3 * 2 * 8);
    // A Namespace is judged as if it lay in itself.
    let project: Project = serde_json::from_value(json!({"namespaces": ["shop"]})).unwrap();
    for (name, refused) in [
        ("shop", None),
        ("kube-system", Some("PROJECT_DENIED".to_owned())),
    ] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        assert_eq!(ask(&object, Some(&project), "shop"), refused, "{name}");
    }
}

/// THREATS 1.3: CVE-2026-44938, CVE-2026-41052.
#[test]
fn threat_cve_2026_44938_protected_keys_are_refused_however_they_come() {
    let space = |meta: Value| {
        let mut object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        for (key, value) in meta.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        object
    };
    let mut bad = vec![space(json!({"finalizers": ["a"]}))];
    for key in [
        "pod-security.kubernetes.io/enforce",
        "pod-security.kubernetes.io/enforce-version",
        "pod-security.kubernetes.io/warn",
        "system:anything",
    ] {
        bad.push(space(json!({"labels": {key: "privileged"}})));
        bad.push(space(json!({"annotations": {key: "x"}})));
        bad.push(json!({"apiVersion": "v1", "kind": "NamespaceList", "items": [space(json!({"labels": {key: "x"}}))]}));
        let mut hook = space(json!({"labels": {key: "x"}}));
        hook["metadata"]["annotations"] = json!({"helm.sh/hook": "pre-install"});
        bad.push(hook);
    }
    let mut with_spec = space(json!({}));
    with_spec["spec"] = json!({"finalizers": ["kubernetes"]});
    bad.push(with_spec);
    let narrow: Project = serde_json::from_value(json!({"namespaces": ["shop"]})).unwrap();
    for object in &bad {
        for project in [None, Some(&narrow)] {
            assert_eq!(
                ask(object, project, "shop").as_deref(),
                Some("PROTECTED_KEY"),
                "{object}"
            );
        }
    }
}
