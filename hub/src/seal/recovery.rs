//! What the claims say: the heads of all clusters.
//!
//! The normal path and the one after a crash are the same: an entry counts once it is taken in here, whether this
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
use countersign_ledger::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::Verify;
use countersign_ledger::statement::{Desired, Statement};
use countersign_ledger::trust::Roots;
use countersign_ledger::{Digest, Refusal};

use crate::log::{EntryProblem, RecordError, enrolments, outside, receipts};
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

/// What all entries so far say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) heads: BTreeMap<String, Arc<Head>>,
}

impl Record {
    /// Begins where an index ended: with its heads.
    pub(super) fn resume(heads: Vec<Bytes>) -> Result<Self, Refusal> {
        let mut record = Self::default();
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

    /// Takes in the entries of claim `number`: all of them, or nothing.
    pub(super) fn take(
        &mut self,
        number: u64,
        entries: &[Bytes],
        roots: &Roots,
        verifier: &dyn Verify,
    ) -> Result<Vec<Filed>, RecordError> {
        let mut heads: BTreeMap<String, Arc<Head>> = BTreeMap::new();
        let mut filed = Vec::with_capacity(entries.len());
        for (entry, bytes) in entries.iter().enumerate() {
            let taken = self.entry(bytes.clone(), &mut heads, roots, verifier);
            filed.push(taken.map_err(|problem| RecordError::Entry {
                number,
                entry,
                problem,
            })?);
        }
        self.heads.append(&mut heads);
        Ok(filed)
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
            Statement::TrustEntry(entry) => {
                return Ok(Filed::Trust {
                    version: entry.version,
                    leaf: envelope.leaf_hash(),
                });
            }
            // Whoever appended them checked them; they change no head.
            statement @ (Statement::Receipt(_) | Statement::Drift(_)) => {
                return Ok(receipts::filed(&envelope, &statement));
            }
            Statement::Enrolment(said) => {
                return Ok(enrolments::enrolled(&said, envelope.leaf_hash()));
            }
            Statement::Revocation(said) => {
                return Ok(enrolments::revoked(&said, envelope.leaf_hash()));
            }
            statement @ (Statement::Override(_)
            | Statement::Infrastructure(_)
            | Statement::Reproduction(_)) => return Ok(outside::filed(&envelope, &statement)),
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
        let admission = [desired.admission.policies, desired.admission.verdicts];
        let names = admission.into_iter().flatten().collect();
        let manifest = desired.manifest;
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
            manifest,
            names,
        })
    }
}
