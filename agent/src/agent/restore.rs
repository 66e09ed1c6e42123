//! What was saved, checked again before it counts.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::Roots;
use countersign_ledger::verify::Checked;

use super::StartError;
use crate::engine::Engine;
use crate::saved::{Log, Saved, State};
use crate::verify::{self, Assembled, Kept, Untrusted};

/// The inventory and the last verified state, checked again; none before the first, or when a blob was lost.
pub(super) async fn restore(
    engine: &Arc<Engine>,
    saved: &Arc<Saved>,
    cluster: &str,
    roots: &Roots,
) -> Result<Option<(Kept, HashMap<Digest, Checked>)>, StartError> {
    let folder = |error| StartError::Data {
        folder: "state".to_owned(),
        error,
    };
    let inventory = saved.inventory().map_err(folder)?;
    {
        let mut world = engine.world();
        for (id, held) in inventory {
            world.restore(Arc::new(id), held);
        }
    }
    let Some(state) = saved.state().map_err(folder)? else {
        return Ok(None);
    };
    let (saved, cluster, roots) = (Arc::clone(saved), cluster.to_owned(), roots.clone());
    let checked = tokio::task::spawn_blocking(move || read_saved(&saved, &state, &cluster, roots))
        .await
        .map_err(|error| folder(std::io::Error::other(error)))?;
    match checked {
        Ok(state) => Ok(Some(state)),
        Err(refusal @ Refusal::BlobMissing { .. }) => {
            engine.refused(
                refusal.code(),
                "a saved blob was lost or changed on disk; it is fetched again from the hub",
            );
            Ok(None)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn read_saved(
    saved: &Saved,
    state: &State,
    cluster: &str,
    roots: Roots,
) -> Result<(Kept, HashMap<Digest, Checked>), Refusal> {
    let read = |digest: &Digest| {
        saved
            .blob(digest)
            .map_err(|_| Refusal::BlobMissing { digest: *digest })
    };
    // Under the roots of that time: a key that was dropped since had sealed it rightly.
    let mut then: Option<Roots> = None;
    for root in roots
        .iter()
        .filter(|root| root.version() <= state.trust_version)
    {
        match &mut then {
            None => then = Some(Roots::new(root.clone())),
            Some(then) => then.extend(root.bytes(), &RingVerifier)?,
        }
    }
    let statement = verify::saved_statement(
        cluster,
        then.unwrap_or(roots),
        &read(&state.envelope)?,
        state.log.as_ref().and_then(Log::shown).as_ref(),
    )?;
    let list = read(&state.manifest)?;
    let sections = verify::sections(statement, &Untrusted(list))?;
    let assembled = Assembled::new(sections, None, |digest| saved.blob(digest).ok())?;
    let mut checked = HashMap::new();
    let blobs: Vec<(Digest, u64)> = assembled.blobs().collect();
    for (digest, length) in blobs {
        checked.insert(
            digest,
            verify::blob(&digest, length, Untrusted(read(&digest)?))?.0,
        );
    }
    let kept = assembled.complete(|digest| checked.get(digest).copied())?;
    Ok((kept, checked))
}
