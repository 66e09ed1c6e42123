//! Entries written one after the other, each behind its length in 16 bits: C2SP's entry bundle, and a staging object.

use crate::limits::BUNDLE_ENTRIES_MAX;

/// Why entries make no bundle, or bytes are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry does not fit its length field.
    #[error("entry {index} has {bytes} bytes, at most 65535 are allowed")]
    EntryTooLarge {
        /// Place of the entry.
        index: usize,
        /// Its size.
        bytes: usize,
    },
    /// More entries than allowed.
    #[error("has more than {BUNDLE_ENTRIES_MAX} entries")]
    TooMany,
    /// The bytes end inside an entry.
    #[error("ends inside entry {index}")]
    Truncated {
        /// Place of the entry.
        index: usize,
    },
}

/// Writes `entries`.
pub fn encode<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        if index == BUNDLE_ENTRIES_MAX {
            return Err(BundleError::TooMany);
        }
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLarge {
            index,
            bytes: entry.len(),
        })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Reads what [`encode`] wrote.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let index = entries.len();
        if index == BUNDLE_ENTRIES_MAX {
            return Err(BundleError::TooMany);
        }
        let (length, rest) = bytes
            .split_first_chunk::<2>()
            .ok_or(BundleError::Truncated { index })?;
        let (entry, rest) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(BundleError::Truncated { index })?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_entry_stands_behind_its_big_endian_length() {
        assert_eq!(
            encode([b"ab".as_slice(), b"", b"c"]).unwrap(),
            b"\0\x02ab\0\0\0\x01c"
        );
    }

    #[test]
    fn cut_bytes_and_large_entries_are_refused() {
        assert_eq!(decode(b"\0\x02a"), Err(BundleError::Truncated { index: 0 }));
        assert_eq!(decode(b"\0\0\0"), Err(BundleError::Truncated { index: 1 }));
        let large = vec![0; 65_536];
        assert_eq!(
            encode([large.as_slice()]),
            Err(BundleError::EntryTooLarge {
                index: 0,
                bytes: 65_536
            })
        );
        assert_eq!(
            decode(&vec![0; 2 * BUNDLE_ENTRIES_MAX + 2]),
            Err(BundleError::TooMany)
        );
    }

    proptest! {
        #[test]
        fn entries_survive(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let bytes = encode(entries.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), entries);
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(entries) = decode(&bytes) {
                prop_assert_eq!(encode(entries).unwrap(), bytes);
            }
        }
    }
}
