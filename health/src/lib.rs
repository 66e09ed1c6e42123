//! Does an object do what it was made for? Shared by the agent (live objects) and the command line (files).
//!
//! What comes in: one object as JSON, as the API server returns it, and the fleet's own [`Rules`]. What goes out: a
//! [`Health`], one of six states and a sentence for a person. Read `judge` first: it is the whole order of checks.
//!
//! Everything here decides and nothing acts: no clock, no network, no file, no randomness. Any JSON is taken, however
//! malformed, and none makes it panic. A hostile rule costs at most the budget in `limits`.
#![forbid(unsafe_code)]

mod cause;
mod conditions;
mod field;
mod judge;
mod kinds;
pub mod limits;
pub mod rollup;
pub mod rules;
mod state;

pub use cause::{judge_with_pods, selects};
pub use judge::{judge, needs_status};
pub use rules::Rules;
pub use state::{Health, HealthStatus};
