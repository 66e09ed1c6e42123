//! Countersign's hub: one pipeline from a pushed commit to signed heads that agents pull.
//!
//! Read [`pipeline`] first: it takes one commit through all stages, and no stage calls its neighbour. [`hub`] joins the
//! tasks, [`config`] holds every option.
#![forbid(unsafe_code)]

pub mod authors;
pub mod config;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod pipeline;
mod roots;
pub mod seal;
pub mod sealed;
pub mod serve;
pub mod store;
pub mod track;
pub mod trust;
