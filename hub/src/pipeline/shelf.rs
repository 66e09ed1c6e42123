//! Renders that outlive the process, in SQLite in the data folder. Nothing is lost with them but the time of rendering.
//!
//! Each entry stands with its SHA-256; one that is damaged is as good as none. They count for one renderer program and
//! one version of the hub: another one starts with none. When all of them are too large, those go that were not used for
//! longest.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_fleet::desired::Shelf;
use countersign_ledger::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::pipeline::limits::{SHELF_BYTES_MAX, SHELF_ENTRY_BYTES_MAX};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS maker (digest BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS render (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, sha256 BLOB NOT NULL,
        bytes INTEGER NOT NULL, used INTEGER NOT NULL, content BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS render_by_use ON render (used, number);
";

/// Renders in one file.
pub struct RenderShelf {
    inner: Mutex<Inner>,
    /// This process's start: what it used is younger than all before.
    session: i64,
    bytes_max: u64,
}

struct Inner {
    connection: Connection,
    bytes: u64,
}

impl std::fmt::Debug for RenderShelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenderShelf").finish_non_exhaustive()
    }
}

impl RenderShelf {
    /// Opens the shelf at `path` for the renders of `maker`: the renderer's program. A file that can't be used is made
    /// anew. Blocking.
    ///
    /// # Errors
    /// If that can't be done either.
    pub fn open(path: &Path, maker: &Digest) -> rusqlite::Result<Self> {
        let session = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        Self::open_with(path, maker, session, SHELF_BYTES_MAX)
    }

    fn open_with(
        path: &Path,
        maker: &Digest,
        session: i64,
        bytes_max: u64,
    ) -> rusqlite::Result<Self> {
        let inner = match Inner::open(path, maker) {
            Ok(inner) => inner,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "kept renders can't be read; they are made anew");
                for file in files(path) {
                    // What can't be removed shows when it is opened again.
                    let _ = std::fs::remove_file(file);
                }
                Inner::open(path, maker)?
            }
        };
        Ok(Self {
            inner: Mutex::new(inner),
            session,
            bytes_max,
        })
    }

    /// A panic while the lock was held left no half-written entry: all writes are transactions.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The database and what SQLite puts beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

impl Shelf for RenderShelf {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        match self.lock().get(key, self.session) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a kept render can't be read");
                None
            }
        }
    }

    fn put(&self, entries: Vec<(Digest, Vec<u8>)>) {
        if let Err(error) = self.lock().put(&entries, self.session, self.bytes_max) {
            tracing::warn!(%error, "renders are not kept for the next start");
        }
    }
}

