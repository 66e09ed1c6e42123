//! What of the API server's words a person may read.
//!
//! A message may quote what was sent, and an admission webhook or policy may echo all of it. So: of a Secret the reason
//! and the fields alone; of a custom resource, whose schema and rules anybody may have written, no more; of Kubernetes'
//! own kinds what must be, less the values. What an admission said is never told, only who said it.
//!
//! Pure.

use countersign_ledger::identity::ObjectId;

use super::outcome::{Status, missing_namespace};
use super::request::is_secret;

/// Characters of one message that a person is shown.
const TEXT_MAX: usize = 400;

/// The reason, and what may be told of it.
pub(super) fn text(reason: &str, status: &Status, id: &ObjectId) -> String {
    let message = status.message.as_deref().unwrap_or("");
    if let Some(admission) = admission(message) {
        return format!("{reason}: {admission}");
    }
    if missing_namespace(status)
        && let Some(name) = status.details.as_ref().and_then(|d| d.name.as_deref())
    {
        return format!("{reason}: namespace {name}");
    }
    let quotable = is_builtin(&id.group) && !is_secret(id);
    let mut parts = Vec::new();
    for cause in status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten())
    {
        let why = cause
            .message
            .as_deref()
            .map(what_must_be)
            .filter(|_| quotable);
        let reason = cause.reason.as_deref().unwrap_or("refused");
        match (
            cause.field.as_deref().filter(|field| !field.is_empty()),
            why,
        ) {
            (Some(field), Some(why)) => parts.push(format!("{field}: {why}")),
            (Some(field), None) => parts.push(format!("{field}: {reason}")),
            (None, Some(why)) if !why.is_empty() => parts.push(why),
            (None, _) => {}
        }
    }
    if parts.is_empty() {
        if let Some(field) = undeclared(message) {
            parts.push(format!("{field}: field not declared in schema"));
        } else if quotable {
            parts.push(before_values(message));
        } else if let Some(right) = missing_right(message) {
            parts.push(right);
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {}", parts.join("; "))
    }
}

