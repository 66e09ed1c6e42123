//! The judge: entries come in the log's order, findings go out. It reads no file and no clock; what it must know of
//! entries long ago it asks a [`Past`].

mod authority;
mod end;
mod nonces;
mod receipts;
mod states;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use countersign_ledger::digest::Digest;
use countersign_ledger::key::PublicKey;
use countersign_ledger::nonce::Nonce;
use countersign_ledger::statement::{Statement, Verdict};
use countersign_ledger::trust::{Level, Role as RootRole};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Read, Unread};
use super::finding::{Code, Finding};
use super::keys::{Keys, Role, Standing};
use super::tree::Tree;

pub use end::End;
pub use receipts::{forked, span, time};

/// What an auditor calls late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A cluster that says nothing for longer was silent; agents send a heartbeat every hour by default.
    pub silence_ms: u64,
    /// A receipt that came into the log so much later than it was written is late.
    pub late_ms: u64,
    /// A clock may be ahead by this.
    pub skew_ms: u64,
    /// A cosignature may be as old as this.
    pub stale_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence_ms: 2 * 3_600_000,
            late_ms: 3_600_000,
            skew_ms: 300_000,
            stale_ms: 900_000,
        }
    }
}

/// A source entry of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSource {
    /// Its place.
    pub index: u64,
    /// The commit.
    pub commit: String,
    /// What the check of its signature found.
    pub verdict: Verdict,
    /// Who signed it, or empty.
    pub signer: String,
}

/// A desired state of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastDesired {
    /// Its place.
    pub index: u64,
    /// SHA-256 of its envelope.
    pub digest: Digest,
    /// Its leaf hash.
    pub leaf: Digest,
    /// Its manifest.
    pub manifest: Digest,
}

/// Entries that were judged and found rightly signed.
pub trait Past {
    /// The source entry with this leaf hash.
    fn source(&self, leaf: &Digest) -> Option<PastSource>;
    /// The state of a cluster's generation.
    fn desired(&self, cluster: &str, generation: u64) -> Option<PastDesired>;
}

/// A checkpoint that a receipt names, too old for the roots at hand: whoever has the tiles checks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRoot {
    /// The receipt.
    pub index: u64,
    /// The cluster.
    pub cluster: String,
    /// Size of the checkpoint.
    pub size: u64,
    /// Root that the receipt names.
    pub root: Digest,
}

/// What became of one entry.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// Whether a key that may say this signed it.
    pub holds: bool,
    /// To be checked against the tiles.
    pub late_root: Option<LateRoot>,
    /// Entries behind this one were logged after this time.
    pub floor: Option<u64>,
    /// Entries below this size were logged by this time.
    pub ceiling: Option<(u64, u64)>,
}

/// The newest state of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeadState {
    generation: u64,
    index: u64,
    digest: Digest,
    leaf: Digest,
    manifest: Digest,
    trust_root: u64,
}

/// The newest receipt or drift record of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LastReceipt {
    key: PublicKey,
    seq: u64,
    index: u64,
    digest: Digest,
    ended: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ClusterState {
    head: Option<HeadState>,
    receipt: Option<LastReceipt>,
    /// Highest generation that a sync answered.
    answered: u64,
    /// Generations that a second renderer confirmed, the newest ones.
    confirmed: BTreeSet<u64>,
    /// States at level reproduced that no second renderer has spoken of: their places by generation, the newest ones.
    unreproduced: BTreeMap<u64, u64>,
    /// How many more there were.
    unreproduced_before: u64,
    /// The newest nonce that it carried.
    nonce: String,
}

/// Everything that the judge remembers: small, so that a pass can stop and go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    clusters: BTreeMap<String, ClusterState>,
    source: Option<(Digest, PastSource)>,
    /// States that may be applied without witnesses, and the entries that say so.
    break_glass: BTreeMap<Digest, u64>,
    /// Newest time that a cluster said, and that is not ahead.
    newest: u64,
    ceiling: (u64, u64),
    /// Entries of each kind.
    pub counts: BTreeMap<String, u64>,
}

/// The judge.
pub struct Judge {
    fleet: String,
    limits: Limits,
    now: u64,
    /// The newest nonce of each cluster.
    nonces: HashMap<Nonce, String>,
    /// Whose word counts.
    pub keys: Keys,
    /// What it remembers.
    pub state: State,
}

/// What an entry is judged with.
pub struct Around<'a> {
    /// Entries before it.
    pub past: &'a dyn Past,
    /// The tree of the entries before it.
    pub tree: &'a Tree,
}

impl Judge {
    /// A judge of a fleet's log, at `now` in milliseconds since 1970.
    pub fn new(fleet: String, keys: Keys, state: State, limits: Limits, now: u64) -> Self {
        let nonce = |(name, known): (&String, &ClusterState)| {
            Some((Nonce::parse(&known.nonce)?, name.clone()))
        };
        let nonces = state.clusters.iter().filter_map(nonce).collect();
        Self {
            fleet,
            limits,
            now,
            nonces,
            keys,
            state,
        }
    }

