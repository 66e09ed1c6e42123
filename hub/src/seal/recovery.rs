//! What the claims say: the heads of all clusters, and which claim comes next.
//!
//! The normal path and the one after a crash are the same: a claim counts once it is replayed here, whether this
//! process wrote it a moment ago or another one last year.
//!
//! | a crash after | leaves | after it |
//! |---|---|---|
//! | some blobs | blobs that nothing names | they are found and used by the next seal, or stay |
//! | the staging object | a batch that nothing names | the commit is sealed again, with the same generations |
//! | the claim | all of it | it is replayed |

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_ledger::bundle::{self, BundleError};
use countersign_ledger::claim::{Claim, ClaimError};
use countersign_ledger::dsse::{Envelope, EnvelopeError, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::Verify;
use countersign_ledger::statement::{Desired, Statement, StatementError};
use countersign_ledger::trust::Roots;
use countersign_ledger::{Digest, Refusal};

use crate::store::index::Filed;

/// The newest sealed state of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The envelope's exact bytes.
    pub envelope: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What it says.
    pub desired: Desired,
}

/// What all claims so far say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) next: u64,
    pub(super) last: Option<Digest>,
    pub(super) heads: BTreeMap<String, Arc<Head>>,
}

/// A claim that was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) entries: Vec<Filed>,
}

/// Why the record can not be read: somebody changed the store, or a bug wrote to it. The hub does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A claim that is none.
    #[error("claim {number}: {error}")]
    Claim {
        /// Its place.
        number: u64,
        /// Why.
        error: ClaimError,
    },
    /// A claim in another place, or after another claim than the one before it.
    #[error("claim {number} does not follow the claim before it")]
    Order {
        /// Its place.
        number: u64,
    },
    /// A claim is missing though later ones exist.
    #[error("claim {number} is missing, claim {later} exists")]
    Gap {
        /// The missing one.
        number: u64,
        /// One that exists.
        later: u64,
    },
    /// The staging object of a claim is missing.
    #[error("claim {number}: its staging object {staging} is missing")]
    StagingMissing {
        /// The claim.
        number: u64,
        /// The staging object.
        staging: Digest,
    },
    /// The staging object is not the one that was claimed.
    #[error("claim {number}: its staging object has the digest {got}")]
    StagingTampered {
        /// The claim.
        number: u64,
        /// The digest of what lies there.
        got: Digest,
    },
    /// A staging object that is no bundle.
    #[error("claim {number}: {error}")]
    Bundle {
        /// The claim.
        number: u64,
        /// Why.
        error: BundleError,
    },
    /// An entry that is no envelope of a statement of ours.
    #[error("claim {number}, entry {entry}: {problem}")]
    Entry {
        /// The claim.
        number: u64,
        /// Its place in the batch.
        entry: usize,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// The store has another claim than the one that this hub has seen.
    #[error(
        "the store has another claim {number} than the one that this hub has seen: its history was changed"
    )]
    Rewritten {
        /// The last claim that was seen.
        number: u64,
    },
    /// The store has fewer claims than this hub has seen: it was set back to an older day.
    #[error("the store has no claim {number}, which this hub has seen: the store was set back")]
    SetBack {
        /// The last claim that was seen.
        number: u64,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// No envelope.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
    /// Another payload type.
    #[error("is no statement")]
    PayloadType,
    /// No statement.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// No signature of a sealer.
    #[error("bears no signature of a sealer key of the trust root")]
    Signature,
    /// Generations of a cluster are dense, and each names the one before.
    #[error("generation {got} of {cluster} does not follow generation {had}")]
    Generation {
        /// The cluster.
        cluster: String,
        /// The generation before.
        had: u64,
        /// The entry's.
        got: u64,
    },
}

impl Record {
    /// Begins where an index ended: at its last claim, with its heads.
    pub(super) fn resume(last: Option<(u64, Digest)>, heads: Vec<Bytes>) -> Result<Self, Refusal> {
        let mut record = Self {
            next: 0,
            last: None,
            heads: BTreeMap::new(),
        };
        if let Some((number, digest)) = last {
            record.next = number.saturating_add(1);
            record.last = Some(digest);
        }
        for bytes in heads {
            let envelope = Envelope::parse(&bytes, &Limits::entry())?;
            let Statement::Desired(desired) = Statement::parse(envelope.payload())? else {
                return Err(Refusal::NotDesired);
            };
            let head = Head {
                digest: envelope.digest(),
                envelope: bytes,
                desired,
            };
            record
                .heads
                .insert(head.desired.cluster.clone(), Arc::new(head));
        }
        Ok(record)
    }

