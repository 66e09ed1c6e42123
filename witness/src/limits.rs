//! Every bound of the witness, with its reason.

use std::time::Duration;

/// Bytes of a request: 63 hashes make 2,835 bytes; the checkpoint may bear many signatures, of 3.3 KiB each once they
/// are post-quantum.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Hashes of a consistency proof: the protocol's limit, and more than a tree of 2^63 leaves needs.
pub const PROOF_HASHES_MAX: usize = 63;
/// Logs that one witness follows. Each has a file and a line in the index.
pub const LOGS_MAX: usize = 1_024;
/// Keys of one log: the old and the new one while a log changes its key.
pub const KEYS_PER_LOG_MAX: usize = 4;
/// Bytes of an origin: a URL without scheme.
pub const ORIGIN_BYTES_MAX: usize = 255;
/// Bytes of one file of the state: a checkpoint and its signatures.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Requests that are worked on at once; each may hold a thread for as long as a disk takes to sync.
pub const IN_FLIGHT_MAX: usize = 64;
/// For a request, its body included. A log gives up after a few seconds and asks again.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);
/// For the headers of the next request, idle time before it included: logs keep their connection for a while.
pub const HEADERS_MAX: Duration = Duration::from_secs(60);
/// Open connections. Logs keep theirs; the rest are people who look.
pub const CONNECTIONS_MAX: usize = 512;
/// Bytes of a request's headers.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// For requests that are being answered when the witness is stopped.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
/// Contradicting checkpoints that are kept as evidence, of one log: two prove it, more are for the curious.
pub const EVIDENCE_MAX: usize = 16;
