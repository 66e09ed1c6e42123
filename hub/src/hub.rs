//! Joins the tasks: reads trust and record, starts tracker, pipeline and listeners, and ends them in that order's
//! reverse. Nothing is decided here.
//!
//! A hub that is killed at any instant starts the same way as one that was stopped: claims are replayed, the index is
//! made whole, heads are served, and the newest commit is looked at again.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use countersign_fleet::api::TrustRootInUse;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::authors::Judgements;
use crate::config::Config;
use crate::log::{self, LogMetrics};
use crate::metrics::Metrics;
use crate::pipeline::stage::Stage;
use crate::pipeline::{Parts, Pipeline, PipelineError, workers};
use crate::roots::{Door, watch_for_keys};
use crate::seal::{self, OpenError, SealError, Sealer, Secrets};
use crate::sealed::{self, Record};
use crate::serve::records::RecordFault;
use crate::serve::{self, Clock, Guests, Hook, Member, Setup, StartError, State, Trust, Webhooks};
use crate::store::index::IndexFault;
use crate::store::{Index, LocationError, Objects, Store, StoreFault, trust_path};
use crate::track::trouble::Trouble;
use crate::track::webhook::{self, Forge};
use crate::track::{TrackHandle, Tracker};
use crate::trust::{self, TrustError, Trusted};

