//! The log as static files, for anybody: checkpoint, tiles, bundles, trust roots, and blobs that statements name.
//!
//! What lies under a name never changes, but for the checkpoint. Only canonical names are looked up, so that one file
//! has one address; answers are whole files, no ranges.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::tlog::{BundleId, TileId};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::guard::problem;
use super::limits::LOG_READS_AT_ONCE;
use super::state::State;

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const OCTETS: &str = "application/octet-stream";

/// What a path below `/log/` names. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Checkpoint,
    /// A tile or a bundle, at this path of the store.
    File(String),
    Trust(u64),
    Blob(Digest),
}

fn named(path: &str) -> Option<Named> {
    let path = path.strip_prefix("/log/")?;
    if path == "checkpoint" {
        return Some(Named::Checkpoint);
    }
    if let Some(version) = path.strip_prefix("trust/") {
        let version = version.strip_suffix(".json")?;
        let number: u64 = version.parse().ok()?;
        return (number.to_string() == version).then_some(Named::Trust(number));
    }
    if let Some(name) = path.strip_prefix("blobs/") {
        let digest: Digest = name.parse().ok()?;
        return (digest.to_string() == name).then_some(Named::Blob(digest));
    }
    let tile = TileId::parse(path).map(|id| id.path());
    let file = tile.or_else(|_| BundleId::parse(path).map(|id| id.path()));
    file.ok().filter(|file| file == path).map(Named::File)
}

/// The one handler of all `/log/` rows.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    get(serve).with_state(Files {
        state,
        places: Arc::new(Semaphore::new(LOG_READS_AT_ONCE)),
    })
}

#[derive(Clone)]
struct Files {
    state: Arc<State>,
    places: Arc<Semaphore>,
}

async fn serve(Shared(files): Shared<Files>, request: Request) -> Response {
    let Ok(_place) = files.places.try_acquire() else {
        let mut busy = problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "BUSY",
            "too many readers; ask again",
        );
        busy.headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return busy;
    };
    let Some(named) = named(request.uri().path()) else {
        return missing();
    };
    match read(&files.state, &named).await {
        Ok(Some(bytes)) => answer(&named, request.headers(), bytes),
        Ok(None) => missing(),
        Err(error) => {
            tracing::warn!(
                error,
                path = request.uri().path(),
                "a file of the log was not read"
            );
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNREADABLE",
                "the store can not be read now",
            )
        }
    }
}

async fn read(state: &State, named: &Named) -> Result<Option<Bytes>, String> {
    let Some(log) = &state.log else {
        return Ok(None);
    };
    match named {
        // What was published in this process is at hand; a fleet's auditors ask for it all the time.
        Named::Checkpoint => Ok(log
            .published()
            .borrow()
            .as_ref()
            .map(|signed| signed.note.clone())),
        Named::File(path) => log.file(path).await.map_err(|error| error.to_string()),
        Named::Trust(version) => {
            let trust = state.trust();
            let mut documents = trust.documents.iter();
            let found = documents.find(|(number, _)| number == version);
            Ok(found.map(|(_, bytes)| bytes.clone()))
        }
        Named::Blob(digest) => log
            .named_blob(digest)
            .await
            .map_err(|error| error.to_string()),
    }
}

fn answer(named: &Named, asked: &HeaderMap, bytes: Bytes) -> Response {
    let (kind, cache) = match named {
        Named::Checkpoint => ("text/plain; charset=utf-8", "no-cache"),
        Named::Trust(_) => ("application/json", IMMUTABLE),
        Named::File(_) | Named::Blob(_) => (OCTETS, IMMUTABLE),
    };
    let tag = format!("\"{}\"", Digest::of(&bytes));
    let same = asked.get_all(IF_NONE_MATCH).iter().any(|given| {
        let given = given.to_str().unwrap_or_default();
        given
            .split(',')
            .any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
    });
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(bytes))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// A file that is not there may be there in a moment: the answer is not to be kept.
fn missing() -> Response {
    let mut response = problem(
        StatusCode::NOT_FOUND,
        "NOT_IN_LOG",
        "the log has no such file",
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_name_names_one_file() {
        let digest = Digest::of(b"x");
        let file = |path: &str| Some(Named::File(path.into()));
        for (path, want) in [
            ("/log/checkpoint", Some(Named::Checkpoint)),
            ("/log/trust/12.json", Some(Named::Trust(12))),
            (&format!("/log/blobs/{digest}"), Some(Named::Blob(digest))),
            ("/log/tile/0/000", file("tile/0/000")),
            ("/log/tile/0/x001/234.p/7", file("tile/0/x001/234.p/7")),
            (
                "/log/tile/entries/x001/x234/067",
                file("tile/entries/x001/x234/067"),
            ),
        ] {
            assert_eq!(named(path), want, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_looked_up() {
        for path in [
            "/log/",
            "/log/claims/00000000000000000000",
            "/log/staging/ab",
            "/log/trust/012.json",
            "/log/trust/1.json.json",
            "/log/trust/+1.json",
            "/log/tile/00/000",
            "/log/tile/0/0",
            "/log/tile/0/000.p/256",
            "/log/tile/0/000.p/0",
            "/log/tile/0/x000/001",
            "/log/tile/64/000",
            "/log/blobs/ab",
            "/log/tile/entries/000.p/1/x",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
        let upper = Digest::of(b"x").to_string().to_uppercase();
        assert_eq!(named(&format!("/log/blobs/{upper}")), None);
        assert_eq!(
            named(&format!("/log/blobs/sha256:{}", Digest::of(b"x"))),
            None
        );
    }
}