    /// The next claim for a staging object.
    pub(super) fn claim(&self, staging: Digest) -> Claim {
        Claim {
            number: self.next,
            previous: self.last,
            staging,
            checkpoint: None,
        }
    }

    /// Reads the next claim, before its staging object is fetched.
    pub(super) fn read_claim(&self, bytes: &[u8]) -> Result<Claim, RecordError> {
        let number = self.next;
        let claim = Claim::parse(bytes).map_err(|error| RecordError::Claim { number, error })?;
        if claim.number != number || claim.previous != self.last {
            return Err(RecordError::Order { number });
        }
        Ok(claim)
    }

    /// Replays the next claim and its staging object: all of it, or nothing.
    pub(super) fn replay(
        &mut self,
        bytes: &[u8],
        staging: &Bytes,
        roots: &Roots,
        verifier: &dyn Verify,
    ) -> Result<Replayed, RecordError> {
        let claim = self.read_claim(bytes)?;
        let number = claim.number;
        let got = Digest::of(staging);
        if got != claim.staging {
            return Err(RecordError::StagingTampered { number, got });
        }
        let mut heads: BTreeMap<String, Arc<Head>> = BTreeMap::new();
        let mut entries = Vec::new();
        let bundle =
            bundle::decode(staging).map_err(|error| RecordError::Bundle { number, error })?;
        for (place, bytes) in bundle.into_iter().enumerate() {
            let bytes = staging.slice_ref(bytes);
            let filed = self.entry(bytes, &mut heads, roots, verifier);
            entries.push(filed.map_err(|problem| RecordError::Entry {
                number,
                entry: place,
                problem,
            })?);
        }
        let digest = Digest::of(bytes);
        self.next = number.saturating_add(1);
        self.last = Some(digest);
        self.heads.append(&mut heads);
        Ok(Replayed {
            number,
            digest,
            entries,
        })
    }

    fn entry(
        &self,
        bytes: Bytes,
        heads: &mut BTreeMap<String, Arc<Head>>,
        roots: &Roots,
        verifier: &dyn Verify,
    ) -> Result<Filed, EntryProblem> {
        let envelope = Envelope::parse(&bytes, &Limits::entry())?;
        if envelope.payload_type() != PAYLOAD_TYPE {
            return Err(EntryProblem::PayloadType);
        }
        let desired = match Statement::parse(envelope.payload())? {
            Statement::Source(source) => {
                let sealers = roots
                    .iter()
                    .flat_map(|root| root.document().sealers.values().flatten());
                if envelope
                    .signed_by(sealers.map(|sealer| &sealer.key), verifier)
                    .is_empty()
                {
                    return Err(EntryProblem::Signature);
                }
                return Ok(Filed::Source {
                    commit: source.new,
                    leaf: envelope.leaf_hash(),
                    envelope: bytes,
                });
            }
            Statement::Desired(desired) => desired,
            Statement::Receipt(_)
            | Statement::Drift(_)
            | Statement::Enrolment(_)
            | Statement::Revocation(_)
            | Statement::TrustEntry(_)
            | Statement::Override(_)
            | Statement::Infrastructure(_)
            | Statement::Reproduction(_) => return Err(EntryProblem::PayloadType),
        };
        let root = roots
            .at(desired.trust_root)
            .unwrap_or_else(|| roots.pinned());
        if envelope
            .signed_by(root.sealers(&desired.environment), verifier)
            .is_empty()
        {
            return Err(EntryProblem::Signature);
        }
        let before = heads
            .get(&desired.cluster)
            .or_else(|| self.heads.get(&desired.cluster));
        let had = before.map_or(0, |head| head.desired.generation);
        if had.checked_add(1) != Some(desired.generation)
            || desired.previous != before.map(|head| head.digest)
        {
            let (cluster, got) = (desired.cluster, desired.generation);
            return Err(EntryProblem::Generation { cluster, had, got });
        }
        let (cluster, generation) = (desired.cluster.clone(), desired.generation);
        let head = Head {
            envelope: bytes.clone(),
            digest: envelope.digest(),
            desired,
        };
        heads.insert(cluster.clone(), Arc::new(head));
        Ok(Filed::Desired {
            cluster,
            generation,
            envelope: bytes,
        })
    }
}
