//! What people permitted: acts that are not done without a person's word.
//!
//! Where the trust root lists people for overrides, a permit is an `override/v1` in the log, signed by one of them, with an
//! end; it is used once. The pipeline hands those in ([`Permits::heard`]). Nothing else counts there.
//!
//! Elsewhere an operator gives it: kept in the store at `permits/<sha256>.json`, named by the digest of its bytes. Giving
//! the same permit twice keeps both records; each counts as long as what it allows is exactly what is asked for. Of these
//! only a rewrite is used once.
//!
//! Once what it allowed is sealed, `permits-used/<sha256>.json` says so, and it allows nothing more. That record is written
//! after sealing; a crash between the two is made good at the next start by the pipeline, with what was sealed last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use countersign_fleet::api::{Permit, PermitKind, PermitRequest};
use countersign_ledger::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::records::{RecordFault, Records};

mod request;

pub use request::{BadPermit, parse};

/// What is stored. Its bytes are what a permit's id is the digest of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    format: String,
    fleet: String,
    permit: PermitKind,
    reason: String,
    by: String,
    time: Timestamp,
}

const FORMAT: &str = "https://countersign.dev/permit/v1";
/// Folder of the records that say which permits are used up.
const USED: &str = "permits-used";

/// What used a permit up.
#[derive(Debug, Clone, Serialize)]
struct Used {
    commit: String,
    time: Timestamp,
}

/// Code of a permit that nobody signed, where only signed ones count.
pub const UNSIGNED: &str = "PERMIT_UNSIGNED";

/// All permits of one fleet.
#[derive(Debug)]
pub struct Permits {
    fleet: String,
    records: Records,
    signed_only: AtomicBool,
    known: RwLock<Known>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    permits: BTreeMap<String, Arc<Permit>>,
    used: BTreeSet<String>,
    /// Used, and the record of it could not be written yet.
    unwritten: BTreeMap<String, Used>,
}

impl Known {
    fn put(&mut self, permit: Permit) -> Arc<Permit> {
        let used = permit.used || self.used.contains(&permit.id);
        let permit = Arc::new(Permit { used, ..permit });
        self.permits.insert(permit.id.clone(), Arc::clone(&permit));
        permit
    }

    fn mark_used(&mut self, ids: &BTreeSet<String>) {
        self.used.extend(ids.iter().cloned());
        for id in ids {
            if let Some(permit) = self.permits.get_mut(id).filter(|permit| !permit.used) {
                *permit = Arc::new(Permit {
                    used: true,
                    ..(**permit).clone()
                });
            }
        }
    }
}

impl Permits {
    /// Reads all permits of this fleet that operators gave.
    pub async fn load(fleet: &str, records: Records) -> Result<Self, RecordFault> {
        let permits = Self {
            fleet: fleet.to_owned(),
            records,
            signed_only: AtomicBool::new(false),
            known: RwLock::default(),
            changed: watch::Sender::new(0),
        };
        permits.refresh().await?;
        Ok(permits)
    }

    /// Reads what other replicas wrote since.
    pub async fn refresh(&self) -> Result<(), RecordFault> {
        let used = self.records.list(USED).await?;
        let used = used.iter().filter_map(|path| {
            let id = path.strip_prefix(USED)?.strip_prefix('/')?;
            Some(id.strip_suffix(".json")?.to_owned())
        });
        let used: BTreeSet<String> = used.collect();
        self.write().mark_used(&used);
        for path in self.records.list("permits").await? {
            let id = path
                .trim_start_matches("permits/")
                .trim_end_matches(".json")
                .to_owned();
            if self.read().permits.contains_key(&id) {
                continue;
            }
            let Some(bytes) = self.records.read_bytes(&path).await? else {
                continue;
            };
            let stored: Stored =
                serde_json::from_slice(&bytes).map_err(|source| RecordFault::Unreadable {
                    path: path.clone(),
                    source,
                })?;
            // A record that is not what its name says, or is another fleet's, allows nothing.
            if Digest::of(&bytes).to_string() == id
                && stored.fleet == self.fleet
                && stored.format == FORMAT
            {
                self.remember(permit(id, stored));
            }
        }
        Ok(())
    }

