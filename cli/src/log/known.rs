//! Whose signatures count: a key, a trust root, or a witness policy.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::note::{KeyKind, Note, Opened, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_ledger::trust::VerifiedRoot;

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
}

impl Known {
    /// What the arguments name.
    pub fn from_args(args: &KnownArgs) -> Result<Self, Failure> {
        if let Some(file) = &args.trust {
            return Self::of_trust_root(file, &read(file)?);
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
            });
        }
        let vkey = args.vkey.clone().ok_or_else(|| {
            Failure::Mistake("say whose signatures count: --trust, --policy or --vkey".to_owned())
        })?;
        Self::of_vkey(vkey)
    }

    fn of_vkey(vkey: Vkey) -> Result<Self, Failure> {
        match vkey.kind() {
            KeyKind::Ed25519 => Ok(Self {
                logs: vec![vkey],
                policy: None,
            }),
            KeyKind::Cosignature => Err(Failure::Mistake(format!(
                "--vkey {vkey}: is a witness's key; a log's is needed"
            ))),
        }
    }

    /// The log of a trust root, and the witnesses it asks for.
    fn of_trust_root(file: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let place = file.display();
        let root = VerifiedRoot::parse(bytes, &RingVerifier).map_err(|refusal| {
            let (text, code) = (safe(&refusal.to_string()), refusal.code());
            Failure::Negative(format!("{place}: {text} ({code})"))
        })?;
        let document = root.document();
        let log = document
            .log
            .as_ref()
            .ok_or_else(|| Failure::Mistake(format!("{place}: this trust root names no log")))?;
        let vkey: Vkey = log
            .vkey
            .parse()
            .map_err(|error| Failure::Mistake(format!("{place}: log.vkey: {error}")))?;
        let policy = match &document.witnesses {
            None => None,
            Some(witnesses) => {
                Some(Policy::parse(witnesses.policy.as_bytes()).map_err(|error| {
                    Failure::Mistake(format!("{place}: witnesses.policy: {error}"))
                })?)
            }
        };
        Ok(Self {
            policy,
            ..Self::of_vkey(vkey)?
        })
    }

    /// The note's text, if one of the logs signed it. Signatures of witnesses that are known must be right too.
    pub fn open(&self, note: &Note) -> Result<Opened, Failure> {
        let mut keys = self.logs.clone();
        if let Some(policy) = &self.policy {
            keys.extend(
                policy
                    .vkeys()
                    .into_iter()
                    .filter(|key| key.kind() == KeyKind::Cosignature),
            );
        }
        let opened = note
            .open(&keys, &RingVerifier)
            .map_err(|error| Failure::Negative(format!("checkpoint: {error}")))?;
        let origin = opened.text().lines().next().unwrap_or_default();
        let signed = self
            .logs
            .iter()
            .any(|log| log.name() == origin && opened.by(log).is_some());
        if signed {
            Ok(opened)
        } else {
            let origin = safe(origin);
            Err(Failure::Negative(format!(
                "checkpoint: no known key of the log {origin} signed it"
            )))
        }
    }

    /// When the quorum had cosigned: none if no witness is asked for.
    pub fn witnessed(&self, opened: &Opened) -> Result<Option<u64>, Failure> {
        let Some(policy) = &self.policy else {
            return Ok(None);
        };
        policy
            .newest_time(&policy.cosigned(opened))
            .map(Some)
            .ok_or_else(|| {
                Failure::Negative(
                    "checkpoint: the witnesses that cosigned it are no quorum of the policy"
                        .to_owned(),
                )
            })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::file(file, &error))
}
