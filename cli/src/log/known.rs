//! Whose signatures count: a key, a trust root, or a witness policy; and a checkpoint that bears them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::checkpoint::{Checkpoint, Extensions};
use countersign_ledger::tlog::note::{KeyKind, Note, Opened, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_ledger::trust::{Roots, VerifiedRoot};

use super::reader::LogError;
use crate::exit::Failure;
use crate::output::safe;

/// Whose signatures count.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct KnownArgs {
    /// The fleet's trust root; its log's key and its witness policy count.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// A witness policy (c2sp.org/tlog-policy) that names log, witnesses and quorum.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The log's key, NAME+ID+KEY; no witness is asked for then.
    #[arg(long, value_name = "VKEY")]
    pub vkey: Option<Vkey>,
}

/// Whose signatures count.
#[derive(Debug, Clone)]
pub struct Known {
    /// Keys of logs; a checkpoint counts under the one that is named like its origin.
    pub logs: Vec<Vkey>,
    /// Whose cosignatures are needed; none if no witness is asked for.
    pub policy: Option<Policy>,
    /// Lines behind a checkpoint's three: those of a foreign log are skipped, a fleet's has none.
    pub extensions: Extensions,
}

/// A checkpoint that a known log signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The whole note, as it was read.
    pub note: Note,
    /// Its checked signatures.
    pub opened: Opened,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Witnesses of the policy that cosigned, and when in seconds since 1970.
    pub witnesses: BTreeMap<String, u64>,
    /// Time of the quorum, in seconds since 1970.
    pub cosigned: Option<u64>,
    /// Whether witnesses are asked for.
    pub asked: bool,
}

impl Known {
    /// What the arguments name.
    pub fn from_args(args: &KnownArgs) -> Result<Self, Failure> {
        if let Some(file) = &args.trust {
            return Self::of_file(file);
        }
        if let Some(file) = &args.policy {
            let policy = Policy::parse(&read(file)?)
                .map_err(|error| Failure::Mistake(format!("{}: {error}", file.display())))?;
            let logs: Vec<Vkey> = policy.logs().iter().map(|log| log.vkey.clone()).collect();
            if logs.is_empty() {
                let file = file.display();
                return Err(Failure::Mistake(format!(
                    "{file}: names no log; add a line \"log VKEY\""
                )));
            }
            return Ok(Self {
                logs,
                policy: Some(policy),
                extensions: Extensions::Ignore,
            });
        }
        let vkey = args.vkey.clone().ok_or_else(|| {
            Failure::Mistake("say whose signatures count: --trust, --policy or --vkey".to_owned())
        })?;
        match vkey.kind() {
            KeyKind::Ed25519 => Ok(Self {
                logs: vec![vkey],
                policy: None,
                extensions: Extensions::Ignore,
            }),
            KeyKind::Cosignature => Err(Failure::Mistake(format!(
                "--vkey {vkey}: is a witness's key; a log's is needed"
            ))),
        }
    }

    /// The log of a trust root in a file, and the witnesses it asks for.
    fn of_file(file: &Path) -> Result<Self, Failure> {
        let place = file.display();
        let root = VerifiedRoot::parse(&read(file)?, &RingVerifier).map_err(|refusal| {
            let (text, code) = (safe(&refusal.to_string()), refusal.code());
            Failure::Negative(format!("{place}: {text} ({code})"))
        })?;
        Self::of_root(&root)
            .ok_or_else(|| Failure::Mistake(format!("{place}: this trust root names no log")))
    }

    /// The log of this root, and the witnesses that it asks for; nothing without a log.
    pub fn of_root(root: &VerifiedRoot) -> Option<Self> {
        Some(Self::of(root.log()?, root))
    }

    /// The log of the newest root that has one, and the witnesses that the newest root asks for; nothing without a log.
    pub fn of_roots(roots: &Roots) -> Option<Self> {
        // Oldest first: the last that has one is the newest.
        let log = roots.iter().filter_map(VerifiedRoot::log).last()?;
        Some(Self::of(log, roots.newest()))
    }

    fn of(log: &Vkey, root: &VerifiedRoot) -> Self {
        Self {
            logs: vec![log.clone()],
            policy: root.witnesses().cloned(),
            extensions: Extensions::Refuse,
        }
    }

    /// The note's text, if one of the logs signed it. Signatures of witnesses that are known must be right too.
    fn open(&self, note: &Note) -> Result<Opened, LogError> {
        let mut keys = self.logs.clone();
        let witnesses = self.policy.iter().flat_map(Policy::vkeys);
        keys.extend(witnesses.filter(|key| key.kind() == KeyKind::Cosignature));
        let opened = note.open(&keys, &RingVerifier).map_err(|e| bad(&e))?;
        let origin = opened.text().lines().next().unwrap_or_default();
        let signed = self
            .logs
            .iter()
            .any(|log| log.name() == origin && opened.by(log).is_some());
        if signed {
            Ok(opened)
        } else {
            Err(bad(&format!("no known key of the log {origin} signed it")))
        }
    }
}

impl Signed {
    /// Reads a checkpoint and checks who signed it.
    pub fn read(bytes: &[u8], known: &Known) -> Result<Self, LogError> {
        let note = Note::parse(bytes).map_err(|e| bad(&e))?;
        let opened = known.open(&note)?;
        let checkpoint =
            Checkpoint::parse_with(opened.text(), known.extensions).map_err(|e| bad(&e))?;
        let (mut witnesses, mut cosigned) = (BTreeMap::new(), None);
        if let Some(policy) = &known.policy {
            let by = policy.cosigned(&opened);
            cosigned = policy.newest_time(&by);
            witnesses = by
                .into_iter()
                .map(|(name, at)| (name.to_owned(), at))
                .collect();
        }
        Ok(Self {
            note,
            opened,
            checkpoint,
            witnesses,
            cosigned,
            asked: known.policy.is_some(),
        })
    }

    /// The note's bytes.
    pub fn bytes(&self) -> Bytes {
        self.note.bytes().into()
    }

    /// When the quorum had cosigned: none if no witness is asked for.
    pub fn witnessed(&self) -> Result<Option<u64>, Failure> {
        if self.asked && self.cosigned.is_none() {
            return Err(Failure::Negative(
                "checkpoint: the witnesses that cosigned it are no quorum of the policy".to_owned(),
            ));
        }
        Ok(self.cosigned)
    }
}

fn bad(why: &dyn std::fmt::Display) -> LogError {
    LogError::Wrong {
        path: "checkpoint".to_owned(),
        why: why.to_string(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file(file, &error))
}
