//! The bounds of what the pipeline keeps between two starts, each with its reason.

/// All renders on the shelf, bytes: ten times what a fleet of a thousand apps of ten objects renders to.
pub const SHELF_BYTES_MAX: u64 = 256 << 20;
/// One of them, bytes; what is larger is rendered anew after a start.
pub const SHELF_ENTRY_BYTES_MAX: usize = 16 << 20;
