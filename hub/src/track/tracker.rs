//! The loop: wait for a wake or the poll's time, look, publish.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::track::follow::{Follower, Upstream};
use crate::track::id::CommitId;
use crate::track::limits::FetchLimits;
use crate::track::mirror::Mirror;
use crate::track::refmove::RewritePermit;
use crate::track::refname::RefName;
use crate::track::remote::http::HttpAuth;
use crate::track::remote::ssh::SshAuth;
use crate::track::remote::{HttpWire, Remote, SshWire};
use crate::track::treecheck::Notice;
use crate::track::trouble::Trouble;
use crate::track::url::Source;
use crate::track::{local, poll};

pub use crate::track::follow::Moved;

/// What to track and how.
#[derive(Clone)]
pub struct TrackConfig {
    /// The repository.
    pub source: Source,
    /// The branch or tag.
    pub name: RefName,
    /// The hub's data folder.
    pub data: PathBuf,
    /// Looks without a wake.
    pub poll: Duration,
    /// Bounds of a fetch.
    pub limits: FetchLimits,
    /// For HTTPS.
    pub http: HttpAuth,
    /// For SSH.
    pub ssh: Option<SshAuth>,
}

/// What people see of the tracker.
#[derive(Debug, Clone)]
pub struct TrackState {
    /// The repository, without credentials.
    pub source: String,
    /// The tracked ref.
    pub name: RefName,
    /// The commit that is followed.
    pub commit: Option<CommitId>,
    /// When it was first seen.
    pub moved_at: Option<Timestamp>,
    /// When the remote last answered.
    pub checked_at: Option<Timestamp>,
    /// What keeps the tracker from following, since when.
    pub trouble: Option<(Trouble, Timestamp)>,
    /// What in the commit's tree can't be rendered.
    pub notices: Vec<Notice>,
    /// Looks since the start.
    pub looks: u64,
    /// Fetches of objects since the start: one a change.
    pub fetches: u64,
}

/// A rewrite that is allowed, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    permit: RewritePermit,
    until: Option<Timestamp>,
}

struct Shared {
    wake: Notify,
    permits: Mutex<Vec<Allowed>>,
    spent: Mutex<Vec<RewritePermit>>,
    rebuild: Mutex<bool>,
    state: watch::Sender<TrackState>,
    mirror: PathBuf,
}

/// Wakes and watches a running tracker; cheap to clone.
#[derive(Clone)]
pub struct TrackHandle(Arc<Shared>);

impl TrackHandle {
    /// Look now. Any number of wakes before the look fold into one.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Allows one rewrite of the tracked ref, until then if an end is given, and looks at once.
    pub fn permit_rewrite(&self, permit: RewritePermit, until: Option<Timestamp>) {
        let mut permits = self
            .0
            .permits
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let allowed = Allowed { permit, until };
        if !permits.contains(&allowed) {
            permits.push(allowed);
        }
        drop(permits);
        self.wake();
    }

    /// Permits that moves since the last sealed commit were followed by; the next statement names them.
    #[must_use]
    pub fn spent_permits(&self) -> Vec<RewritePermit> {
        self.0
            .spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The statement that names these permits is sealed.
    pub fn forget_spent(&self, sealed: &[RewritePermit]) {
        self.0
            .spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|permit| !sealed.contains(permit));
    }

    /// Fills the mirror anew, after a reader found it damaged.
    pub fn rebuild_mirror(&self) {
        *self
            .0
            .rebuild
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.wake();
    }

    /// What people see.
    #[must_use]
    pub fn state(&self) -> TrackState {
        self.0.state.borrow().clone()
    }

    /// Changes of that.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<TrackState> {
        self.0.state.subscribe()
    }

    /// The bare mirror in which published commits are.
    #[must_use]
    pub fn mirror(&self) -> &Path {
        &self.0.mirror
    }
}

/// A tracker that has not started yet.
pub struct Tracker {
    follower: Option<Follower>,
    watched: Option<PathBuf>,
    poll: Duration,
    shared: Arc<Shared>,
    moved: watch::Sender<Option<Moved>>,
}

