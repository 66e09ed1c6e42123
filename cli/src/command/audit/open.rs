//! From the arguments to an audited log: files, trust root, index, and one pass over what is new.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_ledger::digest::{Digest, leaf_hash};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::answer::{Answer, Basis};
use crate::audit::content;
use crate::audit::entry::{Read, Row};
use crate::audit::finding::Weight;
use crate::audit::index::{Bound, Held, Index, IndexError};
use crate::audit::judge::Limits;
use crate::audit::keys::Keys;
use crate::audit::pass::{self, Outcome, PassError, Way};
use crate::exit::Failure;
use crate::log::{Log, Trust, source};
use crate::output::safe;

/// Which log, and how it is read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The log")]
pub struct LogArgs {
    /// Where its files are: a folder, s3://BUCKET/PREFIX, or a URL such as https://hub.example/log.
    #[arg(
        long,
        env = "COUNTERSIGN_LOG",
        value_name = "PLACE",
        default_value = ".",
        global = true
    )]
    pub log: String,
    /// The trust root that you were given: a file, or sha256:DIGEST of one in the log's folder trust/.
    #[arg(
        long,
        env = "COUNTERSIGN_TRUST",
        value_name = "FILE|DIGEST",
        global = true
    )]
    pub trust: Option<String>,
    /// The certificate authority that counts for HTTPS, as PEM; the system's, if none.
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// The index, a file; it is made when needed. In the cache folder, if not said.
    #[arg(long, value_name = "FILE", global = true)]
    pub index: Option<PathBuf>,
    /// Read the whole log again, and make the index anew.
    #[arg(long, global = true)]
    pub rebuild: bool,
    /// Minutes without a word after which a cluster was silent.
    #[arg(long, value_name = "MINUTES", default_value_t = 120, global = true)]
    pub silence: u64,
    /// Minutes after which a receipt that comes into the log is late.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, global = true)]
    pub late: u64,
    /// Threads that check signatures; as many as there are cores, if not said.
    #[arg(long, value_name = "N", global = true)]
    pub threads: Option<usize>,
    /// Write each entry that the answer names into this folder, with its proof (tlog-proof).
    #[arg(long, value_name = "DIR", global = true)]
    pub proofs: Option<PathBuf>,
    /// No progress bar.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// An audited log.
pub struct Audit<'a> {
    /// Its files under the checkpoint.
    pub log: Log<'a>,
    /// The trust roots.
    pub trust: Trust,
    /// What was read of it.
    pub index: Index,
    /// What the pass came to.
    pub outcome: Outcome,
    /// The auditor's clock, in milliseconds since 1970.
    pub now: u64,
    quiet: bool,
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        let text = safe(&error.to_string());
        match error {
            IndexError::Fault { .. } => Self::Fault(text),
            IndexError::Tampered { .. } => Self::Negative(text),
        }
    }
}

impl From<PassError> for Failure {
    fn from(error: PassError) -> Self {
        match error {
            PassError::Fault(fault) => fault.into(),
            PassError::Index(error) => error.into(),
            PassError::Log(error) => error.into(),
            PassError::Shrunk { .. } => Self::Negative(error.to_string()),
        }
    }
}

impl From<content::ContentError> for Failure {
    fn from(error: content::ContentError) -> Self {
        match error {
            content::ContentError::Log(error) => error.into(),
            content::ContentError::Index(error) => error.into(),
            content::ContentError::Manifest { .. } => Self::Negative(safe(&error.to_string())),
        }
    }
}

