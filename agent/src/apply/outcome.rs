//! What an answer of the API server means: the one table of errors that are tried again, and of those that wait.
//!
//! Pure. Called wherever an answer comes back. Text of the API server is read here and nowhere else, and it never
//! leaves this file whole: `words` says what of it a person is told.

use std::time::Duration;

use countersign_ledger::identity::ObjectId;
use http::StatusCode;
use serde::Deserialize;

use super::client::{Answer, Unanswered};
use super::words;

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
pub(super) struct Status {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Details {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cause {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) field: Option<String>,
}

/// The problem in an answer about `id` that is not 2xx.
#[must_use]
pub fn problem(answer: &Answer, id: &ObjectId) -> Problem {
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
        text: words::text(&reason, &status, id),
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

pub(super) fn missing_namespace(status: &Status) -> bool {
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

/// What an answer says about the API server itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing bad.
    None,
    /// It failed by itself.
    Failed,
    /// Its store takes no more writes, but does take deletions.
    StoreFull,
}

/// Whether the API server itself is in trouble, by one answer; a webhook or an API service that is down is not it.
#[must_use]
pub fn trouble(answer: &Answer) -> Trouble {
    if !answer.status.is_server_error() || answer.status == StatusCode::NOT_IMPLEMENTED {
        return Trouble::None;
    }
    let Ok(status) = serde_json::from_slice::<Status>(&answer.body) else {
        return Trouble::None; // a proxy's words, not those of the API server
    };
    if mentions(&status, "database space exceeded") {
        Trouble::StoreFull
    } else if mentions(&status, "failed calling webhook") || mentions(&status, "conversion webhook")
    {
        Trouble::None
    } else {
        Trouble::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "a".into(),
            name: "a".into(),
        }
    }

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
            &id(),
        );
        assert_eq!(
            (problem.code, problem.retry),
            ("IMMUTABLE_FIELD", Retry::Never)
        );
        assert!(problem.text.contains("spec.selector"), "{}", problem.text);
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
            let problem = problem(&answer(status, serde_json::json!({})), &id());
            assert_eq!((problem.code, problem.retry), (code, retry), "{status}");
        }
    }

    #[test]
    fn only_the_api_servers_own_failures_are_its_trouble() {
        let status = |message: &str| serde_json::json!({"kind": "Status", "message": message});
        for (code, body, trouble_is) in [
            (
                500,
                status("etcdserver: mvcc: database space exceeded"),
                Trouble::StoreFull,
            ),
            (500, status("etcdserver: leader changed"), Trouble::Failed),
            (
                504,
                status("Timeout: request did not complete"),
                Trouble::Failed,
            ),
            (
                500,
                status("Internal error occurred: failed calling webhook \"x\""),
                Trouble::None,
            ),
            (
                500,
                status("conversion webhook for a failed"),
                Trouble::None,
            ),
            (503, serde_json::json!("service unavailable"), Trouble::None),
            (501, status("x"), Trouble::None),
            (429, status("too many"), Trouble::None),
            (200, serde_json::json!({}), Trouble::None),
        ] {
            assert_eq!(
                trouble(&answer(code, body.clone())),
                trouble_is,
                "{code} {body}"
            );
        }
    }
}
