//! How much is measured: all of it, or just enough to see that the benchmarks work.

use std::time::Duration;

/// Sizes and numbers of runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Objects of the large app, and of a run of the floor.
    pub(crate) objects: usize,
    /// Objects of the largest fleet whose memory is measured.
    pub(crate) most: usize,
    /// Runs of the floor; one before them warms up.
    pub(crate) floor_runs: usize,
    /// Single applies of the floor.
    pub(crate) singles: usize,
    /// Pushes whose time is taken; a few before them warm up.
    pub(crate) pushes: usize,
    /// Drifts, one after the other.
    pub(crate) drifts: usize,
    /// Drifts at once.
    pub(crate) storm: usize,
    /// First syncs.
    pub(crate) syncs: usize,
    /// Commits that touch nothing.
    pub(crate) commits: usize,
    /// How long idling is watched.
    pub(crate) idle: Duration,
    /// How long the log is loaded, each time.
    pub(crate) log: Duration,
    /// Clusters whose months of entries are audited.
    pub(crate) clusters: usize,
    /// Entries of the log that is audited, at least.
    pub(crate) entries: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        objects: 1000,
        most: 10_000,
        floor_runs: 5,
        singles: 300,
        pushes: 25,
        drifts: 200,
        storm: 500,
        syncs: 3,
        commits: 20,
        idle: Duration::from_secs(60),
        log: Duration::from_secs(15),
        clusters: 100,
        entries: 1_000_000,
    };

    /// Seconds instead of minutes; the numbers mean nothing.
    pub(crate) const QUICK: Self = Self {
        objects: 30,
        most: 60,
        floor_runs: 1,
        singles: 5,
        pushes: 2,
        drifts: 3,
        storm: 10,
        syncs: 1,
        commits: 2,
        idle: Duration::from_secs(1),
        log: Duration::from_secs(1),
        clusters: 2,
        entries: 4_000,
    };
}