    /// From now on only what people signed counts, or all.
    pub fn ask_signatures(&self, ask: bool) {
        self.signed_only.store(ask, Ordering::Relaxed);
    }

    /// Whether only what people signed counts.
    pub fn signed_only(&self) -> bool {
        self.signed_only.load(Ordering::Relaxed)
    }

    /// Why an operator's word alone is no permit here, if it is none.
    pub fn unsigned_refused(&self) -> Option<&'static str> {
        self.signed_only().then_some(
            "the trust root lists people for overrides: one of them signs the permit, countersign permit … --key KEY --hub URL",
        )
    }

    /// Takes in permits that stand in the log.
    pub fn heard(&self, permits: Vec<Permit>) {
        for permit in permits {
            self.remember(permit);
        }
    }

    /// What these permits allowed is sealed, at `commit`: they allow nothing more, after a restart either.
    ///
    /// # Errors
    /// [`RecordFault`]; they count as used while this process runs, and the record is tried again with the next.
    pub async fn spend(
        &self,
        ids: &BTreeSet<String>,
        commit: &str,
        now: Timestamp,
    ) -> Result<(), RecordFault> {
        let unwritten = {
            let mut known = self.write();
            let fresh: Vec<String> = ids.difference(&known.used).cloned().collect();
            known.mark_used(ids);
            for id in fresh {
                let used = Used {
                    commit: commit.to_owned(),
                    time: now,
                };
                known.unwritten.insert(id, used);
            }
            known.unwritten.clone()
        };
        for (id, used) in unwritten {
            self.records
                .create(&format!("{USED}/{id}.json"), &used)
                .await?;
            self.write().unwritten.remove(&id);
        }
        Ok(())
    }

    /// [`Self::spend`] of all that allow the rewrite to `commit`, which is sealed.
    ///
    /// # Errors
    /// As there.
    pub async fn used_by(
        &self,
        reference: &str,
        commit: &str,
        now: Timestamp,
    ) -> Result<(), RecordFault> {
        let of_it = |permit: &Arc<Permit>| {
            matches!(&permit.permit, PermitKind::Rewrite { reference: name, commit: to }
                if name == reference && to == commit)
        };
        let spent: BTreeSet<String> = self
            .all()
            .iter()
            .filter(|permit| !permit.used && of_it(permit))
            .map(|permit| permit.id.clone())
            .collect();
        self.spend(&spent, commit, now).await
    }

    /// Stores a permit.
    pub async fn give(
        &self,
        request: PermitRequest,
        by: &str,
        now: Timestamp,
    ) -> Result<Arc<Permit>, RecordFault> {
        let stored = Stored {
            format: FORMAT.to_owned(),
            fleet: self.fleet.clone(),
            permit: request.permit,
            reason: request.reason,
            by: by.to_owned(),
            time: now,
        };
        let bytes =
            Bytes::from(
                serde_json::to_vec(&stored).map_err(|source| RecordFault::Unreadable {
                    path: "permits".to_owned(),
                    source,
                })?,
            );
        let id = Digest::of(&bytes).to_string();
        self.records
            .create_bytes(&format!("permits/{id}.json"), bytes)
            .await?;
        Ok(self.remember(permit(id, stored)))
    }

    /// All permits, oldest first.
    pub fn all(&self) -> Vec<Arc<Permit>> {
        let mut all: Vec<_> = self.read().permits.values().cloned().collect();
        all.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        all
    }

    /// Those that can still allow something, oldest first. Whether one has ended is the caller's to ask: what was begun
    /// under it is named by it all the same.
    pub fn standing(&self) -> Vec<Arc<Permit>> {
        let signed_only = self.signed_only();
        let mut all = self.all();
        all.retain(|permit| !permit.used && (permit.entry.is_some() || !signed_only));
        all
    }

    /// Changes with each new permit, so that the pipeline can look again.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn remember(&self, permit: Permit) -> Arc<Permit> {
        let permit = self.write().put(permit);
        self.changed.send_modify(|count| *count += 1);
        permit
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permit(id: String, stored: Stored) -> Permit {
    Permit {
        id,
        permit: stored.permit,
        reason: stored.reason,
        by: stored.by,
        time: stored.time,
        used: false,
        until: None,
        entry: None,
    }
}

#[cfg(test)]
mod tests;
