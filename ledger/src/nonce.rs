//! The hub's nonce in a receipt: it says when it was given, so that the receipt was written after that, whatever the clock of its
//! cluster says.
//!
//! `milliseconds (6 bytes) ‖ counter (2 bytes) ‖ code (8 bytes)`, in hex where a statement carries it. The code binds the rest to
//! one cluster; only the hub can make and check it. Whoever reads the log later can see when a nonce was given, and that two
//! clusters carry the same one, but not that it is the hub's.

use std::fmt;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// Bytes that say when.
const TIME_BYTES: usize = 6;
/// Bytes before the code.
const TOLD_BYTES: usize = 8;

/// A nonce as it stands in a receipt; nobody checked whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; NONCE_BYTES]);

impl Nonce {
    /// One that is given at `ms` since 1970. `code` makes the code of what the nonce tells.
    pub fn new(ms: u64, count: u16, code: impl FnOnce(&[u8]) -> [u8; 8]) -> Self {
        let [_, _, time @ ..] = ms.to_be_bytes();
        let mut bytes = [0; NONCE_BYTES];
        let (told, its_code) = bytes.split_at_mut(TOLD_BYTES);
        let (when, which) = told.split_at_mut(TIME_BYTES);
        when.copy_from_slice(&time);
        which.copy_from_slice(&count.to_be_bytes());
        its_code.copy_from_slice(&code(told));
        Self(bytes)
    }

    /// The nonce of a receipt, in its one spelling.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 2 * NONCE_BYTES {
            return None;
        }
        let mut bytes = [0; NONCE_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                *byte = *byte << 4 | value;
            }
        }
        Some(Self(bytes))
    }

    /// Its bytes, as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; NONCE_BYTES] {
        &self.0
    }

    /// When it says that it was given, in milliseconds since 1970.
    #[must_use]
    pub fn given(&self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// What the code is made of, and the code.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.0.split_at(TOLD_BYTES)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_one_spelling_and_tells_when_it_was_given() {
        let nonce = Nonce::new(1_764_092_714_123, 0x0102, |told| told.try_into().unwrap());
        let text = nonce.to_string();
        assert_eq!(text, "019abc1e9c8b0102019abc1e9c8b0102");
        assert_eq!(Nonce::parse(&text), Some(nonce));
        assert_eq!(nonce.given(), 1_764_092_714_123);
        assert_eq!(nonce.parts().0, nonce.parts().1);
        for odd in [
            "",
            "00",
            &text.to_uppercase(),
            &text[1..],
            &format!("{text}0"),
            &"é".repeat(16),
            &"+1".repeat(16),
        ] {
            assert_eq!(Nonce::parse(odd), None, "{odd}");
        }
    }
}