impl Inner {
    fn open(path: &Path, maker: &Digest) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        restrict(path);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(TABLES)?;
        let made: Option<[u8; 32]> = connection
            .query_row("SELECT digest FROM maker", [], |row| row.get(0))
            .optional()?;
        if made.as_ref() != Some(maker.as_bytes()) {
            connection.execute_batch("DELETE FROM render; DELETE FROM maker;")?;
            connection.execute("INSERT INTO maker VALUES (?1)", [maker.as_bytes()])?;
        }
        let bytes: i64 =
            connection.query_row("SELECT coalesce(sum(bytes), 0) FROM render", [], |row| {
                row.get(0)
            })?;
        Ok(Self {
            connection,
            bytes: u64::try_from(bytes).unwrap_or(0),
        })
    }

    fn get(&mut self, key: &Digest, session: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        let found: Option<(i64, [u8; 32], i64, Vec<u8>)> = {
            let sql = "SELECT number, sha256, used, content FROM render WHERE key = ?1";
            let mut select = self.connection.prepare_cached(sql)?;
            let read =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            select.query_row([key.as_bytes()], read).optional()?
        };
        let Some((number, sha256, used, content)) = found else {
            return Ok(None);
        };
        if *Digest::of(&content).as_bytes() != sha256 {
            self.connection
                .execute("DELETE FROM render WHERE number = ?1", [number])?;
            return Ok(None);
        }
        if used != session {
            let sql = "UPDATE render SET used = ?2 WHERE number = ?1";
            self.connection
                .prepare_cached(sql)?
                .execute(params![number, session])?;
        }
        Ok(Some(content))
    }

    fn put(
        &mut self,
        entries: &[(Digest, Vec<u8>)],
        session: i64,
        max: u64,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut bytes = self.bytes;
        for (key, content) in entries {
            if content.len() > SHELF_ENTRY_BYTES_MAX {
                continue;
            }
            let had: Option<i64> = transaction
                .prepare_cached("DELETE FROM render WHERE key = ?1 RETURNING bytes")?
                .query_row([key.as_bytes()], |row| row.get(0))
                .optional()?;
            bytes = bytes.saturating_sub(had.and_then(|had| u64::try_from(had).ok()).unwrap_or(0));
            let length = content.len() as u64;
            transaction
                .prepare_cached("INSERT INTO render (key, sha256, bytes, used, content) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    key.as_bytes(),
                    Digest::of(content).as_bytes(),
                    i64::try_from(length).unwrap_or(i64::MAX),
                    session,
                    content
                ])?;
            bytes += length;
        }
        if bytes > max {
            // Down to three quarters, so that not each entry drives out another.
            let goal = max / 4 * 3;
            let mut select =
                transaction.prepare("SELECT number, bytes FROM render ORDER BY used, number")?;
            let mut rows = select.query([])?;
            let mut last = None;
            while bytes > goal
                && let Some(row) = rows.next()?
            {
                let (number, length): (i64, i64) = (row.get(0)?, row.get(1)?);
                bytes = bytes.saturating_sub(u64::try_from(length).unwrap_or(0));
                transaction
                    .prepare_cached("DELETE FROM render WHERE number = ?1")?
                    .execute([number])?;
                last = Some(number);
            }
            drop(rows);
            tracing::debug!(
                ?last,
                "renders that were not used for longest are kept no longer"
            );
        }
        transaction.commit()?;
        self.bytes = bytes;
        Ok(())
    }
}

/// Configuration lies here: nobody else may read it. A file system without modes has none to set.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!(path = %path.display(), %error, "kept renders may be read by others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn open(folder: &Path, maker: &str, session: i64) -> RenderShelf {
        RenderShelf::open_with(&folder.join("renders.db"), &key(maker), session, 100).unwrap()
    }

    #[test]
    fn an_entry_outlives_the_process_but_not_its_renderer() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), "1", 1).put(vec![
            (key("a"), b"one".to_vec()),
            (key("a"), b"two".to_vec()),
        ]);
        assert_eq!(
            open(folder.path(), "1", 2).get(&key("a")),
            Some(b"two".to_vec())
        );
        assert_eq!(open(folder.path(), "1", 2).get(&key("b")), None);
        assert_eq!(open(folder.path(), "2", 3).get(&key("a")), None);
        assert_eq!(open(folder.path(), "1", 4).get(&key("a")), None);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), "1", 1);
        first.put(vec![(key("a"), vec![1; 40]), (key("b"), vec![2; 40])]);
        drop(first);
        let second = open(folder.path(), "1", 2);
        assert!(second.get(&key("a")).is_some());
        second.put(vec![(key("c"), vec![3; 30])]);
        assert_eq!(second.get(&key("b")), None);
        assert!(second.get(&key("a")).is_some() && second.get(&key("c")).is_some());
        assert_eq!(second.lock().bytes, 70);
    }

    #[test]
    fn a_damaged_entry_and_a_damaged_file_are_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path(), "1", 1);
        shelf.put(vec![
            (key("a"), b"one".to_vec()),
            (key("b"), b"two".to_vec()),
        ]);
        shelf
            .lock()
            .connection
            .execute(
                "UPDATE render SET content = x'00' WHERE key = ?1",
                [key("a").as_bytes()],
            )
            .unwrap();
        assert_eq!(shelf.get(&key("a")), None);
        assert_eq!(shelf.get(&key("b")), Some(b"two".to_vec()));
        drop(shelf);
        let path = folder.path().join("renders.db");
        std::fs::write(
            &path,
            b"no database at all, and long enough to look like one".repeat(100),
        )
        .unwrap();
        let shelf = open(folder.path(), "1", 2);
        assert_eq!(shelf.get(&key("b")), None);
        shelf.put(vec![(key("b"), b"two".to_vec())]);
        assert_eq!(shelf.get(&key("b")), Some(b"two".to_vec()));
    }
}
