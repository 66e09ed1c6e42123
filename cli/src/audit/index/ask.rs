//! What is asked of the index.

use countersign_ledger::digest::Digest;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params, params_from_iter};

use super::{Change, Index, IndexError, rows};
use crate::audit::entry::{Row, unword};
use crate::audit::finding::{Code, Finding};
use crate::audit::judge::{Past, PastDesired, PastSource};

/// Nearly all entries are receipts: the index over kinds leaves them out, and is used by queries that say so too.
const NO_RECEIPT: &str = " AND kind <> 'receipt'";

/// An entry as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The row.
    pub row: Row,
    /// Whether a key that may say it signed it.
    pub holds: bool,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// Of these kinds; of all, if none.
    pub kinds: &'a [&'a str],
    /// From this index on.
    pub from: u64,
    /// Below this index.
    pub to: u64,
    /// Of this cluster.
    pub cluster: Option<&'a str>,
    /// Of this environment.
    pub environment: Option<&'a str>,
    /// Of this app.
    pub app: Option<&'a str>,
}

/// When an entry was logged: after one time, and by another. Both are the word of clusters, whose clocks may err.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    /// Not before; in milliseconds since 1970.
    pub after: Option<u64>,
    /// Not after.
    pub by: Option<u64>,
}

impl Index {
    /// Each entry that is asked for, in the log's order.
    pub fn entries(&self, asked: &Asked<'_>) -> Result<Vec<Held>, IndexError> {
        let mut query = format!(
            "SELECT {} FROM entry WHERE idx >= ? AND idx < ?",
            rows::COLUMNS
        );
        let mut values = vec![integer(asked.from), integer(asked.to)];
        if !asked.kinds.is_empty() {
            let marks = vec!["?"; asked.kinds.len()].join(", ");
            query.push_str(&format!(" AND kind IN ({marks})"));
            values.extend(asked.kinds.iter().map(|kind| text(kind)));
            if !asked.kinds.contains(&"receipt") {
                query.push_str(NO_RECEIPT);
            }
        }
        for (column, value) in [
            ("cluster", asked.cluster),
            ("environment", asked.environment),
            ("app", asked.app),
        ] {
            if let Some(value) = value {
                query.push_str(&format!(" AND {column} = ?"));
                values.push(text(value));
            }
        }
        query.push_str(" ORDER BY idx");
        self.held(&query, values)
    }

    fn held(&self, query: &str, values: Vec<Value>) -> Result<Vec<Held>, IndexError> {
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|e| self.fault(e))?;
        let rows = statement.query_map(params_from_iter(values), rows::read);
        let rows = rows.map_err(|e| self.fault(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.fault(e))
    }

    fn one(&self, filter: &str, values: Vec<Value>) -> Result<Option<Held>, IndexError> {
        let query = format!("SELECT {} FROM entry WHERE {filter} LIMIT 1", rows::COLUMNS);
        Ok(self.held(&query, values)?.pop())
    }

    /// The entry at a place.
    pub fn entry(&self, index: u64) -> Result<Option<Held>, IndexError> {
        self.one("idx = ?", vec![integer(index)])
    }

