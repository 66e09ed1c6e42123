//! Builds a tool, once, however many processes ask.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{GO_ENV, Progress, Tool, digest, requirement};

/// The pause between two looks at a lock or a build.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns `<tools>/<name>-<digest>/<name>`, which is there and whole.
///
/// # Errors
/// If Go is missing or the build fails.
pub(super) fn build(
    tool: Tool,
    root: &Path,
    tools: &Path,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<PathBuf> {
    let module = root.join(tool.module());
    let folder = tools.join(format!("{}-{}", tool.name(), digest::of_module(&module)?));
    let program = folder.join(tool.name());
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(tools)?;
    let _lock = lock(&tools.join(format!("{}.lock", tool.name())), progress)?;
    if program.exists() {
        return Ok(program);
    }
    requirement::go()?;
    // Built beside its place and renamed: what has the final name is whole, even after a kill.
    let unfinished = tools.join(format!("{}.unfinished", tool.name()));
    compile(tool, &module, &unfinished, progress)?;
    std::fs::create_dir_all(&folder)?;
    std::fs::rename(&unfinished, &program)?;
    remove_older(tool, tools, &folder);
    Ok(program)
}

fn compile(
    tool: Tool,
    module: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<()> {
    progress(Progress::Began);
    let began = Instant::now();
    let messages = tempfile::NamedTempFile::new()?;
    let mut go = Command::new("go")
        .args(["build", "-ldflags=-s -w", "-buildvcs=false", "-o"])
        .args([to.as_os_str(), tool.package().as_ref()])
        .envs(GO_ENV)
        .current_dir(module)
        .stdin(Stdio::null())
        .stdout(messages.reopen()?)
        .stderr(messages.reopen()?)
        .spawn()
        .context("run go")?;
    let status = loop {
        if let Some(status) = go.try_wait()? {
            break status;
        }
        progress(Progress::Building(began.elapsed()));
        std::thread::sleep(PAUSE);
    };
    if !status.success() {
        let text = std::fs::read_to_string(messages.path())?;
        bail!(
            "go build of {} in {} failed ({status}):\n{}",
            tool.name(),
            tool.module(),
            text.trim()
        );
    }
    progress(Progress::Done(began.elapsed()));
    Ok(())
}

/// Waits for the lock of a tool; it is freed when the file is closed, even by a kill.
fn lock(path: &Path, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("open {}", path.display()))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        progress(Progress::Waiting(began.elapsed()));
        std::thread::sleep(PAUSE);
    }
}

/// Builds of earlier sources are of no use, and large. What runs from them goes on.
fn remove_older(tool: Tool, tools: &Path, keep: &Path) {
    let prefix = format!("{}-", tool.name());
    for entry in std::fs::read_dir(tools).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) && entry.path() != keep {
            // A leftover costs disk space and nothing else.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
