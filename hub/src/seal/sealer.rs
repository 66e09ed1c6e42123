//! The sealer: one batch at a time, from states to heads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::dsse::{self, Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::manifest::SectionList;
use countersign_ledger::trust::Roots;
use tokio::sync::Mutex;

use super::batch::{self, Built};
use super::recovery::Record;
use super::statement::{self, Draft};
use super::writer::{Claims, Writer};
use super::{
    Batch, Heads, Next, OpenError, SealError, Sealed, Signer, SourceEntry, Unsealed, open, writer,
};
use crate::log::{self, Entry, Log};
use crate::store::index::Index;
use crate::store::{Created, Store, trust_path};

/// What a sealer is made of.
pub struct Parts {
    /// The object store.
    pub store: Store,
    /// The index.
    pub index: Arc<Index>,
    /// The trust roots.
    pub roots: Roots,
    /// The sealer key of each environment.
    pub signers: BTreeMap<String, Arc<dyn Signer>>,
    /// The log; none if the trust root lists none.
    pub log: Option<log::Parts>,
}

/// Seals batches, and reads back what was sealed.
pub struct Sealer {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    roots: Roots,
    signers: BTreeMap<String, Arc<dyn Signer>>,
    log: Option<Log>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) record: Record,
    writer: Writer,
    /// What the newest manifests that were sealed since the start name, sorted, by cluster: all of it lies in the store.
    names: BTreeMap<String, Vec<Digest>>,
    /// Whether a claim's fate is not known, so that the record must be read again.
    stopped: bool,
}

impl Sealer {
    /// Reads the record and begins where it ends.
    pub async fn open(parts: Parts) -> Result<(Self, Heads), OpenError> {
        let Parts {
            store,
            index,
            roots,
            signers,
            log,
        } = parts;
        open::check_signers(&roots, &signers)?;
        for root in roots.iter() {
            let bytes = Bytes::copy_from_slice(root.bytes());
            if store.create(&trust_path(root.version()), bytes).await? != Created::Ours {
                return Err(OpenError::TrustRootConflict(root.version()));
            }
        }
        let keys = log.as_ref().map_or(&[][..], |log| &log.keys);
        let (record, chain) = open::recover(&store, &index, &roots, keys).await?;
        let log = match log {
            Some(parts) => {
                Some(Log::start(store.clone(), Arc::clone(&index), chain.clone(), parts).await?)
            }
            None => None,
        };
        let heads = record.heads.clone();
        let writer = match &log {
            Some(log) => Writer::Log(log.clone()),
            None => Writer::Claims(Claims {
                store: store.clone(),
                index: Arc::clone(&index),
                chain,
            }),
        };
        let state = Mutex::new(State {
            record,
            writer,
            names: BTreeMap::new(),
            stopped: false,
        });
        Ok((
            Self {
                store,
                index,
                roots,
                signers,
                log,
                state,
            },
            heads,
        ))
    }

