//! Repositories and servers for the tests of this crate.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

pub mod git;
pub mod http;
pub mod hub;

use std::time::{Duration, Instant};

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// First line of every test that opens TLS.
pub fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
