use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::document::Kubernetes;

fn project(value: Json) -> Project {
    serde_json::from_value(value).unwrap()
}

fn with(
    value: &Json,
    from_git: bool,
    project: Option<&Project>,
) -> Result<Vec<Object>, AppFailure> {
    let kinds = Kinds::of(&Kubernetes::default());
    normalise(
        value,
        "a.yaml",
        3,
        &Context {
            app: "web",
            namespace: "shop",
            project,
            kinds: &kinds,
            from_git,
            encrypted: Encrypted::Shown,
            skip_documents: false,
        },
    )
}

fn good(value: Json) -> Json {
    let objects = with(&value, false, None).unwrap();
    assert_eq!(objects.len(), 1);
    objects[0].json().unwrap()
}

fn code(value: Json) -> String {
    with(&value, true, None).unwrap_err().code
}

fn map(name: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

fn meta(extra: Json) -> Json {
    let mut value = map("a");
    for (key, field) in extra.as_object().unwrap() {
        value["metadata"][key] = field.clone();
    }
    value
}

#[test]
fn an_object_gets_its_namespace_and_our_label_and_loses_what_generators_leave() {
    let value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a", "creationTimestamp": null, "annotations": null},
        "spec": {"template": {"metadata": {}}}, "status": {},
    });
    assert_eq!(
        good(value),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "shop", "labels": {"countersign.dev/app": "web", "applyset.kubernetes.io/part-of": "applyset-eWWAsC3dV6hJpKvVS326WWkpnH7lZ4FkyP9MCp0zEzE-v1"}},
            "spec": {"template": {"metadata": {}}},
        })
    );
    let role = good(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r", "namespace": "x"}, "rules": []}),
    );
    assert!(role["metadata"].get("namespace").is_none());
}

#[test]
fn lists_are_their_items() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [map("a"), map("b")]});
    let objects = with(&list, true, None).unwrap();
    assert_eq!(
        objects
            .iter()
            .map(|o| o.id.name.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let nested = json!({"apiVersion": "v1", "kind": "List", "items": [list]});
    assert_eq!(code(nested), "OBJECT_INVALID");
}

#[test]
fn what_only_an_api_server_may_write_is_refused() {
    for extra in [
        json!({"generateName": "a-"}),
        json!({"managedFields": []}),
        json!({"ownerReferences": [{}]}),
        json!({"uid": "x"}),
        json!({"resourceVersion": "1"}),
        json!({"name": ""}),
        json!({"name": "a/b"}),
        json!({"labels": {"a": 1}}),
    ] {
        assert_eq!(code(meta(extra.clone())), "OBJECT_INVALID", "{extra}");
    }
    assert_eq!(
        code(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "status": {"replicas": 1}})
        ),
        "OBJECT_INVALID"
    );
    assert_eq!(code(json!([])), "OBJECT_INVALID");
    assert_eq!(code(json!({"kind": "ConfigMap"})), "OBJECT_INVALID");
    assert_eq!(
        code(json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a"}})),
        "KIND_UNKNOWN"
    );
    assert_eq!(
        code(
            json!({"apiVersion": "countersign.dev/v1alpha1", "kind": "App", "metadata": {"name": "a"}})
        ),
        "OBJECT_INVALID"
    );
}

#[test]
fn keys_that_decide_what_others_may_do_need_the_project_s_word() {
    let space = |meta: Json| {
        let mut value =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        for (key, field) in meta.as_object().unwrap() {
            value["metadata"][key] = field.clone();
        }
        value
    };
    let bad = [
        space(json!({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}})),
        space(json!({"annotations": {"system:x": "y"}})),
        space(json!({"finalizers": ["x"]})),
    ];
    let free = project(json!({"allowProtectedKeys": true}));
    for value in bad {
        assert_eq!(code(value.clone()), "PROTECTED_KEY");
        assert!(with(&value, true, Some(&free)).is_ok());
    }
    assert!(with(&space(json!({"labels": {"team": "a"}})), true, None).is_ok());
    assert_eq!(
        code(meta(
            json!({"labels": {"applyset.kubernetes.io/part-of": "applyset-x-v1"}})
        )),
        "PROTECTED_KEY"
    );
    assert_eq!(
        code(meta(json!({"labels": {"countersign.dev/app": "other"}}))),
        "PROTECTED_KEY"
    );
}

