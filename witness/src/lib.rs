//! A witness of transparency logs (C2SP `tlog-witness`): it cosigns the newest checkpoint of each log that it follows, and
//! only one that continues the one before.
//!
//! Read [`decide`] first: it is the promise. [`witness`] joins it with a key, a clock and the [`state`] that survives a
//! crash; [`http`] speaks the protocol, [`serve`] listens. `countersign witness` and agents (`--witness-listen`) run it.
//!
//! ```text
//! body ─► AddCheckpoint ─► the log's signature ─► consider(known, offer) ─► cosign ─► made durable ─► answer
//! ```
#![forbid(unsafe_code)]

pub mod clock;
pub mod decide;
pub mod home;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod request;
pub mod serve;
pub mod state;
pub mod witness;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use decide::{Decision, Offer, Refusal, Tree, consider};
pub use home::{Home, HomeError};
pub use metrics::Metrics;
pub use request::AddCheckpoint;
pub use serve::serve;
pub use state::StateError;
pub use witness::{NotCosigned, OpenError, Witness};
