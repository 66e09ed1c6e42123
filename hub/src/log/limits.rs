//! Every bound of the log, with its reason.

use std::time::Duration;

use countersign_ledger::limits::BUNDLE_ENTRIES_MAX;

/// Appends that wait for the sequencer. At 5,000 a second it is less than a second's worth; beyond it callers are told
/// to come again, so that their entries wait with them and not here.
pub const WAITING_MAX: usize = 4_096;
/// Entries of one claim: what a staging object holds.
pub const GROUP_ENTRIES_MAX: usize = BUNDLE_ENTRIES_MAX;
/// Bytes of entries after which a group takes no further append, so that a claim stays one quick write.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// Entries claimed whose tiles are not written: past it appends wait for the tiles, so that a restart never has more to
/// write than it can in a few minutes.
pub const UNTILED_MAX: u64 = 1 << 20;
/// The longest rest between two rounds of tiles while entries keep coming: each writes partial tiles, and syncs them or, in a
/// bucket, pays for them.
pub const TILES_EVERY: Duration = Duration::from_millis(250);
/// Files of tiles and bundles written or read back at once.
pub const TILE_WRITES_MAX: usize = 16;
/// Tiles whose nodes are kept in memory for proofs, 16 KiB each.
pub const CACHED_TILES_MAX: usize = 1_024;
/// Pause after a failed round of tiles or of publishing.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long a witness may take for one answer (Rekor's own advice is 20 s for a whole request).
pub const WITNESS_MAX: Duration = Duration::from_secs(10);
/// Bytes of a witness's answer that are read: a hundred signature lines of the largest kind fit.
pub const WITNESS_ANSWER_BYTES_MAX: usize = 512 << 10;
/// How long one checkpoint may wait for its quorum before a newer one is put to the witnesses in its place.
pub const ROUND_MAX: Duration = Duration::from_secs(10);
/// A published checkpoint is cosigned anew this often even if nothing was added: agents refuse one older than 15
/// minutes, so that two rounds may fail.
pub const COSIGN_EVERY: Duration = Duration::from_secs(300);
