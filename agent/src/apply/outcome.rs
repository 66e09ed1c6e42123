//! What an answer of the API server means: the one table of errors that are tried again, and of those that wait.
//!
//! Pure. Called wherever an answer comes back. Text of the API server is read here and nowhere else, and it never
//! leaves this file whole: it may quote values, so a person is told reason and field, and of a Secret nothing more.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::client::{Answer, Unanswered};

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon, with back-off; not before the given time where the API server named one.
    Soon(Option<Duration>),
    /// After discovery was read again: the kind was not known.
    AfterDiscovery,
    /// Rarely (it needs a person, or another object): with long back-off.
    Later,
    /// Not before another state comes: these bytes will never be taken.
    Never,
}

/// Why an object could not be written, as a person should read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Problem {
    /// Stable name of the cause, upper case.
    pub code: &'static str,
    /// Reason and fields; never a value.
    pub text: String,
    /// When to try again.
    pub retry: Retry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    reason: Option<String>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    kind: Option<String>,
    name: Option<String>,
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
    field: Option<String>,
}

/// The problem in an answer that is not 2xx. `secret` keeps everything but reason and field inside.
#[must_use]
pub fn problem(answer: &Answer, secret: bool) -> Problem {
    let status: Status = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = status
        .reason
        .clone()
        .unwrap_or_else(|| answer.status.as_str().to_owned());
    let wait = answer.retry_after.or(status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds)
        .map(Duration::from_secs));
    let has_cause = |name: &str| {
        status
            .details
            .iter()
            .flat_map(|details| details.causes.iter().flatten())
            .any(|cause| cause.reason.as_deref() == Some(name))
    };
    let (code, retry) = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => ("TOO_MANY_REQUESTS", Retry::Soon(wait)),
        StatusCode::CONFLICT => ("CONFLICT", Retry::Soon(wait)),
        StatusCode::NOT_FOUND if missing_namespace(&status) => {
            ("NAMESPACE_MISSING", Retry::Soon(None))
        }
        StatusCode::NOT_FOUND => ("KIND_UNKNOWN", Retry::AfterDiscovery),
        StatusCode::FORBIDDEN if has_cause("NamespaceTerminating") => {
            ("NAMESPACE_TERMINATING", Retry::Later)
        }
        StatusCode::FORBIDDEN => ("FORBIDDEN", Retry::Later),
        StatusCode::UNAUTHORIZED => ("UNAUTHORIZED", Retry::Later),
        StatusCode::UNPROCESSABLE_ENTITY if mentions(&status, "immutable") => {
            ("IMMUTABLE_FIELD", Retry::Never)
        }
        StatusCode::UNPROCESSABLE_ENTITY => ("INVALID", Retry::Never),
        StatusCode::BAD_REQUEST => ("BAD_REQUEST", Retry::Never),
        StatusCode::PAYLOAD_TOO_LARGE => ("TOO_LARGE", Retry::Never),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("UNSUPPORTED", Retry::Never),
        StatusCode::INTERNAL_SERVER_ERROR if mentions(&status, "failed calling webhook") => {
            ("BLOCKED_BY_WEBHOOK", Retry::Soon(wait))
        }
        status if status.is_server_error() => ("SERVER_ERROR", Retry::Soon(wait)),
        _ => ("REFUSED", Retry::Later),
    };
    Problem {
        code,
        text: text(&reason, &status, secret),
        retry,
    }
}

/// The problem when no answer came at all.
#[must_use]
pub fn unanswered(error: &Unanswered) -> Problem {
    match error {
        Unanswered::Invalid(text) => Problem {
            code: "BAD_REQUEST",
            text: text.clone(),
            retry: Retry::Never,
        },
        Unanswered::Broken(_) | Unanswered::TimedOut(_) => Problem {
            code: "UNREACHABLE",
            text: error.to_string(),
            retry: Retry::Soon(None),
        },
    }
}

/// Whether the API server asked for less (429) or could not keep up: the pace halves.
#[must_use]
pub fn is_pushback(answer: &Result<Answer, Unanswered>) -> bool {
    match answer {
        Ok(answer) => {
            answer.status == StatusCode::TOO_MANY_REQUESTS
                || answer.status == StatusCode::SERVICE_UNAVAILABLE
                || answer.status == StatusCode::GATEWAY_TIMEOUT
        }
        Err(Unanswered::TimedOut(_)) => true,
        Err(Unanswered::Broken(_) | Unanswered::Invalid(_)) => false,
    }
}

fn missing_namespace(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|details| details.kind.as_deref() == Some("namespaces"))
}

fn mentions(status: &Status, words: &str) -> bool {
    let causes = status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten());
    causes
        .filter_map(|cause| cause.message.as_deref())
        .chain(status.message.as_deref())
        .any(|message| message.contains(words))
}

