//! One worker process: started with nothing but its socket, asked one thing at a time, killed at a limit.
use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use countersign_proto::renderer::v1 as pb;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    net::UnixStream,
    process::{Child, Command},
};

use super::{
    answer::answer,
    config::{Config, Launcher},
    failure::{Code, RenderFailure},
    files::{Files, FilesFault},
    frame::{self, FrameError},
    request::WorkerId,
    trace::Trace,
    wire,
};

/// A process says hello within this time, or isn't one of ours.
const START_MAX: Duration = Duration::from_secs(20);
/// How often resident memory is looked at while a process works: at the speed at which Go's heap grows, little more
/// than ten MiB go unseen.
const MEMORY_LOOK: Duration = Duration::from_millis(10);
/// Exit code of a worker that was sent what is not of its protocol.
const EXIT_PROTOCOL: i32 = 3;

/// A worker process and the hub's end of its socket.
pub(super) struct Process {
    child: Child,
    stream: UnixStream,
    /// The process's working folder: empty, its own.
    _scratch: TempDir,
    pid: u32,
    pub(super) id: WorkerId,
    pub(super) version: String,
    /// Renders and admissions so far.
    pub(super) served: u32,
    /// Digests of the policy sets that it keeps, newest last.
    pub(super) policy_sets: Vec<Bytes>,
}

impl Process {
    /// Starts a process and waits for its hello.
    pub(super) async fn start(config: &Config, ids: &AtomicU64) -> Result<Self, RenderFailure> {
        let unavailable = |what: &str, why: String| {
            RenderFailure::new(Code::RenderUnavailable, format!("{what}: {why}"))
        };
        let scratch = tempfile::Builder::new()
            .prefix("countersign-render-")
            .tempdir()
            .map_err(|error| unavailable("no scratch folder", error.to_string()))?;
        let (near, far) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| unavailable("no socket pair", error.to_string()))?;
        let mut child = command(config, &scratch)
            .stdin(Stdio::from(OwnedFd::from(far)))
            .spawn()
            .map_err(|error| unavailable("the renderer can't be started", error.to_string()))?;
        near.set_nonblocking(true)
            .map_err(|error| unavailable("no socket", error.to_string()))?;
        let mut stream = UnixStream::from_std(near)
            .map_err(|error| unavailable("no socket", error.to_string()))?;
        forward_log(child.stderr.take());
        let hello = tokio::time::timeout(START_MAX, frame::read::<pb::FromWorker>(&mut stream));
        let version = match hello.await {
            Ok(Ok(pb::FromWorker {
                message: Some(pb::from_worker::Message::Hello(hello)),
            })) => hello.version,
            Ok(Ok(_)) => return Err(unavailable("the renderer", "said no hello".to_owned())),
            Ok(Err(error)) => return Err(unavailable("the renderer", error.to_string())),
            Err(_) => return Err(unavailable("the renderer", "said nothing".to_owned())),
        };
        Ok(Self {
            pid: child.id().unwrap_or_default(),
            child,
            stream,
            _scratch: scratch,
            id: WorkerId(ids.fetch_add(1, Ordering::Relaxed)),
            version,
            served: 0,
            policy_sets: Vec::new(),
        })
    }

    /// Sends a request and gives its answer, answering questions about files in between. Any failure but one that the
    /// answer holds leaves the process dead.
    ///
    /// # Cancel safety
    /// A dropped future leaves the process unusable; dropping the process kills it.
    pub(super) async fn ask(
        &mut self,
        request: &pb::ToWorker,
        files: Option<&Arc<dyn Files>>,
        trace: &mut Trace,
        config: &Config,
    ) -> Result<pb::from_worker::Message, RenderFailure> {
        let pid = self.pid;
        let outcome = tokio::select! {
            biased;
            outcome = converse(&mut self.stream, request, files, trace) => outcome,
            resident = beyond(pid, config.memory_bytes_max) => Err(Broken::Memory(resident)),
            () = tokio::time::sleep(config.time_max) => Err(Broken::Time),
        };
        match outcome {
            Ok(message) => Ok(message),
            Err(broken) => Err(self.bury(broken, config).await),
        }
    }

    /// Ends the process and says why.
    async fn bury(&mut self, broken: Broken, config: &Config) -> RenderFailure {
        if !matches!(broken, Broken::Frame(FrameError::Gone(_))) {
            let _ = self.child.start_kill();
        }
        let status = match tokio::time::timeout(START_MAX, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.start_kill();
                None
            }
        };
        let exit = status.and_then(|status| status.code());
        match broken {
            Broken::Time => RenderFailure::new(
                Code::RenderTimeout,
                format!(
                    "took longer than {} s; its worker was killed",
                    config.time_max.as_secs_f32()
                ),
            ),
            Broken::Memory(resident) => RenderFailure::new(
                Code::RenderMemory,
                format!(
                    "used {resident} bytes, more than {}; its worker was killed",
                    config.memory_bytes_max
                ),
            ),
            Broken::Files(fault) => RenderFailure::new(Code::FilesFault, fault.to_string()),
            Broken::Frame(FrameError::Gone(_)) if exit == Some(EXIT_PROTOCOL) => {
                RenderFailure::new(
                    Code::RenderProtocol,
                    "the worker refused the request's frames",
                )
            }
            Broken::Frame(FrameError::Gone(_)) => RenderFailure::new(
                Code::RenderCrashed,
                match status {
                    Some(status) => format!("the worker died: {status}"),
                    None => "the worker died".to_owned(),
                },
            ),
            Broken::Frame(error @ FrameError::Protocol(_)) => {
                RenderFailure::new(Code::RenderProtocol, error.to_string())
            }
        }
    }

    /// Resident memory, bytes; 0 if the process is gone.
    pub(super) fn resident(&self) -> u64 {
        resident(self.pid).unwrap_or(0)
    }

    /// The process's number, for tests that end it.
    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

