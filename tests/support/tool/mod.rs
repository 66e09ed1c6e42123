//! The Go programs that tests and commands run: each built once from its own module, under `target/tools`.
//!
//! A build is named by the digest of the sources that went into it ([`digest`]), so an edit builds anew and nothing else
//! does. Read [`Tool::path`] first; [`build`] does the work.

mod build;
mod digest;
mod requirement;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use requirement::{Missing, missing};

use crate::workspace;

/// A program that is built from a Go module of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and their supervisor.
    TestCluster,
    /// The simulator of nodes.
    Kwok,
    /// The S3 server.
    Versitygw,
    /// The hub's render worker.
    Renderer,
    /// The SSH server of Git repositories.
    SshGit,
    /// Go's readers and writers of transparency logs: the outsider that judges ours.
    Interop,
    /// A witness of transparency logs that is not ours.
    Omniwitness,
    /// Vault's core behind its own API.
    Vault,
    /// Tessera's load generator for transparency logs.
    Hammer,
    /// A transparency log on Tessera's POSIX driver.
    TesseraPosix,
}

impl Tool {
    /// All that tests and the demo need, slowest build first; the others are for benchmarks.
    pub const ALL: [Tool; 8] = [
        Tool::TestCluster,
        Tool::Renderer,
        Tool::Vault,
        Tool::Kwok,
        Tool::Versitygw,
        Tool::SshGit,
        Tool::Interop,
        Tool::Omniwitness,
    ];

    /// The file name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tool::TestCluster => "countersign-testcluster",
            Tool::Kwok => "countersign-kwok",
            Tool::Versitygw => "versitygw",
            Tool::Renderer => "countersign-renderer",
            Tool::Omniwitness => "omniwitness",
            Tool::Vault => "countersign-vault",
            Tool::Hammer => "hammer",
            Tool::TesseraPosix => "tessera-posix",
            Tool::SshGit => "countersign-sshgit",
            Tool::Interop => "countersign-interop",
        }
    }

    /// The folder of its Go module, from the workspace's root.
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Tool::TestCluster => "tests/cluster",
            Tool::Kwok => "tests/tools/kwok",
            Tool::Versitygw => "tests/tools/s3",
            Tool::Renderer => "hub/renderer",
            Tool::Omniwitness => "tests/tools/omniwitness",
            Tool::Vault => "tests/tools/vault",
            Tool::Hammer | Tool::TesseraPosix => "tests/tools/tessera",
            Tool::SshGit => "tests/tools/sshgit",
            Tool::Interop => "tests/interop",
        }
    }

    /// The package to build, as `go build` takes it in that folder.
    fn package(self) -> &'static str {
        match self {
            Tool::Versitygw => "github.com/versity/versitygw/cmd/versitygw",
            Tool::TestCluster
            | Tool::Kwok
            | Tool::Renderer
            | Tool::SshGit
            | Tool::Interop
            | Tool::Vault => ".",
            Tool::Omniwitness => "github.com/transparency-dev/witness/cmd/omniwitness",
            Tool::Hammer => "github.com/transparency-dev/tessera/internal/hammer",
            Tool::TesseraPosix => "github.com/transparency-dev/tessera/cmd/conformance/posix",
        }
    }

    /// What a first build takes on two cores; told to whoever waits.
    #[must_use]
    pub fn usual(self) -> Duration {
        Duration::from_secs(match self {
            Tool::TestCluster => 300,
            Tool::Renderer => 240,
            Tool::Vault => 200,
            Tool::Kwok | Tool::Versitygw => 70,
            Tool::Omniwitness => 90,
            Tool::Hammer | Tool::TesseraPosix => 30,
            Tool::SshGit => 10,
            Tool::Interop => 40,
        })
    }

    /// The program, built first if its sources have changed or it never was. Any number of processes may ask at once.
    ///
    /// # Errors
    /// If Go is missing or the build fails; the error holds the compiler's messages.
    pub fn path_with(self, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<PathBuf> {
        build::build(
            self,
            workspace::root(),
            &workspace::target().join("tools"),
            progress,
        )
    }

    /// As [`Tool::path_with`]; tells on stderr when a build begins and ends.
    ///
    /// # Errors
    /// As [`Tool::path_with`].
    pub fn path(self) -> anyhow::Result<PathBuf> {
        self.path_with(&mut |progress| match progress {
            Progress::Began => eprintln!(
                "building {} (once; usually {} s on two cores)",
                self.name(),
                self.usual().as_secs()
            ),
            Progress::Done(took) => {
                eprintln!("built {} in {:.0} s", self.name(), took.as_secs_f64())
            }
            Progress::Waiting(_) | Progress::Building(_) => {}
        })
    }
}

/// What happens while a tool is being built, with the time since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process builds the same tool.
    Waiting(Duration),
    /// Our build begins.
    Began,
    /// It goes on.
    Building(Duration),
    /// It is there.
    Done(Duration),
}

/// The environment of every Go command of the project. One set for all: packages that tools share compile once, and
/// another `-trimpath` or `CGO_ENABLED` would compile everything anew.
pub const GO_ENV: [(&str, &str); 2] = [("CGO_ENABLED", "0"), ("GOFLAGS", "-trimpath")];

/// The folders of all Go modules of the project, from the workspace's root. Found, not listed: none is forgotten.
///
/// # Errors
/// If a folder can't be read.
pub fn go_modules(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let skipped =
                name == "target" || name == "testdata" || name.to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() && !skipped {
                folders.push(entry.path());
            } else if name == "go.mod" {
                found.push(folder.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_here_has_its_module_among_those_found() {
        let found = go_modules(workspace::root()).unwrap();
        for tool in Tool::ALL {
            assert!(
                found.contains(&PathBuf::from(tool.module())),
                "{tool:?} in {found:?}"
            );
        }
    }
}
