//! The hub's log in an attacker's hands: its entries, its key, and any tree that the attacker likes to sign.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use countersign_ledger::{
    Digest,
    digest::leaf_hash,
    dsse,
    key::FileKey,
    statement::Statement,
    tlog::{
        checkpoint::Checkpoint,
        cosignature,
        merkle::{self, EMPTY_ROOT, ProofError, node_hash},
        note::Note,
    },
    trust::log_name,
};
use countersign_proto::agent::v1::{Head, LogEntry, LogProof};

use super::entries;

/// A log as an attacker shows it.
#[derive(Debug, Clone)]
pub struct StolenLog {
    origin: String,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Digest>,
    key: Arc<FileKey>,
    cosigners: Vec<Cosigner>,
}

/// Who cosigns what a thief shows: a witness's name, its key, and the time that it says, seconds since 1970.
#[derive(Debug, Clone)]
pub struct Cosigner {
    /// The name in its key.
    pub name: String,
    /// Its key, stolen or somebody else's.
    pub key: Arc<FileKey>,
    /// The time of the cosignature.
    pub time: u64,
}

impl StolenLog {
    /// The log in a hub's store, all of whose keys lie in `keys`.
    ///
    /// # Errors
    /// If the store or the key can't be read.
    pub fn take(fleet: &str, store: &Path, keys: &Path) -> anyhow::Result<Self> {
        let pem = std::fs::read_to_string(keys.join("log.key")).context("read the log's key")?;
        let mut log = Self {
            origin: log_name(fleet),
            entries: Vec::new(),
            leaves: Vec::new(),
            key: Arc::new(FileKey::from_pem(&pem)?),
            cosigners: Vec::new(),
        };
        let mut claims: Vec<_> = std::fs::read_dir(store.join("claims"))?
            .map(|claim| Ok(claim?.path()))
            .collect::<std::io::Result<_>>()?;
        claims.sort();
        for claim in claims.iter().filter(|path| path.is_file()) {
            let claim = countersign_ledger::claim::Claim::parse(&std::fs::read(claim)?)?;
            let staged = std::fs::read(store.join("staging").join(claim.staging.to_string()))?;
            for entry in entries(&staged) {
                log.append(entry);
            }
        }
        Ok(log)
    }

    /// The same log, cosigned by these.
    #[must_use]
    pub fn cosigned_by(mut self, cosigners: &[Cosigner]) -> Self {
        self.cosigners = cosigners.to_vec();
        self
    }

    /// The same log, signed with another key.
    #[must_use]
    pub fn signed_with(mut self, key: FileKey) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// The log as it was when it had `size` entries.
    #[must_use]
    pub fn cut(mut self, size: usize) -> Self {
        self.entries.truncate(size);
        self.leaves.truncate(size);
        self
    }

