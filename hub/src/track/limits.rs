//! Every bound of the tracking stage, with its unit and reason.

use std::time::Duration;

/// What one fetch may cost. A hostile server or pack ends in `FETCH_LIMIT`; the mirror keeps what it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the pack on the wire.
    pub pack_bytes: u64,
    /// Objects in one pack.
    pub objects: u64,
    /// Bytes of one unpacked object. Kubernetes refuses objects of 1.5 MiB; values and charts may be larger.
    pub object_bytes: u64,
    /// Bytes of all unpacked objects together: a pack may hold a thousandfold bomb.
    pub unpacked_bytes: u64,
    /// Refs in an advertisement.
    pub refs: usize,
    /// Links of a delta chain; Git itself makes 50, `--aggressive` 250.
    pub delta_depth: u32,
    /// Wall time of one fetch.
    pub time: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            pack_bytes: 512 << 20,
            objects: 2_000_000,
            object_bytes: 100 << 20,
            unpacked_bytes: 4 << 30,
            refs: 100_000,
            delta_depth: 4_096,
            time: Duration::from_secs(600),
        }
    }
}

/// Loose objects of a mirror before they are packed. Git packs at 6,700; a mirror is read by id, which loose files serve
/// as well, so that it may wait.
pub const LOOSE_OBJECTS_MAX: usize = 20_000;
/// Packs of a mirror before they become one: each look-up may ask all of them.
pub const PACKS_MAX: usize = 16;
/// Commits walked to find out whether a ref moved forward; a longer distance needs a permit like a rewrite.
pub const COMMITS_WALKED_MAX: usize = 200_000;
/// Bytes of a raw commit; commits are signed and stored, so one of a megabyte is an attack.
pub const COMMIT_BYTES_MAX: usize = 256 << 10;
/// Bytes of a raw tree object: about 250,000 entries.
pub const TREE_BYTES_MAX: usize = 16 << 20;
/// Folders below folders.
pub const TREE_DEPTH_MAX: usize = 64;
/// Links from an annotated tag to a tag to …
pub const TAG_DEPTH_MAX: usize = 5;
/// A file above this is reported (`FILE_HUGE`): no render reads it.
pub const FILE_BYTES_MAX: u64 = 10 << 20;
/// Notices kept for people about one commit.
pub const NOTICES_MAX: usize = 100;
/// Bytes of a webhook's body; forges send less than 100 KiB for a usual push.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1 << 20;
/// Delivery ids remembered against replay.
pub const DELIVERIES_REMEMBERED_MAX: usize = 4_096;
/// Connecting to a remote.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence on a connection before it counts as dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause between two polls of a remote that keeps failing.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);
