//! `receipt/v1`: what a cluster did, in the words of its own agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{code, ensure, hex, line, link, maybe, nonce, text};
use super::{RECEIPT, StatementError, predicate, subject, to_value, write};
use crate::digest::Digest;
use crate::name;
use crate::time::Time;

/// What a cluster did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Digest of the envelope of the state that the cluster runs; none before the first. The subject's digest (that of no
    /// bytes, if there is none).
    #[serde(skip)]
    pub desired: Option<Digest>,
    /// The fleet.
    pub fleet: String,
    /// The cluster; the subject's name too.
    pub cluster: String,
    /// From 1, dense, for each receipt key; receipts and drift records together.
    pub seq: u64,
    /// Digest of the envelope of the receipt or drift record before; none at seq 1.
    #[serde(with = "maybe")]
    pub previous: Option<Digest>,
    /// What happened.
    pub kind: ReceiptKind,
    /// Generation of the state; 0 before the first.
    pub generation: u64,
    /// Digest of the state's manifest; none before the first.
    #[serde(with = "maybe")]
    pub manifest: Option<Digest>,
    /// The newest checkpoint that the agent verified.
    pub checkpoint: SeenCheckpoint,
    /// What became of the apps.
    pub apps: AppCounts,
    /// Digest of the blob with the results of each app and object, or of what was refused; none for none.
    #[serde(with = "maybe")]
    pub results: Option<Digest>,
    /// The worst health of all apps.
    pub health: Health,
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub ended: Time,
    /// Version of the agent.
    pub agent: String,
    /// The newest nonce of the hub that the agent knew, in hex; empty if it knew none.
    pub nonce: String,
    /// The attack that was detected, if one was.
    pub attack: Option<Attack>,
    /// Version of the trust root that the agent knew.
    pub trust_root: u64,
    /// Events of this kind that were folded into this receipt.
    pub dropped: u64,
    /// The place in the log of the override under which the state came before witnesses had seen it; none for a state that came
    /// as all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<u64>,
}

/// What a receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptKind {
    /// A state was applied.
    Sync,
    /// Nothing changed.
    Heartbeat,
    /// A check said no to what came.
    Refusal,
    /// Applying was paused or resumed by an override.
    Pause,
    /// Objects were deleted because tombstones name them.
    Deletion,
    /// An attack was detected.
    Attack,
}

/// A checkpoint that an agent verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCheckpoint {
    /// Entries in the log.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// Newest time of the quorum that cosigned it, in seconds since 1970; none without witnesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// How many apps ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCounts {
    /// Something of them was written.
    pub applied: u64,
    /// Nothing had to be written.
    pub unchanged: u64,
    /// All that was left of them was deleted.
    pub pruned: u64,
    /// Something of them failed.
    pub failed: u64,
}

/// Health, the best first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Health {
    /// Does what it should.
    Healthy,
    /// Stopped on purpose.
    Suspended,
    /// On its way.
    Progressing,
    /// Not there.
    Missing,
    /// Failed.
    Degraded,
    /// Can't be told.
    #[default]
    Unknown,
}

/// An attack that an agent detected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    /// Code of the refusal that showed it.
    pub code: String,
    /// Digest of the blob with the evidence.
    pub evidence: Digest,
}

impl Receipt {
    /// The payload of an envelope.
    pub fn payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        let digest = self.desired.unwrap_or_else(|| Digest::of(b""));
        write(
            RECEIPT,
            &self.cluster,
            "sha256",
            &digest.to_string(),
            to_value(self)?,
        )
    }

    pub(super) fn read(value: &Value) -> Result<Self, StatementError> {
        let (name, digest) = subject(value, "sha256")?;
        let mut receipt: Self = predicate(value)?;
        ensure(
            name == receipt.cluster,
            "subject",
            "is not the predicate's cluster",
        )?;
        let digest = hex("subject", digest)?;
        receipt.desired = (digest != Digest::of(b"")).then_some(digest);
        receipt.check()?;
        Ok(receipt)
    }

    fn check(&self) -> Result<(), StatementError> {
        name::check("fleet", &self.fleet)?;
        name::check("cluster", &self.cluster)?;
        link(self.seq, self.previous.as_ref())?;
        let none = self.generation == 0;
        ensure(
            self.desired.is_none() == none,
            "subject",
            "must be that of no bytes for generation 0 and no other",
        )?;
        ensure(
            self.manifest.is_none() == none,
            "manifest",
            "must be empty for generation 0 and no other",
        )?;
        ensure(
            !none || !matches!(self.kind, ReceiptKind::Sync | ReceiptKind::Deletion),
            "generation",
            "begins at 1 where something was applied",
        )?;
        ensure(
            self.break_glass.is_none() || !none,
            "breakGlass",
            "let a state through, and there is none",
        )?;
        ensure(
            self.attack.is_some() || self.kind != ReceiptKind::Attack,
            "attack",
            "is not named",
        )?;
        if let Some(attack) = &self.attack {
            code("attack.code", &attack.code)?;
        }
        ensure(self.started <= self.ended, "ended", "is before started")?;
        text("agent", &self.agent)?;
        line("nonce", &self.nonce)?;
        nonce(&self.nonce)?;
        ensure(self.trust_root != 0, "trustRoot", "begins at 1")
    }
}
