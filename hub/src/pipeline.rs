//! ONE commit through all stages: load → render → check → carry → seal → publish. Read this first.
//!
//! | stage | file | what happens on a failure |
//! |---|---|---|
//! | what changed, load | `read` | the commit is tried again; heads stay |
//! | render, check, carry | [`cluster`], through [`stage`] | that app keeps its last good objects and is reported |
//! | seal | `entry`, [`crate::seal`] | tried again while it is certain that nothing happened; else the hub stops and replays |
//! | publish | [`crate::serve`] | — |
//!
//! A commit that changes nothing that a cluster reads costs one `source` entry: no document is parsed, nothing is
//! rendered, carried or sent. The pipeline works on one commit at a time; commits that come meanwhile fold into the
//! newest.

pub mod cluster;
pub mod limits;
pub mod pause;
pub mod permits;
pub mod policies;
pub mod shelf;
pub mod sources;
pub mod stage;
pub mod status;
pub mod verdicts;
pub mod view;
pub mod words;
pub mod workers;

mod entry;
mod hear;
mod read;
mod remember;
mod repeat;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use countersign_fleet::carry::Previous;
use countersign_fleet::carry::removal::Waiting;
use countersign_fleet::load::DocumentCache;
use countersign_fleet::tree::{GitStore, TreeFault};
use countersign_ledger::Digest;
use countersign_ledger::commit::People;
use countersign_ledger::trust::{Roots, VerifiedRoot};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::log::ReadError;
use crate::metrics::Metrics;
use crate::seal::{SealError, Sealer, Secrets};
use crate::serve::State;
use crate::track::tracker::{Moved, TrackHandle};
use policies::PoliciesError;
use repeat::Repeats;
use stage::Stage;
use words::{Paused, Words};

/// First pause after a fault; doubled up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest pause after a fault.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What the pipeline works with.
pub struct Parts {
    /// The trust root.
    pub root: Arc<VerifiedRoot>,
    /// All trust roots: whose word counted where in the log.
    pub roots: Roots,
    /// Seals.
    pub sealer: Arc<Sealer>,
    /// Encrypts.
    pub secrets: Secrets,
    /// Renders and checks.
    pub stage: Arc<dyn Stage>,
    /// Serves.
    pub state: Arc<State>,
    /// Tracks.
    pub track: TrackHandle,
    /// Counts.
    pub metrics: Metrics,
}

/// Why a commit did not go through.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The mirror can't be read: it is filled anew.
    #[error(transparent)]
    Tree(#[from] TreeFault),
    /// The policies can't be read; nothing of this commit is sealed.
    #[error(transparent)]
    Policies(PoliciesError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What people said can't be read from the log.
    #[error("the log can't be read: {0}")]
    Log(#[from] ReadError),
    /// A worker thread ended early.
    #[error("a task of the pipeline was cut off")]
    Cut,
}

impl From<PoliciesError> for PipelineError {
    fn from(error: PoliciesError) -> Self {
        match error {
            PoliciesError::Fault(fault) => Self::Tree(fault),
            PoliciesError::Unreadable { .. } | PoliciesError::TooMany => Self::Policies(error),
        }
    }
}

impl PipelineError {
    /// Whether this process may seal no more: the record must be read again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Seal(
                SealError::Stopped
                    | SealError::ClaimLost { .. }
                    | SealError::ClaimUnknown { .. }
                    | SealError::NotFiled { .. }
            )
        )
    }
}

/// A commit that went through, to compare the next with.
struct Done {
    commit: String,
    tree: git2::Oid,
    fleet: Arc<countersign_fleet::model::Fleet>,
    mistakes: Vec<countersign_fleet::mistake::Mistake>,
    in_force: policies::PolicyFiles,
    judges: Vec<policies::PolicyFiles>,
    policy_permit: Option<Digest>,
    at: Timestamp,
}

/// What is known of a cluster between two commits.
#[derive(Default)]
struct Known {
    previous: Previous,
    reports: BTreeMap<String, countersign_fleet::carry::AppReport>,
    recipient: Option<String>,
    /// Apps that left and whose deletion waits for a permit.
    waiting: Vec<Waiting>,
    /// A fault of the environment kept an app from moving: the next pass looks again.
    again: bool,
    /// Apps that were paused when it was looked at.
    paused: Paused,
}

/// The pipeline.
pub struct Pipeline {
    parts: Parts,
    /// Whose signatures count, by the trust root.
    people: People,
    documents: Arc<DocumentCache>,
    done: Option<Done>,
    clusters: BTreeMap<String, Known>,
    differing: BTreeSet<(String, Digest)>,
    permits: BTreeSet<String>,
    words: Words,
    /// Changes when somebody outside said something.
    said: watch::Receiver<u64>,
    /// What `said` was when it was listened to last.
    heard: Option<u64>,
    /// The mirror, open; what was read of it is known for the next commit. `None` after it could not be read.
    store: Option<GitStore>,
    repeats: Repeats,
    /// Renders that are counted in the metrics.
    renders_counted: u64,
}

