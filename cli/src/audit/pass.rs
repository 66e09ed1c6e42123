//! One pass over a log: files in, judged entries into the index. It stops and goes on where it stopped, and whatever was
//! read before must still lead to the checkpoint's root.

mod round;
mod threads;

use countersign_ledger::digest::Digest;
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::note::Note;
use countersign_ledger::tlog::tile::BundleId;

use super::entry::{Entry, Row};
use super::finding::{Code, Finding};
use super::index::{Index, IndexError, Progress};
use super::judge::{Around, End, Judge, LateRoot, Limits, forked};
use super::keys::Keys;
use super::signatures::Keyring;
use super::tree::{Made, Tree};
use crate::log::{Fault, Log, LogError, Trust, reader};
use round::{read, signers};
use threads::side_by_side;

/// Bundles that are read and judged together: what is in memory at a time.
const ROUND_BUNDLES: u64 = 16;
/// Rounds after which the index is kept, so that a pass that is stopped goes on from there.
const ROUNDS_KEPT: u64 = 16;
/// Damaged files that are named one by one.
const DAMAGE_MAX: usize = 1_000;

/// A pass ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A file can't be read; trying again may help.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The index can't be used.
    #[error("{0}")]
    Index(#[from] IndexError),
    /// The log's files don't fit together.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The log has fewer entries than at the last audit.
    #[error(
        "the log has {now} entries, at the last audit it had {before}: it was rolled back, or this is an older copy"
    )]
    Shrunk {
        /// Entries then.
        before: u64,
        /// Entries now.
        now: u64,
    },
}

/// How a pass is done.
pub struct Way<'w> {
    /// What is late.
    pub limits: Limits,
    /// The auditor's clock, in milliseconds since 1970.
    pub now: u64,
    /// Signatures are checked and files read by so many threads.
    pub threads: usize,
    /// Told how many entries are judged.
    pub progress: &'w dyn Fn(u64),
}

/// What a pass came to.
#[derive(Debug)]
pub struct Outcome {
    /// Entries that were read now.
    pub read: u64,
    /// Entries that the index had.
    pub before: u64,
    /// The checkpoint against which those were held.
    pub since: String,
    /// Everything that does not hold, in the log's order.
    pub findings: Vec<Finding>,
    /// Whether every hash was found as it must be.
    pub tree_holds: bool,
    /// What the judge remembers at the end.
    pub counts: std::collections::BTreeMap<String, u64>,
}

/// Brings the index up to the log's checkpoint.
pub fn run(
    log: &Log<'_>,
    trust: &Trust,
    index: &mut Index,
    way: &Way<'_>,
) -> Result<Outcome, PassError> {
    let had = index.progress().clone();
    if had.size > log.size() {
        return Err(PassError::Shrunk {
            before: had.size,
            now: log.size(),
        });
    }
    let mut pass = Pass::resume(log, trust, &had, way)?;
    let (before, since) = (had.size, had.note.clone());
    pass.since(&since);
    if pass.damaged > 0 {
        // Nothing can be built on entries that changed; the index keeps what it had, as evidence.
        return Ok(pass.outcome(0, before, since, false));
    }
    index.start()?;
    match pass.through(index) {
        Ok(()) => {}
        Err(error) => {
            // What was kept before this batch stays.
            index.give_up()?;
            return Err(error);
        }
    }
    pass.end(index, before, since)
}

struct Pass<'p> {
    log: &'p Log<'p>,
    way: &'p Way<'p>,
    judge: Judge,
    ring: Keyring,
    tree: Tree,
    about: Vec<Finding>,
    late: Vec<LateRoot>,
    damaged: usize,
}

