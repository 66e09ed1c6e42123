//! The next trust root, taken: the hub's own keys are looked at first, then it goes into the store, then the hub starts anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::serve::publish::{NotTaken, RootDoor};
use crate::store::{Created, Store, trust_path};
use crate::trust::{self, KeyPlaces};

/// How often a key that was missing is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Takes roots for one run of the hub.
pub(crate) struct Door {
    pub(crate) store: Store,
    pub(crate) roots: Roots,
    pub(crate) keys: KeyPlaces,
    /// Fingerprint of the CA that the hub runs.
    pub(crate) hub_ca: Digest,
    /// Cancelled once a root is in the store.
    pub(crate) anew: CancellationToken,
}

impl RootDoor for Door {
    fn take(&self, root: VerifiedRoot) -> BoxFuture<'_, Result<(), NotTaken>> {
        Box::pin(async move {
            if root.document().hub_ca != self.hub_ca {
                let text = "it names another hub CA; that takes new certificates and a restart";
                return Err(NotTaken::Keys(text.to_owned()));
            }
            let mut roots = self.roots.clone();
            roots
                .extend(root.bytes(), &RingVerifier)
                .map_err(|refusal| NotTaken::Fault(refusal.to_string()))?;
            let keys = |error: trust::TrustError| NotTaken::Keys(error.to_string());
            trust::log_keys(&roots, &self.keys).await.map_err(keys)?;
            // Of the sealer keys one is enough: the others' environments wait for theirs.
            trust::sealers(&root, &self.keys).await.map_err(keys)?;
            let bytes = Bytes::copy_from_slice(root.bytes());
            match self.store.create(&trust_path(root.version()), bytes).await {
                Ok(Created::Ours) => {}
                Ok(_) => return Err(NotTaken::Conflict(root.version())),
                Err(fault) => return Err(NotTaken::Fault(fault.to_string())),
            }
            tracing::info!(
                version = root.version(),
                "a new trust root is in the store; the hub starts anew under it"
            );
            self.anew.cancel();
            Ok(())
        })
    }
}

/// Looks again for sealer keys that were missing, and has the hub start anew once one is there.
///
/// # Cancel safety
/// May be dropped at any point.
pub(crate) async fn watch_for_keys(
    root: Arc<VerifiedRoot>,
    keys: KeyPlaces,
    had: usize,
    anew: CancellationToken,
) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        match trust::sealers(&root, &keys).await {
            Ok(found) if found.signers.len() > had => {
                tracing::info!("a sealer key that was missing is there; the hub starts anew");
                anew.cancel();
                return;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
