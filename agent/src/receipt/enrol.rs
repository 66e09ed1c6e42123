//! The receipt key enters the log: `enrolment/v1`, signed by the hub's agent CA and, as proof that the cluster holds it, by the
//! key itself.
//!
//! What the hub offers is signed only if it says of this cluster what the agent sees of it, and the entry that comes back
//! counts only under both signatures and with its proof. The checks are pure; [`super::send`] asks.

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{Envelope, EnvelopeError, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, Verify};
use countersign_ledger::statement::{Enrolment, Statement, StatementError};
use countersign_ledger::tlog::merkle;
use countersign_ledger::trust::VerifiedRoot;
use countersign_ledger::verify::VerifiedCheckpoint;

/// What an enrolment of this agent must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The fleet.
    pub fleet: String,
    /// The cluster.
    pub cluster: String,
    /// UID of its namespace kube-system.
    pub uid: String,
    /// SHA-256 of the DER of its API server's CA certificate.
    pub ca_fingerprint: Digest,
    /// The receipt key.
    pub receipt_key: PublicKey,
    /// The age recipient.
    pub recipient: String,
}

/// Why an enrolment is not signed, or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolRefused {
    /// No envelope.
    #[error("the {0}")]
    Envelope(#[from] EnvelopeError),
    /// No statement.
    #[error("the {0}")]
    Statement(#[from] StatementError),
    /// Another statement, or in other bytes than the statement has.
    #[error("what the hub offered to sign is no enrolment")]
    NotAnEnrolment,
    /// It says something else of this cluster than the agent sees.
    #[error("the enrolment names another {0} than this agent's")]
    Mismatch(&'static str),
    /// The agent CA of the trust root did not sign it.
    #[error("the enrolment bears no signature of an agent CA that the trust root lists")]
    Unsigned,
    /// This agent did not sign it.
    #[error("the enrolment bears no signature of the receipt key")]
    Unproven,
    /// The log does not hold it.
    #[error("entry {index} of the log is not the enrolment: {problem}")]
    NotInLog {
        /// The place that was shown.
        index: u64,
        /// Why the proof fails.
        problem: String,
    },
}

impl EnrolRefused {
    /// Stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "ENVELOPE_MALFORMED",
            Self::Statement(_) | Self::NotAnEnrolment => "ENROLMENT_MALFORMED",
            Self::Mismatch(_) => "ENROLMENT_MISMATCH",
            Self::Unsigned | Self::Unproven => "ENROLMENT_SIGNATURE_INVALID",
            Self::NotInLog { .. } => "NOT_IN_LOG",
        }
    }
}

/// Whether `payload` may be signed: an enrolment that says what this agent is, in exactly the bytes of its statement.
///
/// # Errors
/// [`EnrolRefused`]
pub fn offered(payload: &[u8], own: &Own) -> Result<Enrolment, EnrolRefused> {
    let Statement::Enrolment(said) = Statement::parse(payload)? else {
        return Err(EnrolRefused::NotAnEnrolment);
    };
    if said.payload()? != payload {
        return Err(EnrolRefused::NotAnEnrolment);
    }
    let differs = [
        ("fleet", said.fleet != own.fleet),
        ("cluster", said.cluster != own.cluster),
        ("UID", said.uid != own.uid),
        ("CA", said.ca_fingerprint != own.ca_fingerprint),
        ("receipt key", said.receipt_key != own.receipt_key),
        ("recipient", said.recipient != own.recipient),
    ];
    match differs.iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(EnrolRefused::Mismatch(what)),
        None => Ok(said),
    }
}

/// Whether an entry is this agent's enrolment and stands in the log.
///
/// # Errors
/// [`EnrolRefused`]
pub fn stands(
    entry: &[u8],
    index: u64,
    proof: &[Digest],
    checkpoint: &VerifiedCheckpoint,
    own: &Own,
    root: &VerifiedRoot,
    verifier: &dyn Verify,
) -> Result<Enrolment, EnrolRefused> {
    let envelope = Envelope::parse(entry, &Limits::entry())?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(EnrolRefused::NotAnEnrolment);
    }
    let said = offered(envelope.payload(), own)?;
    let authorities = root.document().agent_cas.iter().map(|ca| &ca.key);
    if envelope.signed_by(authorities, verifier).is_empty() {
        return Err(EnrolRefused::Unsigned);
    }
    if envelope.signed_by([&own.receipt_key], verifier).is_empty() {
        return Err(EnrolRefused::Unproven);
    }
    let (size, at) = (checkpoint.size(), checkpoint.root());
    merkle::verify_inclusion(index, size, &leaf_hash(entry), proof, at).map_err(|error| {
        EnrolRefused::NotInLog {
            index,
            problem: error.to_string(),
        }
    })?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::statement::enrolment::Method;

    fn own() -> Own {
        Own {
            fleet: "acme".into(),
            cluster: "metal".into(),
            uid: "uid".into(),
            ca_fingerprint: Digest::of(b"ca"),
            receipt_key: PublicKey([7; 32]),
            recipient: "age1abc".into(),
        }
    }

    fn enrolment() -> Enrolment {
        let own = own();
        Enrolment {
            fleet: own.fleet,
            cluster: own.cluster,
            uid: own.uid,
            ca_fingerprint: own.ca_fingerprint,
            receipt_key: own.receipt_key,
            recipient: own.recipient,
            method: Method::Token,
            number: 3,
        }
    }

    #[test]
    fn only_what_this_agent_is_gets_its_signature() {
        let payload = enrolment().payload().unwrap();
        assert_eq!(offered(&payload, &own()).unwrap().number, 3);
        for (what, other) in [
            (
                "fleet",
                Enrolment {
                    fleet: "evil".into(),
                    ..enrolment()
                },
            ),
            (
                "cluster",
                Enrolment {
                    cluster: "eks".into(),
                    ..enrolment()
                },
            ),
            (
                "UID",
                Enrolment {
                    uid: "u2".into(),
                    ..enrolment()
                },
            ),
            (
                "CA",
                Enrolment {
                    ca_fingerprint: Digest::of(b"x"),
                    ..enrolment()
                },
            ),
            (
                "receipt key",
                Enrolment {
                    receipt_key: PublicKey([8; 32]),
                    ..enrolment()
                },
            ),
            (
                "recipient",
                Enrolment {
                    recipient: "age1evil".into(),
                    ..enrolment()
                },
            ),
        ] {
            let payload = other.payload().unwrap();
            assert_eq!(offered(&payload, &own()), Err(EnrolRefused::Mismatch(what)));
        }
    }

    #[test]
    fn neither_another_statement_nor_other_bytes_of_it_are_signed() {
        let revocation = countersign_ledger::statement::Revocation {
            fleet: "acme".into(),
            cluster: Some("metal".into()),
            key: PublicKey([7; 32]),
            reason: "x".into(),
            since: countersign_ledger::time::Time::default(),
        };
        assert_eq!(
            offered(&revocation.payload().unwrap(), &own()),
            Err(EnrolRefused::NotAnEnrolment)
        );
        let mut spaced = enrolment().payload().unwrap();
        spaced.push(b' ');
        assert_eq!(offered(&spaced, &own()), Err(EnrolRefused::NotAnEnrolment));
        assert!(matches!(
            offered(b"{}", &own()),
            Err(EnrolRefused::Statement(_))
        ));
    }
}