impl<'p> Pass<'p> {
    fn resume(
        log: &'p Log<'p>,
        trust: &Trust,
        had: &Progress,
        way: &'p Way<'p>,
    ) -> Result<Self, PassError> {
        let keys = Keys::resumed(&trust.roots, had.keys.clone());
        let fleet = trust.roots.newest().fleet().to_owned();
        let judge = Judge::new(fleet, keys, had.state.clone(), way.limits, way.now);
        let tree = if had.size == 0 {
            Tree::new()
        } else {
            Tree::resumed(had.size, had.edge.clone()).map_err(|e| {
                PassError::Log(LogError::Wrong {
                    path: "index".to_owned(),
                    why: e.to_string(),
                })
            })?
        };
        Ok(Self {
            log,
            way,
            judge,
            ring: Keyring::default(),
            tree,
            about: Vec::new(),
            late: Vec::new(),
            damaged: 0,
        })
    }

    fn through(&mut self, index: &mut Index) -> Result<(), PassError> {
        let mut rounds = 0;
        while self.tree.size() < self.log.size() {
            self.round(index)?;
            (self.way.progress)(self.tree.size());
            rounds += 1;
            if rounds % ROUNDS_KEPT == 0 && self.damaged == 0 {
                self.settle_late(index)?;
                let note = index.progress().note.clone();
                index.save(&self.at(note))?;
                index.commit()?;
                index.start()?;
            }
        }
        self.partial()?;
        self.settle_late(index)
    }

    fn at(&self, note: String) -> Progress {
        Progress {
            size: self.tree.size(),
            root: self.tree.root(),
            edge: self.tree.rows(),
            state: self.judge.state.clone(),
            keys: self.judge.keys.log().clone(),
            note,
        }
    }

    /// Reads a few bundles, checks all signatures on them side by side, and judges them one after the other.
    fn round(&mut self, index: &mut Index) -> Result<(), PassError> {
        let first = self.tree.size() / 256;
        let ids: Vec<BundleId> = (first..first + ROUND_BUNDLES)
            .filter_map(|at| BundleId::at(at, self.log.size()))
            .collect();
        let (log, threads) = (self.log, self.way.threads);
        let start = self.tree.size();
        let edge = self.tree.rows().into_iter().next().unwrap_or_default();
        let bundles = side_by_side(&ids, threads, |id| {
            reader::bundle(log.files(), *id).map(|bytes| read(*id, bytes, start, &edge))
        });
        let mut reads = Vec::new();
        for (id, bundle) in ids.iter().zip(bundles) {
            match bundle? {
                Ok(bundle) => reads.extend(bundle),
                Err(why) => {
                    // Without an entry nothing behind it can be placed.
                    return Err(PassError::Log(LogError::Wrong {
                        path: id.path(),
                        why,
                    }));
                }
            }
        }
        for read in &reads {
            if let Ok(Statement::Enrolment(this)) = &read.said {
                self.judge.keys.look_ahead(&this.cluster, this.receipt_key);
            }
        }
        self.judge.keys.all().for_each(|key| self.ring.learn(key));
        self.ring.ready(reads.len());
        let signers = signers(&reads, &self.judge.keys, &self.ring, threads);
        let mut made = Vec::new();
        for (read, signers) in reads.into_iter().zip(signers) {
            let row = Row::of(&read);
            let leaf = read.leaf;
            let around = Around {
                past: &*index,
                tree: &self.tree,
            };
            let mut judged = self.judge.take(&Entry { read, signers }, &around);
            self.late.extend(judged.late_root.take());
            index.add(&row, &judged)?;
            let full = self.tree.append(leaf).map_err(|e| {
                PassError::Log(LogError::Wrong {
                    path: "tile".to_owned(),
                    why: e.to_string(),
                })
            })?;
            made.extend(full);
        }
        self.compare(&made)
    }

    /// Each tile that the entries make must lie there as it is.
    fn compare(&mut self, made: &[Made]) -> Result<(), PassError> {
        let log = self.log;
        let lying = side_by_side(made, self.way.threads, |made| {
            reader::tile(log.files(), made.tile)
        });
        for (made, lying) in made.iter().zip(lying) {
            let why = match lying? {
                None => "is missing".to_owned(),
                Some(bytes) if *bytes == *made.bytes => continue,
                Some(bytes) => differs(made, &bytes),
            };
            self.damaged += 1;
            if self.damaged <= DAMAGE_MAX {
                self.about.push(Finding {
                    index: None,
                    code: Code::TreeDamaged,
                    cluster: String::new(),
                    detail: format!("{} {why}", made.tile),
                });
            }
        }
        Ok(())
    }

