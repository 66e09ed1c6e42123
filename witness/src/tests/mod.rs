//! What the tests beside the parts share.

pub(crate) mod disk;
pub(crate) mod sample;
