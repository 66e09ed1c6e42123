//! The chain in which a cluster speaks: receipts and drift records, `seq` without gaps, each naming the one before. Hub, agent
//! and auditor check it with the same code.
//!
//! A cluster that says two things under one `seq` has lied to somebody, or somebody has its key: both envelopes together are
//! the evidence ([`Equivocation`]).

use crate::digest::Digest;
use crate::dsse::{Envelope, EnvelopeError, Limits, PAYLOAD_TYPE};
use crate::key::{PublicKey, Verify};
use crate::statement::{Statement, StatementError};

#[cfg(test)]
mod tests;

/// Who speaks: taken from the enrolment, never from what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The fleet.
    pub fleet: String,
    /// The cluster.
    pub cluster: String,
    /// Its receipt key.
    pub key: PublicKey,
}

/// How far a speaker's chain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    speaker: Speaker,
    newest: Option<Newest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    seq: u64,
    envelope: Digest,
}

/// An envelope that belongs into the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It is the next one; the chain now ends with it.
    Next(Box<Spoken>),
    /// It says what was said before under this `seq`.
    Again {
        /// Its place in the chain.
        seq: u64,
    },
}

/// A link of the chain: bears the speaker's signature, and has the right place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// Its place.
    pub seq: u64,
    /// Digest of its envelope.
    pub envelope: Digest,
    /// A receipt or a drift record.
    pub statement: Statement,
}

/// Two envelopes of one key under one `seq` that say different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The one that was known.
    pub ours: Vec<u8>,
    /// The one that came.
    pub theirs: Vec<u8>,
}

/// Why an envelope does not belong into the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRefusal {
    /// No envelope.
    #[error("the {0}")]
    Envelope(#[from] EnvelopeError),
    /// No statement.
    #[error("the {0}")]
    Statement(#[from] StatementError),
    /// Neither a receipt nor a drift record.
    #[error("the envelope holds neither a receipt nor a drift record")]
    NotAReceipt,
    /// Not signed by the speaker.
    #[error("the receipt bears no signature of the cluster's receipt key")]
    SignatureInvalid,
    /// Of another cluster or fleet.
    #[error("the receipt is of cluster {cluster:?} of fleet {fleet:?}")]
    WrongCluster {
        /// The fleet that it names.
        fleet: String,
        /// The cluster that it names.
        cluster: String,
    },
    /// Something between is missing.
    #[error("the receipt has seq {got}, the next one is {want}")]
    Gap {
        /// The next `seq`.
        want: u64,
        /// The one that came.
        got: u64,
    },
    /// It follows another one than the last.
    #[error("receipt {seq} follows another one than the last")]
    PreviousMismatch {
        /// Its `seq`.
        seq: u64,
    },
    /// An old `seq`, and what was said under it is not at hand.
    #[error("the receipt has seq {got}, which was said before; the next one is {want}")]
    Replayed {
        /// The next `seq`.
        want: u64,
        /// The one that came.
        got: u64,
    },
    /// Another thing was said under this `seq`.
    #[error("two different receipts have seq {seq}")]
    Equivocation {
        /// The `seq`.
        seq: u64,
        /// Both.
        evidence: Box<Equivocation>,
    },
}

impl ReceiptRefusal {
    /// The stable name of the cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "ENVELOPE_MALFORMED",
            Self::Statement(_) => "STATEMENT_MALFORMED",
            Self::NotAReceipt => "NOT_A_RECEIPT",
            Self::SignatureInvalid => "RECEIPT_SIGNATURE_INVALID",
            Self::WrongCluster { .. } => "WRONG_CLUSTER",
            Self::Gap { .. } => "RECEIPT_GAP",
            Self::PreviousMismatch { .. } => "RECEIPT_PREVIOUS_MISMATCH",
            Self::Replayed { .. } => "RECEIPT_REPLAYED",
            Self::Equivocation { .. } => "RECEIPT_EQUIVOCATION",
        }
    }
}

