//! ONE commit through all stages.
pub mod policies;
pub mod view;
