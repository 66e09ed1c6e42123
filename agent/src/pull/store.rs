//! The blobs of one arrival, from wherever they are at hand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::refusal::Refusal;
use countersign_proto::agent::v1 as proto;

use super::hub::{self, HubFault};
use super::{Failure, wire};
use crate::engine::Engine;
use crate::saved::Saved;
use crate::verify::Untrusted;

/// Blobs asked for in one call; what comes is checked and written before the next call.
pub(super) const BLOBS_PER_CALL: usize = 256;

/// Blobs of one arrival: those attached, those on disk, those fetched.
pub(super) struct Store<'a> {
    pub(super) saved: &'a Arc<Saved>,
    pub(super) attached: HashMap<Digest, Bytes>,
    /// Not yet on disk.
    pub(super) fetched: Vec<(Digest, Bytes)>,
    /// How long the hub and the disk were waited for.
    pub(super) waited: Duration,
}

impl Store<'_> {
    /// Has `digests` at hand afterwards, or fails.
    pub(super) async fn need(
        &mut self,
        client: &mut hub::Client,
        engine: &Engine,
        digests: Vec<Digest>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let done = self.fetch(client, engine, digests).await;
        self.waited += began.elapsed();
        done
    }

    async fn fetch(
        &mut self,
        client: &mut hub::Client,
        engine: &Engine,
        digests: Vec<Digest>,
    ) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for digest in digests {
            if let Some(bytes) = self.attached.remove(&digest) {
                self.fetched.push((digest, bytes));
            } else if !self.saved.has(&digest) {
                missing.push(digest);
            }
        }
        for batch in missing.chunks(BLOBS_PER_CALL) {
            let digests = batch
                .iter()
                .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
                .collect();
            let mut blobs = client
                .blobs(proto::BlobsRequest { digests })
                .await
                .map_err(HubFault::from)?
                .into_inner();
            let mut wanted: HashSet<Digest> = batch.iter().copied().collect();
            while let Some(blob) = blobs.message().await.map_err(HubFault::from)? {
                let Untrusted(bytes) = wire::blob(&blob);
                engine.metrics.blob_bytes.inc_by(bytes.len() as u64);
                let got = Digest::of(&bytes);
                if !wanted.remove(&got) {
                    let claimed = <[u8; 32]>::try_from(&blob.digest[..])
                        .map(Digest::from_bytes)
                        .unwrap_or_default();
                    return Err(Refusal::BlobTampered {
                        digest: claimed,
                        got,
                    }
                    .into());
                }
                self.fetched.push((got, bytes));
            }
            if let Some(digest) = wanted.into_iter().next() {
                return Err(Refusal::BlobMissing { digest }.into());
            }
        }
        Ok(())
    }

    /// A blob that is at hand.
    pub(super) fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.fetched
            .iter()
            .find(|(name, _)| name == digest)
            .map(|(_, bytes)| bytes.clone())
            .or_else(|| self.saved.blob(digest).ok().map(Bytes::from))
    }

    /// Writes what was fetched to disk; durable once the state is committed.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let (saved, blobs) = (Arc::clone(self.saved), std::mem::take(&mut self.fetched));
        let done = tokio::task::spawn_blocking(move || saved.keep(&blobs)).await;
        self.waited += began.elapsed();
        done.map_err(std::io::Error::other)??;
        Ok(())
    }
}
