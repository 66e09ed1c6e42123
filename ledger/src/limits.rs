//! Every bound of the signed formats, with its reason. What exceeds one is refused, never cut.

/// Bytes of the PAE, the byte string that is signed: a KMS signs at most 4,096 bytes in one call.
pub const PAE_BYTES_MAX: usize = 4_096;
/// Bytes of an envelope: a statement in base64, its type, and a few signatures. Below the 65,535 of a log entry.
pub const ENVELOPE_BYTES_MAX: usize = 8_192;
/// Signatures in one envelope: two sealers and a second renderer leave room; verification cost stays bounded.
pub const SIGNATURES_MAX: usize = 16;
/// Bytes of a trust root document: people and clusters of a large fleet fit.
pub const TRUST_ROOT_BYTES_MAX: usize = 1 << 20;
/// Signatures on a trust root: the thresholds of the old and the new one.
pub const TRUST_ROOT_SIGNATURES_MAX: usize = 64;
/// New trust roots that an agent follows in one go.
pub const TRUST_ROOT_STEPS_MAX: usize = 1_024;
/// Nesting of JSON in our own formats (statements, claims, trust roots).
pub const JSON_DEPTH_MAX: usize = 16;
/// Nesting of JSON in objects of Kubernetes: CRD schemas go deep.
pub const OBJECT_DEPTH_MAX: usize = 128;
/// Bytes of one object's canonical JSON or ciphertext: the API server takes 3 MiB at most in a request.
pub const OBJECT_BYTES_MAX: usize = 3 << 20;
/// Lines in one section of a manifest: one changed object costs one section on the wire.
pub const SECTION_LINES_MAX: usize = 256;
/// Bytes of one line of a manifest: four names of at most 253 bytes, escaped, and a few digests.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Bytes of one section.
pub const SECTION_BYTES_MAX: usize = SECTION_LINES_MAX * LINE_BYTES_MAX;
/// Bits of a section's prefix: 2^64 sections are never reached by honest hashes.
pub const PREFIX_BITS_MAX: usize = 64;
/// Lines of one manifest.
pub const MANIFEST_LINES_MAX: u64 = 1_000_000;
/// Bytes of a section list: a million lines make about 8,000 sections of 120 bytes.
pub const SECTION_LIST_BYTES_MAX: usize = 4 << 20;
/// Bytes of the blob with the apps of a cluster.
pub const APPS_BYTES_MAX: usize = 4 << 20;
/// Envelopes that one call of `verify_chain` takes.
pub const CHAIN_LINKS_MAX: usize = 256;
/// Bytes of a claim: a checkpoint with a few signatures fits.
pub const CLAIM_BYTES_MAX: usize = 8_192;
/// Entries in one staging object: one commit touches at most this many clusters at once.
pub const BUNDLE_ENTRIES_MAX: usize = 16_384;
/// Permits that one statement carries.
pub const PERMITS_MAX: usize = 8;
/// Seconds after which a quorum's newest cosignature is too old: three times the five minutes in which the log is cosigned anew.
pub const CHECKPOINT_STALE_SECONDS: u64 = 15 * 60;
/// Seconds by which a witness's clock may be ahead of ours.
pub const CHECKPOINT_SKEW_SECONDS_MAX: u64 = 5 * 60;
/// Bytes of a fork file: two notes of the largest size, in base64.
pub const FORK_BYTES_MAX: usize = 2 << 20;
/// Field managers that one drift record names.
pub const DRIFT_MANAGERS_MAX: usize = 8;
/// Paths that one drift record names; more are in its samples.
pub const DRIFT_PATHS_MAX: usize = 32;
/// Bytes of each part of an object's identity: names in Kubernetes have 253 at most.
pub const IDENTITY_PART_BYTES_MAX: usize = 253;
/// Waves run from minus this to this.
pub const WAVE_MAX: i32 = 1_000;
