//! Rules that no compiler knows, as functions from the project's files to complaints.
//!
//! A complaint says where, what, and what to do. Each rule is pure and has its tests beside it; this file gathers the
//! files and runs them all.

mod directions;
mod lockfile;
mod names;
mod text;
mod unsafety;

use std::{collections::BTreeMap, fmt, process::Command};

use anyhow::{Context as _, bail, ensure};
use countersign_tests::workspace;

use crate::sources::{self, Source};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    path: String,
    /// From 1; 0 if it is about the whole file.
    line: usize,
    problem: String,
}

impl Complaint {
    fn new(path: impl Into<String>, line: usize, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.problem),
            line => write!(f, "{}:{line}: {}", self.path, self.problem),
        }
    }
}

/// Checks every rule; all complaints come at once.
pub(crate) fn run() -> anyhow::Result<()> {
    let sources = sources::texts(workspace::root())?;
    let mut complaints = complaints(&sources)?;
    complaints.extend(lockfile::features(&serde_json_features()?));
    complaints.sort();
    complaints.dedup();
    if complaints.is_empty() {
        return Ok(());
    }
    let text: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    bail!("{} broken rules:\n{}", text.len(), text.join("\n"))
}

fn complaints(sources: &[Source]) -> anyhow::Result<Vec<Complaint>> {
    let manifests: BTreeMap<&str, &str> = sources
        .iter()
        .filter_map(|source| {
            Some((
                source.path.strip_suffix("/Cargo.toml")?,
                source.text.as_str(),
            ))
        })
        .filter(|(folder, _)| !folder.contains('/'))
        .collect();
    let lock = sources
        .iter()
        .find(|source| source.path == "Cargo.lock")
        .context("there is no Cargo.lock")?;
    let lock = lockfile::parse(&lock.text)?;
    let mut complaints = directions::check(&manifests)?;
    complaints.extend(unsafety::check(&manifests, sources)?);
    complaints.extend(lockfile::check(&lock));
    complaints.extend(lockfile::purity(&lock));
    for source in sources {
        complaints.extend(names::check(&source.path));
        complaints.extend(text::check(source));
    }
    Ok(complaints)
}

/// The features of serde_json as this workspace resolves them.
fn serde_json_features() -> anyhow::Result<String> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges",
            "normal,build",
            "--invert",
            "serde_json",
        ])
        .args(["--depth", "0", "--format", "{f}"])
        .current_dir(workspace::root())
        .output()
        .context("run cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_project_keeps_its_rules() {
        let complaints = complaints(&sources::texts(workspace::root()).unwrap()).unwrap();
        let text: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
        assert!(text.is_empty(), "\n{}", text.join("\n"));
    }
}