/// Why a conversation ended without an answer.
enum Broken {
    Frame(FrameError),
    Files(FilesFault),
    Memory(u64),
    Time,
}

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

async fn converse(
    stream: &mut UnixStream,
    request: &pb::ToWorker,
    files: Option<&Arc<dyn Files>>,
    trace: &mut Trace,
) -> Result<pb::from_worker::Message, Broken> {
    frame::write(stream, request).await?;
    loop {
        let message = frame::read::<pb::FromWorker>(stream)
            .await?
            .message
            .ok_or(FrameError::Protocol("an empty message"))?;
        let query = match message {
            pb::from_worker::Message::File(query) => query,
            other => return Ok(other),
        };
        let (kind, path) = wire::question(&query)
            .ok_or(FrameError::Protocol("a question with an unclean path"))?;
        let files = files.ok_or(FrameError::Protocol("a question outside a render"))?;
        let (source, asked) = (Arc::clone(files), path.to_owned());
        let answered = tokio::task::spawn_blocking(move || answer(&*source, kind, &asked))
            .await
            .map_err(|_| {
                Broken::Files(FilesFault {
                    path: path.to_owned(),
                    why: "the store panicked".to_owned(),
                })
            })?
            .map_err(Broken::Files)?;
        answered.record(kind, path, trace);
        frame::write(
            stream,
            &wire::to_worker(pb::to_worker::Message::File(answered.wire)),
        )
        .await?;
    }
}

/// Waits until the process has more resident memory than `limit`, and says how much. For ever if it ends before.
async fn beyond(pid: u32, limit: u64) -> u64 {
    loop {
        tokio::time::sleep(MEMORY_LOOK).await;
        if let Some(resident) = resident(pid)
            && resident > limit
        {
            return resident;
        }
    }
}

fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn command(config: &Config, scratch: &TempDir) -> Command {
    let mut command = match &config.launcher {
        Launcher::Sandbox { program, arguments } => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&config.renderer);
            command
        }
        Launcher::Unconfined => Command::new(&config.renderer),
    };
    command
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/nonexistent")
        .env(
            "GOMEMLIMIT",
            format!("{}B", config.memory_bytes_max / 4 * 3),
        )
        .env("GOMAXPROCS", "2")
        .current_dir(scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The worker's own log, line by line. It never quotes a file.
fn forward_log(log: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(log) = log else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(log).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let shown: String = line.chars().take(400).collect();
            tracing::warn!(target: "countersign::renderer", "{shown}");
        }
    });
}
