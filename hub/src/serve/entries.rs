//! The door to the log for those outside: people with override keys, second renderers, CI.
//!
//! Whoever comes needs no account and no certificate: the statement bears the signature of a key that the newest trust root
//! lists for what it says, or it is refused. The answer is a `tlog-proof` file, so that the caller sees for himself that his
//! word is in the log. Asking again with the same bytes gives the same place.

mod accept;
mod body;
mod infrastructure;
mod newest;
mod override_;
mod reproduction;
mod salts;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_fleet::api::ProvenEntry;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::Envelope;
use countersign_ledger::statement::{Infrastructure, Statement};
use countersign_ledger::tlog::Note;
use countersign_ledger::tlog::proof::ProofFile;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use super::guard::problem;
use super::limits::{ENTRIES_AT_ONCE, ENTRY_BODY_BYTES_MAX};
use super::state::State;
use crate::log::{Entry, Log, outside};
pub(crate) use accept::{Accepted, Refusal, accept};
pub(crate) use body::Offer;
pub(crate) use newest::handler as newest_handler;
pub(crate) use salts::handler as salts_handler;

/// The handler of `POST /log/entries`.
pub(crate) fn handler(state: Arc<State>) -> MethodRouter {
    let door = Door {
        state,
        places: Arc::new(Semaphore::new(ENTRIES_AT_ONCE)),
    };
    post(take)
        .with_state(door)
        .layer(DefaultBodyLimit::max(ENTRY_BODY_BYTES_MAX))
}

#[derive(Clone)]
struct Door {
    state: Arc<State>,
    places: Arc<Semaphore>,
}

async fn take(Shared(door): Shared<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(place) = door.places.clone().try_acquire_owned() else {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            "BUSY",
            "too many entries at once; ask again",
        );
    };
    // A task of its own: a caller that goes away half-way must not leave an entry in the log that nobody was told of.
    let taken = tokio::spawn(async move {
        let _place = place;
        enter(&door.state, &headers, &body).await
    });
    let answer = match taken.await {
        Ok(answer) => answer,
        Err(error) => Err(Refusal::fault(&error)),
    };
    match answer {
        Ok(proof) => {
            let kinds = [
                (CONTENT_TYPE, "text/plain; charset=utf-8"),
                (CACHE_CONTROL, "no-store"),
            ];
            (kinds, proof.bytes()).into_response()
        }
        Err(refusal) => problem(refusal.status, refusal.code, refusal.message),
    }
}

async fn enter(state: &State, headers: &HeaderMap, body: &Bytes) -> Result<ProofFile, Refusal> {
    let log = open(state)?;
    let offer = Offer::read(headers, body)?;
    let trust = state.trust();
    let Some(root) = &trust.newest else {
        return Err(Refusal::not_ready());
    };
    // What is in the log already keeps its place, whatever the clock and the trust root say by now.
    let had = log.find(&leaf_hash(&offer.envelope));
    match had.map_err(|error| Refusal::fault(&error))? {
        Some(index) => prove(log, index),
        None => place(state, log, &accept(&offer, root, state.now())?).await,
    }
}

/// Puts in what the hub itself signed for the bearer of a token; whoever calls has looked at the token.
pub(crate) async fn enter_for_token(
    state: &State,
    envelope: Envelope,
    statement: Infrastructure,
    list: Bytes,
) -> Result<ProofFile, Refusal> {
    let log = open(state)?;
    let trust = state.trust();
    let Some(root) = &trust.newest else {
        return Err(Refusal::not_ready());
    };
    infrastructure::environment(&statement, root)?;
    let accepted = Accepted {
        by: statement.by.clone(),
        envelope,
        statement: Statement::Infrastructure(statement),
        blobs: vec![list],
    };
    place(state, log, &accepted).await
}

/// The log, if it takes entries now.
fn open(state: &State) -> Result<&Log, Refusal> {
    let Some(log) = &state.log else {
        return Err(Refusal::unprocessable(
            "NO_LOG",
            "this fleet has no log that could take entries",
        ));
    };
    if !state.is_ready() {
        return Err(Refusal::not_ready());
    }
    Ok(log)
}

/// The place of an entry that may enter: where it is, or at the end.
async fn place(state: &State, log: &Log, accepted: &Accepted) -> Result<ProofFile, Refusal> {
    let leaf = accepted.envelope.leaf_hash();
    let had = log.find(&leaf).map_err(|error| Refusal::fault(&error))?;
    let index = match had {
        Some(index) => index,
        None => append(state, log, accepted).await?,
    };
    prove(log, index)
}

/// Appends what is new, once what only the log can say of it is checked too.
async fn append(state: &State, log: &Log, accepted: &Accepted) -> Result<u64, Refusal> {
    if let Statement::Reproduction(this) = &accepted.statement {
        reproduction::check_sealed(log, this).await?;
    }
    let mut kept = Vec::new();
    for blob in &accepted.blobs {
        let digest = log.keep_blob(blob.clone()).await;
        kept.push(digest.map_err(|error| Refusal::fault(&error))?);
    }
    let entry = Entry {
        bytes: Bytes::copy_from_slice(accepted.envelope.bytes()),
        filed: outside::filed(&accepted.envelope, &accepted.statement),
    };
    let appended = log
        .append_read(vec![entry], kept)
        .await
        .map_err(|error| Refusal::fault(&error))?;
    tracing::info!(
        predicate = accepted.statement.predicate_type(),
        by = accepted.by,
        "an entry from outside was taken"
    );
    state.metrics.outside(accepted.statement.predicate_type());
    state.tell_outside();
    appended
        .indexes
        .first()
        .copied()
        .ok_or_else(|| Refusal::fault(&"an append gave no place"))
}

/// An entry as it is given to people, with its proof; none if the log has none of these bytes.
pub(crate) fn proven(log: &Log, envelope: &Bytes) -> Result<Option<ProvenEntry>, Refusal> {
    let index = log.find(&leaf_hash(envelope));
    let Some(index) = index.map_err(|error| Refusal::fault(&error))? else {
        return Ok(None);
    };
    let proof = prove(log, index)?;
    Ok(Some(ProvenEntry {
        envelope: STANDARD.encode(envelope),
        proof: String::from_utf8_lossy(&proof.bytes()).into_owned(),
    }))
}

/// The proof under the newest claimed checkpoint; witnesses may not have seen it yet.
fn prove(log: &Log, index: u64) -> Result<ProofFile, Refusal> {
    let signed = log.claimed().borrow().clone();
    let Some(signed) = signed else {
        return Err(Refusal::not_ready());
    };
    let hashes: Vec<Digest> = log
        .inclusion(index, signed.size)
        .map_err(|error| Refusal::fault(&error))?;
    let checkpoint = Note::parse(&signed.note).map_err(|error| Refusal::fault(&error))?;
    Ok(ProofFile {
        extra: None,
        index,
        hashes,
        checkpoint,
    })
}