/// Why the hub did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data folder can't be used.
    #[error("{}: {source}", path.display())]
    Data {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another hub runs on this data folder.
    #[error("{}: another hub uses this data folder", path.display())]
    Locked {
        /// Its lock.
        path: PathBuf,
    },
    /// No trust, no hub.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The store can't be opened.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The index can't be opened.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// The record can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A trust root has no entry in the log.
    #[error("the trust root's entry in the log: {0}")]
    Entry(#[from] log::entries::EntryError),
    /// The log does not say which receipt keys speak no more.
    #[error("revocations in the log: {0}")]
    Enrol(#[from] serve::enrol::EnrolFault),
    /// A sealed manifest can't be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Registrations or permits can't be read.
    #[error(transparent)]
    Records(#[from] RecordFault),
    /// The repository can't be what was meant.
    #[error(transparent)]
    Track(#[from] Trouble),
    /// A listener did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The renderer did not start.
    #[error("renderer: {0}")]
    Renderer(Box<countersign_fleet::render::RenderFailure>),
    /// The pipeline may seal no more in this process; starting anew replays what was claimed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A task panicked.
    #[error("a task of the hub panicked: {0}")]
    Panic(#[from] tokio::task::JoinError),
}

/// Runs until `stop` is cancelled, with the renderer of the configuration.
///
/// # Errors
/// [`HubError`]
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), HubError> {
    let launcher = workers::confined().map_err(|failure| HubError::Renderer(Box::new(failure)))?;
    let started = workers::start(&config, launcher).await;
    let stage = started.map_err(|failure| HubError::Renderer(Box::new(failure)))?;
    run_with(config, stage, stop).await
}

/// Runs until `stop` is cancelled, with any rendering.
///
/// # Errors
/// [`HubError`]
pub async fn run_with(
    config: Config,
    stage: Arc<dyn Stage>,
    stop: CancellationToken,
) -> Result<(), HubError> {
    let _lock = lock(&config.data)?;
    let mut config = config;
    loop {
        match Box::pin(once(&config, Arc::clone(&stage), &stop)).await? {
            Ended::Stopped => return Ok(()),
            Ended::Anew { agents, operators } => {
                tracing::info!("starting anew under the newest trust root");
                config.listen = agents;
                config.operator_listen = operators;
            }
        }
    }
}

/// How one run ended.
enum Ended {
    /// As it was told to, from outside.
    Stopped,
    /// To begin anew, at the same addresses.
    Anew {
        agents: SocketAddr,
        operators: SocketAddr,
    },
}

/// One run, from reading the trust roots to the last answer. A new trust root ends it: the next run reads it as a start does,
/// so that there is one way in which a root takes effect.
async fn once(
    config: &Config,
    stage: Arc<dyn Stage>,
    stop: &CancellationToken,
) -> Result<Ended, HubError> {
    let anew = CancellationToken::new();
    let running = stop.child_token();
    let _ended = running.clone().drop_guard();
    let Trusted { root, authority } = trust::open(&config.trust, &config.keys.folder)?;
    let objects = Objects::open(&config.store)?;
    let raw = objects.raw();
    let store = Store::new(objects);
    let roots = roots(root, &store).await?;
    let index = Arc::new(Index::open(&config.data.join("index.sqlite"))?);
    let trust = served_trust(&roots);
    let root = Arc::new(roots.newest().clone());
    let trust::Sealers { signers, missing } = trust::sealers(&root, &config.keys).await?;
    let secrets = Secrets::new(store.clone(), Arc::clone(&index));
    let mut registry = Registry::with_prefix("countersign_hub");
    let alarms = Alarms::default();
    let (log, agent_ca) = match trust::log_keys(&roots, &config.keys).await? {
        None => (None, None),
        Some(keys) => {
            let metrics = LogMetrics::default();
            metrics.register(&mut registry);
            let parts = log::Parts {
                signer: keys.signer,
                keys: keys.keys,
                policy: keys.policy,
                timing: log::Timing::default(),
                clock: Clock::system(),
                metrics,
                alarm: alarms.raiser(),
                stop: running.child_token(),
            };
            (Some(parts), keys.agent_ca)
        }
    };
    let all_roots = roots.clone();
    let door = Arc::new(Door {
        store: store.clone(),
        roots: roots.clone(),
        keys: config.keys.clone(),
        hub_ca: root.document().hub_ca,
        anew: anew.clone(),
    });
    let (sealer, heads) = Sealer::open(seal::Parts {
        store,
        index,
        roots,
        signers: signers.clone(),
        log,
    })
    .await?;
    if let (Some(log), Some(agent_ca)) = (sealer.log(), &agent_ca) {
        log::entries::trust_roots(log, &all_roots, agent_ca.as_ref()).await?;
    }
    let sealer = Arc::new(sealer);

    let sealed_last = sealer
        .last_source()?
        .and_then(|source| source.new.parse().ok());
    // It opens the mirror, which reads the disk.
    let tracked = config.track.clone();
    let (tracker, track, moved) =
        tokio::task::spawn_blocking(move || Tracker::new(tracked, sealed_last))
            .await
            .map_err(|error| Trouble::MirrorFault {
                reason: error.to_string(),
            })??;
    let (metrics, serve_metrics) = (Metrics::default(), serve::Metrics::default());
    metrics.register(&mut registry);
    serve_metrics.register(&mut registry);
    let wake = track.clone();
    let setup = Setup {
        guests: Guests {
            workflows: config.workflows.clone(),
            roots: Some(door),
        },
        fleet: root.fleet().to_owned(),
        trust,
        authority,
        sealed: Arc::new(Record(Arc::clone(&sealer))),
        log: sealer.log().cloned(),
        commits: Some(Arc::new(Judgements::new(track.mirror(), &root))),
        agent_ca,
        issuers: config.issuers.clone(),
        store: raw,
        wake: Arc::new(move || wake.wake()),
        agents_url: agents_url(config),
        clock: Clock::system(),
        metrics: serve_metrics,
    };
    let state = State::open(setup).await?;
    alarms.show(&state);
    for (environment, problem) in &missing {
        let text = format!("environment {environment:?} is not sealed for: {problem}");
        state.alarm("SEALER_KEY_MISSING", text);
    }
    if !missing.is_empty() {
        let looking = watch_for_keys(
            Arc::clone(&root),
            config.keys.clone(),
            signers.len(),
            anew.clone(),
        );
        tokio::spawn(running.clone().run_until_cancelled_owned(looking));
    }
    serve::enrol::settle(&state).await?;
    for (cluster, head) in &heads {
        if let Some(head) = sealed::reread(&sealer, head).await? {
            state.publish(cluster, head);
        }
    }
    let parts = Parts {
        root,
        roots: all_roots,
        sealer,
        secrets,
        stage,
        state: Arc::clone(&state),
        track: track.clone(),
        metrics,
    };
    let pipeline = Pipeline::open(parts).await?;
    pipeline.feed_rewrites();

    // Listeners end last, so that agents hear of what was sealed while the rest was stopping.
    let stop_serving = CancellationToken::new();
    let options = serve::Options {
        agents: config.listen,
        names: config.listen_names.clone(),
        operators: Some(config.operator_listen),
        data: config.data.clone(),
    };
    let hooks = webhooks(config, &track);
    let serving = serve::start(
        Arc::clone(&state),
        options,
        hooks,
        Arc::new(registry),
        stop_serving.clone(),
    )
    .await?;
    state.set_ready(true);
    tracing::info!(agents = %serving.agents, "serving");

    let at = Ended::Anew {
        agents: serving.agents,
        operators: serving.operators.unwrap_or(config.operator_listen),
    };
    let working = stop.child_token();
    let tracking = tokio::spawn(tracker.run(working.clone()));
    let mut piping = tokio::spawn(pipeline.run(moved, working.clone()));
    let ended = tokio::select! {
        biased;
        ended = &mut piping => Some(ended),
        () = stop.cancelled() => None,
        () = anew.cancelled() => None,
    };
    working.cancel();
    let outcome = match ended {
        Some(ended) => ended,
        // One commit at most is under way; a batch is sealed whole or not at all, so cutting it off loses nothing.
        None => match tokio::time::timeout(config.shutdown, &mut piping).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!(
                    "a commit was cut off by the shutdown; it is taken up at the next start"
                );
                piping.abort();
                Ok(Ok(()))
            }
        },
    };
    state.set_ready(false);
    if tokio::time::timeout(config.shutdown, tracking)
        .await
        .is_err()
    {
        tracing::warn!("a fetch was cut off by the shutdown");
    }
    stop_serving.cancel();
    let stopped = serving.stopped().await;
    tracing::info!(outcome = ?stopped, "stopped serving");
    outcome??;
    if stop.is_cancelled() || !anew.is_cancelled() {
        return Ok(Ended::Stopped);
    }
    Ok(at)
}

/// Alarms of the log, which begins before there is a state to show them; until then they are only logged.
#[derive(Default)]
struct Alarms(Arc<OnceLock<Arc<State>>>);

impl Alarms {
    fn raiser(&self) -> log::Alarm {
        let shown = Arc::clone(&self.0);
        Arc::new(move |code, message| match shown.get() {
            Some(state) => state.alarm(code, message),
            None => tracing::error!(code, message, "alarm"),
        })
    }

    fn show(&self, state: &Arc<State>) {
        let _ = self.0.set(Arc::clone(state));
    }
}

/// One hub a data folder, also after a crash: the system drops the lock with the process.
fn lock(data: &Path) -> Result<File, HubError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| HubError::Data { path, source }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(fault(data))?;
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(fault(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HubError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(HubError::Data { path, source }),
    }
}

/// The root that was named, and those after it that the store holds.
async fn roots(root: VerifiedRoot, store: &Store) -> Result<Roots, HubError> {
    let mut roots = Roots::new(root);
    while let Some(bytes) = store
        .get(&trust_path(roots.newest().version().saturating_add(1)))
        .await?
    {
        roots
            .extend(&bytes, &RingVerifier)
            .map_err(TrustError::Refused)?;
    }
    Ok(roots)
}

fn served_trust(roots: &Roots) -> Trust {
    let newest = roots.newest();
    let member = |trust: &countersign_ledger::trust::ClusterTrust| Member {
        environment: trust.environment.clone(),
        level: trust.level.name().to_owned(),
    };
    Trust {
        documents: roots
            .iter()
            .map(|root| (root.version(), Bytes::copy_from_slice(root.bytes())))
            .collect(),
        newest: Some(Arc::new(newest.clone())),
        in_use: TrustRootInUse {
            version: newest.version(),
            digest: newest.digest().to_string(),
        },
        clusters: newest
            .document()
            .clusters
            .iter()
            .map(|(name, trust)| (name.clone(), member(trust)))
            .collect(),
    }
}

fn agents_url(config: &Config) -> String {
    let host = config
        .listen_names
        .first()
        .map_or_else(|| config.listen.ip().to_string(), Clone::clone);
    format!("https://{host}:{}", config.listen.port())
}

fn webhooks(config: &Config, track: &TrackHandle) -> Webhooks {
    let mut hooks = Webhooks::default();
    for (forge, secret) in &config.webhooks {
        let hook = webhook::Hook::new(
            *forge,
            secret.clone(),
            &config.webhook_repository,
            config.track.name.clone(),
            track.clone(),
        );
        let hook: Hook = Arc::new(move |headers, body| {
            let answer = hook.receive(headers, body);
            (answer.status(), answer.to_string())
        });
        match forge {
            Forge::Github => hooks.github = Some(hook),
            Forge::Gitlab => hooks.gitlab = Some(hook),
            Forge::Gitea => hooks.gitea = Some(hook),
        }
    }
    hooks
}
