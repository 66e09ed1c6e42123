//! The serving side as a whole: real TLS, real gRPC and HTTP clients, on loopback.

mod agents;
mod attacks;
mod courier;
mod enrol;
mod operators;
mod receipts;
mod support;

pub(super) use support::authority;
