//! Which receipt keys may speak, as the log says: enrolments and revocations, in its order.

use countersign_ledger::Digest;
use countersign_ledger::key::PublicKey;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Index, IndexFault, digest, int, number};

/// A cluster's newest enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// The receipt key.
    pub key: PublicKey,
    /// Number of the enrolment.
    pub number: u64,
    /// Leaf hash of its entry.
    pub leaf: Digest,
    /// Its place in the log.
    pub index: u64,
}

pub(super) fn file(
    transaction: &Transaction<'_>,
    cluster: &str,
    key: &PublicKey,
    number: u64,
    leaf: &Digest,
) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO enrolment VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![cluster, int(number), key.0, leaf.as_bytes()])?;
    Ok(())
}

pub(super) fn file_revocation(
    transaction: &Transaction<'_>,
    key: &PublicKey,
    leaf: &Digest,
) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO revocation VALUES (?1, ?2)")?;
    insert.execute(params![key.0, leaf.as_bytes()])?;
    Ok(())
}

impl Index {
    /// The newest enrolment of `cluster`.
    pub fn enrolled(&self, cluster: &str) -> Result<Option<Enrolled>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT enrolment.key, enrolment.number, enrolment.leaf, leaf.place FROM enrolment
                JOIN leaf ON leaf.hash = enrolment.leaf WHERE enrolment.cluster = ?1
                ORDER BY leaf.place DESC LIMIT 1",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Enrolled {
                key: PublicKey(row.get(0)?),
                number: number(row, 1)?,
                leaf: digest(row, 2)?,
                index: number(row, 3)?,
            })
        };
        Ok(select.query_row(params![cluster], read).optional()?)
    }

    /// The place of the first revocation of `key`.
    pub fn revoked(&self, key: &PublicKey) -> Result<Option<u64>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT leaf.place FROM revocation JOIN leaf ON leaf.hash = revocation.leaf
                WHERE revocation.key = ?1 ORDER BY leaf.place LIMIT 1",
        )?;
        let read = |row: &rusqlite::Row<'_>| number(row, 0);
        Ok(select.query_row(params![key.0], read).optional()?)
    }
}