/// Audits the log of the arguments and hands it to `then`.
pub fn with<T>(
    args: &LogArgs,
    then: impl FnOnce(&mut Audit<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let files = source::open(&args.log, args.ca.as_deref())?;
    let (first, pin) = pinned(args)?;
    let trust = Trust::read(files.as_ref(), first.as_deref(), pin.as_ref())?;
    let log = Log::open(files.as_ref(), &trust.known()?)?;
    let bound = Bound {
        vkey: trust.vkey()?.to_string(),
        roots: trust.roots.iter().map(|root| root.digest()).collect(),
    };
    let path = match &args.index {
        Some(path) => path.clone(),
        None => cached(&bound)?,
    };
    let mut index = Index::open(Some(&path), &bound, args.rebuild)?;
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let bar = bar(args.quiet, log.size(), index.progress().size);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let way = Way {
        limits: Limits {
            silence_ms: args.silence.saturating_mul(60_000),
            late_ms: args.late.saturating_mul(60_000),
            ..Limits::default()
        },
        now,
        threads: args.threads.unwrap_or(cores).clamp(1, 64),
        progress: &|done| bar.set_position(done),
    };
    let outcome = pass::run(&log, &trust, &mut index, &way);
    bar.finish_and_clear();
    then(&mut Audit {
        log,
        trust,
        index,
        outcome: outcome?,
        now,
        quiet: args.quiet,
    })
}

/// The pin: a document, a digest, or none.
fn pinned(args: &LogArgs) -> Result<(Option<Vec<u8>>, Option<Digest>), Failure> {
    let Some(pin) = &args.trust else {
        return Ok((None, None));
    };
    if let Ok(digest) = pin.parse::<Digest>() {
        return Ok((None, Some(digest)));
    }
    let path = Path::new(pin);
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    // A document that is not the first one is found in the chain by its digest.
    let digest = Digest::of(&bytes);
    let root = countersign_ledger::trust::VerifiedRoot::pinned(
        &bytes,
        &digest,
        &countersign_ledger::key::RingVerifier,
    )
    .map_err(|refusal| {
        Failure::Negative(safe(&format!("{pin}: {refusal} ({})", refusal.code())))
    })?;
    if root.version() == 1 {
        return Ok((Some(bytes), Some(digest)));
    }
    Ok((None, Some(digest)))
}

/// Where the index lies if nobody says.
fn cached(bound: &Bound) -> Result<PathBuf, Failure> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.ok_or_else(|| {
        Failure::Mistake("neither XDG_CACHE_HOME nor HOME is set: say --index FILE".to_owned())
    })?;
    let first = bound
        .roots
        .first()
        .map(Digest::to_string)
        .unwrap_or_default();
    let name = Digest::of(format!("{}\n{first}", bound.vkey).as_bytes()).to_string();
    let name = name.get(..16).unwrap_or(&name).to_owned();
    Ok(cache
        .join("countersign")
        .join("audit")
        .join(format!("{name}.sqlite")))
}

fn bar(quiet: bool, size: u64, from: u64) -> ProgressBar {
    if quiet || size.saturating_sub(from) < 10_000 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    let style = "{wide_bar} {human_pos} of {human_len} entries, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_position(from);
    bar
}

/// An entry that an answer shows, read again from the log.
pub struct Shown {
    /// What it says.
    pub read: Read,
}

impl Audit<'_> {
    /// A log that does not verify answers nothing.
    pub fn sound(&self) -> Result<(), Failure> {
        if !self.outcome.tree_holds {
            return Err(Failure::Negative(
                "the log's files are not what its checkpoint says: see `countersign audit verify`"
                    .to_owned(),
            ));
        }
        let broken = self.broken();
        if broken > 0 && !self.quiet {
            eprintln!(
                "countersign: {broken} findings contradict the record: see `countersign audit verify`"
            );
        }
        Ok(())
    }

    /// Findings that contradict the record.
    pub fn broken(&self) -> usize {
        let findings = self.outcome.findings.iter();
        findings
            .filter(|finding| finding.code.weight() == Weight::Broken)
            .count()
    }

    /// An answer over all entries.
    pub fn answer(&self, title: impl Into<String>, columns: &[&'static str]) -> Answer {
        Answer::new(title, columns, Basis::of(self.log.head()))
    }

    /// The entry behind a row. The row's leaf hash is in the tree that led to the checkpoint's root: bytes that hash to it are
    /// the entry's, and the row must be what they say.
    pub fn show(&self, held: &Held) -> Result<Shown, Failure> {
        let bytes = self.log.lying(held.row.index)?;
        let read = Read::new(held.row.index, &bytes);
        if leaf_hash(&bytes) != held.row.leaf || Row::of(&read) != held.row {
            return Err(Failure::Negative(format!(
                "index {}: row {} is not what the entry says; it is only a cache: delete it, or say --rebuild",
                self.index.path().display(),
                held.row.index
            )));
        }
        Ok(Shown { read })
    }

    /// Writes entries with their proofs: `INDEX.json`, `INDEX.tlog-proof`.
    pub fn write_proofs(&self, folder: &Path, entries: &BTreeSet<u64>) -> Result<(), Failure> {
        std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
        for index in entries {
            let (bytes, hashes) = self.log.entry(*index)?;
            let proof = self.log.proof_file(*index, hashes);
            for (name, bytes) in [("json", &bytes[..]), ("tlog-proof", &proof.bytes()[..])] {
                let path = folder.join(format!("{index}.{name}"));
                std::fs::write(&path, bytes).map_err(|e| Failure::file(&path, &e))?;
            }
        }
        Ok(())
    }

    /// Whose word counts, at the end of the log.
    pub fn keys(&self) -> Keys {
        Keys::resumed(&self.trust.roots, self.index.progress().keys.clone())
    }

    /// Reads the content of all states into the index.
    pub fn fill(&mut self) -> Result<(), Failure> {
        let from = self.index.content();
        let bar = bar(self.quiet, self.log.size(), from);
        let filled = content::fill(&self.log, &mut self.index, &|done| bar.set_position(done));
        bar.finish_and_clear();
        Ok(filled?)
    }
}
