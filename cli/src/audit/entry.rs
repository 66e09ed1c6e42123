//! What one entry of the log says: its bytes read once, and the row that the index keeps of it.

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, Limits, PAYLOAD_TYPE, pae};
use countersign_ledger::key::{PublicKey, Verify};
use countersign_ledger::statement::{Statement, StatementError};
use serde::{Serialize, de::DeserializeOwned};

/// An entry whose bytes were read; no signature was looked at.
pub struct Read {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Digest,
    /// SHA-256 of its bytes: what later statements name.
    pub digest: Digest,
    /// The envelope, if it is one.
    pub envelope: Option<Envelope>,
    /// What it says.
    pub said: Result<Statement, Unread>,
}

/// Why an entry says nothing to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// No envelope or no statement.
    Malformed(String),
    /// A kind of statement that we do not know.
    Unknown(String),
}

/// An entry and who signed it.
pub struct Entry {
    /// What was read.
    pub read: Read,
    /// The known keys whose valid signatures it bears.
    pub signers: Vec<PublicKey>,
}

impl Read {
    /// Reads an entry's bytes.
    pub fn new(index: u64, bytes: &[u8]) -> Self {
        let envelope = Envelope::parse(bytes, &Limits::entry());
        let said = match &envelope {
            Err(error) => Err(Unread::Malformed(error.to_string())),
            Ok(envelope) if envelope.payload_type() != PAYLOAD_TYPE => Err(Unread::Malformed(
                format!("the payload type is {:?}", envelope.payload_type()),
            )),
            Ok(envelope) => Statement::parse(envelope.payload()).map_err(|error| match error {
                StatementError::Predicate(kind) => Unread::Unknown(kind),
                other => Unread::Malformed(other.to_string()),
            }),
        };
        Self {
            index,
            leaf: leaf_hash(bytes),
            digest: Digest::of(bytes),
            envelope: envelope.ok(),
            said,
        }
    }

    /// Which of `keys` signed it. Key ids only say where to look first; a signature is of one key at most.
    pub fn signers<'k>(
        &self,
        keys: impl Iterator<Item = &'k PublicKey>,
        verifier: &dyn Verify,
    ) -> Vec<PublicKey> {
        let Some(envelope) = &self.envelope else {
            return Vec::new();
        };
        let message = pae(envelope.payload_type(), envelope.payload());
        let mut left: Vec<&PublicKey> = keys.collect();
        let mut found = Vec::new();
        for signature in envelope.signatures() {
            left.sort_by_key(|key| key.id().to_string() != signature.keyid);
            if let Some(at) = left
                .iter()
                .position(|key| verifier.verify(key, &message, &signature.sig))
            {
                found.push(*left.remove(at));
            }
        }
        found
    }
}

/// What the index keeps of an entry. All of it follows from the entry's bytes, so that it can be derived again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Place in the log.
    pub index: u64,
    /// Leaf hash.
    pub leaf: Digest,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Kind of statement, `desired`; `?` if it can't be read.
    pub kind: &'static str,
    /// The cluster, or empty.
    pub cluster: String,
    /// The environment, or empty.
    pub environment: String,
    /// The app, or empty.
    pub app: String,
    /// Generation, or number; 0 if it has none.
    pub generation: u64,
    /// Number of a receipt or drift record; 0 if it has none.
    pub seq: u64,
    /// The commit, or empty.
    pub commit: String,
    /// What the statement is about: manifest, state, key, document.
    pub subject: String,
    /// Its kind within its kind, in one word.
    pub what: String,
    /// The person, or empty.
    pub who: String,
    /// The object of a drift record, or empty.
    pub object: String,
    /// When it says that it happened, in milliseconds since 1970.
    pub at: Option<u64>,
    /// When it says that it ends.
    pub until: Option<u64>,
}

/// All kinds, as rows name them.
pub const KINDS: [&str; 11] = [
    "source",
    "desired",
    "receipt",
    "drift",
    "enrolment",
    "revocation",
    "trust",
    "override",
    "infrastructure",
    "reproduction",
    "?",
];

/// The one word that serde writes for a plain enum.
pub fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The enum that [`word`] wrote.
pub fn unword<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

impl Row {
    /// The row of an entry.
    pub fn of(read: &Read) -> Self {
        let mut row = Self {
            index: read.index,
            leaf: read.leaf,
            digest: read.digest,
            kind: "?",
            ..Self::default()
        };
        if let Ok(said) = &read.said {
            row.fill(said);
        }
        row
    }

