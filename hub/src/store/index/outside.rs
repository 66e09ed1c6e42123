//! What people, second renderers and CI signed: entries by their kind and by what they are about.

use countersign_ledger::Digest;
use rusqlite::{Transaction, params};

use super::{Index, IndexFault, digest};

/// Whose word an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideKind {
    /// A person's override, about a cluster; about the whole fleet, if its name is empty.
    Override = 1,
    /// A second renderer's finding, about a state's leaf hash in hex.
    Reproduction = 2,
    /// CI's, about a workspace.
    Infrastructure = 3,
}

/// An entry of theirs as it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Whose.
    pub kind: OutsideKind,
    /// About what, as [`OutsideKind`] says.
    pub about: String,
    /// The entry's leaf hash.
    pub leaf: Digest,
    /// Blobs that it names: anybody who reads the log may read them.
    pub names: Vec<Digest>,
}

pub(super) fn file(transaction: &Transaction<'_>, outside: &Outside) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO outside VALUES (?1, ?2, ?3)")?;
    insert.execute(params![
        outside.kind as i64,
        outside.about,
        outside.leaf.as_bytes()
    ])?;
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO named VALUES (?1)")?;
    for name in &outside.names {
        insert.execute(params![name.as_bytes()])?;
    }
    Ok(())
}

impl Index {
    /// Leaf hashes of the entries of a kind about something, in the order of the log.
    pub fn outside(&self, kind: OutsideKind, about: &str) -> Result<Vec<Digest>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT outside.leaf FROM outside JOIN leaf ON leaf.hash = outside.leaf
             WHERE kind = ?1 AND about = ?2 ORDER BY leaf.place",
        )?;
        let rows = select.query_map(params![kind as i64, about], |row| digest(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Leaf hashes of all entries of a kind from a place of the log on, in its order.
    pub fn outside_from(&self, kind: OutsideKind, place: u64) -> Result<Vec<Digest>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT outside.leaf FROM outside JOIN leaf ON leaf.hash = outside.leaf
             WHERE kind = ?1 AND leaf.place >= ?2 ORDER BY leaf.place",
        )?;
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let rows = select.query_map(params![kind as i64, place], |row| digest(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
