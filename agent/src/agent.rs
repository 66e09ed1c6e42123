//! The agent on one screen: start, then pull → verify → plan → apply → watch → heal → report, until stopped.
//!
//! What crosses between the tasks: verified states by a queue of one (the newest), jobs for the healer, objects for the
//! health probe. Each task has a file; they share an [`Engine`].

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use countersign_ledger::verify::{Checked, VerifiedState};
use countersign_proto::agent::v1 as proto;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::client::{self, ApiServer, ClientError};
use crate::config::Options;
use crate::engine::Engine;
use crate::keys::{Folder, KeyError, Keys};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::pull::hub::Hub;
use crate::pull::{self, Puller};
use crate::saved::{Saved, State};
use crate::verify::{self, Assembled, Untrusted};
use crate::{clock, heal, health, report, serve, sync, watch as watching};

/// How long tasks may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// The agent can't start, or had to step back.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder.
    #[error("--data {folder}: {error}")]
    Data {
        /// Which.
        folder: String,
        /// Why not.
        error: std::io::Error,
    },
    /// Another process uses the folder.
    #[error("--data {0}: another agent uses this folder")]
    DataInUse(String),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The trust root.
    #[error("--trust {trust}: {problem}")]
    Trust {
        /// As given.
        trust: String,
        /// Why not.
        problem: String,
    },
    /// The join token's file.
    #[error("--token-file {file}: {error}")]
    Token {
        /// Which.
        file: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The API server.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The address for metrics.
    #[error("--listen {address}: {error}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// What was saved is not what was verified.
    #[error("what is saved does not pass its checks any more: {0}")]
    Saved(#[from] Refusal),
    /// Another agent took over this cluster.
    #[error("another agent keeps this cluster now")]
    SteppedBack,
}

/// Runs until `stop`.
///
/// # Errors
/// [`StartError`]; nothing of the cluster was touched then, or another agent took over.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), StartError> {
    let data = |error| StartError::Data {
        folder: options.data.display().to_string(),
        error,
    };
    let saved = Arc::new(Saved::open(&options.data).map_err(data)?);
    let _lock = lock(&options.data)?;
    let keys = Arc::new(Keys::load_or_make(Box::new(Folder(saved.keys())))?);
    let roots = trust(&options.trust, &saved)?;
    let token = token(&options)?;
    let api = ApiServer::connect(options.kubeconfig.as_deref(), options.context.as_deref()).await?;

    let metrics = Arc::new(Metrics::default());
    let ready = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let listener = serve::bind(options.listen)
        .await
        .map_err(|error| StartError::Listen {
            address: options.listen,
            error,
        })?;
    tasks.spawn(serve::run(
        listener,
        Arc::clone(&metrics),
        Arc::clone(&ready),
        stop.clone(),
    ));

    let holder = format!(
        "{}-{}",
        options.cluster,
        &Digest::of(&keys.receipt().0).to_string()[..16]
    );
    let lease = Lease::new(api.clone(), &options.namespace, &holder);
    let (engine, queues) = Engine::new(api.clone(), Arc::clone(&saved), metrics, keys.secret_key());
    let identity = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        identity = identify(&engine, &api, &saved) => identity,
    };
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = lease.acquire() => {}
    }
    ready.store(true, Ordering::Relaxed);

    let restored = restore(&engine, &saved, &options.cluster, &roots).await?;
    let (newest, desired) = watch::channel(None);
    let (channel, channel_out) = watch::channel(None);
    let (applied, applied_out) = watch::channel(0);
    let mut puller = Puller {
        hub: Hub::new(options.hub.clone(), roots.newest().document().hub_ca),
        keys,
        saved,
        engine: Arc::clone(&engine),
        cluster: options.cluster.clone(),
        identity: identity.clone(),
        token,
        last: restored
            .as_ref()
            .map(|(state, _)| state.manifest().statement().last()),
        roots,
        checked: restored
            .as_ref()
            .map(|(_, checked)| checked.clone())
            .unwrap_or_default(),
        before: None,
        newest,
        channel,
    };
    if let Some((state, _)) = restored {
        puller.publish_saved(state);
    }
    tasks.spawn(heal::run(Arc::clone(&engine), queues.jobs, stop.clone()));
    tasks.spawn(health::probe::run(
        Arc::clone(&engine),
        queues.probes,
        stop.clone(),
    ));
    tasks.spawn(sync::run(
        Arc::clone(&engine),
        desired,
        applied,
        stop.clone(),
    ));
    tasks.spawn(report::run(
        Arc::clone(&engine),
        channel_out,
        applied_out,
        identity,
        stop.clone(),
    ));
    tasks.spawn(pull::run(puller, stop.clone()));
    tasks.close();

    lease.keep(&stop).await;
    let stepped_back = !stop.is_cancelled();
    stop.cancel();
    if tokio::time::timeout(SHUTDOWN_MAX, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end in time");
    }
    if let Err(error) = engine.saved.sync() {
        tracing::error!(%error, "inventory could not be made durable");
    }
    if stepped_back {
        Err(StartError::SteppedBack)
    } else {
        Ok(())
    }
}