    fn fill(&mut self, said: &Statement) {
        match said {
            Statement::Source(this) => {
                self.kind = "source";
                self.commit.clone_from(&this.new);
                self.subject.clone_from(&this.repository);
                self.what = word(&this.verdict);
                self.who.clone_from(&this.signer);
                self.object.clone_from(&this.reference);
            }
            Statement::Desired(this) => {
                self.kind = "desired";
                self.cluster.clone_from(&this.cluster);
                self.environment.clone_from(&this.environment);
                self.generation = this.generation;
                self.commit.clone_from(&this.commit);
                self.subject = this.manifest.to_string();
                self.object = this.source.to_string();
                self.what.clone_from(&this.ring);
                let by: Vec<&str> = this.permits.iter().map(|p| p.by.as_str()).collect();
                self.who = by.join(", ");
            }
            Statement::Receipt(this) => {
                self.kind = "receipt";
                self.cluster.clone_from(&this.cluster);
                self.generation = this.generation;
                self.seq = this.seq;
                self.subject = this.desired.map_or_else(String::new, |d| d.to_string());
                self.what = word(&this.kind);
                self.object = this
                    .attack
                    .as_ref()
                    .map_or_else(String::new, |a| a.code.clone());
                self.who = word(&this.health);
                self.at = Some(this.ended.ms());
            }
            Statement::Drift(this) => {
                self.kind = "drift";
                self.cluster.clone_from(&this.cluster);
                self.app.clone_from(&this.app);
                self.generation = this.generation;
                self.seq = this.seq;
                self.subject = this.manifest.to_string();
                self.what = format!(
                    "{}{}",
                    word(&this.what),
                    if this.healed { "" } else { ", not healed" }
                );
                self.who = this.managers.join(", ");
                self.object = this.object.to_string();
                self.at = Some(this.last.ms());
            }
            Statement::Enrolment(this) => {
                self.kind = "enrolment";
                self.cluster.clone_from(&this.cluster);
                self.generation = this.number;
                self.subject = this.receipt_key.to_string();
                self.what = word(&this.method);
                self.object.clone_from(&this.uid);
            }
            Statement::Revocation(this) => {
                self.kind = "revocation";
                self.cluster = this.cluster.clone().unwrap_or_default();
                self.subject = this.key.to_string();
                self.what.clone_from(&this.reason);
                self.at = Some(this.since.ms());
            }
            Statement::TrustEntry(this) => {
                self.kind = "trust";
                self.generation = this.version;
                self.subject = this.root.to_string();
            }
            Statement::Override(this) => {
                self.kind = "override";
                self.cluster = this.cluster.clone().unwrap_or_default();
                self.app = this.app.clone().unwrap_or_default();
                self.what = word(&this.kind);
                self.who.clone_from(&this.by);
                self.object.clone_from(&this.what);
                self.subject.clone_from(&this.reason);
                self.at = Some(this.issued.ms());
                self.until = Some(this.until.ms());
            }
            Statement::Infrastructure(this) => {
                self.kind = "infrastructure";
                self.environment.clone_from(&this.environment);
                self.commit.clone_from(&this.commit);
                self.subject = this.plan.to_string();
                self.what = word(&this.phase);
                self.who.clone_from(&this.by);
                self.object.clone_from(&this.workspace);
            }
            Statement::Reproduction(this) => {
                self.kind = "reproduction";
                self.cluster.clone_from(&this.cluster);
                self.generation = this.generation;
                self.commit.clone_from(&this.commit);
                self.subject = this.desired.to_string();
                self.what = if this.agrees { "agrees" } else { "disagrees" }.to_owned();
            }
        }
    }

    /// The row as bytes, each field behind its length: what the index's chain is made of.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(320);
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(self.leaf.as_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        for text in [
            self.kind,
            &self.cluster,
            &self.environment,
            &self.app,
            &self.commit,
            &self.subject,
            &self.what,
            &self.who,
            &self.object,
        ] {
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        for number in [Some(self.generation), Some(self.seq), self.at, self.until] {
            out.push(u8::from(number.is_some()));
            out.extend_from_slice(&number.unwrap_or(0).to_be_bytes());
        }
        out
    }
}
