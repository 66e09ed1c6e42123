//! Every bound of the log's formats, with its reason. What exceeds one is refused, never cut.

/// Signature lines of a note: as in Go; C2SP asks for 16 at least.
pub const SIGNATURE_LINES_MAX: usize = 100;
/// Bytes of a note: a hundred signatures of the largest kind (ML-DSA-44, 3.3 kB in base64) and a text beside them.
pub const NOTE_BYTES_MAX: usize = 512 << 10;
/// Bytes of a key's name: a cosignature of ML-DSA-44 gives its length in one byte.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a policy: 64 lines of each kind with long addresses fit.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Logs, witnesses and groups of a policy, each: C2SP asks for 32 at least.
pub const POLICY_LINES_MAX: usize = 64;
/// Hashes in a proof: a tree of less than 2^63 leaves, as checkpoints have, is 63 nodes high, and a proof of consistency
/// has one hash more.
pub const PROOF_HASHES_MAX: usize = 64;
/// Bytes of the opaque part of a proof file, decoded: an envelope fits many times.
pub const EXTRA_BYTES_MAX: usize = 64 << 10;
