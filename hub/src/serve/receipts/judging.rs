//! A request's envelopes against the chain of their receipt key: the prefix that belongs into the log, and why the next does not.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::receipt::{Chain, Offer, ReceiptRefusal};
use countersign_ledger::statement::Statement;
use tonic::Status;

use crate::log::{Entry, Log, receipts};
use crate::serve::refuse::fault;

/// The chain of a receipt key, as the log has it, and what a request adds.
pub(super) struct Judging<'a> {
    log: &'a Log,
    speaker: String,
    pub(super) chain: Chain,
    /// Taken from this request, by seq.
    pub(super) new: BTreeMap<u64, Bytes>,
    pub(super) entries: Vec<Entry>,
    pub(super) leaves: Vec<Digest>,
    /// Nonces that new receipts carry, with the leaf hash of each.
    pub(super) nonces: Vec<(String, Digest)>,
}

/// Why an envelope is not taken.
pub(super) enum No {
    Receipt(ReceiptRefusal),
    /// It bears other signatures beside that of the receipt key.
    Signatures,
    /// It names a blob that is not here.
    BlobMissing(Digest),
}

impl No {
    pub(super) fn told(&self) -> (&'static str, String) {
        match self {
            Self::Receipt(refusal) => (refusal.code(), refusal.to_string()),
            Self::Signatures => (
                "RECEIPT_SIGNATURES",
                "a receipt bears one signature, that of the cluster's receipt key".to_owned(),
            ),
            Self::BlobMissing(digest) => (
                "BLOB_MISSING",
                format!("the receipt names blob {digest}, which is not here"),
            ),
        }
    }
}

impl<'a> Judging<'a> {
    /// What is judged follows `chain`, that of the key with the id `speaker`.
    pub(super) fn new(log: &'a Log, speaker: String, chain: Chain) -> Self {
        Self {
            log,
            speaker,
            chain,
            new: BTreeMap::new(),
            entries: Vec::new(),
            leaves: Vec::new(),
            nonces: Vec::new(),
        }
    }

    pub(super) async fn offer(&mut self, bytes: &Bytes) -> Result<Result<(), No>, Status> {
        let before = self.chain.clone();
        let here = |seq| self.new.get(&seq).cloned();
        let mut offer = self.chain.offer(bytes, here, &RingVerifier);
        if let Err(ReceiptRefusal::Replayed { got, .. }) = &offer
            && let Some(said) = self.said(*got).await?
        {
            offer = self.chain.offer(bytes, |_| Some(said), &RingVerifier);
        }
        let spoken = match offer {
            Ok(Offer::Next(spoken)) => spoken,
            Ok(Offer::Again { seq }) => {
                let leaf = match self.new.get(&seq) {
                    Some(bytes) => Some(leaf_hash(bytes)),
                    None => {
                        let known = self.log.spoken(&self.speaker, seq);
                        known.map_err(|error| fault(&error))?.map(|it| it.leaf)
                    }
                };
                self.leaves.extend(leaf);
                return Ok(Ok(()));
            }
            Err(refusal) => return Ok(Err(No::Receipt(refusal))),
        };
        if let Err(no) = self.next(bytes, &spoken.statement).await? {
            self.chain = before;
            return Ok(Err(no));
        }
        self.new.insert(spoken.seq, bytes.clone());
        Ok(Ok(()))
    }

    async fn next(
        &mut self,
        bytes: &Bytes,
        statement: &Statement,
    ) -> Result<Result<(), No>, Status> {
        let envelope = match Envelope::parse(bytes, &Limits::entry()) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(No::Receipt(error.into()))),
        };
        match envelope.signatures() {
            [one] if one.keyid == self.speaker => {}
            _ => return Ok(Err(No::Signatures)),
        }
        for name in receipts::names(statement) {
            let here = self.log.has_blob(&name).await;
            if !here.map_err(|error| fault(&error))? {
                return Ok(Err(No::BlobMissing(name)));
            }
        }
        let leaf = envelope.leaf_hash();
        self.leaves.push(leaf);
        let nonce = match statement {
            Statement::Receipt(said) => Some(said.nonce.clone()),
            Statement::Drift(said) => Some(said.nonce.clone()),
            _ => None,
        };
        self.nonces.extend(nonce.map(|nonce| (nonce, leaf)));
        self.entries.push(Entry {
            bytes: bytes.clone(),
            filed: receipts::filed(&envelope, statement),
        });
        Ok(Ok(()))
    }

    /// What was said under an earlier `seq`, out of the log.
    async fn said(&self, seq: u64) -> Result<Option<Bytes>, Status> {
        let known = self.log.spoken(&self.speaker, seq);
        match known.map_err(|error| fault(&error))? {
            Some(known) => self
                .log
                .entry_of(&known.leaf)
                .await
                .map_err(|error| fault(&error)),
            None => Ok(None),
        }
    }
}
