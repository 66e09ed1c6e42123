//! May this statement enter the log, as far as the trust root and the clock can say? Pure.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::dsse::{Envelope, Limits, PAYLOAD_TYPE};
use countersign_ledger::key::{PublicKey, RingVerifier};
use countersign_ledger::statement::Statement;
use countersign_ledger::trust::{Role, VerifiedRoot};
use http::StatusCode;
use jiff::Timestamp;

use super::{Offer, infrastructure, override_, reproduction};

/// What may enter.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The envelope, as it came.
    pub(crate) envelope: Envelope,
    /// What it says.
    pub(crate) statement: Statement,
    /// The blobs that it names, each of the right digest.
    pub(crate) blobs: Vec<Bytes>,
    /// Who signed it, by the trust root's name of the key.
    pub(crate) by: String,
}

/// Why something may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// As HTTP says it.
    pub(crate) status: StatusCode,
    /// Stable.
    pub(crate) code: &'static str,
    /// For a person.
    pub(crate) message: String,
}

impl Refusal {
    /// What came can't be read.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// It can be read and may not be.
    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// Nobody who may say this signed it.
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// The hub reads what was sealed.
    pub(crate) fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "NOT_READY",
            "the hub is reading what was sealed; ask again",
        )
    }

    /// Asking again may help; the text goes to the hub's log, not to the caller.
    pub(crate) fn fault(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "an entry from outside was not taken");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "FAULT",
            "the hub can't answer now; ask again",
        )
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

/// Judges an offer by the newest trust root.
pub(crate) fn accept(
    offer: &Offer,
    root: &VerifiedRoot,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let envelope = Envelope::parse(&offer.envelope, &Limits::entry())
        .map_err(|error| Refusal::bad("ENVELOPE_INVALID", error.to_string()))?;
    if envelope.payload_type() != PAYLOAD_TYPE {
        return Err(Refusal::bad("ENVELOPE_INVALID", "is no in-toto statement"));
    }
    let statement = Statement::parse(envelope.payload())
        .map_err(|error| Refusal::bad("STATEMENT_INVALID", error.to_string()))?;
    let role = match &statement {
        Statement::Override(_) => Role::Overrider,
        Statement::Reproduction(_) => Role::Reproducer,
        Statement::Infrastructure(_) => Role::Ci,
        Statement::Source(_)
        | Statement::Desired(_)
        | Statement::Receipt(_)
        | Statement::Drift(_)
        | Statement::Enrolment(_)
        | Statement::Revocation(_)
        | Statement::TrustEntry(_) => {
            let text = format!("{} does not enter here", statement.predicate_type());
            return Err(Refusal::forbidden("PREDICATE_FORBIDDEN", text));
        }
    };
    if statement.fleet() != root.fleet() {
        let text = format!("is of fleet {:?}", statement.fleet());
        return Err(Refusal::unprocessable("OTHER_FLEET", text));
    }
    let (by, key) = signer(&envelope, root, role)?;
    check_spelling(&envelope, key)?;
    match &statement {
        Statement::Override(this) => override_::check(this, &by, root, now)?,
        Statement::Reproduction(this) => reproduction::check(this, root)?,
        Statement::Infrastructure(this) => infrastructure::check(this, &by, root)?,
        _ => {}
    }
    Ok(Accepted {
        blobs: named(&statement, offer)?,
        envelope,
        statement,
        by,
    })
}

/// The one key that signed it, and the trust root's name of it.
pub(super) fn signer(
    envelope: &Envelope,
    root: &VerifiedRoot,
    role: Role<'_>,
) -> Result<(String, PublicKey), Refusal> {
    let document = root.document();
    let keys = match role {
        Role::Overrider => &document.overriders,
        Role::Reproducer => &document.reproducers,
        _ => &document.ci,
    };
    if envelope.signatures().len() != 1 {
        let text = format!("bears {} signatures, not one", envelope.signatures().len());
        return Err(Refusal::bad("SIGNATURES", text));
    }
    let signed = envelope.signed_by(keys.iter().map(|named| &named.key), &RingVerifier);
    let by = keys.iter().find(|named| signed.contains(&named.key));
    by.map(|named| (named.name.clone(), named.key))
        .ok_or_else(|| {
            Refusal::forbidden(
                "SIGNATURE_INVALID",
                format!(
                    "no key that the trust root (version {}) lists for this signed it",
                    root.version()
                ),
            )
        })
}

/// DSSE lets one payload and signature stand in many bytes: key hints, spaces, fields that nobody reads. Each would be an
/// entry of its own, so that anybody could say again what a person said before. One spelling enters, the one that we write.
fn check_spelling(envelope: &Envelope, key: PublicKey) -> Result<(), Refusal> {
    let one = envelope
        .signatures()
        .first()
        .and_then(|signature| <[u8; 64]>::try_from(signature.sig.as_slice()).ok())
        .map(|sig| Envelope::assemble(PAYLOAD_TYPE, envelope.payload(), &[(key, sig)]));
    if one.is_some_and(|one| one.bytes() == envelope.bytes()) {
        return Ok(());
    }
    Err(Refusal::bad(
        "ENVELOPE_SPELLING",
        "the envelope is spelled in another way than `countersign` writes it",
    ))
}

/// The offered blobs, if they are those that the statement names, each once.
fn named(statement: &Statement, offer: &Offer) -> Result<Vec<Bytes>, Refusal> {
    let names: Vec<Digest> = match statement {
        Statement::Infrastructure(this) => vec![this.resources],
        _ => Vec::new(),
    };
    let offered: Vec<Digest> = offer.blobs.iter().map(|blob| Digest::of(blob)).collect();
    if names != offered {
        let text = format!(
            "the statement names {} blobs, and those are not what came with it",
            names.len()
        );
        return Err(Refusal::unprocessable("BLOB_MISSING", text));
    }
    Ok(offer.blobs.clone())
}

#[cfg(test)]
pub(super) mod tests;
