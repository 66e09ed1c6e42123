//! Permits that a person gave: kept in the store at `permits/<sha256>.json`, named by the digest of their bytes.
//!
//! The pipeline asks for them when a change needs one; a statement's `permits` names the digest. Giving the same permit
//! twice keeps both records; each counts as long as what it allows is exactly what is asked for.
//!
//! A rewrite is one act: once a commit that it allowed is sealed, `permits-used/<sha256>.json` says so, and it allows
//! nothing more. That record is written after sealing; a crash between the two is made good at the next start by
//! [`Permits::used_by`] with the commit that was sealed last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_fleet::api::{Permit, PermitKind, PermitRequest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::limits::REASON_BYTES_MAX;
use super::records::{RecordFault, Records};
use countersign_ledger::digest::Digest;

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
#[derive(Debug, Serialize)]
struct Used<'a> {
    commit: &'a str,
    time: Timestamp,
}

/// Why a permit is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPermit {
    /// A reason is part of it.
    #[error("a permit needs a reason, at most {REASON_BYTES_MAX} bytes")]
    NoReason,
    /// A digest has 64 hex digits.
    #[error("manifest must be 64 hex digits, is {got:?}")]
    BadManifest {
        /// As given.
        got: String,
    },
    /// A set of policies is named by its digest.
    #[error("set must be 64 hex digits, is {got:?}")]
    BadSet {
        /// As given.
        got: String,
    },
    /// A commit has 40 hex digits (SHA-256 repositories: 64).
    #[error("commit must be 40 or 64 hex digits, is {got:?}")]
    BadCommit {
        /// As given.
        got: String,
    },
    /// A reference is written in full.
    #[error("reference must begin with refs/, is {got:?}")]
    BadReference {
        /// As given.
        got: String,
    },
    /// An app has a name.
    #[error("app must be the name of an app, is {got:?}")]
    BadApp {
        /// As given.
        got: String,
    },
}

/// Checks and tidies what was asked for. Pure.
pub fn parse(mut request: PermitRequest) -> Result<PermitRequest, BadPermit> {
    let digits = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    request.reason = request.reason.trim().to_owned();
    if request.reason.is_empty() || request.reason.len() > REASON_BYTES_MAX {
        return Err(BadPermit::NoReason);
    }
    match &mut request.permit {
        PermitKind::Deletion { app, manifest } => {
            if app.is_empty() || app.len() > 253 || app.chars().any(char::is_control) {
                return Err(BadPermit::BadApp { got: app.clone() });
            }
            if let Some(rest) = manifest.strip_prefix("sha256:") {
                *manifest = rest.to_owned();
            }
            if manifest.len() != 64 || !digits(manifest) {
                return Err(BadPermit::BadManifest {
                    got: manifest.clone(),
                });
            }
        }
        PermitKind::Policies { set } => {
            if let Some(rest) = set.strip_prefix("sha256:") {
                *set = rest.to_owned();
            }
            if set.len() != 64 || !digits(set) {
                return Err(BadPermit::BadSet { got: set.clone() });
            }
        }
        PermitKind::Rewrite { reference, commit } => {
            if !reference.starts_with("refs/")
                || reference.len() > 1024
                || reference.chars().any(char::is_control)
            {
                return Err(BadPermit::BadReference {
                    got: reference.clone(),
                });
            }
            if !matches!(commit.len(), 40 | 64) || !digits(commit) {
                return Err(BadPermit::BadCommit {
                    got: commit.clone(),
                });
            }
        }
    }
    Ok(request)
}

/// All permits of one store.
#[derive(Debug)]
pub struct Permits {
    fleet: String,
    records: Records,
    known: RwLock<BTreeMap<String, Arc<Permit>>>,
    changed: watch::Sender<u64>,
}

impl Permits {
    /// Reads all permits of this fleet.
    pub async fn load(fleet: &str, records: Records) -> Result<Self, RecordFault> {
        let permits = Self {
            fleet: fleet.to_owned(),
            records,
            known: RwLock::default(),
            changed: watch::Sender::new(0),
        };
        permits.refresh().await?;
        Ok(permits)
    }

    /// Reads what other replicas wrote since.
    pub async fn refresh(&self) -> Result<(), RecordFault> {
        let used: BTreeSet<String> = self
            .records
            .list(USED)
            .await?
            .into_iter()
            .filter_map(|path| {
                Some(
                    path.strip_prefix(USED)?
                        .strip_prefix('/')?
                        .strip_suffix(".json")?
                        .to_owned(),
                )
            })
            .collect();
        self.mark_used(&used);
        for path in self.records.list("permits").await? {
            let known = |id: &str| {
                self.known
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains_key(id)
            };
            let id = path
                .trim_start_matches("permits/")
                .trim_end_matches(".json")
                .to_owned();
            if known(&id) {
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
                let used = used.contains(&id);
                self.remember(Permit {
                    used,
                    ..permit(id, stored)
                });
            }
        }
        Ok(())
    }

    /// The rewrite to `commit` that these permits allowed is sealed: they allow nothing more, after a restart either.
    ///
    /// # Errors
    /// [`RecordFault`]; then they count as used for as long as this process runs.
    pub async fn used_by(
        &self,
        reference: &str,
        commit: &str,
        now: Timestamp,
    ) -> Result<(), RecordFault> {
        let spent: BTreeSet<String> = self
            .all()
            .iter()
            .filter(|permit| {
                !permit.used
                    && matches!(&permit.permit, PermitKind::Rewrite { reference: name, commit: to }
                        if name == reference && to == commit)
            })
            .map(|permit| permit.id.clone())
            .collect();
        self.mark_used(&spent);
        for id in spent {
            let record = Used { commit, time: now };
            self.records
                .create(&format!("{USED}/{id}.json"), &record)
                .await?;
        }
        Ok(())
    }