impl Tracker {
    /// Opens the mirror. `sealed` is the commit that was sealed last. The first look that succeeds always publishes,
    /// moved or not.
    ///
    /// # Errors
    /// [`Trouble::SourceInvalid`], [`Trouble::MirrorFault`]
    pub fn new(
        config: TrackConfig,
        sealed: Option<CommitId>,
    ) -> Result<(Self, TrackHandle, watch::Receiver<Option<Moved>>), Trouble> {
        let mirror = Mirror::open(&Mirror::folder(&config.data, &config.source))?;
        let display = config.source.display();
        let (upstream, watched) = match config.source {
            Source::Local(path) => (
                Upstream::Local {
                    path: path.clone(),
                    open: None,
                },
                Some(path),
            ),
            Source::Http(url) => (
                Upstream::Remote(Remote::new(Box::new(HttpWire::new(url, &config.http)?))),
                None,
            ),
            Source::Ssh(url) => {
                let problem = "is needed for an SSH repository, with --known-hosts-file".to_owned();
                let auth = config.ssh.ok_or(Trouble::SourceInvalid {
                    field: "ssh-key-file",
                    problem,
                })?;
                (
                    Upstream::Remote(Remote::new(Box::new(SshWire::new(url, auth)))),
                    None,
                )
            }
        };
        let state = TrackState {
            source: display,
            name: config.name.clone(),
            commit: sealed,
            moved_at: None,
            checked_at: None,
            trouble: None,
            notices: Vec::new(),
            looks: 0,
            fetches: 0,
        };
        let shared = Arc::new(Shared {
            wake: Notify::new(),
            permits: Mutex::default(),
            spent: Mutex::default(),
            rebuild: Mutex::default(),
            state: watch::Sender::new(state),
            mirror: mirror.path().to_owned(),
        });
        let (moved, newest) = watch::channel(None);
        let follower = Some(Follower::new(
            upstream,
            mirror,
            config.name,
            config.limits,
            sealed,
        ));
        let handle = TrackHandle(Arc::clone(&shared));
        Ok((
            Self {
                follower,
                watched,
                poll: config.poll,
                shared,
                moved,
            },
            handle,
            newest,
        ))
    }

    /// Runs until it is stopped.
    ///
    /// # Cancel safety
    /// Not cancel safe; use `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        let mut watcher = None;
        loop {
            if watcher.is_none() {
                watcher = self.watch();
            }
            let worked = self.look().await;
            failures = if worked {
                0
            } else {
                u32::saturating_add(failures, 1)
            };
            let pause = poll::pause(self.poll, failures, random());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn watch(&self) -> Option<local::Watcher> {
        let path = self.watched.as_deref()?;
        let shared = Arc::clone(&self.shared);
        match local::watch(path, move || shared.wake.notify_one()) {
            Ok(watcher) => Some(watcher),
            Err(trouble) => {
                tracing::debug!(%trouble, "the repository is polled, not watched");
                None
            }
        }
    }

    /// One look; whether the remote answered. A refusal counts as an answer: it needs no back-off, only a person.
    async fn look(&mut self) -> bool {
        let Some(mut follower) = self.follower.take() else {
            return false;
        };
        let now = Timestamp::now();
        let permits: Vec<RewritePermit> = {
            let mut permits = self
                .shared
                .permits
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            permits.retain(|allowed| allowed.until.is_none_or(|until| now < until));
            permits
                .iter()
                .map(|allowed| allowed.permit.clone())
                .collect()
        };
        let rebuild = std::mem::take(
            &mut *self
                .shared
                .rebuild
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let span = tracing::info_span!("track");
        let looked = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let outcome = look_once(&mut follower, &permits, rebuild);
            (follower, outcome)
        });
        let (follower, outcome) = match looked.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a look at the repository panicked; the tracker stops");
                return false;
            }
        };
        let fetches = follower.fetches;
        self.follower = Some(follower);
        self.publish(outcome, fetches)
    }

    fn publish(&self, outcome: Result<Option<Moved>, Trouble>, fetches: u64) -> bool {
        let now = Timestamp::now();
        self.shared.state.send_modify(|state| {
            state.looks += 1;
            state.fetches = fetches;
            match &outcome {
                Ok(moved) => {
                    state.checked_at = Some(now);
                    state.trouble = None;
                    if let Some(moved) = moved {
                        state.moved_at = Some(now);
                        state.commit = Some(moved.commit);
                        state.notices.clone_from(&moved.notices);
                    }
                }
                Err(trouble) => {
                    let since = state
                        .trouble
                        .as_ref()
                        .filter(|(had, _)| had == trouble)
                        .map_or(now, |(_, since)| *since);
                    state.trouble = Some((trouble.clone(), since));
                }
            }
        });
        match outcome {
            Ok(Some(moved)) => {
                tracing::info!(commit = %moved.commit, "the tracked ref moved");
                if let Some(spent) = &moved.by_permit {
                    self.shared
                        .permits
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .retain(|allowed| allowed.permit != *spent);
                    self.shared
                        .spent
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(spent.clone());
                }
                self.moved.send_replace(Some(moved));
                true
            }
            Ok(None) => true,
            Err(trouble) => {
                tracing::warn!(code = trouble.code(), %trouble, "the tracked ref is not followed");
                matches!(
                    trouble,
                    Trouble::ForcePush { .. }
                        | Trouble::CommitMalformed { .. }
                        | Trouble::TreeUnsafe { .. }
                )
            }
        }
    }
}

fn look_once(
    follower: &mut Follower,
    permits: &[RewritePermit],
    rebuild: bool,
) -> Result<Option<Moved>, Trouble> {
    if rebuild {
        follower.rebuild()?;
    }
    if !permits.is_empty() {
        follower.look_again_if_refused();
    }
    follower.look(permits)
}

fn random() -> u32 {
    let system = ring::rand::SystemRandom::new();
    ring::rand::generate::<[u8; 4]>(&system)
        .map_or(u32::MAX / 2, |bytes| u32::from_ne_bytes(bytes.expose()))
}
