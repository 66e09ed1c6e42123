//! End-to-end tests on the real thing, one file a behaviour, linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on has failed"
)]

mod admission_live;
mod agent_hub;
mod agent_keys;
mod agent_lease;
mod agent_live;
mod agent_order;
mod agent_rails;
mod agent_restore;
mod agent_trust;
mod agent_watch;
mod agent_words;
mod air_gap;
mod argo;
mod attacks;
mod attest;
mod audit_live;
mod authored;
mod bench;
mod break_glass;
mod charts;
mod corpus;
mod drift_table;
mod encrypted;
mod enrolment;
mod faults;
mod fixture;
mod floor;
mod healing;
mod health_rules;
mod interop;
mod lock;
mod log_attacks;
mod malformed;
mod object_store;
mod overrides;
mod overrides_app;
mod permits;
mod receipts;
mod removal;
mod renderer;
mod reproduced;
mod rig;
mod root_attacks;
mod served;
mod sources;
mod test_cluster;
mod thousand;
#[path = "../threats/mod.rs"]
mod threats;
mod vault;
mod verify_now;
mod witness;
mod witnessed;