    fn partial(&mut self) -> Result<(), PassError> {
        let partial = self.tree.partial();
        self.compare(&partial)
    }

    /// Checks what receipts say of checkpoints long ago against the tiles, which are the tree's.
    fn settle_late(&mut self, index: &mut Index) -> Result<(), PassError> {
        let late = std::mem::take(&mut self.late);
        let mut known: std::collections::BTreeMap<u64, Digest> = std::collections::BTreeMap::new();
        for LateRoot {
            index: at,
            cluster,
            size,
            root,
        } in late
        {
            let ours = match known.get(&size) {
                Some(root) => *root,
                None => {
                    let root = self.log.root_at(size)?;
                    known.insert(size, root);
                    root
                }
            };
            if ours != root {
                index.add_finding(&Finding {
                    index: Some(at),
                    code: Code::LogForked,
                    cluster,
                    detail: forked(size, &root, &ours),
                })?;
            }
        }
        Ok(())
    }

    fn end(mut self, index: &mut Index, before: u64, since: String) -> Result<Outcome, PassError> {
        let head = self.log.head();
        let root_holds = self.tree.root() == head.checkpoint.root;
        if !root_holds {
            let detail = format!(
                "the entries lead to root {}, the checkpoint says {}{}",
                self.tree.root(),
                head.checkpoint.root,
                if before > 0 {
                    "; entries that were read at an earlier audit changed since, or these did"
                } else {
                    ""
                },
            );
            self.about.push(Finding {
                index: None,
                code: Code::RootOther,
                cluster: String::new(),
                detail,
            });
        }
        let end = End {
            cosigned: head.cosigned.map(|seconds| seconds.saturating_mul(1_000)),
            quorum_missing: head.asked && head.cosigned.is_none(),
        };
        self.about.extend(self.judge.end(&end));
        let note = String::from_utf8_lossy(&head.bytes()).into_owned();
        let tree_holds = root_holds && self.damaged == 0;
        let mut findings = index.findings(0, self.tree.size())?;
        findings.append(&mut self.about);
        if tree_holds {
            index.save(&self.at(note))?;
            index.commit()?;
        } else {
            index.give_up()?;
            // What no checkpoint vouches for is not kept; what one did is evidence against this log.
            if since.is_empty() {
                index.begin_anew()?;
            }
        }
        self.about = findings;
        let read = self.tree.size() - before;
        Ok(self.outcome(read, before, since, tree_holds))
    }

    fn outcome(self, read: u64, before: u64, since: String, tree_holds: bool) -> Outcome {
        Outcome {
            read,
            before,
            since,
            findings: self.about,
            tree_holds,
            counts: self.judge.state.counts,
        }
    }

    /// What was read at an earlier audit must still be the beginning of the log.
    fn since(&mut self, note: &str) {
        let Ok(checkpoint) = Note::parse(note.as_bytes())
            .map_err(|e| e.to_string())
            .and_then(|note| Checkpoint::parse(note.text()).map_err(|e| e.to_string()))
        else {
            return;
        };
        let same = self.log.consistency(checkpoint.size, &checkpoint.root);
        if let Err(error) = same {
            self.damaged += 1;
            self.about.push(Finding {
                index: None,
                code: Code::LogForked,
                cluster: String::new(),
                detail: format!(
                    "does not begin with the {} entries of the last audit, root {}: {error}",
                    checkpoint.size, checkpoint.root
                ),
            });
        }
    }
}

fn differs(made: &Made, lying: &[u8]) -> String {
    let hashes = made.bytes.chunks(32).zip(lying.chunks(32));
    let at = hashes.into_iter().position(|(want, got)| want != got);
    match at {
        Some(at) => format!("hash {at} is not that of what lies below it"),
        None => format!("has {} bytes, {} are right", lying.len(), made.bytes.len()),
    }
}

#[cfg(test)]
mod tests;
