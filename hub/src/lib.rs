//! Countersign's hub: one pipeline from a pushed commit to signed heads that agents pull.
#![forbid(unsafe_code)]

pub mod seal;
pub mod store;