    /// The roles that may sign what was read.
    pub fn roles(read: &Read) -> Vec<Role<'_>> {
        let Ok(said) = &read.said else {
            return Vec::new();
        };
        match said {
            Statement::Source(_) => vec![Role::Root(RootRole::AnySealer)],
            Statement::Desired(this) => vec![Role::Root(RootRole::Sealer(&this.environment))],
            Statement::Receipt(this) => vec![Role::Receipt(&this.cluster)],
            Statement::Drift(this) => vec![Role::Receipt(&this.cluster)],
            Statement::Enrolment(_) | Statement::Revocation(_) | Statement::TrustEntry(_) => {
                vec![Role::Root(RootRole::AgentCa)]
            }
            Statement::Override(_) => vec![Role::Root(RootRole::Overrider)],
            Statement::Infrastructure(_) => {
                vec![Role::Root(RootRole::Ci), Role::Root(RootRole::AgentCa)]
            }
            Statement::Reproduction(_) => vec![Role::Root(RootRole::Reproducer)],
        }
    }

    /// Judges the next entry.
    pub fn take(&mut self, entry: &Entry, around: &Around<'_>) -> Judgement {
        let mut out = Judgement::default();
        let index = entry.read.index;
        let said = match &entry.read.said {
            Ok(said) => said,
            Err(Unread::Unknown(kind)) => {
                out.find(
                    index,
                    Code::StatementUnknown,
                    "",
                    format!("predicate type {kind:?}"),
                );
                self.count("?");
                return out;
            }
            Err(Unread::Malformed(why)) => {
                out.find(index, Code::EntryMalformed, "", why.clone());
                self.count("?");
                return out;
            }
        };
        self.count(kind(said));
        if said.fleet() != self.fleet {
            let other = format!("fleet {:?}, this log is of {:?}", said.fleet(), self.fleet);
            out.find(index, Code::FleetOther, "", other);
            return out;
        }
        match said {
            Statement::Source(this) => self.source(entry, this, &mut out),
            Statement::Desired(this) => self.desired(entry, this, around, &mut out),
            Statement::Receipt(this) => self.receipt(entry, this, around, &mut out),
            Statement::Drift(this) => self.drift(entry, this, around, &mut out),
            Statement::Enrolment(this) => self.enrolment(entry, this, &mut out),
            Statement::Revocation(this) => self.revocation(entry, this, &mut out),
            Statement::TrustEntry(this) => self.trust_entry(entry, this, &mut out),
            Statement::Override(this) => self.override_(entry, this, &mut out),
            Statement::Infrastructure(_) => {
                out.holds = self.speaks(entry, "", &mut out);
            }
            Statement::Reproduction(this) => self.reproduction(entry, this, around, &mut out),
        }
        out
    }

    fn count(&mut self, kind: &str) {
        match self.state.counts.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.state.counts.insert(kind.to_owned(), 1);
            }
        }
    }

    /// Whether a key that may speak so signed the entry; if not, why not.
    fn speaks(&self, entry: &Entry, cluster: &str, out: &mut Judgement) -> bool {
        self.speaker(entry, cluster, out).is_some()
    }

    /// The key that speaks.
    fn speaker(&self, entry: &Entry, cluster: &str, out: &mut Judgement) -> Option<PublicKey> {
        let index = entry.read.index;
        let mut worst: Option<(Code, String)> = None;
        let roles = Self::roles(&entry.read);
        for key in &entry.signers {
            for role in &roles {
                let (code, why) = match self.keys.standing(*role, key, index) {
                    Standing::Valid => return Some(*key),
                    Standing::Revoked(at) => {
                        (Code::KeyRevoked, format!("{key} was revoked at entry {at}"))
                    }
                    Standing::Dropped => (Code::KeyDropped, format!("{key} was valid before")),
                    Standing::NotYet => (Code::KeyNotYet, format!("{key} is valid only later")),
                    Standing::Other => (Code::KeyRole, format!("{key} has another role")),
                    Standing::Unknown => continue,
                };
                let better = match &worst {
                    Some((had, _)) => rank(code) > rank(*had),
                    None => true,
                };
                if better {
                    worst = Some((code, why));
                }
            }
        }
        let (code, why) = worst.unwrap_or_else(|| {
            let why = "no valid signature of a known key".to_owned();
            (Code::KeyUnknown, why)
        });
        out.find(index, code, cluster, why);
        None
    }

    /// The least that a cluster accepts, by the root in effect.
    fn level(&self, cluster: &str) -> Level {
        let trust = self.keys.cluster(cluster);
        trust.map_or(Level::Signed, |trust| trust.level)
    }

    fn cluster(&mut self, name: &str) -> &mut ClusterState {
        self.state.clusters.entry(name.to_owned()).or_default()
    }
}

/// Which of several reasons tells most.
const fn rank(code: Code) -> u8 {
    match code {
        Code::KeyRevoked => 4,
        Code::KeyDropped => 3,
        Code::KeyNotYet => 2,
        Code::KeyRole => 1,
        _ => 0,
    }
}

/// The name of a statement's kind.
const fn kind(said: &Statement) -> &'static str {
    match said {
        Statement::Source(_) => "source",
        Statement::Desired(_) => "desired",
        Statement::Receipt(_) => "receipt",
        Statement::Drift(_) => "drift",
        Statement::Enrolment(_) => "enrolment",
        Statement::Revocation(_) => "revocation",
        Statement::TrustEntry(_) => "trust",
        Statement::Override(_) => "override",
        Statement::Infrastructure(_) => "infrastructure",
        Statement::Reproduction(_) => "reproduction",
    }
}

impl Judgement {
    fn find(&mut self, index: u64, code: Code, cluster: &str, detail: String) {
        self.findings.push(Finding {
            index: Some(index),
            code,
            cluster: cluster.to_owned(),
            detail,
        });
    }
}

#[cfg(test)]
mod tests;
