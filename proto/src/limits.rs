//! The largest message of each call, in bytes. Both ends set the same ones.

/// `Agents.Heads`: 256 envelopes of at most 8 KiB, a section list and attached blobs.
pub const HEAD_BYTES_MAX: usize = 16 << 20;
/// `Agents.Blobs`: one blob a message; an object may have 1 MiB, a section 256 lines.
pub const BLOB_BYTES_MAX: usize = 4 << 20;
/// `Agents.Report`: ten thousand objects at 200 bytes fit; larger reports are cut into deltas.
pub const REPORT_BYTES_MAX: usize = 4 << 20;
/// `Agents.Receipts`: 256 envelopes of at most 8 KiB up, as many proofs of at most 2 KiB down.
pub const RECEIPTS_BYTES_MAX: usize = 4 << 20;
/// Envelopes in one `ReceiptsRequest`: what a day without the hub leaves goes in a few calls.
pub const RECEIPTS_PER_REQUEST_MAX: usize = 256;
/// `Agents.PutBlobs`: the results of one sync of ten thousand objects fit; larger ones are cut.
pub const PUT_BLOBS_BYTES_MAX: usize = 4 << 20;
/// Hashes in one inclusion or consistency proof: a tree of 2^63 entries has no longer ones.
pub const PROOF_HASHES_MAX: usize = 63;
/// Envelopes in one `Head` (DECISIONS 2).
pub const ENVELOPES_PER_HEAD_MAX: usize = 256;
/// Digests in one `BlobsRequest`.
pub const DIGESTS_PER_REQUEST_MAX: usize = 1024;
/// A frame between hub and renderer worker, either way.
pub const RENDERER_FRAME_BYTES_MAX: usize = 64 << 20;
/// Bytes of a file that is carried between hub and agent: the state of a cluster of ten thousand objects, each changed,
/// twenty times over.
pub const PARCEL_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one frame in it: a head.
pub const PARCEL_FRAME_BYTES_MAX: usize = HEAD_BYTES_MAX;
/// Frames in it: a blob for each object and section of the largest cluster, several times over.
pub const PARCEL_FRAMES_MAX: u64 = 1 << 20;
/// Bytes of a report: what a full queue of receipts holds, and its blobs.
pub const REPORT_FILE_BYTES_MAX: usize = 128 << 20;