fn text(reason: &str, status: &Status, secret: bool) -> String {
    let mut parts = Vec::new();
    for cause in status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten())
    {
        let why = cause
            .message
            .as_deref()
            .map(without_values)
            .filter(|_| !secret);
        match (
            cause.field.as_deref().filter(|field| !field.is_empty()),
            why,
        ) {
            (Some(field), Some(why)) => parts.push(format!("{field}: {why}")),
            (Some(field), None) => {
                parts.push(format!(
                    "{field}: {}",
                    cause.reason.as_deref().unwrap_or("refused")
                ));
            }
            (None, Some(why)) if !why.is_empty() => parts.push(why),
            (None, _) => {}
        }
    }
    if let Some(webhook) = status.message.as_deref().and_then(webhook) {
        parts.push(format!("webhook {webhook}"));
    } else if parts.is_empty() && !secret {
        parts.extend(status.message.as_deref().map(without_values));
    }
    if let (true, Some(name)) = (
        missing_namespace(status),
        status.details.as_ref().and_then(|d| d.name.as_deref()),
    ) {
        parts = vec![format!("namespace {name}")];
    }
    if parts.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {}", parts.join("; "))
    }
}

/// The name in `failed calling webhook "name"`.
fn webhook(message: &str) -> Option<&str> {
    let rest = message.split_once("failed calling webhook \"")?.1;
    rest.split_once('"').map(|(name, _)| name)
}

/// A message less the values that it quotes: `Invalid value: "x": must be …` keeps only what must be.
fn without_values(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some(at) = [
        "Invalid value: ",
        "Duplicate value: ",
        "Unsupported value: ",
    ]
    .iter()
    .filter_map(|marker| rest.find(marker).map(|at| at + marker.len()))
    .min()
    {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with('"') {
            quoted(rest)
        } else {
            rest.find(": ").unwrap_or(rest.len())
        };
        out.push('…');
        rest = &rest[end..];
    }
    out.push_str(rest);
    if out.chars().count() > TEXT_MAX {
        out.chars().take(TEXT_MAX).chain(['…']).collect()
    } else {
        out
    }
}

/// Characters of one message that a person is shown.
const TEXT_MAX: usize = 400;

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

    fn answer(status: u16, body: serde_json::Value) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: body.to_string().into(),
        }
    }

    #[test]
    fn an_immutable_field_is_a_failure_until_the_next_state() {
        let problem = problem(
            &answer(
                422,
                serde_json::json!({"reason": "Invalid", "message": "x", "details": {"causes": [
                {"reason": "FieldValueInvalid", "field": "spec.selector", "message": "Invalid value: {\"a\":\"b\"}: field is immutable"}]}}),
            ),
            false,
        );
        assert_eq!(
            (problem.code, problem.retry),
            ("IMMUTABLE_FIELD", Retry::Never)
        );
        assert!(problem.text.contains("spec.selector"), "{}", problem.text);
    }

    #[test]
    fn a_secrets_values_are_never_quoted() {
        for secret in [true, false] {
            let problem = problem(
                &answer(
                    422,
                    serde_json::json!({"reason": "Invalid", "message": "Secret \"a\" is invalid: data[k]: Invalid value: \"canary\": no", "details": {"causes": [
                    {"reason": "FieldValueInvalid", "field": "data[k]", "message": "Invalid value: \"can\\\"ary\": must be small"}]}}),
                ),
                secret,
            );
            assert!(!problem.text.contains("ary"), "{}", problem.text);
            assert!(problem.text.contains("data[k]"));
        }
    }

    #[test]
    fn every_cause_is_named_at_once() {
        let problem = problem(
            &answer(
                422,
                serde_json::json!({"reason": "Invalid", "details": {"causes": [
                {"reason": "FieldValueRequired", "field": "spec.a", "message": "Required value"},
                {"reason": "FieldValueInvalid", "field": "spec.b", "message": "Invalid value: 7: must be 1"}]}}),
            ),
            false,
        );
        assert!(
            problem.text.contains("spec.a")
                && problem.text.contains("spec.b: Invalid value: …: must be 1"),
            "{}",
            problem.text
        );
    }

    #[test]
    fn the_table_of_retries() {
        for (status, code, retry) in [
            (429, "TOO_MANY_REQUESTS", Retry::Soon(None)),
            (409, "CONFLICT", Retry::Soon(None)),
            (503, "SERVER_ERROR", Retry::Soon(None)),
            (500, "SERVER_ERROR", Retry::Soon(None)),
            (404, "KIND_UNKNOWN", Retry::AfterDiscovery),
            (403, "FORBIDDEN", Retry::Later),
            (401, "UNAUTHORIZED", Retry::Later),
            (400, "BAD_REQUEST", Retry::Never),
            (413, "TOO_LARGE", Retry::Never),
        ] {
            let problem = problem(&answer(status, serde_json::json!({})), false);
            assert_eq!((problem.code, problem.retry), (code, retry), "{status}");
        }
    }

    #[test]
    fn a_webhook_that_is_down_is_named() {
        let problem = problem(
            &answer(
                500,
                serde_json::json!({"reason": "InternalError", "message": "Internal error occurred: failed calling webhook \"x.example.org\": dial tcp"}),
            ),
            false,
        );
        assert_eq!(problem.code, "BLOCKED_BY_WEBHOOK");
        assert!(
            problem.text.contains("webhook x.example.org"),
            "{}",
            problem.text
        );
    }
}
