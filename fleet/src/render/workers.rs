//! The pool: a few processes kept ready, one render each at a time, replaced when old or dead.
use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use bytes::Bytes;
use countersign_proto::renderer::v1 as pb;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    config::Config,
    failure::{Code, RenderFailure},
    files::Files,
    process::Process,
    request::{RenderRequest, Rendered, WorkerId},
    trace::Trace,
    wire,
};

/// Renders and judges. Cheap to clone; all clones share the processes, which end with the last clone.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    version: String,
    ids: AtomicU64,
    /// One permit a process that may be at work; waiting for one is how a busy pool pushes back.
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Process>>,
}

/// A process taken out of the pool, with the right to use it.
pub(crate) struct Lease {
    pub(super) process: Process,
    permit: OwnedSemaphorePermit,
}

/// Policy sets that a process keeps; the worker's own number is the same.
const POLICY_SETS_MAX: usize = 4;

impl Lease {
    /// Whether the process has compiled this policy set and still keeps it.
    pub(crate) fn remembers(&self, digest: &Bytes) -> bool {
        self.process.policy_sets.contains(digest)
    }

    /// Notes that the process keeps this policy set.
    pub(crate) fn remember(&mut self, digest: Bytes) {
        self.process.policy_sets.retain(|known| *known != digest);
        self.process.policy_sets.push(digest);
        if self.process.policy_sets.len() > POLICY_SETS_MAX {
            self.process.policy_sets.remove(0);
        }
    }
}

impl Workers {
    /// Starts the pool's processes.
    ///
    /// # Errors
    /// [`Code::RenderUnavailable`] if a process doesn't start.
    pub async fn start(config: Config) -> Result<Self, RenderFailure> {
        let ids = AtomicU64::new(1);
        let mut idle = Vec::new();
        for _ in 0..config.workers.max(1) {
            idle.push(Process::start(&config, &ids).await?);
        }
        let version = idle
            .first()
            .map(|process| process.version.clone())
            .unwrap_or_default();
        Ok(Self {
            shared: Arc::new(Shared {
                free: Arc::new(Semaphore::new(idle.len())),
                config,
                version,
                ids,
                idle: Mutex::new(idle),
            }),
        })
    }

    /// What renders: part of every cache key and of the signed statement.
    pub fn version(&self) -> &str {
        &self.shared.version
    }

    /// Renders once.
    ///
    /// # Errors
    /// [`RenderFailure`]; one at a limit, or of a process that died, touches no other render.
    /// # Cancel safety
    /// A dropped render ends its process; another takes its place.
    pub async fn render(
        &self,
        request: &RenderRequest,
        files: Arc<dyn Files>,
    ) -> Result<Rendered, RenderFailure> {
        self.render_in(self.lease(None).await?, request, files)
            .await
    }

    /// Renders once more, in another process than the one that gave `first`: the same objects must come out.
    ///
    /// # Errors
    /// As [`Workers::render`].
    pub async fn render_again(
        &self,
        first: &Rendered,
        request: &RenderRequest,
        files: Arc<dyn Files>,
    ) -> Result<Rendered, RenderFailure> {
        self.render_in(self.lease(Some(first.worker)).await?, request, files)
            .await
    }

    async fn render_in(
        &self,
        mut lease: Lease,
        request: &RenderRequest,
        files: Arc<dyn Files>,
    ) -> Result<Rendered, RenderFailure> {
        let mut trace = Trace::default();
        let answer = self
            .ask(&mut lease, &wire::render(request), Some(&files), &mut trace)
            .await;
        let worker = lease.process.id;
        let outcome = match answer {
            Ok(pb::from_worker::Message::Rendered(rendered)) => {
                self.give_back(lease);
                match rendered.failure {
                    Some(failure) => Err(wire::failure(failure)),
                    None => {
                        wire::objects(rendered.objects).map(|objects| (objects, rendered.warnings))
                    }
                }
            }
            Ok(_) => {
                self.replace(lease);
                Err(RenderFailure::new(
                    Code::RenderProtocol,
                    "the worker gave another answer than asked for",
                ))
            }
            Err(failure) => {
                self.replace(lease);
                Err(failure)
            }
        };
        match outcome {
            Ok((objects, warnings)) => Ok(Rendered {
                objects,
                trace,
                warnings,
                worker,
            }),
            Err(failure) => Err(RenderFailure { trace, ..failure }),
        }
    }

    /// One exchange with a leased process.
    pub(crate) async fn ask(
        &self,
        lease: &mut Lease,
        request: &pb::ToWorker,
        files: Option<&Arc<dyn Files>>,
        trace: &mut Trace,
    ) -> Result<pb::from_worker::Message, RenderFailure> {
        lease.process.served += 1;
        lease
            .process
            .ask(request, files, trace, &self.shared.config)
            .await
    }

    /// Takes a process, not the one named `not`; waits while all are at work.
    pub(crate) async fn lease(&self, not: Option<WorkerId>) -> Result<Lease, RenderFailure> {
        let permit = Arc::clone(&self.shared.free)
            .acquire_owned()
            .await
            .map_err(|_| RenderFailure::new(Code::RenderUnavailable, "the pool is closed"))?;
        let ready = {
            let mut idle = self.idle();
            idle.iter()
                .rposition(|process| Some(process.id) != not)
                .map(|at| idle.remove(at))
        };
        let process = match ready {
            Some(process) => process,
            None => Process::start(&self.shared.config, &self.shared.ids).await?,
        };
        Ok(Lease { process, permit })
    }

    /// Puts a healthy process back, or replaces it if it is old or has grown.
    pub(crate) fn give_back(&self, lease: Lease) {
        let config = &self.shared.config;
        if lease.process.served >= config.renders_per_worker
            || lease.process.resident() > config.memory_bytes_max / 4 * 3
        {
            return self.replace(lease);
        }
        let mut idle = self.idle();
        if idle.len() < config.workers.max(1) {
            idle.push(lease.process);
        }
    }

    /// Ends a process and starts another in its place, ready before the next render may need it.
    pub(crate) fn replace(&self, lease: Lease) {
        let Lease { process, permit } = lease;
        drop(process);
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            // If it doesn't start now, the next lease tries again and says why.
            if let Ok(process) = Process::start(&shared.config, &shared.ids).await {
                let mut idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < shared.config.workers.max(1) {
                    idle.push(process);
                }
            }
            drop(permit);
        });
    }

    /// Numbers of the processes that are idle.
    #[cfg(test)]
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.idle().iter().map(Process::pid).collect()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers")
            .field("version", &self.shared.version)
            .finish_non_exhaustive()
    }
}
