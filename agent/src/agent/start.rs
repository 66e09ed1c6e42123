//! What must stand before the agent acts: its folder, its keys, its trust root, its token, its cluster.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use countersign_ledger::digest::{Digest, NotADigest};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use countersign_ledger::verify::Seen;
use countersign_proto::agent::v1 as proto;

use super::StartError;
use crate::apply::client::ApiServer;
use crate::config::Options;
use crate::engine::Engine;
use crate::floor::Floor;
use crate::keys::{Folder, InCluster, KeyError, KeyStore, Keys};
use crate::lease::Lease;
use crate::pull::roots::{self, NoRoot};
use crate::saved::{Saved, State};
use crate::{clock, courier, identity};

/// Pauses between tries of what only time can help.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One process a folder; the lock dies with its holder.
pub(super) fn lock(folder: &Path) -> Result<File, StartError> {
    let name = folder.display().to_string();
    let file = crate::saved::private(
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true),
    )
    .open(folder.join("lock"))
    .map_err(|error| StartError::Data {
        folder: name.clone(),
        error,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::DataInUse(name)),
        Err(std::fs::TryLockError::Error(error)) => Err(StartError::Data {
            folder: name,
            error,
        }),
    }
}

/// The keys, from the Secret where one is named, else from the folder; waits for an API server that is away.
pub(super) async fn keys(
    options: &Options,
    saved: &Saved,
    api: &ApiServer,
) -> Result<Keys, StartError> {
    let mut pause = PAUSE_MIN;
    loop {
        let store: Box<dyn KeyStore> = match &options.keys_secret {
            Some(name) => Box::new(InCluster::new(api.clone(), &options.namespace, name)),
            None => Box::new(Folder(saved.keys())),
        };
        match Keys::load_or_make(store).await {
            Ok(keys) => return Ok(keys),
            Err(KeyError::Store { name, error })
                if error.kind() == std::io::ErrorKind::NotConnected =>
            {
                tracing::warn!(name, %error, "the keys can't be read yet; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(clock::jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The pinned trust root and those that followed it, as far as they were kept; at a first start by digest, as the hub
/// serves them, and waits for it.
pub(super) async fn trust(options: &Options, saved: &Saved) -> Result<Roots, StartError> {
    let given = &options.trust;
    let problem = |problem: String| StartError::Trust {
        trust: given.clone(),
        problem,
    };
    let kept = saved
        .trust_roots()
        .map_err(|error| problem(error.to_string()))?;
    let mut roots = if given.starts_with("sha256:") {
        let digest: Digest = given
            .parse()
            .map_err(|error: NotADigest| problem(error.to_string()))?;
        match kept.iter().find(|bytes| Digest::of(bytes) == digest) {
            Some(bytes) => VerifiedRoot::pinned(bytes, &digest, &RingVerifier).map(Roots::new),
            None => Ok(fetched(options, &digest).await.map_err(problem)?),
        }
    } else {
        let bytes = std::fs::read(given).map_err(|error| problem(error.to_string()))?;
        VerifiedRoot::parse(&bytes, &RingVerifier).map(Roots::new)
    }
    .map_err(|refusal| problem(refusal.to_string()))?;
    for root in roots.iter() {
        saved
            .keep_trust_root(root.version(), root.bytes())
            .map_err(|error| problem(error.to_string()))?;
    }
    roots::follow(&mut roots, &kept).map_err(|refusal| problem(refusal.to_string()))?;
    Ok(roots)
}

/// From the hub or from a parcel; only what is away is waited for.
async fn fetched(options: &Options, digest: &Digest) -> Result<Roots, String> {
    if let Some(folder) = &options.import_dir {
        return courier::first_root(folder, digest).await;
    }
    let hub = options.hub.as_deref().unwrap_or_default();
    let mut pause = PAUSE_MIN;
    loop {
        match roots::first(hub, digest).await {
            Ok(roots) => return Ok(roots),
            Err(NoRoot::Fault(fault)) => {
                tracing::warn!(%fault, "the hub brings no trust root yet; trying again");
            }
            Err(no) => return Err(no.to_string()),
        }
        tokio::time::sleep(clock::jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The join token, as long as there is one.
pub(super) fn token(options: &Options) -> Result<Option<String>, StartError> {
    let Some(file) = &options.token_file else {
        return Ok(options.token.clone());
    };
    match std::fs::read_to_string(file) {
        // An empty one is none: the agent may join by its service account.
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        // A token is used once; the file may be gone when the agent starts again.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::Token {
            file: file.display().to_string(),
            error,
        }),
    }
}

/// What the agent sees of its cluster; waits until it is the one that the saved state is for.
pub(super) async fn identify(
    engine: &Engine,
    api: &ApiServer,
    saved: &Saved,
) -> proto::ClusterIdentity {
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(seen) = identity::read(api).await {
            let ca = Digest::from_bytes(api.ca_fingerprint()).to_string();
            match saved.state() {
                Ok(Some(State {
                    cluster_uid,
                    cluster_ca,
                    ..
                })) if cluster_uid != seen.uid || cluster_ca != ca => {
                    engine.refused_once("IDENTITY_CHANGED", &seen.uid, identity::CHANGED);
                }
                Ok(_) => return seen,
                Err(error) => tracing::error!(%error, "saved state can't be read"),
            }
        } else {
            tracing::warn!("the API server does not say which cluster this is; trying again");
        }
        tokio::time::sleep(clock::jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Who this agent says it is, where a person carries it to the hub: without a token.
pub(super) fn registration(
    options: &Options,
    keys: &Keys,
    identity: &proto::ClusterIdentity,
    roots: &Roots,
) -> Result<proto::RegisterRequest, StartError> {
    let csr = keys.certificate_request(roots.newest().fleet(), &options.cluster)?;
    let key = Digest::of(&keys.receipt().0);
    tracing::info!(key = %format!("sha256:{key}"), "reports are written for a person to carry; the hub's operator admits this key");
    Ok(proto::RegisterRequest {
        cluster: options.cluster.clone(),
        csr: csr.into(),
        encryption_recipient: keys.recipient(),
        identity: Some(identity.clone()),
        ..proto::RegisterRequest::default()
    })
}

/// The highest of what the volume and the cluster hold; the agent's receipts come later, from the hub.
pub(super) fn floor(
    engine: &Engine,
    lease: &Lease,
    cluster: &str,
    roots: &Roots,
    generation: u64,
    seen: Option<&Seen>,
) -> Floor {
    let mut floor = Floor::of(cluster, roots, generation, seen);
    match lease.found() {
        Some(found) if found.concerns(cluster, roots) => floor.raise(&found),
        Some(_) => tracing::warn!("the Lease holds the floor of another fleet; it is passed over"),
        None => {}
    }
    engine.floor.raise(&floor);
    floor
}
