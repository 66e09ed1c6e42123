//! A program as a child process: its log in a file, signals, and a certain end.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::watchdog;

/// The pause between two looks at a process or its log.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of the end of a log an error shows, bytes.
const TAIL: usize = 4000;

/// What to run and with what.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
}

impl Spec {
    /// Runs `program` in `folder`, where its log will be `<name>.log`.
    pub fn new(
        name: impl Into<String>,
        program: impl Into<PathBuf>,
        folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: folder.into(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it. Started again under the same name, it appends to the same log.
    ///
    /// # Errors
    /// If the log can't be written or the program not run.
    pub fn start(&self) -> anyhow::Result<Process> {
        let log = self.folder.join(format!("{}.log", self.name));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let begin = file.metadata()?.len();
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        watchdog::watch(child.id());
        Ok(Process {
            name: self.name.clone(),
            child,
            log,
            begin,
            status: None,
        })
    }
}

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this run's lines begin in the log, bytes.
    begin: u64,
    status: Option<ExitStatus>,
}

impl Process {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds what it wrote to stdout and stderr.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What this run has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let begin = usize::try_from(self.begin).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[begin..]).into_owned()
    }

    /// Waits until it writes a line that contains `text`, and returns that line.
    ///
    /// # Errors
    /// If it ends before or `limit` is over; the error shows the end of its log.
    pub async fn line(&mut self, text: &str, limit: Duration) -> anyhow::Result<String> {
        self.wait_until(&format!("a line with {text:?}"), limit, |process| {
            process
                .log()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
        .await
    }

    /// Waits until it accepts TCP connections at `address`.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub async fn listening(
        &mut self,
        address: std::net::SocketAddr,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.wait_until(&format!("a listener at {address}"), limit, |_| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))
                .ok()
                .map(drop)
        })
        .await
    }

    /// Waits until `seen` finds something, as long as the program runs.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub async fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut seen: impl FnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.ended()?; // before the look: what it did last counts
            if let Some(found) = seen(self) {
                return Ok(found);
            }
            if let Some(status) = ended {
                bail!(
                    "{} ended ({status}) before: {what}\n{}",
                    self.name,
                    self.tail()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{}: waited {limit:?} for: {what}\n{}",
                    self.name,
                    self.tail()
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system can't say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                watchdog::forget(self.child.id());
            }
        }
        Ok(self.status)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it still runs after `limit`; the error shows the end of its log.
    pub async fn terminate(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        self.exit(limit).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// As [`Process::terminate`].
    pub async fn exit(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} still runs {limit:?} later\n{}", self.name, self.tail());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Kills it at once (SIGKILL), as a crash or a lost machine would, and waits until it is gone.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.ended()?.is_none() {
            watchdog::forget(self.child.id());
            self.child.kill()?;
            self.status = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// Sends a signal by its name without `SIG`: `STOP` and `CONT` make it hang and go on.
    ///
    /// # Errors
    /// If it has ended or the system refuses.
    pub fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!(
                "{} has ended already ({status})\n{}",
                self.name,
                self.tail()
            );
        }
        // The shell's own `kill`: a signal other than SIGKILL needs a system call that std doesn't offer.
        let done = Command::new("sh")
            .args([
                "-c",
                r#"kill -"$1" "$2""#,
                "kill",
                signal,
                &self.child.id().to_string(),
            ])
            .status()
            .context("run sh")?;
        if !done.success() {
            bail!("send SIG{signal} to {}: {done}", self.name);
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let log = self.log();
        let mut from = log.len().saturating_sub(TAIL);
        while !log.is_char_boundary(from) {
            from += 1;
        }
        format!("--- end of {} ---\n{}", self.log.display(), &log[from..])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill().is_err() {
            // It is gone already, which is what was wanted.
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let process = Spec::new("sh", "/bin/sh", folder.path())
            .args(["-c", script])
            .start()
            .unwrap();
        (folder, process)
    }

    #[tokio::test]
    async fn waits_for_a_line_on_either_stream() {
        let (_folder, mut process) = sh("echo out; echo 'err: port 17' >&2; sleep 600");
        assert_eq!(process.line("port", SOON).await.unwrap(), "err: port 17");
        assert_eq!(process.line("out", SOON).await.unwrap(), "out");
    }

    #[tokio::test]
    async fn an_early_end_is_an_error_that_shows_the_log() {
        let (_folder, mut process) = sh("echo no such flag; exit 3");
        let error = process.line("ready", SOON).await.unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no such flag"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_terminated_program_may_clean_up() {
        let (_folder, mut process) =
            sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
        process.line("up", SOON).await.unwrap();
        assert!(process.terminate(SOON).await.unwrap().success());
        assert!(process.log().contains("bye"));
    }

    #[tokio::test]
    async fn a_second_run_sees_its_own_lines_only() {
        let folder = tempfile::tempdir().unwrap();
        let spec =
            Spec::new("sh", "/bin/sh", folder.path()).args(["-c", "echo run $$; exec sleep 600"]);
        let mut first = spec.start().unwrap();
        let line = first.line("run", SOON).await.unwrap();
        first.kill().unwrap();
        let mut second = spec.start().unwrap();
        assert_ne!(second.line("run", SOON).await.unwrap(), line);
    }
}
