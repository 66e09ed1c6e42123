//! `countersign log`: reads and checks transparency logs, from anywhere, with no account.

mod checkpoint;
mod fork;
mod fsck;
mod proof;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_ledger::digest::Digest;

use crate::exit::{CODES, Failure};
use crate::log::{KnownArgs, SourceArgs};
use crate::output::Form;

/// Arguments.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  countersign log checkpoint https://hub.example/log --trust trust.json
  countersign log fsck /var/lib/countersign-hub/store --trust trust.json
  countersign log proof https://hub.example/log --trust trust.json --index 17 --out 17.tlog-proof
  countersign log verify-proof 17.tlog-proof --entry 17.entry --trust trust.json

A log is plain files (c2sp.org/tlog-tiles): a folder, a copy on a laptop or any web server will do. Nothing of it is
believed before it hashes to a checkpoint that the log's key signed; other programs of that standard check the same.

{CODES}"))]
pub struct LogArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Rebuild every hash from the entries, and say what is wrong where.
    #[command(after_help = "\
Examples:
  countersign log fsck /var/lib/countersign-hub/store --trust trust.json
  countersign log fsck https://hub.example/log --vkey countersign.dev/fleet/acme+530d903a+AekyeRrm…
  countersign log fsck ./copy --trust trust.json -o json

The answer is no (exit code 1) if a file is missing, an entry or a hash was changed, or the tree has another root than the
signed one. A file that can't be read at all is a fault (3): then nothing was found out.")]
    Fsck {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        known: KnownArgs,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Form,
    },
    /// Show the newest checkpoint, and who signed it.
    #[command(after_help = "\
Examples:
  countersign log checkpoint https://hub.example/log --trust trust.json
  countersign log checkpoint ./copy --vkey countersign.dev/fleet/acme+530d903a+AekyeRrm… --raw > newest.checkpoint
  countersign log checkpoint https://hub.example/log --trust trust.json --since last-year.checkpoint

With --since it is proven that the log continues the earlier checkpoint: nothing before it was changed or dropped. With --trust or --policy the answer is no (exit code 1) if the witnesses that cosigned it are no quorum.")]
    Checkpoint {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        known: KnownArgs,
        /// An earlier checkpoint of this log, as --raw prints it: is it continued?
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Print the signed note as the log serves it, and nothing else.
        #[arg(long, conflicts_with = "output")]
        raw: bool,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Form,
    },
    /// Write the proof that an entry is in the log, as a file that is checked offline.
    #[command(after_help = "\
Examples:
  countersign log proof https://hub.example/log --trust trust.json --index 17 --out 17.tlog-proof --entry-out 17.entry
  countersign log proof ./copy --trust trust.json --leaf 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d

The file (c2sp.org/tlog-proof) holds the entry's place, the hashes up to the root, and the checkpoint with its signatures;
not the entry. --leaf and --entry look through the hashes of the whole log.")]
    Proof {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        known: KnownArgs,
        #[command(flatten)]
        which: Which,
        /// Where to write the proof; without it, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write the entry itself to this file.
        #[arg(long, value_name = "FILE")]
        entry_out: Option<PathBuf>,
    },
    /// Check a proof file: is this entry in the log?
    #[command(after_help = "\
Examples:
  countersign log verify-proof 17.tlog-proof --entry 17.entry --trust trust.json
  countersign log verify-proof 17.tlog-proof --entry 17.entry --policy policy.txt

Needs no network. With --vkey no witness is asked for: it says that the log's key signed, not that others saw it.")]
    VerifyProof {
        /// The proof.
        file: PathBuf,
        /// The entry: the exact bytes that were logged.
        #[arg(long, value_name = "FILE")]
        entry: PathBuf,
        #[command(flatten)]
        known: KnownArgs,
    },
    /// Turn two checkpoints that can't both be true into a file that anybody can check.
    #[command(after_help = "\
Examples:
  countersign log prove-fork ours.checkpoint theirs.checkpoint --trust trust.json --out fork.json
  countersign log prove-fork ours.checkpoint theirs.checkpoint --trust trust.json --log https://hub.example/log

Two checkpoints of one size with different roots prove by themselves that the log's key signed two histories. Of different
sizes, --log names the log that should lead from the smaller one to the larger: what it says instead of a proof is recorded.
The answer is no (exit code 1) if both can be true.")]
    ProveFork {
        /// The checkpoint that was known before: a signed note.
        ours: PathBuf,
        /// The one that contradicts it.
        theirs: PathBuf,
        #[command(flatten)]
        known: KnownArgs,
        /// The log to ask for a proof from one to the other: as LOG of the other commands.
        #[arg(long, value_name = "LOG")]
        log: Option<String>,
        /// The certificate authority that counts for --log https://…, as PEM; the system's, if none.
        #[arg(long, value_name = "FILE", requires = "log")]
        ca: Option<PathBuf>,
        /// Where to write the file; without it, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a fork file: did the log's key sign two histories?
    #[command(after_help = "\
Example:
  countersign log verify-fork fork.json --trust trust.json

The answer is yes (exit code 0) if the file proves a fork, no (1) if it does not.")]
    VerifyFork {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        known: KnownArgs,
    },
}

/// Which entry.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The entry's place, from 0.
    #[arg(long, value_name = "N")]
    index: Option<u64>,
    /// The entry's leaf hash: SHA-256 of a zero byte and the entry, hex.
    #[arg(long, value_name = "DIGEST")]
    leaf: Option<Digest>,
    /// A file with the entry: the exact bytes that were logged.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &LogArgs) -> Result<(), Failure> {
    match &args.what {
        What::Fsck {
            source,
            known,
            output,
        } => fsck::run(source, known, *output),
        What::Checkpoint {
            source,
            known,
            since,
            raw,
            output,
        } => checkpoint::run(source, known, since.as_deref(), *raw, *output),
        What::Proof {
            source,
            known,
            which,
            out,
            entry_out,
        } => proof::make(source, known, which, out.as_deref(), entry_out.as_deref()),
        What::VerifyProof { file, entry, known } => proof::verify(file, entry, known),
        What::ProveFork {
            ours,
            theirs,
            known,
            log,
            ca,
            out,
        } => {
            let log = log.as_ref().map(|log| SourceArgs {
                log: log.clone(),
                ca: ca.clone(),
            });
            fork::prove(ours, theirs, known, log.as_ref(), out.as_deref())
        }
        What::VerifyFork { file, known } => fork::verify(file, known),
    }
}

/// Writes a file of ours, or standard output.
fn put(out: Option<&std::path::Path>, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    match out {
        Some(file) => std::fs::write(file, bytes).map_err(|error| Failure::file(file, &error)),
        None => match std::io::stdout().write_all(bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::Fault(format!("output: {error}")))
            }
            Ok(()) | Err(_) => Ok(()),
        },
    }
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file(file, &error))
}

#[cfg(test)]
mod tests;