    fn mark_used(&self, ids: &BTreeSet<String>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(permit) = known.get_mut(id).filter(|permit| !permit.used) {
                *permit = Arc::new(Permit {
                    used: true,
                    ..(**permit).clone()
                });
            }
        }
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
        let mut all: Vec<_> = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        all.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        all
    }

    /// The oldest permit that allows exactly this.
    pub fn find(&self, wanted: &PermitKind) -> Option<Arc<Permit>> {
        self.all()
            .into_iter()
            .find(|permit| permit.permit == *wanted && !permit.used)
    }

    /// Changes with each new permit, so that the pipeline can look again.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn remember(&self, permit: Permit) -> Arc<Permit> {
        let permit = Arc::new(permit);
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(permit.id.clone(), permit.clone());
        self.changed.send_modify(|count| *count += 1);
        permit
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion(manifest: &str) -> PermitRequest {
        PermitRequest {
            permit: PermitKind::Deletion {
                app: "cart".into(),
                manifest: manifest.into(),
            },
            reason: " shop closes ".into(),
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        let digest = "ab".repeat(32);
        let good = parse(deletion(&format!("sha256:{digest}"))).unwrap();
        assert_eq!(
            good,
            PermitRequest {
                reason: "shop closes".into(),
                ..deletion(&digest)
            }
        );
        assert!(matches!(
            parse(deletion("ab")),
            Err(BadPermit::BadManifest { .. })
        ));
        assert!(matches!(
            parse(deletion(&"AB".repeat(32))),
            Err(BadPermit::BadManifest { .. })
        ));
        assert_eq!(
            parse(PermitRequest {
                reason: " ".into(),
                ..deletion(&digest)
            }),
            Err(BadPermit::NoReason)
        );
        for (reference, commit, ok) in [
            ("refs/heads/main", "ab".repeat(20), true),
            ("refs/heads/main", "ab".repeat(32), true),
            ("main", "ab".repeat(20), false),
            ("refs/heads/ma\nin", "ab".repeat(20), false),
            ("refs/heads/main", "HEAD".to_owned(), false),
        ] {
            let request = PermitRequest {
                permit: PermitKind::Rewrite {
                    reference: reference.into(),
                    commit: commit.clone(),
                },
                reason: "history cleaned".into(),
            };
            assert_eq!(parse(request).is_ok(), ok, "{reference} {commit}");
        }
    }

    #[tokio::test]
    async fn a_permit_survives_a_restart_and_allows_exactly_what_it_names() {
        let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
        let permits = Permits::load("acme", store.clone()).await.unwrap();
        let mut watch = permits.watch();
        watch.mark_unchanged();
        let digest = "ab".repeat(32);
        let given = permits
            .give(
                parse(deletion(&digest)).unwrap(),
                "uid 1000",
                Timestamp::UNIX_EPOCH,
            )
            .await
            .unwrap();
        assert!(watch.has_changed().unwrap());
        let again = Permits::load("acme", store.clone()).await.unwrap();
        assert_eq!(again.all(), std::slice::from_ref(&given));
        assert_eq!(again.find(&given.permit), Some(given));
        assert_eq!(again.find(&deletion(&"cd".repeat(32)).permit), None);
        let other_fleet = Permits::load("other", store).await.unwrap();
        assert!(other_fleet.all().is_empty());
    }

    #[tokio::test]
    async fn a_permit_of_a_rewrite_is_used_once_and_that_survives_a_restart() {
        let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
        let permits = Permits::load("acme", store.clone()).await.unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let rewrite = |commit: &str| PermitRequest {
            permit: PermitKind::Rewrite {
                reference: "refs/heads/main".into(),
                commit: commit.repeat(40),
            },
            reason: "history cleaned".into(),
        };
        for (request, by) in [
            (rewrite("1"), "a"),
            (rewrite("1"), "b"),
            (rewrite("2"), "a"),
        ] {
            permits.give(request, by, now).await.unwrap();
        }
        permits
            .used_by("refs/heads/main", &"1".repeat(40), now)
            .await
            .unwrap();
        permits
            .used_by("refs/heads/other", &"2".repeat(40), now)
            .await
            .unwrap();
        for permits in [permits, Permits::load("acme", store).await.unwrap()] {
            assert_eq!(permits.find(&rewrite("1").permit), None);
            assert!(permits.find(&rewrite("2").permit).is_some());
            let used: Vec<bool> = permits.all().iter().map(|permit| permit.used).collect();
            assert_eq!(used.iter().filter(|used| **used).count(), 2, "{used:?}");
        }
    }

    #[tokio::test]
    async fn a_record_changed_in_the_store_allows_nothing() {
        let store = Records::new(Arc::new(object_store::memory::InMemory::new()));
        let permits = Permits::load("acme", store.clone()).await.unwrap();
        let given = permits
            .give(
                parse(deletion(&"ab".repeat(32))).unwrap(),
                "x",
                Timestamp::UNIX_EPOCH,
            )
            .await
            .unwrap();
        let path = format!("permits/{}.json", given.id);
        let bytes = store.read_bytes(&path).await.unwrap().unwrap();
        store.remove(&path).await.unwrap();
        let forged = String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace("abab", "cdcd");
        store.create_bytes(&path, forged.into()).await.unwrap();
        assert!(Permits::load("acme", store).await.unwrap().all().is_empty());
    }
}
