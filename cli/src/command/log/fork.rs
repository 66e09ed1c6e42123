//! `countersign log prove-fork` and `verify-fork`: two checkpoints that can't both be true.

use std::path::Path;

use countersign_ledger::digest::Digest;
use countersign_ledger::fork::{Fork, Shown};
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::note::{Note, Vkey};

use super::{put, read};
use crate::exit::Failure;
use crate::log::{Files, Known, KnownArgs, Log, LogError, Signed, SourceArgs};
use crate::output::{safe, write};

pub(super) fn prove(
    ours: &Path,
    theirs: &Path,
    known: &KnownArgs,
    log: Option<&SourceArgs>,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    let (one, other) = (Signed::read(&ours, &known)?, Signed::read(&theirs, &known)?);
    let sizes = (one.checkpoint.size, other.checkpoint.size);
    let consistency = match log {
        _ if sizes.0 == sizes.1 => Vec::new(),
        Some(args) => claimed(args.open()?.as_ref(), one.clone(), other)?,
        None => {
            let (one, other) = sizes;
            return Err(Failure::Mistake(format!(
                "the checkpoints have sizes {one} and {other}: name the log with --log, to record what it says leads from one to the other"
            )));
        }
    };
    let fork = Fork {
        ours,
        theirs,
        consistency,
    };
    let shown = checked(&fork, &log_key(&known, &one.checkpoint.origin)?)?;
    if shown == Shown::Consistent {
        return Err(Failure::Negative(told(&shown)));
    }
    let bytes = fork
        .bytes()
        .map_err(|error| Failure::Fault(error.to_string()))?;
    put(out, &bytes)?;
    eprintln!("{}", told(&shown));
    Ok(())
}

/// What the log's tiles give for a proof from the smaller to the larger checkpoint: right or wrong, it is recorded.
fn claimed(files: &dyn Files, one: Signed, other: Signed) -> Result<Vec<Digest>, Failure> {
    let (old, new) = if one.checkpoint.size < other.checkpoint.size {
        (one, other)
    } else {
        (other, one)
    };
    match Log::at(files, new).claimed_consistency(old.checkpoint.size) {
        Ok(hashes) => Ok(hashes),
        // A log that gives no proof has said what there is to say.
        Err(LogError::Wrong { .. } | LogError::Missing(_)) => Ok(Vec::new()),
        Err(other) => Err(other.into()),
    }
}

pub(super) fn verify(file: &Path, known: &KnownArgs) -> Result<(), Failure> {
    let known = Known::from_args(known)?;
    let fork = Fork::parse(&read(file)?)
        .map_err(|error| Failure::Negative(format!("{}: {error}", file.display())))?;
    let origin = Note::parse(&fork.ours)
        .map_err(|error| Failure::Negative(format!("{}: {error}", file.display())))?;
    let origin = origin.text().lines().next().unwrap_or_default().to_owned();
    let shown = checked(&fork, &log_key(&known, &origin)?)?;
    match shown {
        Shown::Proven { .. } => write(&mut std::io::stdout(), &format!("{}\n", told(&shown))),
        Shown::Shrunk { .. } | Shown::Unproven { .. } | Shown::Consistent => {
            Err(Failure::Negative(told(&shown)))
        }
    }
}

/// The key of the log that a checkpoint says it is of.
fn log_key(known: &Known, origin: &str) -> Result<Vkey, Failure> {
    known
        .logs
        .iter()
        .find(|log| log.name() == origin)
        .cloned()
        .ok_or_else(|| Failure::Negative(format!("no known key is of the log {}", safe(origin))))
}

fn checked(fork: &Fork, log: &Vkey) -> Result<Shown, Failure> {
    fork.check(log, &RingVerifier)
        .map_err(|error| Failure::Negative(error.to_string()))
}

/// In plain words.
fn told(shown: &Shown) -> String {
    match shown {
        Shown::Proven { size, ours, theirs } => format!(
            "The log's key signed two histories of {size} entries: one with root {ours}, one with root {theirs}. This proves a fork."
        ),
        Shown::Shrunk { ours, theirs } => format!(
            "The log's key signed {theirs} entries after {ours}, and gave no proof that the one began with the other. \
             By itself this may be an old checkpoint shown again; whoever recorded it vouches for the order."
        ),
        Shown::Unproven { ours, theirs } => format!(
            "The log's key signed {ours} and {theirs} entries, and the recorded hashes don't lead from one to the other. \
             That the log gave no better ones is the word of whoever recorded it."
        ),
        Shown::Consistent => "Both checkpoints can be true: this is no fork.".to_owned(),
    }
}