impl Pipeline {
    /// Reads back what each cluster runs.
    ///
    /// # Errors
    /// [`PipelineError`] if a sealed manifest or the log can't be read.
    pub async fn open(parts: Parts) -> Result<Self, PipelineError> {
        let mut clusters: BTreeMap<String, Known> = BTreeMap::new();
        let mut named = Vec::new();
        for (cluster, head) in parts.sealer.heads().await {
            named.extend(head.desired.permits.iter().cloned());
            let Some(stored) = parts.sealer.manifest(&head.desired.manifest).await? else {
                continue;
            };
            let previous = Previous {
                lines: stored.lines,
                apps: stored.apps.as_slice().to_vec(),
                removals: BTreeSet::new(),
            };
            clusters.insert(
                cluster,
                Known {
                    previous,
                    ..Known::default()
                },
            );
        }
        let repeats = Repeats::start(Arc::clone(&parts.stage));
        let people = People::read(&parts.root.document().people).unwrap_or_else(|mistake| {
            tracing::error!(%mistake, "no commit signature counts until a new trust root lists people whose keys can be read");
            People::default()
        });
        let effects = match &parts.state.log {
            Some(log) => log.trust_entries().await?,
            None => Vec::new(),
        };
        let mut pipeline = Self {
            words: Words::new(parts.roots.clone(), &effects),
            said: parts.state.watch_outside(),
            heard: None,
            parts,
            people,
            documents: Arc::default(),
            done: None,
            clusters,
            differing: BTreeSet::new(),
            permits: BTreeSet::new(),
            store: None,
            repeats,
            renders_counted: 0,
        };
        pipeline.hear().await?;
        // A crash may have come between sealing what was permitted and noting that the permit is used.
        let standing = pipeline.parts.state.permits().standing();
        pipeline.spend(&permits::named_in(&standing, &named)).await;
        if let Some(last) = pipeline.parts.sealer.last_source()? {
            pipeline.rewritten(&last.reference, &last.new).await;
        }
        Ok(pipeline)
    }

    /// Takes each newest commit through, and looks again when a person permits, a cluster reports or an agent registers.
    ///
    /// # Errors
    /// What [`PipelineError::is_final`] says: the process must start anew.
    ///
    /// # Cancel safety
    /// Not cancel safe; use `stop`, which is obeyed between commits.
    pub async fn run(
        mut self,
        mut moved: watch::Receiver<Option<Moved>>,
        stop: CancellationToken,
    ) -> Result<(), PipelineError> {
        let mut permitted = self.parts.state.permits().watch();
        let mut gone = self.parts.state.watch_gone();
        let mut registered = self.parts.state.watch_registered();
        let mut track = self.parts.track.subscribe();
        let mut said = self.parts.state.watch_outside();
        let mut failures = 0;
        loop {
            let newest = moved.borrow_and_update().clone();
            let outcome = match &newest {
                Some(newest) => self.step(newest).await,
                None => Ok(()),
            };
            let retry = match outcome {
                Ok(()) if self.clusters.values().any(|known| known.again) => Some(RETRY_MAX),
                Ok(()) => {
                    failures = 0;
                    None
                }
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    failures = u32::saturating_add(failures, 1);
                    self.troubled(&error);
                    Some(
                        RETRY_FIRST
                            .saturating_mul(2u32.saturating_pow(failures.min(16)))
                            .min(RETRY_MAX),
                    )
                }
            };
            self.publish_status(newest.as_ref());
            let turn = self.words.next_end(self.parts.state.now());
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    Ok(()) = moved.changed() => break,
                    Ok(()) = permitted.changed() => {
                        self.feed_rewrites();
                        break;
                    }
                    Ok(()) = gone.changed() => break,
                    Some(differed) = self.repeats.differed() => {
                        self.differed(differed);
                        break;
                    }
                    Ok(()) = registered.changed() => break,
                    Ok(()) = said.changed() => match self.hear().await {
                        Ok(false) => {}
                        // What can't be read now is read with the next try.
                        Ok(true) | Err(_) => break,
                    },
                    () = hear::over(&self.parts.state, turn) => break,
                    Ok(()) = track.changed() => self.publish_status(newest.as_ref()),
                    () = sleep(retry) => break,
                }
            }
        }
    }

    /// Gives the tracker the rewrites that people permitted.
    pub fn feed_rewrites(&self) {
        for (permit, until) in permits::rewrites(&self.parts.state.permits().standing()) {
            self.parts.track.permit_rewrite(permit, until);
        }
    }

    fn troubled(&mut self, error: &PipelineError) {
        match error {
            PipelineError::Tree(fault) => {
                tracing::warn!(%fault, "the mirror can't be read; it is filled anew");
                self.store = None;
                self.parts.track.rebuild_mirror();
            }
            PipelineError::Policies(_) => self
                .parts
                .state
                .alarm("POLICIES_UNREADABLE", error.to_string()),
            PipelineError::Seal(_) | PipelineError::Log(_) | PipelineError::Cut => {
                self.parts.state.alarm("NOT_SEALED", error.to_string())
            }
        }
    }

    fn publish_status(&mut self, newest: Option<&Moved>) {
        let track = self.parts.track.state();
        let renders = self.parts.stage.renders();
        self.parts
            .metrics
            .renders
            .inc_by(renders.saturating_sub(self.renders_counted));
        self.renders_counted = renders;
        self.parts.metrics.kept(
            self.clusters
                .values()
                .flat_map(|known| known.reports.values())
                .filter_map(|report| report.kept.as_ref())
                .map(|failure| failure.code.as_str()),
        );
        self.parts
            .metrics
            .track_looks
            .set(i64::try_from(track.looks).unwrap_or(i64::MAX));
        self.parts
            .metrics
            .track_fetches
            .set(i64::try_from(track.fetches).unwrap_or(i64::MAX));
        self.parts
            .metrics
            .trouble(track.trouble.as_ref().map(|(trouble, _)| trouble.code()));
        self.parts.state.set_fleet(self.status(&track, newest));
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
