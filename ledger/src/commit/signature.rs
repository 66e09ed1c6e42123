//! One commit's signature: whose is it? The only maker of a [`Signer`].

use super::object::Commit;
use super::oid::Oid;
use super::people::{Held, Member, People};
use super::refusal::AuthorRefusal;
use super::{openpgp, sshsig};

/// A person whose signature over one commit was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer<'p> {
    person: &'p Member,
    key: String,
}

impl<'p> Signer<'p> {
    /// Who.
    #[must_use]
    pub const fn person(&self) -> &'p Member {
        self.person
    }

    /// The key's fingerprint.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Whose signature a commit bears. Nothing is said of what it changes.
///
/// # Errors
/// `COMMIT_UNSIGNED`, `COMMIT_SIGNER_UNKNOWN`, `COMMIT_SIGNATURE_INVALID`, `COMMIT_KEY_EXPIRED`, `COMMIT_KEY_REVOKED`.
pub fn signer<'p>(
    people: &'p People,
    id: Oid,
    commit: &Commit,
    time: u64,
) -> Result<Signer<'p>, AuthorRefusal> {
    let signed = commit
        .signature
        .as_ref()
        .ok_or(AuthorRefusal::Unsigned { commit: id })?;
    if signed.armour.starts_with(sshsig::ARMOUR) {
        by_ssh(people, id, &signed.armour, &signed.payload, time)
    } else if signed.armour.starts_with(openpgp::ARMOUR) {
        by_openpgp(people, id, &signed.armour, &signed.payload, time)
    } else {
        Err(AuthorRefusal::SignatureInvalid {
            commit: id,
            reason: "neither an SSH nor an OpenPGP signature",
        })
    }
}

fn by_ssh<'p>(
    people: &'p People,
    id: Oid,
    armour: &str,
    payload: &[u8],
    time: u64,
) -> Result<Signer<'p>, AuthorRefusal> {
    let invalid = |reason| AuthorRefusal::SignatureInvalid { commit: id, reason };
    let claim = sshsig::Claim::read(armour).map_err(invalid)?;
    let named = claim.key();
    let held = people.ssh.iter().find(|held| held.key == named);
    let held = held.ok_or_else(|| AuthorRefusal::SignerUnknown {
        commit: id,
        key: named.fingerprint(),
    })?;
    claim.verify(&held.key, payload).map_err(invalid)?;
    let person = people.person(held);
    in_time(held, person, id, time)?;
    Ok(Signer {
        person,
        key: held.key.fingerprint(),
    })
}

fn by_openpgp<'p>(
    people: &'p People,
    id: Oid,
    armour: &str,
    payload: &[u8],
    time: u64,
) -> Result<Signer<'p>, AuthorRefusal> {
    let invalid = |reason| AuthorRefusal::SignatureInvalid { commit: id, reason };
    let claim = openpgp::Claim::read(armour).map_err(invalid)?;
    // Two keys may share a short id, by chance or by work: each is tried.
    let mut refusal = AuthorRefusal::SignerUnknown {
        commit: id,
        key: claim.issuer(),
    };
    for held in people.openpgp.iter().filter(|held| claim.names(&held.key)) {
        if let Err(reason) = claim.verify(&held.key, payload, time) {
            refusal = invalid(reason);
            continue;
        }
        let person = people.person(held);
        if held.key.revoked() {
            return Err(AuthorRefusal::KeyRevoked {
                commit: id,
                person: person.name.clone(),
            });
        }
        held.key
            .counts_at(time)
            .map_err(|reason| AuthorRefusal::KeyExpired {
                commit: id,
                person: person.name.clone(),
                reason,
            })?;
        in_time(held, person, id, time)?;
        return Ok(Signer {
            person,
            key: held.key.fingerprint(),
        });
    }
    Err(refusal)
}

fn in_time<K>(
    held: &Held<K>,
    person: &Member,
    commit: Oid,
    time: u64,
) -> Result<(), AuthorRefusal> {
    held.counts_at(time)
        .map_err(|reason| AuthorRefusal::KeyExpired {
            commit,
            person: person.name.clone(),
            reason,
        })
}
