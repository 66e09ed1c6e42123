//! `POST /log/trust`: the next trust root comes in. Nobody signs in for that: the document proves itself by the threshold of
//! old and new root keys. Once it is in the store the hub starts anew under it, in the same process.

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use countersign_fleet::api::ci::TrustTaken;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::VerifiedRoot;
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::sync::Semaphore;

use super::entries::Refusal;
use super::guard::problem;
use super::limits::TRUST_BODY_BYTES_MAX;
use super::state::{State, Trust};

/// Takes the next trust root for good.
pub trait RootDoor: Send + Sync {
    /// Puts a root into the store that follows the newest one, if the hub could run under it; takes it up right after.
    fn take(&self, root: VerifiedRoot) -> BoxFuture<'_, Result<(), NotTaken>>;
}

/// Why the next trust root is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The hub could not run under it: its own keys are not what the root lists.
    #[error("the hub could not run under it: {0}")]
    Keys(String),
    /// Another root of that version came first.
    #[error("another trust root of version {0} came first")]
    Conflict(u64),
    /// Asking again may help.
    #[error("{0}")]
    Fault(String),
}

/// The handler.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    let door = Door {
        state,
        places: Arc::new(Semaphore::new(1)),
    };
    post(take)
        .with_state(door)
        .layer(DefaultBodyLimit::max(TRUST_BODY_BYTES_MAX))
}

#[derive(Clone)]
struct Door {
    state: Arc<State>,
    places: Arc<Semaphore>,
}

async fn take(Shared(door): Shared<Door>, body: Bytes) -> Response {
    let Ok(place) = door.places.clone().try_acquire_owned() else {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            "BUSY",
            "another trust root is looked at; ask again",
        );
    };
    let taken = tokio::spawn(async move {
        let _place = place;
        enter(&door.state, &body).await
    });
    let answer = match taken.await {
        Ok(answer) => answer,
        Err(error) => Err(Refusal::fault(&error)),
    };
    match answer {
        Ok(taken) => Json(taken).into_response(),
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

async fn enter(state: &State, bytes: &Bytes) -> Result<TrustTaken, Refusal> {
    let Some(door) = &state.guests.roots else {
        return Err(Refusal::not_ready());
    };
    if !state.is_ready() {
        return Err(Refusal::not_ready());
    }
    let root = match judge(&state.trust(), bytes)? {
        Judged::Known(taken) => return Ok(taken),
        Judged::Next(root) => root,
    };
    let taken = taken(root.version(), bytes, true);
    door.take(*root).await.map_err(|error| match error {
        NotTaken::Keys(_) => Refusal::unprocessable("ROOT_KEYS", error.to_string()),
        NotTaken::Conflict(_) => Refusal::unprocessable("ROOT_CONFLICT", error.to_string()),
        NotTaken::Fault(fault) => Refusal::fault(&fault),
    })?;
    Ok(taken)
}

enum Judged {
    /// The hub has it.
    Known(TrustTaken),
    /// It follows the newest.
    Next(Box<VerifiedRoot>),
}

/// What a document is, by the roots that are known. Pure.
fn judge(trust: &Trust, bytes: &Bytes) -> Result<Judged, Refusal> {
    let mut known = trust.documents.iter();
    if let Some((version, had)) = known.find(|(_, had)| had == bytes) {
        return Ok(Judged::Known(taken(*version, had, false)));
    }
    let Some(newest) = &trust.newest else {
        return Err(Refusal::not_ready());
    };
    newest
        .succeed(bytes, &RingVerifier)
        .map(|root| Judged::Next(Box::new(root)))
        .map_err(|refusal| Refusal::forbidden(refusal.code(), refusal.to_string()))
}

fn taken(version: u64, bytes: &[u8], new: bool) -> TrustTaken {
    TrustTaken {
        version,
        digest: format!("sha256:{}", Digest::of(bytes)),
        new,
    }
}
