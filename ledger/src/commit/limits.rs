//! Every bound of the judge of commits, with its reason. What exceeds one is refused, never cut.

/// Bytes of a raw commit; commits are signed and stored, so one of a megabyte is an attack.
pub const COMMIT_BYTES_MAX: usize = 256 << 10;
/// Bytes of a raw tree: about 250,000 entries.
pub const TREE_BYTES_MAX: usize = 16 << 20;
/// Folders below folders.
pub const TREE_DEPTH_MAX: usize = 64;
/// Parents of one commit; an octopus of more is a mistake or an attack.
pub const PARENTS_MAX: usize = 64;
/// Commits read for one judgement, those that only prove where a branch began included.
pub const COMMITS_MAX: usize = 20_000;
/// Objects that come for one judgement.
pub const OBJECTS_MAX: usize = 100_000;
/// Bytes of all objects of one judgement: 20,000 commits of a kilobyte and the trees of their paths. All are hashed.
pub const OBJECT_BYTES_MAX: usize = 32 << 20;
/// Bytes of one key of a person; an OpenPGP key with many certifications of others should be exported minimal.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Signing keys of all people together.
pub const KEYS_MAX: usize = 10_000;
/// Bits of an RSA key at least: less can be factored.
pub const RSA_BITS_MIN: usize = 2_048;
/// Bits of an RSA key at most: what the verifier takes.
pub const RSA_BITS_MAX: usize = 4_096;
/// Bytes of trees that one judgement looks through, each visit counted anew: a few objects can name a billion paths.
pub const TREE_WORK_BYTES_MAX: usize = 256 << 20;
/// What a visit of the smallest tree counts.
pub const TREE_VISIT_BYTES: usize = 64;
