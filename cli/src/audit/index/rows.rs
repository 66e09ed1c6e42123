//! Rows in and out of SQLite.

use countersign_ledger::digest::Digest;
use rusqlite::{Connection, Result, Row as SqlRow, params};

use super::{Change, Held};
use crate::audit::entry::{KINDS, Row};

/// The columns of an entry, in the order of [`read`].
pub(super) const COLUMNS: &str = "idx, leaf, digest, kind, cluster, environment, app, generation, seq, git, subject, \
     what, who, object, at, until, holds";

pub(super) fn insert(connection: &Connection, row: &Row, holds: bool) -> Result<()> {
    const QUERY: &str = "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
         ?16, ?17)";
    connection.prepare_cached(QUERY)?.execute(params![
        row.index.cast_signed(),
        row.leaf.as_bytes(),
        row.digest.as_bytes(),
        row.kind,
        row.cluster,
        row.environment,
        row.app,
        row.generation.cast_signed(),
        row.seq.cast_signed(),
        row.commit,
        row.subject,
        row.what,
        row.who,
        row.object,
        row.at.map(u64::cast_signed),
        row.until.map(u64::cast_signed),
        holds,
    ])?;
    Ok(())
}

/// Reads an entry.
pub(super) fn read(row: &SqlRow<'_>) -> Result<Held> {
    let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let maybe = |at: usize| {
        row.get::<_, Option<i64>>(at)
            .map(|ms| ms.map(i64::cast_unsigned))
    };
    let kind: String = row.get(3)?;
    Ok(Held {
        row: Row {
            index: number(0)?,
            leaf: Digest::from_bytes(row.get(1)?),
            digest: Digest::from_bytes(row.get(2)?),
            kind: KINDS
                .iter()
                .find(|had| **had == kind)
                .copied()
                .unwrap_or("?"),
            cluster: row.get(4)?,
            environment: row.get(5)?,
            app: row.get(6)?,
            generation: number(7)?,
            seq: number(8)?,
            commit: row.get(9)?,
            subject: row.get(10)?,
            what: row.get(11)?,
            who: row.get(12)?,
            object: row.get(13)?,
            at: maybe(14)?,
            until: maybe(15)?,
        },
        holds: row.get(16)?,
    })
}

pub(super) const CHANGE_COLUMNS: &str = "idx, cluster, generation, line, object, app, git, digest";

pub(super) fn insert_change(connection: &Connection, change: &Change) -> Result<()> {
    const QUERY: &str = "INSERT INTO change (idx, cluster, generation, line, object, app, git, digest) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(QUERY)?.execute(params![
        change.index.cast_signed(),
        change.cluster,
        change.generation.cast_signed(),
        change.line,
        change.object,
        change.app,
        change.commit,
        change.digest,
    ])?;
    Ok(())
}

pub(super) fn read_change(row: &SqlRow<'_>) -> Result<Change> {
    Ok(Change {
        index: row.get::<_, i64>(0)?.cast_unsigned(),
        cluster: row.get(1)?,
        generation: row.get::<_, i64>(2)?.cast_unsigned(),
        line: row.get(3)?,
        object: row.get(4)?,
        app: row.get(5)?,
        commit: row.get(6)?,
        digest: row.get(7)?,
    })
}