    /// How many entries it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.leaves.len()
    }

    /// How many of its entries are what clusters said.
    #[must_use]
    pub fn receipts(&self) -> usize {
        self.said().count()
    }

    /// The newest of what clusters said.
    #[must_use]
    pub fn newest_receipt(&self) -> Option<Vec<u8>> {
        self.said().last().cloned()
    }

    fn said(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.entries.iter().filter(|entry| {
            dsse::Envelope::parse(entry, &dsse::Limits::entry())
                .ok()
                .and_then(|envelope| Statement::parse(envelope.payload()).ok())
                .is_some_and(|said| matches!(said, Statement::Receipt(_) | Statement::Drift(_)))
        })
    }

    /// Whether this entry is in it.
    #[must_use]
    pub fn has(&self, entry: &[u8]) -> bool {
        self.leaves.contains(&leaf_hash(entry))
    }

    /// The first word of a second renderer in it about this state.
    #[must_use]
    pub fn word_about(&self, state: &[u8]) -> Option<Vec<u8>> {
        let leaf = leaf_hash(state);
        let about = |entry: &&Vec<u8>| {
            dsse::Envelope::parse(entry, &dsse::Limits::entry())
                .ok()
                .and_then(|envelope| Statement::parse(envelope.payload()).ok())
                .is_some_and(
                    |said| matches!(said, Statement::Reproduction(said) if said.desired == leaf),
                )
        };
        self.entries.iter().find(about).cloned()
    }

    /// Adds an entry unless it is there.
    pub fn append(&mut self, entry: &[u8]) {
        let leaf = leaf_hash(entry);
        if !self.leaves.contains(&leaf) {
            self.leaves.push(leaf);
            self.entries.push(entry.to_vec());
        }
    }

    /// Replaces an entry, as if it had never been: history is written anew.
    pub fn rewrite(&mut self, index: usize, entry: &[u8]) {
        self.leaves[index] = leaf_hash(entry);
        self.entries[index] = entry.to_vec();
    }

    /// The signed checkpoint of the whole log.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.leaves.len() as u64,
            root: root(&self.leaves),
        };
        let mut note = Note::new(&checkpoint.text())?;
        note.sign(&self.origin, self.key.as_ref())?;
        let text = note.text().to_owned();
        let mut bytes = note.bytes();
        for by in &self.cosigners {
            // As it is: the same line may be there twice.
            let signature = cosignature::sign(&by.name, by.key.as_ref(), by.time, &text)?;
            bytes.extend_from_slice(signature.line().as_bytes());
        }
        Ok(bytes)
    }

    /// Writes it into a folder as static files, for whoever reads it there.
    ///
    /// # Errors
    /// If a file can't be written, or there are more entries than one tile holds.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let size = self.size();
        anyhow::ensure!((1..256).contains(&size), "{size} entries");
        let entries = countersign_ledger::bundle::encode(self.entries.iter().map(Vec::as_slice))?;
        let hashes: Vec<u8> = self
            .leaves
            .iter()
            .flat_map(|leaf| leaf.as_bytes().to_vec())
            .collect();
        for (path, bytes) in [
            (format!("tile/entries/000.p/{size}"), entries),
            (format!("tile/0/000.p/{size}"), hashes),
            ("checkpoint".to_owned(), self.checkpoint()?),
        ] {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }

    /// That the tree of the first `old` entries is a prefix of the whole.
    ///
    /// # Errors
    /// If there is no such tree.
    pub fn consistency(&self, old: usize) -> anyhow::Result<Vec<Digest>> {
        let size = self.leaves.len() as u64;
        Ok(merkle::consistency_proof::<ProofError>(
            old as u64,
            size,
            self.node(),
        )?)
    }

    /// A head that looks as the hub's does for an agent whose last checkpoint had `tree_size` entries: with the checkpoint,
    /// its consistency proof as far as there is one, and a proof for each envelope and its source that the log has.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn dress(&self, head: Head, tree_size: u64) -> anyhow::Result<Head> {
        let size = self.leaves.len() as u64;
        let consistency = merkle::consistency_proof::<ProofError>(tree_size, size, self.node());
        let mut sources = Vec::new();
        for bytes in &head.envelopes {
            let Ok(envelope) = dsse::Envelope::parse(bytes, &dsse::Limits::entry()) else {
                continue;
            };
            let Ok(Statement::Desired(desired)) = Statement::parse(envelope.payload()) else {
                continue;
            };
            if let Some(index) = self.leaves.iter().position(|leaf| *leaf == desired.source) {
                sources.push(LogEntry {
                    envelope: self.entries[index].clone().into(),
                    proof: Some(self.proof(index)?),
                });
            }
        }
        let proofs = head.envelopes.iter().map(|envelope| {
            let leaf = leaf_hash(envelope);
            let index = self.leaves.iter().position(|other| *other == leaf);
            index.map_or_else(|| Ok(LogProof::default()), |index| self.proof(index))
        });
        Ok(Head {
            checkpoint: self.checkpoint()?.into(),
            consistency: consistency.map(|hashes| wire(&hashes)).unwrap_or_default(),
            proofs: proofs.collect::<anyhow::Result<_>>()?,
            sources,
            reproductions: self.words(&head.reproductions)?,
            overrides: self.words(&head.overrides)?,
            ..head
        })
    }

    /// What others are made to say, each with its proof if the log has it.
    fn words(&self, said: &[LogEntry]) -> anyhow::Result<Vec<LogEntry>> {
        let word = |word: &LogEntry| {
            let leaf = leaf_hash(&word.envelope);
            let index = self.leaves.iter().position(|other| *other == leaf);
            Ok(LogEntry {
                envelope: word.envelope.clone(),
                proof: index.map(|index| self.proof(index)).transpose()?,
            })
        };
        said.iter().map(word).collect()
    }

    fn proof(&self, index: usize) -> anyhow::Result<LogProof> {
        let size = self.leaves.len() as u64;
        let index = index as u64;
        let hashes = merkle::inclusion_proof::<ProofError>(index, size, self.node())?;
        Ok(LogProof {
            index,
            hashes: wire(&hashes),
        })
    }

    fn node(&self) -> impl FnMut(merkle::NodeId) -> Result<Digest, ProofError> {
        |node| {
            let width = 1_usize << node.level;
            let from = usize::try_from(node.index).unwrap_or(usize::MAX) * width;
            Ok(root(&self.leaves[from..from + width]))
        }
    }
}

/// The root over `leaves` (RFC 6962, 2.1).
fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            node_hash(&root(&leaves[..half]), &root(&leaves[half..]))
        }
    }
}

fn wire(hashes: &[Digest]) -> Vec<bytes::Bytes> {
    hashes
        .iter()
        .map(|hash| bytes::Bytes::copy_from_slice(hash.as_bytes()))
        .collect()
}
