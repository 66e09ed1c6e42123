//! Keys that speak no more, by a person's word: `revoked/<cluster>/<number of the registration>.json`.
//!
//! The record is written first and counts at once; the entry in the log follows from it, also after a crash.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Registry, key_text};
use crate::serve::records::{RecordFault, Written};

/// A key that speaks no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// The cluster that it spoke for.
    pub cluster: String,
    /// Number of its registration.
    pub number: u64,
    /// The receipt key.
    #[serde(with = "key_text")]
    pub key: [u8; 32],
    /// Why.
    pub reason: String,
    /// Who said so, as far as the hub can tell.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

impl Revoked {
    fn path(&self) -> String {
        format!("revoked/{}/{:06}.json", self.cluster, self.number)
    }
}

impl Registry {
    /// The key registered for `cluster` speaks no more from now on; none if nobody is registered. What was said first stands.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the record may stand or not; asking again gives the same.
    pub async fn revoke(
        &self,
        cluster: &str,
        reason: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Revoked>>, RecordFault> {
        let Some(registered) = self.get(cluster) else {
            return Ok(None);
        };
        if let Some(known) = self.revoked(&registered.key) {
            return Ok(Some(known));
        }
        let record = Revoked {
            cluster: cluster.to_owned(),
            number: registered.number,
            key: registered.key,
            reason: reason.to_owned(),
            by: by.to_owned(),
            since: now,
        };
        match self.records.create(&record.path(), &record).await? {
            Written::Created => Ok(Some(self.remember_revoked(record))),
            Written::Taken => {
                self.refresh_revoked().await?;
                Ok(self.revoked(&registered.key))
            }
        }
    }

    /// What is known of a key that speaks no more.
    pub fn revoked(&self, key: &[u8; 32]) -> Option<Arc<Revoked>> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.get(key).cloned()
    }

    /// All keys that speak no more.
    pub fn all_revoked(&self) -> Vec<Arc<Revoked>> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.values().cloned().collect()
    }

    pub(super) async fn refresh_revoked(&self) -> Result<(), RecordFault> {
        for path in self.records.list("revoked").await? {
            if self.all_revoked().iter().any(|known| known.path() == path) {
                continue;
            }
            if let Some(record) = self.records.read::<Revoked>(&path).await? {
                self.remember_revoked(record);
            }
        }
        Ok(())
    }

    fn remember_revoked(&self, record: Revoked) -> Arc<Revoked> {
        let record = Arc::new(record);
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(record.key, Arc::clone(&record));
        record
    }
}
