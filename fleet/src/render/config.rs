//! How workers are started and bounded.
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Settings of a [`super::Workers`] pool.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program `countersign-renderer`.
    pub renderer: PathBuf,
    /// What stands between us and it.
    pub launcher: Launcher,
    /// Processes that are kept ready: one renders while another is replaced (DECISIONS 13).
    pub workers: usize,
    /// After so many renders a process is replaced, whatever it may have gathered.
    pub renders_per_worker: u32,
    /// Longest time of one render.
    pub time_max: Duration,
    /// Most resident memory of a process, bytes. Go is asked to stay below three quarters of it.
    pub memory_bytes_max: u64,
}

impl Config {
    /// Settings with the usual limits.
    pub fn new(renderer: impl Into<PathBuf>, launcher: Launcher) -> Self {
        Self {
            renderer: renderer.into(),
            launcher,
            workers: 2,
            renders_per_worker: 200,
            time_max: Duration::from_secs(30),
            memory_bytes_max: 1 << 30,
        }
    }
}

/// What starts the renderer.
#[derive(Debug, Clone)]
pub enum Launcher {
    /// A program of ours that gives up its rights, then becomes the renderer: `program arguments… renderer`. It calls
    /// [`super::sandbox::enter_and_exec`].
    Sandbox {
        /// The hub's or the CLI's own binary.
        program: PathBuf,
        /// Its hidden subcommand, `sandbox`.
        arguments: Vec<OsString>,
    },
    /// Nothing: the renderer itself, with no sandbox. For tests, and for kernels that offer none.
    Unconfined,
}

impl Launcher {
    /// This very program with its hidden subcommand `sandbox`.
    ///
    /// # Errors
    /// If the system doesn't tell which program runs.
    pub fn this_program() -> std::io::Result<Self> {
        Ok(Self::Sandbox {
            program: std::env::current_exe()?,
            arguments: vec!["sandbox".into()],
        })
    }
}
