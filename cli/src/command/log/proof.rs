//! `countersign log proof` and `verify-proof`.

use std::path::Path;

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::tlog::merkle;
use countersign_ledger::tlog::proof::ProofFile;

use super::checkpoint::moment;
use super::{Which, put, read};
use crate::exit::Failure;
use crate::log::{Known, KnownArgs, Log, Signed, SourceArgs};
use crate::output::{safe, write};

pub(super) fn make(
    source: &SourceArgs,
    known: &KnownArgs,
    which: &Which,
    out: Option<&Path>,
    entry_out: Option<&Path>,
) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let files = source.open()?;
    let log = Log::open(files.as_ref(), &known)?;
    let (index, leaf) = match which {
        Which {
            index: Some(index), ..
        } => (*index, None),
        Which {
            leaf: Some(leaf), ..
        } => (found(&log, leaf)?, Some(*leaf)),
        Which { entry, .. } => {
            let leaf = leaf_hash(&read(entry.as_deref().unwrap_or(Path::new("")))?);
            (found(&log, &leaf)?, Some(leaf))
        }
    };
    let hashes = match (leaf, entry_out) {
        (Some(leaf), None) => log.inclusion(index, &leaf)?,
        (_, entry_out) => {
            let (entry, hashes) = log.entry(index)?;
            if let Some(file) = entry_out {
                put(Some(file), &entry)?;
            }
            hashes
        }
    };
    put(out, &log.proof_file(index, hashes).bytes())
}

fn found(log: &Log<'_>, leaf: &Digest) -> Result<u64, Failure> {
    log.find(leaf)?.ok_or_else(|| {
        let size = log.size();
        Failure::Negative(format!(
            "none of the log's {size} entries has the leaf hash {leaf}"
        ))
    })
}

pub(super) fn verify(file: &Path, entry: &Path, known: &KnownArgs) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let proof = ProofFile::parse(&read(file)?)
        .map_err(|error| Failure::Negative(format!("{}: {error}", file.display())))?;
    let proven = proven(&proof, &read(entry)?, &known)?;
    write(&mut std::io::stdout(), &proven)
}

/// What the proof proves, in a sentence.
fn proven(proof: &ProofFile, entry: &[u8], known: &Known) -> Result<String, Failure> {
    let leaf = leaf_hash(entry);
    let signed = Signed::read(&proof.checkpoint.bytes(), known)?;
    let checkpoint = &signed.checkpoint;
    let refused = |error: &dyn std::fmt::Display| {
        Failure::Negative(format!("the entry is not proven: {error}"))
    };
    merkle::verify_inclusion(
        proof.index,
        checkpoint.size,
        &leaf,
        &proof.hashes,
        &checkpoint.root,
    )
    .map_err(|error| refused(&error))?;
    let (index, origin, size) = (proof.index, safe(&checkpoint.origin), checkpoint.size);
    let place = format!("Entry {index} of the log {origin}, at its size {size}");
    match signed.witnessed()? {
        Some(time) => Ok(format!(
            "{place}; a quorum of witnesses had cosigned it at {}.\n",
            moment(time)
        )),
        None => Ok(format!(
            "{place}, by the log's signature alone; no witness was asked for.\n"
        )),
    }
}
