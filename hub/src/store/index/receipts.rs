//! What clusters said: for each receipt key its receipts and drift records by `seq`.

use countersign_ledger::Digest;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Index, IndexFault, digest, int, number};

/// A link of a cluster's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Its place in the chain.
    pub seq: u64,
    /// Leaf hash of its envelope.
    pub leaf: Digest,
    /// Digest of its envelope.
    pub envelope: Digest,
}

pub(super) fn file(
    transaction: &Transaction<'_>,
    speaker: &str,
    spoken: &Spoken,
    names: &[Digest],
) -> rusqlite::Result<()> {
    let Spoken {
        seq,
        leaf,
        envelope,
    } = spoken;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO receipt VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![
        speaker,
        int(*seq),
        leaf.as_bytes(),
        envelope.as_bytes()
    ])?;
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO named VALUES (?1)")?;
    for name in names {
        insert.execute(params![name.as_bytes()])?;
    }
    Ok(())
}

impl Index {
    /// The newest that the key with hint `speaker` said.
    pub fn newest_spoken(&self, speaker: &str) -> Result<Option<Spoken>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT seq, leaf, envelope FROM receipt WHERE speaker = ?1 ORDER BY seq DESC LIMIT 1",
        )?;
        Ok(select.query_row(params![speaker], read).optional()?)
    }

    /// What the key with hint `speaker` said under `seq`.
    pub fn spoken(&self, speaker: &str, seq: u64) -> Result<Option<Spoken>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT seq, leaf, envelope FROM receipt WHERE speaker = ?1 AND seq = ?2",
        )?;
        let values = params![speaker, int(seq)];
        Ok(select.query_row(values, read).optional()?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Spoken> {
    Ok(Spoken {
        seq: number(row, 0)?,
        leaf: digest(row, 1)?,
        envelope: digest(row, 2)?,
    })
}
