//! What stands in the state's files: the list of logs, and of one log what was cosigned last.

use std::collections::BTreeSet;

use super::sealed::{self, Damage};

const INDEX_KIND: &str = "countersign.dev/witness-logs/v1";
const RECORD_KIND: &str = "countersign.dev/witness-log/v1";
/// After the origin of a log of which nothing was cosigned yet.
const NOTHING: &[u8] = b"nothing cosigned yet\n";
/// After the origin, before the checkpoint.
const NEWEST: &[u8] = b"newest cosigned checkpoint\n";

/// The index's bytes: an origin a line.
#[must_use]
pub fn write_index(origins: &BTreeSet<String>) -> Vec<u8> {
    let body: String = origins.iter().map(|origin| format!("{origin}\n")).collect();
    sealed::seal(INDEX_KIND, body.as_bytes())
}

/// The origins of an index.
///
/// # Errors
/// [`Damage`].
pub fn read_index(bytes: &[u8]) -> Result<BTreeSet<String>, Damage> {
    let body = sealed::open(INDEX_KIND, bytes)?;
    let text = std::str::from_utf8(body).map_err(|_| Damage::Content("is no text".into()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The log. It has no line end: origins come from keys' names.
    pub origin: String,
    /// The newest checkpoint that was cosigned, with its signatures.
    pub newest: Option<Vec<u8>>,
}

impl Record {
    /// The file's bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut body = format!("{}\n", self.origin).into_bytes();
        match &self.newest {
            None => body.extend_from_slice(NOTHING),
            Some(checkpoint) => {
                body.extend_from_slice(NEWEST);
                body.extend_from_slice(checkpoint);
            }
        }
        sealed::seal(RECORD_KIND, &body)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let body = sealed::open(RECORD_KIND, bytes)?;
        let content = || Damage::Content("holds no record of a log".into());
        let end = body
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(content)?;
        let (origin, rest) = body.split_at(end);
        let origin = std::str::from_utf8(origin)
            .map_err(|_| content())?
            .to_owned();
        let rest = rest.get(1..).ok_or_else(content)?;
        let newest = match rest.strip_prefix(NEWEST) {
            Some(checkpoint) => Some(checkpoint.to_vec()),
            None if rest == NOTHING => None,
            None => return Err(content()),
        };
        Ok(Self { origin, newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            origin in "[a-z./-]{1,60}",
            newest in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
            more in proptest::collection::btree_set("[a-z./-]{1,60}", 0..20),
        ) {
            let record = Record { origin, newest };
            prop_assert_eq!(Record::read(&record.write()), Ok(record));
            prop_assert_eq!(read_index(&write_index(&more)), Ok(more));
        }
    }

    #[test]
    fn a_record_is_no_index_and_an_index_no_record() {
        let record = Record {
            origin: "example.com/log".into(),
            newest: None,
        };
        assert!(read_index(&record.write()).is_err());
        assert!(Record::read(&write_index(&BTreeSet::new())).is_err());
    }
}
