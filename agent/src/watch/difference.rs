//! What differs between desired and found: the found object cut down to what was desired, then an RFC 6902 patch; and
//! the paths of a `managedFields` entry.
//!
//! Pure. The patch explains a drift to a person; whether there is one is told by ownership, or by an equal re-apply.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keys by which Kubernetes tells items of a list apart, most telling first.
const KEYS: [&[&str]; 9] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["key"],
    &["type"],
    &["uid"],
    &["ip"],
    &["topologyKey", "whenUnsatisfiable"],
];

/// Fields that Kubernetes takes as a whole: a key beside ours is a change of ours.
const ATOMIC: [&str; 5] = [
    "selector",
    "nodeSelector",
    "podSelector",
    "namespaceSelector",
    "labelSelector",
];

/// `found` less everything that `desired` says nothing about: defaults, status, what others added.
#[must_use]
pub fn project(desired: &Value, found: &Value) -> Value {
    match (desired, found) {
        (Value::Object(want), Value::Object(have)) => {
            let mut out = Map::new();
            for (key, value) in want {
                if let Some(there) = have.get(key) {
                    let whole = ATOMIC.contains(&key.as_str());
                    let cut = if whole {
                        there.clone()
                    } else {
                        project(value, there)
                    };
                    out.insert(key.clone(), cut);
                }
            }
            Value::Object(out)
        }
        (Value::Array(want), Value::Array(have)) => match KEYS
            .iter()
            .find(|keys| keyed(want, keys) && keyed(have, keys))
        {
            Some(keys) => Value::Array(
                want.iter()
                    .filter_map(|item| {
                        have.iter()
                            .find(|there| same(item, there, keys))
                            .map(|there| project(item, there))
                    })
                    .collect(),
            ),
            None if want.len() == have.len() => Value::Array(
                want.iter()
                    .zip(have)
                    .map(|(want, have)| project(want, have))
                    .collect(),
            ),
            None => found.clone(),
        },
        _ => found.clone(),
    }
}

/// Every item is an object with the first key, and no two have the same values of all.
fn keyed(items: &[Value], keys: &[&str]) -> bool {
    let mut seen = BTreeSet::new();
    !items.is_empty()
        && items.iter().all(|item| {
            keys.first().is_some_and(|key| item.get(key).is_some())
                && seen.insert(
                    keys.iter()
                        .map(|key| item.get(key).map(Value::to_string))
                        .collect::<Vec<_>>(),
                )
        })
}

fn same(a: &Value, b: &Value, keys: &[&str]) -> bool {
    // A protocol that is left out is TCP by default: what is absent in the desired item matches anything.
    keys.iter()
        .all(|key| a.get(key).is_none() || a.get(key) == b.get(key))
}

/// The RFC 6902 patch from `desired` to what was found of it, as JSON; none when they agree.
#[must_use]
pub fn patch(desired: &Value, found: &Value) -> Option<String> {
    let cut = project(desired, found);
    let patch = json_patch::diff(desired, &cut);
    if patch.0.is_empty() {
        None
    } else {
        serde_json::to_string(&patch).ok()
    }
}

/// The patch as it is told: what looks like a secret is masked; empty when they agree.
#[must_use]
pub fn told(desired: &Value, found: &Value) -> String {
    let cut = project(desired, found);
    let patch = json_patch::diff(desired, &cut);
    if patch.0.is_empty() {
        return String::new();
    }
    let Ok(mut patch) = serde_json::to_value(patch) else {
        return String::new();
    };
    super::mask::operations(&mut patch, desired, &cut);
    patch.to_string()
}

/// The paths that an entry's `fieldsV1` owns, as `.spec.replicas` and `.spec.containers[name="a"].image`.
#[must_use]
pub fn paths(fields: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    if let Ok(Value::Object(top)) = serde_json::from_str(fields) {
        walk(&top, "", &mut out, 0);
    }
    out
}

/// Depth of a field set at which walking stops; Kubernetes' own objects stay far below.
const DEPTH_MAX: usize = 64;

fn walk(fields: &Map<String, Value>, at: &str, out: &mut BTreeSet<String>, depth: usize) {
    for (key, below) in fields {
        let path = match key.split_once(':') {
            Some(("f", name)) => format!("{at}.{name}"),
            Some(("k", keys)) => format!("{at}[{}]", item_keys(keys)),
            Some(("v", value)) => format!("{at}[={value}]"),
            Some(("i", index)) => format!("{at}[{index}]"),
            _ => continue, // "." marks the item itself
        };
        match below {
            Value::Object(map) if depth < DEPTH_MAX && map.keys().any(|key| key != ".") => {
                walk(map, &path, out, depth + 1)
            }
            _ => {
                out.insert(path);
            }
        }
    }
}

fn item_keys(keys: &str) -> String {
    match serde_json::from_str::<Map<String, Value>>(keys) {
        Ok(map) => map
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
        Err(_) => keys.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn defaults_and_what_others_added_are_no_difference() {
        let desired = json!({"spec": {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 1}]}]}});
        let found = json!({"spec": {"restartPolicy": "Always", "containers": [
            {"name": "sidecar", "image": "y"},
            {"name": "a", "image": "x", "imagePullPolicy": "Always", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}, "status": {}});
        assert_eq!(patch(&desired, &found), None);
    }

    #[test]
    fn a_changed_field_is_one_operation() {
        let desired = json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "x"}]}});
        let found = json!({"spec": {"replicas": 5, "containers": [{"name": "a", "image": "x"}]}});
        assert_eq!(
            patch(&desired, &found).as_deref(),
            Some(r#"[{"op":"replace","path":"/spec/replicas","value":5}]"#)
        );
    }

    #[test]
    fn a_removed_item_and_an_appended_argument_are_differences() {
        let desired = json!({"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "args": ["x"]});
        assert!(
            patch(
                &desired,
                &json!({"env": [{"name": "a", "value": "1"}], "args": ["x"]})
            )
            .is_some()
        );
        assert!(patch(&desired, &json!({"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "args": ["x", "y"]})).is_some());
    }

    #[test]
    fn a_key_added_to_an_atomic_map_is_a_difference() {
        let desired = json!({"spec": {"selector": {"app": "a"}}});
        let found = json!({"spec": {"selector": {"app": "a", "x": "y"}}});
        assert_eq!(
            patch(&desired, &found).as_deref(),
            Some(r#"[{"op":"add","path":"/spec/selector/x","value":"y"}]"#)
        );
    }

    #[test]
    fn paths_read_like_a_field_of_the_object() {
        let fields = r#"{"f:spec":{"f:replicas":{},"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}},"f:finalizers":{"v:\"x\"":{}}}}"#;
        let want = [
            ".spec.containers[name=\"a\"].image",
            ".spec.finalizers[=\"x\"]",
            ".spec.replicas",
        ];
        assert_eq!(paths(fields).into_iter().collect::<Vec<_>>(), want);
        assert!(paths("nonsense").is_empty());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]|name", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_does_not_differ_from_itself(value in any_json()) {
            prop_assert_eq!(patch(&value, &value), None);
        }

        #[test]
        fn a_patch_leads_from_desired_to_what_was_found_of_it(desired in any_json(), found in any_json()) {
            let cut = project(&desired, &found);
            if let Some(text) = patch(&desired, &found) {
                let operations: json_patch::Patch = serde_json::from_str(&text).unwrap();
                let mut out = desired.clone();
                json_patch::patch(&mut out, &operations).unwrap();
                prop_assert_eq!(out, cut);
            }
        }
    }
}