/// Groups whose kinds Kubernetes itself defines; everybody else's have a dot and do not end so.
fn is_builtin(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// The webhook or policy that a message names, where one speaks: its name only.
fn admission(message: &str) -> Option<String> {
    let named = |before: &str, quote: char| {
        let (_, rest) = message.split_once(before)?;
        let (name, _) = rest.split_once(quote)?;
        is_name(name).then_some(name)
    };
    let webhook = named("failed calling webhook \"", '"')
        .map(|name| format!("webhook {name} did not answer"))
        .or_else(|| {
            named("admission webhook \"", '"').map(|name| format!("webhook {name} denied it"))
        });
    webhook.or_else(|| {
        let policy = named("ValidatingAdmissionPolicy '", '\'')?;
        let binding = named("with binding '", '\'').unwrap_or("?");
        Some(format!(
            "ValidatingAdmissionPolicy {policy} (binding {binding}) denied it"
        ))
    })
}

/// The field in `failed to create typed patch object (…): .spec.x: field not declared in schema`.
fn undeclared(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(": field not declared in schema")?;
    let field = before.rsplit(": ").next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-[]=\"".contains(&byte);
    (field.starts_with('.') && field.len() <= 253 && field.bytes().all(plain)).then_some(field)
}

/// The right in `… cannot patch resource "things" in API group "example.org" …`.
fn missing_right(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once('"')?;
    let (_, rest) = rest.split_once("API group \"")?;
    let (group, _) = rest.split_once('"')?;
    let plain = is_name(verb) && is_name(resource) && (group.is_empty() || is_name(group));
    plain.then(|| format!("it may not {verb} {resource} of API group {group:?}"))
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-/:_".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(plain)
}

const VALUES: [&str; 3] = [
    "Invalid value: ",
    "Duplicate value: ",
    "Unsupported value: ",
];

/// One cause's message less the value that it quotes: `Invalid value: "x": must be y` keeps what must be.
fn what_must_be(message: &str) -> String {
    let Some((marker, rest)) = VALUES
        .iter()
        .find_map(|marker| message.split_once(marker).map(|(_, rest)| (marker, rest)))
    else {
        return short(message);
    };
    // A value may hold colons of its own, what must be hardly: the last one ends the value.
    let must = match rest.strip_prefix('"') {
        Some(_) => &rest[quoted(rest)..],
        None => rest.rfind(": ").map_or("", |at| &rest[at..]),
    };
    short(&format!("{marker}…{must}"))
}

/// A whole message as far as it quotes no value.
fn before_values(message: &str) -> String {
    match VALUES
        .iter()
        .filter_map(|marker| message.find(marker))
        .min()
    {
        Some(at) => short(&format!("{}…", &message[..at])),
        None => short(message),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() > TEXT_MAX {
        text.chars().take(TEXT_MAX).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

/// Length of the quoted string that `text` starts with, quotes included.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(kind: &str, status: Value) -> String {
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let id = ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: "a".into(),
            name: "a".into(),
        };
        text("Invalid", &serde_json::from_value(status).unwrap(), &id)
    }

    fn cause(message: &str) -> Value {
        json!({"message": format!("x is invalid: spec.a: {message}"), "details": {"causes": [
            {"reason": "FieldValueInvalid", "field": "spec.a", "message": message}]}})
    }

    #[test]
    fn a_value_is_never_told_however_it_is_quoted() {
        for message in [
            r#"Invalid value: "canary": must be small"#,
            r#"Invalid value: "can\"ary": must be small"#,
            r#"Invalid value: core.Spec{A: "canary", B: "canary"}: must be small"#,
            r#"Invalid value: {"a":"b: canary"}: must be small"#,
            r#"Unsupported value: "canary": must be small"#,
        ] {
            for kind in ["Secret", "ConfigMap", "Thing.example.org"] {
                let text = told(kind, cause(message));
                assert!(
                    !text.contains("ary") && text.contains("spec.a"),
                    "{kind}: {text}"
                );
            }
            let text = told("Deployment.apps", cause(message));
            assert!(text.contains("must be small"), "{text}");
        }
    }

    #[test]
    fn what_must_be_is_told_of_kubernetes_own_kinds_alone() {
        let rule = cause(r#"Invalid value: "object": canary is no good password"#);
        assert_eq!(
            told("Thing.example.org", rule),
            "Invalid: spec.a: FieldValueInvalid"
        );
        let every = json!({"details": {"causes": [
            {"reason": "FieldValueRequired", "field": "spec.a", "message": "Required value"},
            {"reason": "FieldValueInvalid", "field": "spec.b", "message": "Invalid value: 7: must be 1"}]}});
        assert_eq!(
            told("Job.batch", every),
            "Invalid: spec.a: Required value; spec.b: Invalid value: …: must be 1"
        );
    }

    #[test]
    fn an_admission_is_named_and_its_words_are_not_told() {
        for (message, want) in [
            (
                "admission webhook \"w.example.org\" denied the request: {\"password\":\"canary\"}",
                "webhook w.example.org denied it",
            ),
            (
                "Internal error occurred: failed calling webhook \"w.example.org\": dial tcp canary",
                "webhook w.example.org did not answer",
            ),
            (
                "things.example.org \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: canary",
                "ValidatingAdmissionPolicy p (binding b) denied it",
            ),
        ] {
            for kind in ["ConfigMap", "Thing.example.org"] {
                let status =
                    json!({"message": message, "details": {"causes": [{"message": message}]}});
                assert_eq!(told(kind, status), format!("Invalid: {want}"));
            }
        }
    }

    #[test]
    fn a_field_that_the_schema_does_not_know_and_a_missing_right_are_named() {
        let typed = "failed to create typed patch object (a/b; v1, Kind=Thing): .spec.x: field not declared in schema";
        assert_eq!(
            told("Thing.example.org", json!({"message": typed})),
            "Invalid: .spec.x: field not declared in schema"
        );
        let forbidden = "things.example.org \"a\" is forbidden: User \"u\" cannot patch resource \"things\" in API group \"example.org\" in the namespace \"a\"";
        assert_eq!(
            told("Thing.example.org", json!({"message": forbidden})),
            "Invalid: it may not patch things of API group \"example.org\""
        );
    }
}
