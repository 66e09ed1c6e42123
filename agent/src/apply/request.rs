//! Server-side apply of a blob's very bytes, as field manager `countersign`.
//!
//! The bytes that were signed are the bytes that are sent; nothing parses and writes them again. The answer is asked
//! for as metadata only, so a Secret's data never comes back.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::identity::ObjectId;
use http::Method;
use serde::Deserialize;

use super::client::{self, Answer, ApiServer, Unanswered};
use super::discovery::{Kinds, PathError};
use super::outcome::{self, Problem, Retry};
use crate::watch::ownership::{self, Seen};

const QUERY: &str = "fieldManager=countersign&force=true&fieldValidation=Strict";
const APPLY: &str = "application/apply-patch+yaml";

/// How one write went.
#[derive(Debug)]
pub struct Written {
    /// What stands there now, or why not.
    pub result: Result<Seen, Problem>,
    /// From sending to the answer.
    pub took: Duration,
    /// The API server asked for less.
    pub pushback: bool,
    /// The answer's metadata, to compare fields with; empty after a failure.
    pub metadata: Bytes,
}

/// Applies `json` as `id`.
///
/// # Cancel safety
/// May be dropped: an apply is whole or not at all, and an equal one changes nothing.
pub async fn apply(api: &ApiServer, kinds: &Kinds, id: &ObjectId, json: Bytes) -> Written {
    let path = match path(kinds, id, &json) {
        Ok(path) => path,
        Err(problem) => {
            return Written {
                result: Err(problem),
                took: Duration::ZERO,
                pushback: false,
                metadata: Bytes::new(),
            };
        }
    };
    let started = Instant::now();
    let answer = api
        .call(
            Method::PATCH,
            &format!("{path}?{QUERY}"),
            client::METADATA,
            Some((APPLY, json)),
            client::CALL_MAX,
        )
        .await;
    let took = started.elapsed();
    let pushback = outcome::is_pushback(&answer);
    let (result, metadata) = judge(answer, id);
    Written {
        result,
        took,
        pushback,
        metadata,
    }
}

fn judge(answer: Result<Answer, Unanswered>, id: &ObjectId) -> (Result<Seen, Problem>, Bytes) {
    match answer {
        Ok(answer) if answer.status.is_success() => {
            match ownership::meta(&answer.body).map(|meta| meta.seen()) {
                Some(seen) => (Ok(seen), answer.body),
                None => {
                    let text = "the API server's answer holds no metadata".to_owned();
                    (
                        Err(Problem {
                            code: "ODD_ANSWER",
                            text,
                            retry: Retry::Later,
                        }),
                        Bytes::new(),
                    )
                }
            }
        }
        Ok(answer) => (Err(outcome::problem(&answer, id)), Bytes::new()),
        Err(error) => (Err(outcome::unanswered(&error)), Bytes::new()),
    }
}

/// Reads an object: whole, or its metadata. `Ok(None)` means that it does not exist.
///
/// # Errors
/// A [`Problem`] when the API server gave no such answer.
pub async fn get(
    api: &ApiServer,
    kinds: &Kinds,
    id: &ObjectId,
    accept: &'static str,
) -> Result<Option<Bytes>, Problem> {
    let path = kinds.path(id, None).map_err(|error| no_path(&error))?;
    let answer = api
        .get(&path, accept)
        .await
        .map_err(|error| outcome::unanswered(&error))?;
    match answer.status {
        status if status.is_success() => Ok(Some(answer.body)),
        http::StatusCode::NOT_FOUND => Ok(None),
        _ => Err(outcome::problem(&answer, id)),
    }
}

/// A Secret of the core group: its data is never fetched and its errors are never quoted.
#[must_use]
pub fn is_secret(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Secret"
}

/// Problem of an identity that has no path.
#[must_use]
pub fn no_path(error: &PathError) -> Problem {
    let (code, retry) = match error {
        PathError::Unknown(_) => ("KIND_UNKNOWN", Retry::AfterDiscovery),
        PathError::Segment | PathError::Scope(..) => ("IDENTITY_INVALID", Retry::Never),
    };
    Problem {
        code,
        text: error.to_string(),
        retry,
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "apiVersion", borrow)]
    api_version: Cow<'a, str>,
}

/// The path in the version that the blob itself names.
fn path(kinds: &Kinds, id: &ObjectId, json: &[u8]) -> Result<String, Problem> {
    let head: Head<'_> = serde_json::from_slice(json).map_err(|_| Problem {
        code: "BLOB_ODD",
        text: "the blob is not an object with apiVersion".to_owned(),
        retry: Retry::Never,
    })?;
    let version = head
        .api_version
        .rsplit('/')
        .next()
        .unwrap_or(&head.api_version);
    kinds
        .path(id, Some(version))
        .map_err(|error| no_path(&error))
}
