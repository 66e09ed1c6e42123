//! Loopback ports for programs that can't choose one themselves.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::bail;

/// Below the range from which the kernel takes the ports of outgoing connections, so that none is lost between the
/// moment it is found free and the moment a program binds it.
const LOWEST: u16 = 12_000;
const COUNT: u16 = 20_000;
const TRIES: u32 = 200;

/// A loopback address that nobody listens on.
///
/// # Errors
/// If none is found in many tries.
pub fn free() -> anyhow::Result<SocketAddr> {
    for _ in 0..TRIES {
        let offset = u16::try_from(random() % u64::from(COUNT))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, LOWEST + offset));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free loopback port found in {TRIES} tries")
}

/// A number that differs from call to call and from process to process; good for names, not for secrets.
#[must_use]
pub fn random() -> u64 {
    // Each `RandomState` has keys of its own.
    RandomState::new().build_hasher().finish()
}
