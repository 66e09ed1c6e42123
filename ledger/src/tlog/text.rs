//! Numbers and hashes in the text formats: one spelling each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

/// Reads a decimal without sign or leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    let canonical = text == "0" || digits.first().is_some_and(|first| *first != b'0');
    if canonical && digits.iter().all(u8::is_ascii_digit) {
        text.parse().ok()
    } else {
        None
    }
}

/// Reads a hash in standard base64.
pub(super) fn hash(text: &str) -> Option<Digest> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// Writes bytes in standard base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64 with its padding; bits past the end must be zero.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for text in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            "1 ",
            " 1",
            "1_0",
            "0x1",
            "18446744073709551616",
            "١",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let digest = Digest::of(b"abc");
        let text = base64(digest.as_bytes());
        assert_eq!(hash(&text), Some(digest));
        assert_eq!(hash(text.trim_end_matches('=')), None);
        assert_eq!(hash(&format!("{text}\n")), None);
        assert_eq!(hash("AAAA"), None);
        // One byte, once with a bit set past its end.
        assert_eq!(bytes("AB=="), None);
        assert_eq!(bytes("AA=="), Some(vec![0]));
    }
}
