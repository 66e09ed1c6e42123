//! What somebody added beside ours: a sidecar, a key, a rule. Found in the other entries of `managedFields`.
//!
//! Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{difference, ownership};

/// What one manager added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Who.
    pub manager: String,
    /// Where.
    pub paths: BTreeSet<String>,
    /// Each place as steps from the object's root.
    places: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(Map<String, Value>),
    Value(Value),
}

/// Content (not metadata, not status) that others own and we don't.
#[must_use]
pub fn of(evidence: &[u8]) -> Vec<Added> {
    let Some(meta) = ownership::meta(evidence) else {
        return Vec::new();
    };
    let entries = meta.managed_fields.unwrap_or_default();
    let ours = entries
        .iter()
        .filter(|entry| entry.is_ours())
        .filter_map(|entry| entry.fields)
        .filter_map(|fields| serde_json::from_str::<Map<String, Value>>(fields.get()).ok())
        .next()
        .unwrap_or_default();
    let mut out = Vec::new();
    for entry in entries
        .iter()
        .filter(|entry| !entry.is_ours() && !entry.is_expected())
    {
        let Some(Ok(mut theirs)) = entry
            .fields
            .map(|fields| serde_json::from_str::<Map<String, Value>>(fields.get()))
        else {
            continue;
        };
        theirs.remove("f:metadata");
        theirs.remove("f:status");
        let alone = without(&theirs, &ours);
        if alone.is_empty() {
            continue;
        }
        let mut places = Vec::new();
        steps(&alone, &mut Vec::new(), &ours, &mut places);
        out.push(Added {
            manager: entry.manager.as_deref().unwrap_or("unknown").to_owned(),
            paths: difference::paths(&Value::Object(alone).to_string()),
            places,
        });
    }
    out
}

/// The part of a field set that another does not hold.
fn without(theirs: &Map<String, Value>, ours: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, below) in theirs {
        match (below, ours.get(key)) {
            (_, None) => {
                out.insert(key.clone(), below.clone());
            }
            (Value::Object(below), Some(Value::Object(ours))) => {
                let rest = without(below, ours);
                if !rest.is_empty() && rest.keys().any(|key| key != ".") {
                    out.insert(key.clone(), Value::Object(rest));
                }
            }
            (_, Some(_)) => {}
        }
    }
    out
}

/// The highest places that are wholly theirs: removing one removes all below it.
fn steps(
    alone: &Map<String, Value>,
    at: &mut Vec<Step>,
    ours: &Map<String, Value>,
    out: &mut Vec<Vec<Step>>,
) {
    for (key, below) in alone {
        let step = match key.split_once(':') {
            Some(("f", name)) => Step::Field(name.to_owned()),
            Some(("k", keys)) => match serde_json::from_str(keys) {
                Ok(keys) => Step::Item(keys),
                Err(_) => continue,
            },
            Some(("v", value)) => match serde_json::from_str(value) {
                Ok(value) => Step::Value(value),
                Err(_) => continue,
            },
            _ => continue,
        };
        at.push(step);
        match (below, ours.get(key)) {
            (Value::Object(below), Some(Value::Object(ours))) => steps(below, at, ours, out),
            _ => out.push(at.clone()),
        }
        at.pop();
    }
}

/// A JSON patch that removes the additions from `found`, and holds only for that resourceVersion.
#[must_use]
pub fn removal(found: &Value, added: &[Added]) -> Option<String> {
    let version = found.pointer("/metadata/resourceVersion")?;
    let mut pointers: Vec<Vec<Token>> = added
        .iter()
        .flat_map(|added| &added.places)
        .filter_map(|place| pointer(found, place))
        .collect();
    pointers.sort();
    pointers.dedup();
    if pointers.is_empty() {
        return None;
    }
    let mut operations =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})];
    // From the last to the first, so that an index still means the same item when its turn comes.
    for tokens in pointers.iter().rev() {
        let path: String = tokens
            .iter()
            .map(|token| match token {
                Token::Index(index) => format!("/{index}"),
                Token::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            })
            .collect();
        operations.push(json!({"op": "remove", "path": path}));
    }
    serde_json::to_string(&operations).ok()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Field(String),
    Index(usize),
}

fn pointer(found: &Value, place: &[Step]) -> Option<Vec<Token>> {
    let (mut at, mut out) = (found, Vec::new());
    for step in place {
        match step {
            Step::Field(name) => {
                at = at.get(name)?;
                out.push(Token::Field(name.clone()));
            }
            Step::Item(keys) => {
                let items = at.as_array()?;
                let index = items.iter().position(|item| {
                    keys.iter().all(|(key, value)| item.get(key) == Some(value))
                })?;
                at = items.get(index)?;
                out.push(Token::Index(index));
            }
            Step::Value(value) => {
                let index = at.as_array()?.iter().position(|item| item == value)?;
                at = at.get(index)?;
                out.push(Token::Index(index));
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> String {
        json!({"metadata": {"name": "a", "managedFields": [
            {"manager": "countersign", "operation": "Apply", "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}}, "f:x/y": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:spec": {"f:z": {}}}},
            {"manager": "kubelet2", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}]}})
        .to_string()
    }

    #[test]
    fn a_sidecar_is_an_addition_with_its_manager() {
        let added = of(evidence().as_bytes());
        assert_eq!(added.len(), 1);
        assert_eq!(added[0].manager, "kubectl-edit");
        assert!(
            added[0]
                .paths
                .contains(".spec.containers[name=\"b\"].image"),
            "{:?}",
            added[0].paths
        );
    }

    #[test]
    fn removing_additions_leaves_what_is_ours() {
        let mut found = json!({"metadata": {"resourceVersion": "7"}, "spec": {"x/y": 1, "containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}});
        let patch = removal(&found, &of(evidence().as_bytes())).unwrap();
        let operations: json_patch::Patch = serde_json::from_str(&patch).unwrap();
        json_patch::patch(&mut found, &operations).unwrap();
        assert_eq!(
            found["spec"],
            json!({"containers": [{"name": "a", "image": "1"}]})
        );
    }

    #[test]
    fn a_field_that_we_own_too_is_no_addition() {
        let both = evidence()
            .replace("\\\"b\\\"", "\\\"a\\\"")
            .replace("\"f:x/y\":{}", "\"f:containers2\":{}");
        let added = of(both.as_bytes());
        assert!(
            added
                .iter()
                .all(|added| !added.paths.iter().any(|path| path.contains("containers["))),
            "{added:?}"
        );
    }
}
