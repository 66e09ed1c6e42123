//! Joining by the token of a Kubernetes service account: the cluster's API server vouches for the agent, nobody hands over a
//! secret.
//!
//! In: a JWT that the agent's pod was given, for the audience `countersign-hub:<cluster>`. [`issuers`] says, from a file of the
//! hub's operator and never from Git, which issuer, which keys and which account count for a cluster; [`jwks`] reads the keys,
//! [`jwt`] judges the token. Both are pure. A token's own word on keys (`jwk`, `jku`, `x5c`) is never looked at.

pub mod issuers;
pub mod jwks;
pub mod jwt;

pub use issuers::{IssuerFault, Issuers, JoinRefused};

/// What the token of a cluster's agent must be for.
pub fn audience(cluster: &str) -> String {
    format!("countersign-hub:{cluster}")
}