impl Chain {
    /// A chain in which nothing was said yet.
    #[must_use]
    pub fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            newest: None,
        }
    }

    /// A chain that ends with the envelope of digest `envelope` at `seq`.
    #[must_use]
    pub fn resume(speaker: Speaker, seq: u64, envelope: Digest) -> Self {
        Self {
            speaker,
            newest: Some(Newest { seq, envelope }),
        }
    }

    /// Who speaks.
    #[must_use]
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// The `seq` that comes next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.newest.map_or(1, |newest| newest.seq.saturating_add(1))
    }

    /// The digest that the next one names as its previous; none for the first.
    #[must_use]
    pub fn previous(&self) -> Option<Digest> {
        self.newest.map(|newest| newest.envelope)
    }

    /// Takes an envelope: the chain ends with it if it is the next one, and stays as it is otherwise. `said` gives the
    /// envelope that was taken under an earlier `seq`, if it is at hand.
    pub fn offer<E: AsRef<[u8]>>(
        &mut self,
        bytes: &[u8],
        said: impl FnOnce(u64) -> Option<E>,
        verifier: &dyn Verify,
    ) -> Result<Offer, ReceiptRefusal> {
        let (envelope, link) = read(bytes, &self.speaker, verifier)?;
        let want = self.next_seq();
        if link.seq < want {
            let Some(ours) = said(link.seq) else {
                return Err(ReceiptRefusal::Replayed {
                    want,
                    got: link.seq,
                });
            };
            return again(ours.as_ref(), &envelope, link.seq);
        }
        if link.seq > want {
            return Err(ReceiptRefusal::Gap {
                want,
                got: link.seq,
            });
        }
        if link.previous != self.previous() {
            return Err(ReceiptRefusal::PreviousMismatch { seq: link.seq });
        }
        let spoken = Spoken {
            seq: link.seq,
            envelope: envelope.digest(),
            statement: link.statement,
        };
        self.newest = Some(Newest {
            seq: spoken.seq,
            envelope: spoken.envelope,
        });
        Ok(Offer::Next(Box::new(spoken)))
    }
}

/// The same statement may come in another envelope: anybody on the way can write its JSON anew. Only another statement is a
/// lie of the speaker.
fn again(ours: &[u8], theirs: &Envelope, seq: u64) -> Result<Offer, ReceiptRefusal> {
    let same = Envelope::parse(ours, &Limits::entry())?.payload() == theirs.payload();
    if same {
        return Ok(Offer::Again { seq });
    }
    let evidence = Box::new(Equivocation {
        ours: ours.to_vec(),
        theirs: theirs.bytes().to_vec(),
    });
    Err(ReceiptRefusal::Equivocation { seq, evidence })
}

impl Equivocation {
    /// Whether both are of `speaker`, under one `seq`, and say different things. Anybody who knows the key can ask.
    pub fn check(&self, speaker: &Speaker, verifier: &dyn Verify) -> Result<bool, ReceiptRefusal> {
        let (ours, our_link) = read(&self.ours, speaker, verifier)?;
        let (theirs, their_link) = read(&self.theirs, speaker, verifier)?;
        Ok(our_link.seq == their_link.seq && ours.payload() != theirs.payload())
    }
}

struct Link {
    seq: u64,
    previous: Option<Digest>,
    statement: Statement,
}

fn read(
    bytes: &[u8],
    speaker: &Speaker,
    verifier: &dyn Verify,
) -> Result<(Envelope, Link), ReceiptRefusal> {
    let envelope = Envelope::parse(bytes, &Limits::entry())?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(ReceiptRefusal::NotAReceipt);
    }
    if envelope.signed_by([&speaker.key], verifier).is_empty() {
        return Err(ReceiptRefusal::SignatureInvalid);
    }
    let statement = Statement::parse(envelope.payload())?;
    let (fleet, cluster, seq, previous) = match &statement {
        Statement::Receipt(this) => (&this.fleet, &this.cluster, this.seq, this.previous),
        Statement::Drift(this) => (&this.fleet, &this.cluster, this.seq, this.previous),
        Statement::Source(_)
        | Statement::Desired(_)
        | Statement::Enrolment(_)
        | Statement::Revocation(_)
        | Statement::TrustEntry(_)
        | Statement::Override(_)
        | Statement::Infrastructure(_)
        | Statement::Reproduction(_) => return Err(ReceiptRefusal::NotAReceipt),
    };
    if *fleet != speaker.fleet || *cluster != speaker.cluster {
        return Err(ReceiptRefusal::WrongCluster {
            fleet: fleet.clone(),
            cluster: cluster.clone(),
        });
    }
    let link = Link {
        seq,
        previous,
        statement,
    };
    Ok((envelope, link))
}
