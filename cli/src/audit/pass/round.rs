//! What a round reads: entries out of bundles, and who signed them.

use std::collections::BTreeSet;

use bytes::Bytes;
use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::tile::BundleId;

use super::threads::side_by_side;
use crate::audit::entry::Read;
use crate::audit::judge::Judge;
use crate::audit::keys::Keys;
use crate::audit::signatures::{Claim, Keyring};

/// The entries of a bundle from `start` on; those before were read at an earlier audit and must be the same.
pub(super) fn read(
    id: BundleId,
    bytes: Option<Bytes>,
    start: u64,
    edge: &[Digest],
) -> Result<Vec<Read>, String> {
    let bytes = bytes.ok_or("is missing")?;
    let entries = bundle::decode(&bytes).map_err(|e| e.to_string())?;
    if entries.len() != usize::from(id.width) {
        return Err(format!(
            "has {} entries, {} are right",
            entries.len(),
            id.width
        ));
    }
    let mut reads = Vec::with_capacity(entries.len());
    for (index, entry) in (id.index * 256..).zip(entries) {
        if index >= start {
            reads.push(Read::new(index, entry));
        } else {
            let at = usize::try_from(index % 256).unwrap_or(usize::MAX);
            if edge.get(at) != Some(&leaf_hash(entry)) {
                return Err(format!("entry {index} is another than at the last audit"));
            }
        }
    }
    Ok(reads)
}

/// Who signed each entry. Nearly all are signed by the keys that they name: those signatures are checked together, and what does
/// not hold is looked at again, one by one.
pub(super) fn signers(
    reads: &[Read],
    keys: &Keys,
    ring: &Keyring,
    threads: usize,
) -> Vec<Vec<PublicKey>> {
    let named: Vec<Option<Vec<Claim<'_>>>> = reads.iter().map(|read| ring.claims(read)).collect();
    let claims: Vec<&Claim<'_>> = named.iter().flatten().flatten().collect();
    let parts: Vec<&[&Claim<'_>]> = claims
        .chunks(claims.len().div_ceil(threads.max(1)).max(1))
        .collect();
    let held = side_by_side(&parts, threads, |part| ring.hold(part));
    let mut held = held.into_iter().flatten();
    let settled: Vec<Option<Vec<PublicKey>>> = named
        .iter()
        .map(|claims| {
            let claims = claims.as_ref()?;
            let all = held.by_ref().take(claims.len()).filter(|held| *held);
            let all = all.count() == claims.len();
            all.then(|| claims.iter().map(|claim| claim.key).collect())
        })
        .collect();
    let open: Vec<&Read> = reads
        .iter()
        .zip(&settled)
        .filter_map(|(read, settled)| settled.is_none().then_some(read))
        .collect();
    let mut tried = side_by_side(&open, threads, |read| tried(read, keys)).into_iter();
    settled
        .into_iter()
        .map(|settled| settled.or_else(|| tried.next()).unwrap_or_default())
        .collect()
}

/// Who signed an entry, by trying: first those who may, then all who are known.
fn tried(read: &Read, keys: &Keys) -> Vec<PublicKey> {
    let mut may: BTreeSet<PublicKey> = BTreeSet::new();
    for role in Judge::roles(read) {
        may.extend(keys.candidates(role));
    }
    if let Ok(Statement::Enrolment(this)) = &read.said {
        may.insert(this.receipt_key);
    }
    let found = read.signers(may.iter(), &RingVerifier);
    if found.is_empty() {
        let others: BTreeSet<&PublicKey> = keys.all().collect();
        return read.signers(others.into_iter(), &RingVerifier);
    }
    found
}