/// One process a folder; the lock dies with its holder.
fn lock(folder: &Path) -> Result<File, StartError> {
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

/// The pinned trust root and those that followed it, as far as they were kept.
fn trust(given: &str, saved: &Saved) -> Result<Roots, StartError> {
    let problem = |problem: String| StartError::Trust {
        trust: given.to_owned(),
        problem,
    };
    let kept = saved
        .trust_roots()
        .map_err(|error| problem(error.to_string()))?;
    let pinned = if given.starts_with("sha256:") {
        let digest: Digest = given.parse().map_err(|error: countersign_ledger::digest::NotADigest| problem(error.to_string()))?;
        let bytes = kept.iter().find(|bytes| Digest::of(bytes) == digest).ok_or_else(|| {
            problem("the document of this digest was never kept here; give its file once (--trust FILE)".to_owned())
        })?;
        VerifiedRoot::pinned(bytes, &digest, &RingVerifier)
    } else {
        let bytes = std::fs::read(given).map_err(|error| problem(error.to_string()))?;
        VerifiedRoot::parse(&bytes, &RingVerifier)
    }
    .map_err(|refusal| problem(refusal.to_string()))?;
    saved
        .keep_trust_root(pinned.version(), pinned.bytes())
        .map_err(|error| problem(error.to_string()))?;
    let mut roots = Roots::new(pinned);
    for bytes in &kept {
        let later = VerifiedRoot::parse(bytes, &RingVerifier)
            .is_ok_and(|root| root.version() > roots.newest().version());
        if later {
            roots
                .extend(bytes, &RingVerifier)
                .map_err(|refusal| problem(refusal.to_string()))?;
        }
    }
    Ok(roots)
}

fn token(options: &Options) -> Result<Option<String>, StartError> {
    let Some(file) = &options.token_file else {
        return Ok(options.token.clone());
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        // A token is used once; the file may be gone when the agent starts again.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::Token {
            file: file.display().to_string(),
            error,
        }),
    }
}

/// What the agent sees of its cluster; waits until it is the one that the saved state is for.
async fn identify(engine: &Engine, api: &ApiServer, saved: &Saved) -> proto::ClusterIdentity {
    loop {
        let seen = tokio::join!(
            api.get("/api/v1/namespaces/kube-system", client::METADATA),
            api.get("/version", client::FULL)
        );
        if let (Ok(namespace), Ok(version)) = &seen
            && namespace.status.is_success()
            && let Some(meta) = watching::ownership::meta(&namespace.body)
        {
            let uid = meta.seen().uid.to_string();
            let kubernetes = serde_json::from_slice::<serde_json::Value>(&version.body)
                .ok()
                .and_then(|version| version["gitVersion"].as_str().map(str::to_owned))
                .unwrap_or_default();
            let ca = Digest::from_bytes(api.ca_fingerprint());
            match saved.state() {
                Ok(Some(State {
                    cluster_uid,
                    cluster_ca,
                    ..
                })) if cluster_uid != uid || cluster_ca != ca.to_string() => {
                    engine.refused(
                        "IDENTITY_CHANGED",
                        "this is not the cluster that this state is for (its kube-system or its CA is another one): nothing is applied; enrol it anew with an empty --data folder",
                    );
                }
                Ok(_) => {
                    return proto::ClusterIdentity {
                        uid,
                        ca_fingerprint: Bytes::copy_from_slice(ca.as_bytes()),
                        kubernetes,
                    };
                }
                Err(error) => tracing::error!(%error, "saved state can't be read"),
            }
        } else {
            tracing::warn!("the API server does not say which cluster this is; trying again");
        }
        tokio::time::sleep(clock::jittered(Duration::from_secs(2))).await;
    }
}

/// The inventory and the last verified state, checked again; none before the first, or when a blob was lost.
async fn restore(
    engine: &Arc<Engine>,
    saved: &Arc<Saved>,
    cluster: &str,
    roots: &Roots,
) -> Result<Option<(VerifiedState, HashMap<Digest, Checked>)>, StartError> {
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
) -> Result<(VerifiedState, HashMap<Digest, Checked>), Refusal> {
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
    let statement =
        verify::saved_statement(cluster, then.unwrap_or(roots), &read(&state.envelope)?)?;
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
    let state = assembled.complete(|digest| checked.get(digest).copied())?;
    Ok((state, checked))
}
