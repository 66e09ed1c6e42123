//! One statement of each kind of agents, people and CI, for tests.

use super::drift::DriftKind;
use super::enrolment::Method;
use super::infrastructure::{AddressCounts, Phase};
use super::override_::OverrideKind;
use super::receipt::{AppCounts, Health, ReceiptKind, SeenCheckpoint};
use super::{
    Drift, Enrolment, Infrastructure, Override, Receipt, Reproduction, Revocation, Statement,
    TrustEntry,
};
use crate::digest::Digest;
use crate::identity::ObjectId;
use crate::key::PublicKey;
use crate::time::Time;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn time(second: u64) -> Time {
    Time::from_ms((1_795_593_600 + second) * 1_000 + 7).unwrap_or_default()
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        desired: Some(Digest::of(b"desired")),
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        seq: 1,
        previous: None,
        kind: ReceiptKind::Sync,
        generation: 7,
        manifest: Some(Digest::of(b"manifest")),
        checkpoint: SeenCheckpoint {
            size: 42,
            root: Digest::of(b"root"),
            time: Some(1_795_593_590),
        },
        apps: AppCounts {
            applied: 2,
            unchanged: 9,
            pruned: 1,
            failed: 0,
        },
        results: Some(Digest::of(b"results")),
        health: Health::Healthy,
        started: time(0),
        ended: time(1),
        agent: "0.5.0".into(),
        nonce: "00ff".into(),
        attack: None,
        trust_root: 3,
        dropped: 0,
        break_glass: None,
    }
}

pub(crate) fn drift() -> Drift {
    Drift {
        manifest: Digest::of(b"manifest"),
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        seq: 2,
        previous: Some(Digest::of(b"receipt 1")),
        generation: 7,
        app: "cart".into(),
        object: ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "cart".into(),
        },
        what: DriftKind::Changed,
        managers: vec!["kubectl-edit".into()],
        paths: vec![".spec.replicas".into()],
        healed: true,
        healed_after_ms: 12,
        count: 3,
        first: time(0),
        last: time(2),
        samples: None,
        nonce: "00ff".into(),
    }
}

pub(crate) fn enrolment() -> Enrolment {
    Enrolment {
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        uid: "6f0c2a52-8f3b-4c57-9c55-0d8c8b5b1a11".into(),
        ca_fingerprint: Digest::of(b"ca"),
        receipt_key: PublicKey([5; 32]),
        recipient: "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqs3290gq".into(),
        method: Method::ServiceAccount,
        number: 1,
    }
}

pub(crate) fn revocation() -> Revocation {
    Revocation {
        fleet: "acme".into(),
        cluster: Some("metal-fra".into()),
        key: PublicKey([5; 32]),
        reason: "the node was stolen".into(),
        since: time(0),
    }
}

pub(crate) fn trust_entry() -> TrustEntry {
    TrustEntry {
        root: Digest::of(b"root 2"),
        fleet: "acme".into(),
        version: 2,
        previous: Some(Digest::of(b"root 1")),
    }
}

pub(crate) fn override_() -> Override {
    Override {
        fleet: "acme".into(),
        kind: OverrideKind::Deletion,
        cluster: Some("metal-fra".into()),
        app: Some("cart".into()),
        what: Digest::of(b"manifest").to_string(),
        reason: "cart moves to another fleet".into(),
        by: "ada".into(),
        issued: time(0),
        until: time(3_600),
    }
}

pub(crate) fn infrastructure() -> Infrastructure {
    Infrastructure {
        workspace: "eks/prod".into(),
        plan: Digest::of(b"plan"),
        fleet: "acme".into(),
        environment: "prod".into(),
        phase: Phase::Apply,
        addresses: AddressCounts {
            create: 1,
            update: 2,
            delete: 3,
            replace: 4,
        },
        resources: Digest::of(b"resources"),
        commit: COMMIT.into(),
        run: "https://ci.example/runs/7".into(),
        by: "repo:acme/infra:ref:refs/heads/main".into(),
    }
}

pub(crate) fn reproduction() -> Reproduction {
    Reproduction {
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        generation: 7,
        commit: COMMIT.into(),
        desired: Digest::of(b"desired leaf"),
        digest: Digest::of(b"render"),
        agrees: true,
    }
}

/// One of each.
pub(crate) fn all() -> Vec<Statement> {
    vec![
        Statement::Receipt(receipt()),
        Statement::Drift(drift()),
        Statement::Enrolment(enrolment()),
        Statement::Revocation(revocation()),
        Statement::TrustEntry(trust_entry()),
        Statement::Override(override_()),
        Statement::Infrastructure(infrastructure()),
        Statement::Reproduction(reproduction()),
    ]
}
