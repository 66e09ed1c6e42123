//! The one way by which an object is written.
//!
//! Sync, healing and the hourly compare all call [`Engine::write`]; it takes the object's turn, asks the guard rails,
//! sends the blob's bytes, tells the world what came back, and notes it in the inventory.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use zeroize::Zeroizing;

use super::Engine;
use crate::apply::outcome::{Problem, Retry};
use crate::apply::request;
use crate::clock;
use crate::plan::Want;
use crate::plan::rails::Breach;
use crate::watch::drift::Expected;
use crate::watch::ownership::Seen;

/// How a write ended well.
#[derive(Debug)]
pub struct Done {
    /// What our write before this one had left.
    pub before: Option<Expected>,
    /// What stands there now.
    pub after: Seen,
    /// The answer's metadata.
    pub metadata: Bytes,
}

/// An object that a guard rail keeps out, as a problem of that object.
#[must_use]
pub fn guard_rail(breach: &Breach) -> Problem {
    Problem {
        code: "GUARD_RAIL",
        text: breach.to_string(),
        retry: Retry::Never,
    }
}

impl Engine {
    /// The JSON to apply; a Secret's is decrypted, checked against its commitment, and wiped when it was sent.
    ///
    /// # Errors
    /// A [`Problem`] when the blob is missing or does not open.
    pub fn body(&self, want: &Want) -> Result<Bytes, Problem> {
        // A blob is small and nearly always in the page cache: reading it here costs less than a trip to another thread.
        let blob = self.saved.blob(&want.blob).map_err(|error| Problem {
            code: "BLOB_MISSING",
            text: format!("blob {}: {error}", want.blob),
            retry: Retry::Later,
        })?;
        let Some(commitment) = &want.commitment else {
            return Ok(Bytes::from(blob));
        };
        let plain: Zeroizing<Vec<u8>> =
            self.secrets
                .open(&blob, commitment)
                .map_err(|error| Problem {
                    code: "SECRET_UNREADABLE",
                    text: error.to_string(),
                    retry: Retry::Never,
                })?;
        Ok(Bytes::from_owner(plain))
    }

    /// Writes what is desired of `id`, after any write of it that is under way. `Ok(None)` when it is no longer desired.
    ///
    /// # Errors
    /// The [`Problem`]; the world knows it already.
    ///
    /// # Cancel safety
    /// May be dropped, but then the answer of a write that was sent is lost and its event looks like somebody else's
    /// change; callers that may be dropped spawn it.
    pub async fn write(&self, id: &Arc<ObjectId>) -> Result<Option<Done>, Problem> {
        self.is_sure().await;
        let mut changes = self.changes();
        let (want, before) = loop {
            changes.borrow_and_update();
            {
                let mut world = self.world();
                let Some(want) = world.desired().objects.get(id).cloned() else {
                    return Ok(None);
                };
                let Some(object) = world.get(id) else {
                    return Ok(None);
                };
                if object.argo {
                    return Ok(None);
                }
                let before = object.held.as_ref().map(|held| held.expected.clone());
                if world.begin_write(id) {
                    break (want, before);
                }
            }
            if changes.changed().await.is_err() {
                return Ok(None);
            }
        };
        let turn = Turn {
            engine: self,
            id,
            over: false,
        };
        let body = match self.allowed(id, &want) {
            Ok(body) => body,
            Err(problem) => {
                self.end(turn, want.blob, Err(problem.clone()));
                return Err(problem);
            }
        };
        let kinds = self.kinds();
        let written = request::apply(&self.api, &kinds, id, body).await;
        self.metrics.applied(
            written.result.as_ref().err().map(|problem| problem.code),
            written.took,
        );
        if written.pushback {
            self.metrics.pushbacks.inc();
        }
        let result = written.result.clone();
        self.end(turn, want.blob, written.result);
        result.map(|after| {
            Some(Done {
                before,
                after,
                metadata: written.metadata,
            })
        })
    }

    /// The JSON to apply, if the guard rails let it pass.
    fn allowed(&self, id: &ObjectId, want: &Want) -> Result<Bytes, Problem> {
        let rails = &self.settings.rails;
        rails.check(id).map_err(|breach| guard_rail(&breach))?;
        let body = self.body(want)?;
        rails
            .check_content(id, &body)
            .map_err(|breach| guard_rail(&breach))?;
        Ok(body)
    }

    fn end(&self, mut turn: Turn<'_>, blob: Digest, result: Result<Seen, Problem>) {
        turn.over = true;
        let id = turn.id;
        let wrote = result.is_ok();
        let (effect, held) = {
            let mut world = self.world();
            let effect = world.end_write(id, blob, result, clock::unix(), Instant::now());
            (effect, world.get(id).and_then(|object| object.held.clone()))
        };
        if wrote {
            if let Err(error) = self.saved.note(id, held.as_ref()) {
                tracing::error!(%error, "inventory could not be noted");
            }
            self.probe(id);
        }
        self.carry_out(id, effect, &[]);
        self.touch();
    }
}

/// An object's turn: given back even when the writer is dropped.
struct Turn<'a> {
    engine: &'a Engine,
    id: &'a Arc<ObjectId>,
    over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.engine.world().abandon_write(self.id);
            self.engine.touch();
        }
    }
}
