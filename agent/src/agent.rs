//! The agent on one screen: start, then pull → verify → plan → apply → watch → heal → report, until stopped.
//!
//! What crosses between the tasks: verified states by a queue of one (the newest), jobs for the healer, objects for the
//! health probe. Each task has a file; they share an [`Engine`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_ledger::digest::Digest;
use countersign_ledger::refusal::Refusal;
use countersign_ledger::verify::Known;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply::client::{ApiServer, ClientError};
use crate::config::Options;
use crate::engine::Engine;
use crate::keys::KeyError;
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::overrides::Overrides;
use crate::pull::hub::Hub;
use crate::pull::{self, Puller};
use crate::receipt::outbox::Outbox;
use crate::receipt::queue::Queue;
use crate::receipt::record::{self, Recorder};
use crate::receipt::send::{self, Sender};
use crate::saved::Saved;
use crate::{courier, heal, health, report, serve, sync};

mod restore;
mod start;

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
    let at = |folder: &Path, error| StartError::Data {
        folder: folder.display().to_string(),
        error,
    };
    let data = |error| at(&options.data, error);
    let saved = Arc::new(Saved::open(&options.data).map_err(data)?);
    let _lock = start::lock(&options.data)?;
    let token = start::token(&options)?;
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

    // Both may have to wait, for the API server or for the hub.
    let ready_to_act = async {
        let keys = start::keys(&options, &saved, &api).await?;
        let roots = start::trust(&options, &saved).await?;
        Ok::<_, StartError>((Arc::new(keys), roots))
    };
    let (keys, roots) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        ready = ready_to_act => ready?,
    };
    let holder = format!(
        "{}-{}",
        options.cluster,
        &Digest::of(&keys.receipt().0).to_string()[..16]
    );
    let (engine, queues) = Engine::new(
        api.clone(),
        Arc::clone(&saved),
        metrics,
        keys.secret_key(),
        options.settings(),
    );
    let floor = Arc::clone(&engine.floor);
    let lease = Lease::new(api.clone(), &options.namespace, &holder, floor);
    let identity = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        identity = start::identify(&engine, &api, &saved) => identity,
    };
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = lease.acquire() => {}
    }
    engine.keeps(&identity.uid);
    ready.store(true, Ordering::Relaxed);

    let (restored, checked) = restore::restore(&engine, &saved, &options.cluster, &roots)
        .await?
        .unzip();
    let kept = saved.state().map_err(|error| StartError::Data {
        folder: options.data.display().to_string(),
        error,
    })?;
    let generation = kept.as_ref().map_or(0, |state| state.generation);
    let (log, authored) = kept.map(|state| (state.log, state.authored)).unzip();
    let log = log.flatten();
    let windows = log.as_ref().map(|log| log.windows(&roots));
    let windows = windows.unwrap_or_default();
    let seen = log.map(|log| log.seen());
    let floor = start::floor(
        &engine,
        &lease,
        &options.cluster,
        &roots,
        generation,
        seen.as_ref(),
    );
    // A volume that was set back is no reason to take the cluster back: it waits for what the hub brings.
    let (restored, checked) = match floor.check(generation, &roots) {
        Err(refusal) if generation > 0 => {
            engine.refused_by(&refusal);
            (
                restored.map(|kept| (kept.manifest().statement().last(), None)),
                None,
            )
        }
        _ => (
            restored.map(|kept| (kept.manifest().statement().last(), Some(kept))),
            checked,
        ),
    };
    let (last, restored) = restored.unzip();
    let restored = restored.flatten();
    let seen = floor.log.map(|log| log.seen());
    let record = saved.overrides().map_err(|error| StartError::Data {
        folder: options.data.display().to_string(),
        error,
    })?;
    let known = Known {
        windows: windows.clone(),
        ..Known::new(&options.cluster, roots.clone(), last)
    };
    let (overrides, forgotten) = Overrides::restore(record, &known);
    for refusal in &forgotten {
        engine.refused_by(refusal);
    }
    let (newest, desired) = watch::channel(None);
    let (channel, channel_out) = watch::channel(None);
    let (applied, applied_out) = watch::channel(0);
    let queue =
        Queue::open(&saved.receipts(), keys.receipt()).map_err(|error| StartError::Data {
            folder: options.data.display().to_string(),
            error,
        })?;
    engine.receipts.recorded(queue.synced());
    let outbox = Outbox::new(queue);
    let (believed, known) = watch::channel(Known {
        seen: seen.clone(),
        windows: windows.clone(),
        stale_seconds: options.stale_seconds(),
        ..Known::new(&options.cluster, roots.clone(), last)
    });
    tasks.spawn(record::run(
        Recorder {
            engine: Arc::clone(&engine),
            keys: Arc::clone(&keys),
            outbox: Arc::clone(&outbox),
            known: known.clone(),
            heartbeat: Duration::from_secs(options.heartbeat_seconds),
        },
        stop.clone(),
    ));
    let hub_ca = roots.newest().document().hub_ca;
    let (hub, signed) = match &options.import_dir {
        None => {
            let url = options.hub.clone().unwrap_or_default();
            (Hub::new(url, hub_ca), courier::Signed::default())
        }
        Some(folder) => {
            let fleet = roots.newest().fleet();
            let (cluster, stop) = (&options.cluster, stop.clone());
            let started = courier::start(folder, fleet, cluster, &engine, &tasks, stop);
            let (line, signed) = started.map_err(|error| at(folder, error))?;
            (Hub::by_files(line, hub_ca), signed)
        }
    };
    if let Some(folder) = &options.export_dir {
        let bag = courier::Bag {
            folder: folder.clone(),
            outbox: Arc::clone(&outbox),
            known: known.clone(),
            registration: start::registration(&options, &keys, &identity, &roots)?,
            signed,
        };
        tasks.spawn(bag.run(stop.clone()));
    }
    tasks.spawn(send::run(
        Sender {
            outbox,
            engine: Arc::clone(&engine),
            keys: Arc::clone(&keys),
            identity: identity.clone(),
            known,
            channel: channel_out.clone(),
        },
        stop.clone(),
    ));
    let mut puller = Puller {
        hub,
        keys,
        saved,
        engine: Arc::clone(&engine),
        cluster: options.cluster.clone(),
        identity: identity.clone(),
        token,
        service_account: options.join_service_account_token.clone(),
        warned: None,
        renew: false,
        last,
        authored: authored.flatten(),
        windows,
        seen,
        stale_seconds: options.stale_seconds(),
        roots,
        overrides,
        held: None,
        stood: None,
        checked: checked.unwrap_or_default(),
        kept: None,
        newest,
        believed,
        channel,
    };
    if let Some(kept) = restored {
        puller.publish(kept);
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

    lease
        .keep(&stop, |revision| engine.leased_at(revision))
        .await;
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
    if let Err(error) = engine.saved.settle() {
        tracing::error!(%error, "the last arrivals could not be settled");
    }
    if stepped_back {
        Err(StartError::SteppedBack)
    } else {
        Ok(())
    }
}
