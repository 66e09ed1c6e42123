//! End-to-end tests on the real thing, one file a behaviour, linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on has failed"
)]

mod admission_live;
mod agent_hub;
mod agent_live;
mod argo;
mod attacks;
mod charts;
mod corpus;
mod drift_table;
mod faults;
mod fixture;
mod healing;
mod health_rules;
mod object_store;
mod removal;
mod renderer;
mod sources;
mod test_cluster;
mod thousand;
#[path = "../threats/mod.rs"]
mod threats;