    /// Seals one commit's batch: its `source` entry, then a `desired` entry for each of `states` that changed. When it
    /// returns, the batch is part of the record and survives everything that the store survives.
    ///
    /// # Cancel safety
    /// Dropped before the batch is written, nothing has happened. Dropped while it is written, the sealer stops
    /// ([`SealError::Stopped`]), because its record may lag.
    pub async fn seal(
        &self,
        source: SourceEntry,
        states: Vec<Unsealed>,
    ) -> Result<Batch, SealError> {
        let mut state = self.state.lock().await;
        if state.stopped {
            return Err(SealError::Stopped);
        }
        self.check_clusters(&states)?;
        let trust_root = self.roots.newest().version();
        let built = build(states).await?;
        let built: Vec<Built> = built
            .into_iter()
            .map(|mut built| {
                if let Some(names) = state.names.get(&built.cluster) {
                    built
                        .elsewhere
                        .retain(|digest| names.binary_search(digest).is_err());
                }
                built
            })
            .filter(|built| {
                let head = state.record.heads.get(&built.cluster);
                statement::is_needed(head.map(Arc::as_ref), &built.manifest.digest(), trust_root)
            })
            .collect();

        let mut entries = Vec::with_capacity(built.len() + 1);
        let (commit, leaf) = self.source_entry(source, &mut entries).await?;
        if entries.is_empty() && built.is_empty() {
            return Ok(Batch {
                claim: None,
                source: leaf,
                sealed: Vec::new(),
            });
        }
        for built in &built {
            entries.push(
                self.desired_entry(built, &state.record, &commit, leaf)
                    .await?,
            );
        }
        let mut filed = Vec::new();
        let mut likely = Vec::with_capacity(built.len());
        for built in &built {
            let before = self.list_before(&state.record, &built.cluster).await?;
            likely.push(self.write_blobs(built, before.as_ref(), &mut filed).await?);
        }

        // Nothing is claimed that could not be taken in.
        let mut record = state.record.clone();
        let next = state.writer.next();
        let taken = record.take(next, &entries, &self.roots, &RingVerifier)?;
        let entries = entries.into_iter().zip(taken);
        let entries = entries.map(|(bytes, filed)| Entry { bytes, filed });
        // From here until the end the fate of the claim is open; if this future is dropped, it stays open.
        state.stopped = true;
        let claim = match state.writer.append(entries.collect(), filed).await {
            Ok(claim) => claim,
            Err(error) => {
                state.stopped = error.next() == Next::Reopen;
                return Err(error);
            }
        };
        state.record = record;
        state.stopped = false;
        let sealed = built.into_iter().zip(likely).filter_map(|(built, likely)| {
            let head = Arc::clone(state.record.heads.get(&built.cluster)?);
            let section_list = Bytes::copy_from_slice(built.manifest.list_bytes());
            Some(Sealed {
                head,
                section_list,
                likely,
                names: built.names(),
            })
        });
        let sealed: Vec<Sealed> = sealed.collect();
        for sealed in &sealed {
            let cluster = sealed.head.desired.cluster.clone();
            state.names.insert(cluster, sealed.names.clone());
        }
        Ok(Batch {
            claim,
            source: leaf,
            sealed,
        })
    }

    /// Whether there is a key for this environment; without one its clusters wait.
    #[must_use]
    pub fn seals(&self, environment: &str) -> bool {
        self.signers.contains_key(environment)
    }

