//! The agent: keeps one cluster as the signed desired state says, and undoes what was changed behind Git's back.
//!
//! Read `agent` first (the whole on one screen), then `plan`, `world` and `sync` (what is decided and done), `watch` and
//! `heal` (drift), `pull` and `verify` (what is believed). The agent never depends on the hub's crate.
#![forbid(unsafe_code)]

pub mod agent;
pub mod apply;
pub mod clock;
pub mod config;
pub mod courier;
pub mod delete;
pub mod engine;
pub mod floor;
pub mod heal;
pub mod health;
pub mod identity;
pub mod keys;
pub mod lease;
pub mod metrics;
pub mod news;
pub mod overrides;
pub mod plan;
pub mod pull;
pub mod receipt;
pub mod report;
pub mod saved;
pub mod serve;
pub mod sync;
pub mod verify;
pub mod watch;
pub mod world;
