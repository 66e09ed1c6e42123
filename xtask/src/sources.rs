//! The files of the project: what git tracks or would track.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

/// A text file, by its path from the root.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Paths of all files that are not ignored, sorted.
pub(crate) fn paths(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .current_dir(root)
        .output()
        .context("run git")?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let mut paths: Vec<PathBuf> = String::from_utf8(output.stdout)?
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter(|path| root.join(path).is_file()) // a file may be deleted and not yet committed so
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// All text files.
pub(crate) fn texts(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths(root)? {
        let bytes =
            std::fs::read(root.join(&path)).with_context(|| format!("read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.to_string_lossy().into_owned(),
                text,
            });
        }
    }
    Ok(sources)
}

/// One digest of all files: the same sources, the same digest.
pub(crate) fn digest(root: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for path in paths(root)? {
        let content =
            std::fs::read(root.join(&path)).with_context(|| format!("read {}", path.display()))?;
        for part in [path.as_os_str().as_encoded_bytes(), &content] {
            hash.update(u64::try_from(part.len())?.to_le_bytes());
            hash.update(part);
        }
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}