#[test]
fn a_project_allows_kinds_and_namespaces_and_nothing_else() {
    let rules = project(json!({"namespaces": ["shop"], "kinds": ["ConfigMap", "Namespace"]}));
    let ask = |value: Json| with(&value, true, Some(&rules)).map_err(|failure| failure.code);
    assert!(ask(map("a")).is_ok());
    assert_eq!(
        ask(meta(json!({"namespace": "kube-system"}))).unwrap_err(),
        "PROJECT_DENIED"
    );
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}});
    assert_eq!(ask(pod).unwrap_err(), "PROJECT_DENIED");
    let mut hook = map("h");
    hook["metadata"]["annotations"] = json!({"helm.sh/hook": "pre-install"});
    hook["metadata"]["namespace"] = json!("other");
    assert_eq!(ask(hook).unwrap_err(), "PROJECT_DENIED");
    let space =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    assert!(ask(space("shop")).is_ok());
    assert_eq!(ask(space("other")).unwrap_err(), "PROJECT_DENIED");
    let only_spaces = project(json!({"namespaces": ["shop"]}));
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
    assert_eq!(
        with(&role, true, Some(&only_spaces)).unwrap_err().code,
        "PROJECT_DENIED"
    );
}

#[test]
fn a_secret_in_plain_text_in_git_is_refused_and_never_shown() {
    let secret = |field: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, field: {"password": "hunter2"}});
    for field in ["data", "stringData"] {
        let failure = with(&secret(field), true, None).unwrap_err();
        assert_eq!(failure.code, "SECRET_IN_GIT");
        assert!(!failure.to_string().contains("hunter2"));
    }
    let object = &with(&secret("stringData"), false, None).unwrap()[0];
    assert!(object.secret);
    assert_eq!(
        object.json().unwrap()["data"],
        json!({"password": "aHVudGVyMg=="})
    );
    assert!(object.json().unwrap().get("stringData").is_none());
    let mut sops = secret("data");
    sops["sops"] = json!({"mac": "x"});
    // Whatever it says of itself: what is not encrypted is in plain text.
    let failure = with(&sops, true, None).unwrap_err();
    assert_eq!(failure.code, "SECRET_IN_GIT");
    sops["data"]["password"] = "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]".into();
    assert!(with(&sops, true, None).is_ok());
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "kubernetes.io/service-account-token"});
    assert!(with(&empty, true, None).is_ok());
}

#[test]
fn waves_come_from_the_annotation_or_the_hook() {
    let wave = |annotations: Json| {
        with(&meta(json!({"annotations": annotations})), true, None).map(|o| o[0].wave)
    };
    assert_eq!(wave(json!({"countersign.dev/wave": "5"})).unwrap(), 5);
    assert_eq!(
        wave(json!({"helm.sh/hook": "pre-install,pre-upgrade"})).unwrap(),
        -1
    );
    assert_eq!(wave(json!({"helm.sh/hook": "post-install"})).unwrap(), 1);
    for bad in ["x", "1001", "1.5", ""] {
        assert!(wave(json!({"countersign.dev/wave": bad})).is_err());
    }
    let test = meta(json!({"annotations": {"helm.sh/hook": "test"}}));
    assert_eq!(with(&test, true, None).unwrap(), []);
}

#[test]
fn an_object_above_a_mebibyte_is_refused() {
    let mut value = map("a");
    value["data"] = json!({"x": "y".repeat(OBJECT_BYTES_MAX)});
    assert_eq!(code(value), "SIZE_LIMIT");
}

proptest! {
    #[test]
    fn what_was_made_once_is_made_the_same_again(name in "[a-z]{1,10}", key in "[a-z]{1,5}", value in "\\PC{0,20}") {
        let mut object = map(&name);
        object["data"] = json!({key: value});
        let once = with(&object, false, None).unwrap();
        let twice = with(&once[0].json().unwrap(), false, None).unwrap();
        prop_assert_eq!(once, twice);
    }
}
