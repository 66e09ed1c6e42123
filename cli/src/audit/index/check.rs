//! Whether the rows are those that were written: every chain of digests anew, and the tree over the leaf hashes.

use countersign_ledger::tlog::Frontier;

use super::{Chains, Index, IndexError, clock_bytes, entry_bytes, link, rows};
use crate::audit::finding::{Code, Finding};

impl Index {
    pub(super) fn check(&self) -> Result<(), IndexError> {
        let mut chains = Chains::default();
        let mut tree = Frontier::new();
        let mut broken = None;
        let entries = format!("SELECT {} FROM entry ORDER BY idx", rows::COLUMNS);
        self.each(&entries, |row| {
            let held = rows::read(row)?;
            if held.row.index != tree.size() && broken.is_none() {
                broken = Some(format!("entry {} is missing", tree.size()));
            }
            let _ = tree.append(held.row.leaf);
            link(&mut chains.entry, &entry_bytes(&held.row, held.holds));
            Ok(())
        })?;
        self.each(
            "SELECT idx, code, cluster, detail FROM finding ORDER BY id",
            |row| {
                let code: String = row.get(1)?;
                let Some(code) = Code::named(&code) else {
                    return Ok(());
                };
                let finding = Finding {
                    index: row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned),
                    code,
                    cluster: row.get(2)?,
                    detail: row.get(3)?,
                };
                link(
                    &mut chains.finding,
                    &serde_json::to_vec(&finding).unwrap_or_default(),
                );
                Ok(())
            },
        )?;
        self.each("SELECT ceiling, place, ms FROM clock ORDER BY id", |row| {
            let (place, ms) = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
            let bytes = clock_bytes(row.get(0)?, place.cast_unsigned(), ms.cast_unsigned());
            link(&mut chains.clock, &bytes);
            Ok(())
        })?;
        let changes = format!("SELECT {} FROM change ORDER BY id", rows::CHANGE_COLUMNS);
        self.each(&changes, |row| {
            link(&mut chains.change, &rows::read_change(row)?.bytes());
            Ok(())
        })?;
        self.each("SELECT digest, image FROM image ORDER BY id", |row| {
            let (digest, image): (String, String) = (row.get(0)?, row.get(1)?);
            link(&mut chains.image, format!("{digest}\n{image}").as_bytes());
            Ok(())
        })?;
        if let Some(why) = broken {
            return Err(self.tampered(why));
        }
        if tree.size() != self.progress.size {
            let why = format!("has {} entries, says {}", tree.size(), self.progress.size);
            return Err(self.tampered(why));
        }
        if self.progress.size > 0 && tree.root() != self.progress.root {
            return Err(self.tampered("its leaf hashes lead to another root"));
        }
        if chains != self.chains {
            return Err(self.tampered("its rows are not those that were written"));
        }
        Ok(())
    }

    fn each(
        &self,
        query: &str,
        mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), IndexError> {
        let mut statement = self.connection.prepare(query).map_err(|e| self.fault(e))?;
        let mut rows = statement.query([]).map_err(|e| self.fault(e))?;
        while let Some(row) = rows.next().map_err(|e| self.fault(e))? {
            // A column of another type was not written by us.
            take(row).map_err(|e| self.tampered(e))?;
        }
        Ok(())
    }
}
