//! The log's part of the index: leaf hash → index, index → where its bytes lie, and the nodes that proofs are made of.
//!
//! It is a function of the claims, whether they bear a checkpoint or are from before the log.

use bytes::Bytes;
use countersign_ledger::Digest;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{FiledClaim, Index, IndexFault, digest, int, number};

/// A leaf of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Its index in the tree.
    pub index: u64,
    /// Its hash.
    pub hash: Digest,
    /// Its place in the claim's staging object.
    pub at: u32,
}

/// A complete node above the leaves, at the level of a tile: the root of `256^level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRow {
    /// Its level, in tiles: 1 and more.
    pub level: u8,
    /// Its place in that level.
    pub index: u64,
    /// Its hash.
    pub hash: Digest,
}

/// Where an entry's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The staging object.
    pub staging: Digest,
    /// Its place in it.
    pub at: u32,
}

pub(super) fn file(transaction: &Transaction<'_>, claim: &FiledClaim<'_>) -> rusqlite::Result<()> {
    let size = claim.frontier.first_chunk::<8>().copied();
    transaction.execute(
        "INSERT INTO claim VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            int(claim.number),
            claim.digest.as_bytes(),
            claim.staging.as_bytes(),
            int(size.map_or(0, u64::from_be_bytes)),
            claim.note,
            claim.frontier
        ],
    )?;
    let mut leaf = transaction.prepare_cached("INSERT INTO leaf VALUES (?1, ?2, ?3, ?4)")?;
    for Leaf { index, hash, at } in claim.leaves {
        leaf.execute(params![int(*index), hash.as_bytes(), int(claim.number), at])?;
    }
    let mut node = transaction.prepare_cached("INSERT INTO node VALUES (?1, ?2, ?3)")?;
    for NodeRow { level, index, hash } in claim.nodes {
        node.execute(params![level, int(*index), hash.as_bytes()])?;
    }
    Ok(())
}

impl Index {
    /// The tree after the last claim that was filed; none before the first.
    pub fn frontier(&self) -> Result<Option<Vec<u8>>, IndexFault> {
        let sql = "SELECT frontier FROM claim ORDER BY number DESC LIMIT 1";
        Ok(self
            .lock()
            .query_row(sql, [], |row| row.get(0))
            .optional()?)
    }

    /// The newest claim's checkpoint: its number and the signed note.
    pub fn newest_note(&self) -> Result<Option<(u64, Bytes)>, IndexFault> {
        let sql =
            "SELECT number, note FROM claim WHERE note IS NOT NULL ORDER BY number DESC LIMIT 1";
        Ok(self.lock().query_row(sql, [], numbered_note).optional()?)
    }

    /// The newest checkpoint that was claimed for a tree of `size`.
    pub fn note_of_size(&self, size: u64) -> Result<Option<(u64, Bytes)>, IndexFault> {
        let sql = "SELECT number, note FROM claim WHERE size = ?1 AND note IS NOT NULL ORDER BY number DESC LIMIT 1";
        Ok(self
            .lock()
            .query_row(sql, params![int(size)], numbered_note)
            .optional()?)
    }

    /// The index of the leaf with `hash`.
    pub fn leaf(&self, hash: &Digest) -> Result<Option<u64>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT place FROM leaf WHERE hash = ?1")?;
        Ok(select
            .query_row(params![hash.as_bytes()], |row| number(row, 0))
            .optional()?)
    }

    /// Where the entries from `first` on lie, at most `max`, in order.
    pub fn places(&self, first: u64, max: usize) -> Result<Vec<Place>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT claim.staging, leaf.at FROM leaf JOIN claim ON claim.number = leaf.claim
                WHERE leaf.place >= ?1 ORDER BY leaf.place LIMIT ?2",
        )?;
        let rows = select.query_map(params![int(first), int(max as u64)], |row| {
            Ok(Place {
                staging: digest(row, 0)?,
                at: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Hashes of a tile's level, in tiles, from `first` on, at most `max`: leaves at level 0, complete nodes above.
    pub fn hashes(&self, level: u8, first: u64, max: usize) -> Result<Vec<Digest>, IndexFault> {
        let connection = self.lock();
        let read = |row: &Row<'_>| digest(row, 0);
        let max = int(max as u64);
        let rows: Vec<Digest> = if level == 0 {
            let mut select = connection.prepare_cached(
                "SELECT hash FROM leaf WHERE place >= ?1 ORDER BY place LIMIT ?2",
            )?;
            let rows = select.query_map(params![int(first), max], read)?;
            rows.collect::<Result<_, _>>()?
        } else {
            let mut select = connection.prepare_cached(
                "SELECT hash FROM node WHERE level = ?1 AND place >= ?2 ORDER BY place LIMIT ?3",
            )?;
            let rows = select.query_map(params![level, int(first), max], read)?;
            rows.collect::<Result<_, _>>()?
        };
        Ok(rows)
    }

    /// The size that the witness with this key cosigned last, as far as we know; 0 if we do not.
    pub fn witness_size(&self, vkey: &str) -> Result<u64, IndexFault> {
        let sql = "SELECT size FROM witness WHERE vkey = ?1";
        let size = self
            .lock()
            .query_row(sql, params![vkey], |row| number(row, 0));
        Ok(size.optional()?.unwrap_or(0))
    }

    /// Keeps the size that a witness cosigned.
    pub fn set_witness_size(&self, vkey: &str, size: u64) -> Result<(), IndexFault> {
        self.lock().execute(
            "INSERT OR REPLACE INTO witness VALUES (?1, ?2)",
            params![vkey, int(size)],
        )?;
        Ok(())
    }

    /// Whether a statement names this blob.
    pub fn is_named(&self, digest: &Digest) -> Result<bool, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT 1 FROM named WHERE digest = ?1")?;
        Ok(select.exists(params![digest.as_bytes()])?)
    }

    /// Whether this is the section list of a state's manifest.
    pub fn is_manifest(&self, digest: &Digest) -> Result<bool, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT 1 FROM manifest WHERE digest = ?1")?;
        Ok(select.exists(params![digest.as_bytes()])?)
    }

    /// From here on these blobs count as named.
    pub fn name(&self, digests: &[Digest]) -> Result<(), IndexFault> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        {
            let sql = "INSERT OR IGNORE INTO named VALUES (?1)";
            let mut insert = transaction.prepare_cached(sql)?;
            for digest in digests {
                insert.execute(params![digest.as_bytes()])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The version of the newest trust root that has an entry; 0 if none has.
    pub fn trust_version(&self) -> Result<u64, IndexFault> {
        let sql = "SELECT max(version) FROM trust";
        let read = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
        let version = self.lock().query_row(sql, [], read)?;
        Ok(version
            .and_then(|version| u64::try_from(version).ok())
            .unwrap_or(0))
    }

    /// Leaf hashes of the trust roots' entries, by version.
    pub fn trust_entries(&self) -> Result<Vec<Digest>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT leaf FROM trust ORDER BY version")?;
        let rows = select.query_map([], |row| digest(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The `source` entry with this leaf hash.
    pub fn source_entry(&self, leaf: &Digest) -> Result<Option<Bytes>, IndexFault> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT bytes FROM source WHERE leaf = ?1")?;
        Ok(select
            .query_row(params![leaf.as_bytes()], |row| super::bytes(row, 0))
            .optional()?)
    }
}

fn numbered_note(row: &Row<'_>) -> rusqlite::Result<(u64, Bytes)> {
    Ok((number(row, 0)?, super::bytes(row, 1)?))
}
