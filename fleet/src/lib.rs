//! What the hub and the CLI share about a fleet: its documents, how they are rendered and checked.
#![forbid(unsafe_code)]

pub mod admit;
pub mod render;
