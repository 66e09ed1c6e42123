//! Our own programs, as cargo builds them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, bail};

use crate::workspace;

/// A folder that holds the programs already: set by `cargo xtask test`, which has just built them.
pub const BUILT: &str = "COUNTERSIGN_BIN_DIR";

/// The path of `countersign`, `countersign-hub` or `countersign-agent`, built from the sources as they are now.
///
/// # Errors
/// If the build fails; the error holds the compiler's messages.
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER
        .get_or_init(|| folder().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} isn't there", path.display());
    }
    Ok(path)
}

/// `cargo test` alone leaves programs of an older build in place, and a test of those would prove nothing.
fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BUILT) {
        return Ok(PathBuf::from(folder));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins"])
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .output()
        .context("run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo build --workspace --bins:\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(workspace::target().join("debug"))
}
