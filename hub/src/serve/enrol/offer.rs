//! What a registered agent's enrolment says, and whether it stands in the log already. Pure.

use countersign_ledger::digest::{Digest, NotADigest};
use countersign_ledger::key::PublicKey;
use countersign_ledger::statement::enrolment::Method;
use countersign_ledger::statement::{Enrolment, Revocation, StatementError};
use countersign_ledger::time::Time;
use jiff::Timestamp;

use crate::serve::registry::{Registration, Revoked};

/// Why a revocation gives no reason of a person.
const REPLACED: &str = "replaced by another agent that a person let in";

/// The newest enrolment of a cluster, out of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Newest {
    /// What it says.
    pub(super) said: Enrolment,
    /// Leaf hash of its entry.
    pub(super) leaf: Digest,
    /// Its key was revoked since.
    pub(super) revoked: bool,
}

/// What is to be done for a registered agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// The entry with this leaf hash says it all.
    Stands(Digest),
    /// This is to be signed and appended, after the revocation of the key before, if that one was not revoked.
    Append {
        enrolment: Box<Enrolment>,
        revocation: Option<Revocation>,
    },
}

/// Why there is nothing to offer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoOffer {
    /// The registration is from an agent that did not tell which cluster it keeps.
    #[error(
        "the registration does not say which cluster this is; join again by `countersign cluster add {0} --replace`"
    )]
    NoIdentity(String),
}

/// Decides what to do for a registered agent, given the newest enrolment of its cluster.
pub(super) fn offer(
    fleet: &str,
    registered: &Registration,
    newest: Option<&Newest>,
) -> Result<Offer, NoOffer> {
    let unknown = |_: NotADigest| NoOffer::NoIdentity(registered.cluster.clone());
    let ca_fingerprint = registered.ca_fingerprint.parse().map_err(unknown)?;
    if registered.cluster_uid.is_empty() {
        return Err(NoOffer::NoIdentity(registered.cluster.clone()));
    }
    let key = PublicKey(registered.key);
    let own = newest.filter(|newest| newest.said.receipt_key == key);
    let enrolment = Enrolment {
        fleet: fleet.to_owned(),
        cluster: registered.cluster.clone(),
        uid: registered.cluster_uid.clone(),
        ca_fingerprint,
        receipt_key: key,
        recipient: registered.recipient.clone(),
        method: own.map_or(registered.method, |_| Method::Renewal),
        number: newest.map_or(1, |newest| newest.said.number.saturating_add(1)),
    };
    if let Some(own) = own
        && same(&own.said, &enrolment)
    {
        return Ok(Offer::Stands(own.leaf));
    }
    Ok(Offer::Append {
        enrolment: Box::new(enrolment),
        revocation: replaced(
            fleet,
            registered,
            newest.map(|newest| (newest.said.receipt_key, newest.revoked)),
        ),
    })
}

/// They differ in no more than how and how often the cluster was enrolled.
fn same(said: &Enrolment, wanted: &Enrolment) -> bool {
    let wanted = Enrolment {
        method: said.method,
        number: said.number,
        ..wanted.clone()
    };
    *said == wanted
}

/// The revocation of the enrolled key that the registered one took the place of; none if there is none or it was revoked. It
/// is a function of the registration: written again after a crash it is the same entry.
pub(super) fn replaced(
    fleet: &str,
    registered: &Registration,
    enrolled: Option<(PublicKey, bool)>,
) -> Option<Revocation> {
    let (key, revoked) = enrolled.filter(|(key, _)| key.0 != registered.key)?;
    (!revoked).then(|| Revocation {
        fleet: fleet.to_owned(),
        cluster: Some(registered.cluster.clone()),
        key,
        reason: REPLACED.to_owned(),
        since: time(registered.time),
    })
}

/// The revocation that a person asked for.
pub(super) fn revocation(fleet: &str, record: &Revoked) -> Revocation {
    Revocation {
        fleet: fleet.to_owned(),
        cluster: Some(record.cluster.clone()),
        key: PublicKey(record.key),
        reason: record.reason.clone(),
        since: time(record.since),
    }
}

/// The payload that the agent signs, exact bytes.
pub(super) fn payload(enrolment: &Enrolment) -> Result<Vec<u8>, StatementError> {
    enrolment.payload()
}

fn time(at: Timestamp) -> Time {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    Time::from_ms(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(key: u8) -> Registration {
        Registration {
            cluster: "metal".into(),
            number: 4,
            key: [key; 32],
            recipient: "age1abc".into(),
            cluster_uid: "uid".into(),
            ca_fingerprint: "ab".repeat(32),
            kubernetes: "v1.35.4".into(),
            token: "t".into(),
            method: Method::ServiceAccount,
            time: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn appended(offer: Offer) -> (Enrolment, Option<Revocation>) {
        match offer {
            Offer::Append {
                enrolment,
                revocation,
            } => (*enrolment, revocation),
            Offer::Stands(leaf) => panic!("stands at {leaf}"),
        }
    }

    fn newest(said: Enrolment, revoked: bool) -> Newest {
        Newest {
            said,
            leaf: Digest::of(b"entry"),
            revoked,
        }
    }

    #[test]
    fn what_stands_is_not_said_again_and_a_new_recipient_is_a_renewal() {
        let (first, revocation) = appended(offer("acme", &registration(1), None).unwrap());
        assert_eq!((first.number, first.method), (1, Method::ServiceAccount));
        assert_eq!(revocation, None);
        let had = newest(first, false);
        assert_eq!(
            offer("acme", &registration(1), Some(&had)).unwrap(),
            Offer::Stands(had.leaf)
        );
        let moved = Registration {
            recipient: "age1new".into(),
            ..registration(1)
        };
        let (second, revocation) = appended(offer("acme", &moved, Some(&had)).unwrap());
        assert_eq!((second.number, second.method), (2, Method::Renewal));
        assert_eq!(revocation, None);
    }

    #[test]
    fn a_new_key_revokes_the_one_before_once() {
        let (first, _) = appended(offer("acme", &registration(1), None).unwrap());
        let had = newest(first.clone(), false);
        let (second, revocation) = appended(offer("acme", &registration(2), Some(&had)).unwrap());
        assert_eq!((second.number, second.method), (2, Method::ServiceAccount));
        let revocation = revocation.unwrap();
        assert_eq!(revocation.key, PublicKey([1; 32]));
        assert_eq!(revocation.since.seconds(), 1_800_000_000);
        let had = newest(first, true);
        let (_, revocation) = appended(offer("acme", &registration(2), Some(&had)).unwrap());
        assert_eq!(revocation, None);
    }

    #[test]
    fn an_agent_that_never_said_which_cluster_it_keeps_is_not_enrolled() {
        for registered in [
            Registration {
                cluster_uid: String::new(),
                ..registration(1)
            },
            Registration {
                ca_fingerprint: String::new(),
                ..registration(1)
            },
        ] {
            assert!(matches!(
                offer("acme", &registered, None),
                Err(NoOffer::NoIdentity(_))
            ));
        }
    }
}
