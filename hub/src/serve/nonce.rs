//! The hub's nonces: given with each answer to a cluster, and known again in its receipts.
//!
//! The hub remembers none of them: it knows its own by the code, also after a restart and in another replica. A receipt with an
//! old one was written while the hub was out of reach, one with none by an agent that had not heard of the hub since its
//! start: both are counted, since no receipt may be lost. One with a nonce that this hub never gave that cluster is an alarm.

use std::sync::atomic::{AtomicU16, Ordering};

use countersign_ledger::nonce::Nonce;
use jiff::Timestamp;
use ring::hmac;

/// A cluster speaks to its hub once in an hour at the least; twice that is late, in milliseconds.
const FRESH_MAX_MS: u64 = 2 * 3_600 * 1_000;
/// Bytes of a code.
const CODE_BYTES: usize = 8;

/// Gives nonces, and knows its own.
#[derive(Debug)]
pub struct Nonces {
    key: hmac::Key,
    count: AtomicU16,
}

/// What a receipt's nonce shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// It carries none: its agent had not heard of the hub when it was written.
    Nothing,
    /// The hub gave it a moment ago.
    Fresh,
    /// The hub gave it long ago.
    Late,
    /// The hub never gave it to this cluster.
    Unknown,
}

impl Shows {
    /// As a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Unknown => "unknown",
        }
    }
}

impl Nonces {
    /// With the hub's secret for them.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            count: AtomicU16::new(0),
        }
    }

    /// A new one for a cluster.
    pub fn give(&self, cluster: &str, now: Timestamp) -> Nonce {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Nonce::new(milliseconds(now), count, |told| self.code(cluster, told))
    }

    /// What the nonce of a receipt (hex) shows.
    #[must_use]
    pub fn judge(&self, cluster: &str, nonce: &str, now: Timestamp) -> Shows {
        if nonce.is_empty() {
            return Shows::Nothing;
        }
        let Some(nonce) = Nonce::parse(nonce) else {
            return Shows::Unknown;
        };
        let (told, code) = nonce.parts();
        if !super::tokens::same(&self.code(cluster, told), code) {
            return Shows::Unknown;
        }
        if milliseconds(now).saturating_sub(nonce.given()) <= FRESH_MAX_MS {
            Shows::Fresh
        } else {
            Shows::Late
        }
    }

    fn code(&self, cluster: &str, told: &[u8]) -> [u8; CODE_BYTES] {
        let mut made = hmac::Context::with_key(&self.key);
        made.update(told);
        made.update(cluster.as_bytes());
        let mut code = [0; CODE_BYTES];
        for (to, from) in code.iter_mut().zip(made.sign().as_ref()) {
            *to = *from;
        }
        code
    }
}

fn milliseconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_nonce_is_known_by_whoever_holds_the_secret_and_tells_when_it_was_given() {
        let nonces = Nonces::new(b"secret");
        let given = nonces.give("metal", at(1_000_000)).to_string();
        let restarted = Nonces::new(b"secret");
        for (cluster, now, want) in [
            ("metal", 1_000_000, Shows::Fresh),
            ("metal", 1_000_000 + 7_200, Shows::Fresh),
            ("metal", 1_000_000 + 7_201, Shows::Late),
            ("eks", 1_000_000, Shows::Unknown),
        ] {
            assert_eq!(restarted.judge(cluster, &given, at(now)), want);
        }
        let other = Nonces::new(b"another secret");
        assert_eq!(other.judge("metal", &given, at(1_000_000)), Shows::Unknown);
        assert_ne!(given, nonces.give("metal", at(1_000_000)).to_string());
    }

    #[test]
    fn no_change_of_a_nonce_is_known_and_none_is_no_lie() {
        let nonces = Nonces::new(b"secret");
        let given = nonces.give("metal", at(1_000_000)).to_string();
        for place in 0..given.len() {
            let mut changed = given.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            let shown = nonces.judge("metal", &changed, at(1_000_000));
            assert_eq!(shown, Shows::Unknown, "{place}");
        }
        assert_eq!(nonces.judge("metal", "", at(1)), Shows::Nothing);
        assert_eq!(nonces.judge("metal", "zz", at(1)), Shows::Unknown);
    }
}
