//! SHA-256 as text, for ids of contents that have no Git id.
use sha2::{Digest as _, Sha256};

/// Hash of `content` in 64 hexadecimal digits.
pub(crate) fn hex_sha256(content: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(content) {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}