    /// The source entry with this leaf hash.
    pub fn source_by_leaf(&self, leaf: &Digest) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'source' AND leaf = ? AND holds";
        self.one(filter, vec![Value::Blob(leaf.as_bytes().to_vec())])
    }

    /// The newest source entry of a commit.
    pub fn source_by_commit(&self, commit: &str) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'source' AND git = ? AND holds ORDER BY idx DESC";
        self.one(filter, vec![text(commit)])
    }

    /// The state of a generation.
    pub fn state(&self, cluster: &str, generation: u64) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'desired' AND cluster = ? AND generation = ? AND holds";
        self.one(filter, vec![text(cluster), integer(generation)])
    }

    /// The state whose envelope has this digest.
    pub fn state_by_digest(&self, digest: &Digest) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'desired' AND digest = ? AND holds";
        self.one(filter, vec![Value::Blob(digest.as_bytes().to_vec())])
    }

    /// States that name permits, in the log's order.
    pub fn permitted(&self) -> Result<Vec<Held>, IndexError> {
        let filter = format!("kind = 'desired'{NO_RECEIPT} AND who <> '' AND holds ORDER BY idx");
        let query = format!("SELECT {} FROM entry WHERE {filter}", rows::COLUMNS);
        self.held(&query, Vec::new())
    }

    /// The newest state of a cluster among the first `size` entries.
    pub fn head(&self, cluster: &str, size: u64) -> Result<Option<Held>, IndexError> {
        let filter =
            "kind = 'desired' AND cluster = ? AND idx < ? AND holds ORDER BY generation DESC";
        self.one(filter, vec![text(cluster), integer(size)])
    }

    /// The last receipt of a cluster that was written by `ms` and is of a state.
    pub fn receipt_by(&self, cluster: &str, ms: u64) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'receipt' AND cluster = ? AND at <= ? AND generation > 0 AND holds \
             AND what IN ('sync', 'heartbeat', 'deletion', 'pause', 'refusal') ORDER BY at DESC, idx DESC";
        self.one(filter, vec![text(cluster), integer(ms)])
    }

    /// The first receipt of a cluster that was written after `ms`.
    pub fn receipt_after(&self, cluster: &str, ms: u64) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'receipt' AND cluster = ? AND at > ? AND holds ORDER BY at, idx";
        self.one(filter, vec![text(cluster), integer(ms)])
    }

    /// The first sync that answered a generation, or a later one.
    pub fn answer(
        &self,
        cluster: &str,
        generation: u64,
        index: u64,
    ) -> Result<Option<Held>, IndexError> {
        let filter = "kind = 'receipt' AND cluster = ? AND idx > ? AND generation >= ? AND what = 'sync' AND holds \
             ORDER BY idx";
        self.one(
            filter,
            vec![text(cluster), integer(index), integer(generation)],
        )
    }

    /// Names of the clusters that any state or receipt is of.
    pub fn clusters(&self) -> Result<Vec<String>, IndexError> {
        let query = format!(
            "SELECT cluster FROM entry WHERE kind IN ('desired', 'enrolment'){NO_RECEIPT} \
             UNION SELECT cluster FROM entry WHERE kind = 'receipt' ORDER BY 1"
        );
        let mut statement = self
            .connection
            .prepare_cached(&query)
            .map_err(|e| self.fault(e))?;
        let rows = statement
            .query_map([], |row| row.get(0))
            .map_err(|e| self.fault(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.fault(e))
    }

    /// When an entry was logged.
    pub fn between(&self, index: u64) -> Result<Between, IndexError> {
        let ask = |query: &str| {
            let mut statement = self.connection.prepare_cached(query)?;
            let ms = statement.query_row([index.cast_signed()], |row| row.get::<_, i64>(0));
            Ok(ms.optional()?.map(i64::cast_unsigned))
        };
        let after =
            "SELECT ms FROM clock WHERE ceiling = 0 AND place < ?1 ORDER BY place DESC LIMIT 1";
        let by = "SELECT ms FROM clock WHERE ceiling = 1 AND place > ?1 ORDER BY place LIMIT 1";
        let both = ask(after).and_then(|after| {
            Ok(Between {
                after,
                by: ask(by)?,
            })
        });
        both.map_err(|e: rusqlite::Error| self.fault(e))
    }

    /// The entries that may have been logged from one time to another: a range of indexes, since both bounds only grow.
    pub fn range(&self, from: Option<u64>, to: Option<u64>) -> Result<(u64, u64), IndexError> {
        let size = self.progress.size;
        let ask = |query: &str, ms: u64| {
            let place = self
                .connection
                .query_row(query, params![ms.cast_signed()], |row| {
                    row.get::<_, Option<i64>>(0)
                });
            place.map(|place| place.map(i64::cast_unsigned))
        };
        // Entries below a ceiling that lies before `from` were logged before it.
        let first = match from {
            None => 0,
            Some(ms) => ask(
                "SELECT MAX(place) FROM clock WHERE ceiling = 1 AND ms < ?1",
                ms,
            )
            .map_err(|e| self.fault(e))?
            .unwrap_or(0),
        };
        // Entries behind a floor that lies at or after `to` were logged at or after it.
        let end = match to {
            None => size,
            Some(ms) => ask(
                "SELECT MIN(place) FROM clock WHERE ceiling = 0 AND ms >= ?1",
                ms,
            )
            .map_err(|e| self.fault(e))?
            .map_or(size, |place| place + 1),
        };
        Ok((first.min(end), end))
    }

    /// Findings about entries of a range, and about none.
    pub fn findings(&self, from: u64, to: u64) -> Result<Vec<Finding>, IndexError> {
        let query = "SELECT idx, code, cluster, detail FROM finding WHERE idx IS NULL OR (idx >= ?1 AND idx < ?2) \
             ORDER BY idx, id";
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|e| self.fault(e))?;
        let range = params![from.cast_signed(), to.cast_signed()];
        let rows = statement.query_map(range, |row| {
            let code: String = row.get(1)?;
            Ok(Code::named(&code).map(|code| (row.get(0), code, row.get(2), row.get(3))))
        });
        let mut found = Vec::new();
        for row in rows.map_err(|e| self.fault(e))? {
            if let Some((index, code, cluster, detail)) = row.map_err(|e| self.fault(e))? {
                let index: Option<i64> = index.map_err(|e| self.fault(e))?;
                found.push(Finding {
                    index: index.map(i64::cast_unsigned),
                    code,
                    cluster: cluster.map_err(|e| self.fault(e))?,
                    detail: detail.map_err(|e| self.fault(e))?,
                });
            }
        }
        Ok(found)
    }

    /// Drift records that were the last word on their object and say that it was not healed.
    pub fn unhealed(&self, cluster: Option<&str>) -> Result<Vec<Held>, IndexError> {
        let query = format!(
            "SELECT {} FROM entry AS e WHERE kind = 'drift'{NO_RECEIPT} AND holds AND what LIKE '%, not healed' \
             AND (?1 IS NULL OR cluster = ?1) AND NOT EXISTS (SELECT 1 FROM entry AS later WHERE later.kind = 'drift' \
             AND later.kind <> 'receipt' AND later.cluster = e.cluster AND later.idx > e.idx AND later.object = e.object AND later.holds \
             AND later.what NOT LIKE '%, not healed') ORDER BY idx",
            rows::COLUMNS
        );
        self.held(&query, vec![cluster.map_or(Value::Null, text)])
    }

    /// Changes of an object (`object`) or of a content (`digest`), in the log's order.
    pub fn changes_of(
        &self,
        object: Option<&str>,
        digest: Option<&str>,
    ) -> Result<Vec<Change>, IndexError> {
        let (column, value) = match (object, digest) {
            (Some(object), _) => ("object", object),
            (None, Some(digest)) => ("digest", digest),
            (None, None) => return Ok(Vec::new()),
        };
        let query = format!(
            "SELECT {} FROM change WHERE {column} = ?1 ORDER BY id",
            rows::CHANGE_COLUMNS
        );
        let mut statement = self
            .connection
            .prepare_cached(&query)
            .map_err(|e| self.fault(e))?;
        let rows = statement
            .query_map([value], rows::read_change)
            .map_err(|e| self.fault(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.fault(e))
    }

    /// Names of objects that end like this: `Deployment.apps/shop/cart` by `cart`.
    pub fn objects_named(&self, name: &str) -> Result<Vec<String>, IndexError> {
        let query = "SELECT DISTINCT object FROM change WHERE object = ?1 OR substr(object, -length(?2)) = ?2 ORDER BY 1";
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|e| self.fault(e))?;
        let rows = statement.query_map(params![name, format!("/{name}")], |row| row.get(0));
        let rows = rows.map_err(|e| self.fault(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.fault(e))
    }

    /// Contents that name an image whose text holds `part`.
    pub fn with_image(&self, part: &str) -> Result<Vec<(String, String)>, IndexError> {
        let query = "SELECT digest, image FROM image WHERE instr(image, ?1) > 0 ORDER BY id";
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|e| self.fault(e))?;
        let rows = statement.query_map([part], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows = rows.map_err(|e| self.fault(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.fault(e))
    }

    /// Whether the images of a content were read.
    pub fn knows_content(&self, digest: &str) -> Result<bool, IndexError> {
        let query = "SELECT 1 FROM change WHERE digest = ?1 LIMIT 1";
        let mut statement = self
            .connection
            .prepare_cached(query)
            .map_err(|e| self.fault(e))?;
        statement.exists([digest]).map_err(|e| self.fault(e))
    }

    /// The change of an object on a cluster that followed another: where a content ended.
    pub fn next_change(&self, change: &Change) -> Result<Option<Change>, IndexError> {
        let query = format!(
            "SELECT {} FROM change WHERE object = ?1 AND cluster = ?2 AND idx > ?3 ORDER BY id LIMIT 1",
            rows::CHANGE_COLUMNS
        );
        let values = params![change.object, change.cluster, change.index.cast_signed()];
        let mut statement = self
            .connection
            .prepare_cached(&query)
            .map_err(|e| self.fault(e))?;
        let next = statement.query_row(values, rows::read_change).optional();
        next.map_err(|e| self.fault(e))
    }
}

impl Past for Index {
    fn source(&self, leaf: &Digest) -> Option<PastSource> {
        let row = self.source_by_leaf(leaf).ok()??.row;
        Some(PastSource {
            index: row.index,
            verdict: unword(&row.what)?,
            commit: row.commit,
            signer: row.who,
        })
    }

    fn desired(&self, cluster: &str, generation: u64) -> Option<PastDesired> {
        let row = self.state(cluster, generation).ok()??.row;
        Some(PastDesired {
            index: row.index,
            digest: row.digest,
            leaf: row.leaf,
            manifest: row.subject.parse().ok()?,
        })
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
