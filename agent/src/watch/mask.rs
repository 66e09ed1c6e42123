//! What of a patch nobody may read: values that look like secrets, wherever they stand.
//!
//! A Secret's patch is never made at all. But custom resources hold whole Secrets and passwords of their own, and so do
//! environment variables; whoever named the field tells which. Pure.

use serde_json::Value;

/// What stands for a value that is not told.
const MASKED: &str = "(masked)";

/// Parts of a name, letters and digits only and in lower case, that say what it holds.
const TELLING: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
];

/// Masks what the operations of an RFC 6902 patch from `desired` tell of secrets.
pub fn operations(patch: &mut Value, desired: &Value, found: &Value) {
    for operation in patch.as_array_mut().into_iter().flatten() {
        let path = operation
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let secret = leads_to_secret(desired, &path) || leads_to_secret(found, &path);
        if let Some(value) = operation.get_mut("value") {
            mask(value, secret);
        }
    }
}

/// Whether a JSON pointer passes a name that tells, or the data of a Secret.
fn leads_to_secret(root: &Value, path: &str) -> bool {
    let mut at = Some(root);
    for part in path.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if tells(&name) || at.is_some_and(|at| holds_secret(at, &name)) {
            return true;
        }
        at = at.and_then(|at| match at {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(&name),
            _ => None,
        });
    }
    false
}

fn mask(value: &mut Value, secret: bool) {
    match value {
        Value::Object(_) => {
            let kept = value.clone();
            for (name, below) in value.as_object_mut().into_iter().flatten() {
                mask(below, secret || tells(name) || holds_secret(&kept, name));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, secret)),
        Value::String(_) | Value::Number(_) if secret => *value = MASKED.into(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// Whether the field `name` of this object is a Secret's data, or the value of a variable whose name tells.
fn holds_secret(object: &Value, name: &str) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or("");
    match name {
        "data" | "stringData" => text("kind") == "Secret",
        "value" => tells(text("name")) || tells(text("key")),
        _ => false,
    }
}

fn tells(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect();
    TELLING.iter().any(|telling| plain.contains(telling))
}

#[cfg(test)]
mod tests {
    use crate::watch::difference;
    use serde_json::{Value, json};

    fn told(desired: Value, found: Value) -> String {
        difference::told(&desired, &found)
    }

    #[test]
    fn what_a_field_or_a_variable_calls_a_secret_is_masked_and_the_rest_is_told() {
        let found = |secret: &str| {
            json!({"spec": {
                "password": secret, "db": {"api-key": secret}, "replicas": 3,
                "env": [{"name": "DB_TOKEN", "value": secret}, {"name": "MODE", "value": "slow"}],
                "template": {"kind": "Secret", "stringData": {"k": secret}}}})
        };
        let desired = json!({"spec": {
            "password": "a", "db": {"api-key": "a"}, "replicas": 2,
            "env": [{"name": "DB_TOKEN", "value": "a"}, {"name": "MODE", "value": "fast"}],
            "template": {"kind": "Secret", "stringData": {"k": "a"}}}});
        let text = told(desired, found("canary"));
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(text.matches("(masked)").count(), 4, "{text}");
        assert!(text.contains("slow") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_secret_inside_what_came_whole_is_masked_too() {
        let text = told(
            json!({"spec": {"selector": {}}}),
            json!({"spec": {"selector": {"x": {"password": "canary", "data": "b"}}}}),
        );
        assert!(!text.contains("canary") && text.contains("\"b\""), "{text}");
    }
}