    /// The log that batches go into; none if the trust root lists none.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    fn check_clusters(&self, states: &[Unsealed]) -> Result<(), SealError> {
        let mut seen = BTreeSet::new();
        for state in states {
            let cluster = &state.cluster;
            if !seen.insert(cluster) {
                return Err(SealError::ClusterTwice(cluster.clone()));
            }
            let trust = self
                .roots
                .newest()
                .cluster(cluster)
                .map_err(|_| SealError::ClusterUnknown(cluster.clone()))?;
            if trust.environment != state.environment {
                let (want, got) = (trust.environment.clone(), state.environment.clone());
                return Err(SealError::Environment {
                    cluster: cluster.clone(),
                    want,
                    got,
                });
            }
        }
        Ok(())
    }

    /// The commit and the leaf hash of its `source` entry, which is added to `entries` if it is new.
    async fn source_entry(
        &self,
        source: SourceEntry,
        entries: &mut Vec<Bytes>,
    ) -> Result<(String, Digest), SealError> {
        let source = match source {
            SourceEntry::Known { commit } => {
                let known = self.index.source(&commit)?;
                let (leaf, _) = known.ok_or_else(|| SealError::SourceUnknown(commit.clone()))?;
                return Ok((commit, leaf));
            }
            SourceEntry::Moved(source) => source,
        };
        let want = self.roots.newest().fleet();
        if source.fleet != want {
            return Err(SealError::Fleet {
                want: want.to_owned(),
                got: source.fleet,
            });
        }
        let of = || "source".to_owned();
        let payload = source
            .payload()
            .map_err(|error| SealError::Statement { of: of(), error })?;
        // Every environment's agents and auditors can check it: each sealer signs.
        let environments: Vec<&String> = self.signers.keys().collect();
        let envelope = self.sign(of(), &payload, &environments).await?;
        let leaf = envelope.leaf_hash();
        entries.push(Bytes::copy_from_slice(envelope.bytes()));
        Ok((source.new, leaf))
    }

    async fn desired_entry(
        &self,
        built: &Built,
        record: &Record,
        commit: &str,
        source: Digest,
    ) -> Result<Bytes, SealError> {
        let root = self.roots.newest();
        let draft = Draft {
            fleet: root.fleet(),
            cluster: &built.cluster,
            environment: &built.environment,
            manifest: built.manifest.digest(),
            commit,
            source,
            renderer: &built.renderer,
            admission: &built.admission,
            ring: &built.ring,
            trust_root: root.version(),
            permits: &built.permits,
        };
        let cluster = || built.cluster.clone();
        let head = record.heads.get(&built.cluster).map(Arc::as_ref);
        let desired =
            statement::next(&draft, head).ok_or_else(|| SealError::GenerationsUsedUp(cluster()))?;
        let payload = desired.payload().map_err(|error| SealError::Statement {
            of: cluster(),
            error,
        })?;
        let envelope = self
            .sign(cluster(), &payload, &[&built.environment])
            .await?;
        Ok(Bytes::copy_from_slice(envelope.bytes()))
    }

    async fn sign(
        &self,
        of: String,
        payload: &[u8],
        environments: &[&String],
    ) -> Result<Envelope, SealError> {
        let message = dsse::pae(PAYLOAD_TYPE, payload);
        let mut signatures: Vec<(PublicKey, [u8; 64])> = Vec::with_capacity(environments.len());
        for environment in environments {
            let Some(signer) = self.signers.get(*environment) else {
                return Err(SealError::SignerMissing((*environment).clone()));
            };
            let signed = signer.sign(&message).await;
            let signature = signed.map_err(|fault| SealError::Sign {
                environment: (*environment).clone(),
                fault,
            })?;
            signatures.push((signer.public(), signature));
        }
        let envelope = Envelope::assemble(PAYLOAD_TYPE, payload, &signatures);
        Envelope::parse(envelope.bytes(), &Limits::entry())
            .map_err(|error| SealError::Envelope { of, error })
    }

    async fn list_before(
        &self,
        record: &Record,
        cluster: &str,
    ) -> Result<Option<SectionList>, SealError> {
        match record.heads.get(cluster) {
            Some(head) => self.section_list(&head.desired.manifest).await,
            None => Ok(None),
        }
    }

    /// Writes all blobs of a state that are new; adds to `filed` what lies in the store then; returns what an agent is
    /// likely to lack.
    async fn write_blobs(
        &self,
        built: &Built,
        before: Option<&SectionList>,
        filed: &mut Vec<Digest>,
    ) -> Result<Vec<(Digest, Bytes)>, SealError> {
        let elsewhere = self.index.unknown_blobs(built.elsewhere.iter().copied())?;
        if let Some(digest) = writer::missing(&self.store, elsewhere.clone()).await? {
            return Err(SealError::BlobMissing {
                cluster: built.cluster.clone(),
                digest,
            });
        }
        let mut new = built.parts(before);
        let unknown = self.index.unknown_blobs(built.given.keys().copied())?;
        new.extend(
            unknown
                .iter()
                .filter_map(|digest| Some((*digest, built.given.get(digest)?.clone()))),
        );
        writer::put_blobs(
            &self.store,
            new.iter().map(|(_, bytes)| bytes.clone()).collect(),
        )
        .await?;
        filed.extend(elsewhere);
        filed.extend(unknown);
        Ok(new)
    }
}

/// Builds manifests on a thread where they block nobody.
async fn build(states: Vec<Unsealed>) -> Result<Vec<Built>, SealError> {
    let build = move || states.into_iter().map(batch::build).collect();
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|_| SealError::Cut)?
}
