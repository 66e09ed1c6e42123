//! One test for each check: it fails if the check is removed.

use std::collections::BTreeMap;

use crate::dsse::{self, Envelope};
use crate::key::{FileKey, RingVerifier, Sign};
use crate::manifest::{AppEntry, Content, Line, Manifest, ObjectLine, Section, SectionList};
use crate::statement::{Admission, Desired, Source, Verdict};
use crate::trust::{ClusterTrust, Level, NamedKey, RootRole, SealerKey, TrustRoot, VerifiedRoot};
use crate::{Digest, ObjectId};

use super::*;

mod blobs;
mod glass;
mod log;
mod overrides;
mod words;

use blobs::manifest;

const ROOT: u8 = 1;
const PROD: u8 = 10;
const PROD_NEXT: u8 = 11;
const DEV: u8 = 20;

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn document(version: u64, prod: u8) -> TrustRoot {
    let role = RootRole {
        keys: vec![NamedKey {
            key: key(ROOT).public(),
            name: "ada".into(),
        }],
        threshold: 1,
    };
    let mut document = TrustRoot::new("acme", "2026-11-25T08:00:00Z", role, Digest::of(b"ca"));
    document.version = version;
    for (environment, cluster, seed) in [("prod", "metal-fra", prod), ("dev", "kind", DEV)] {
        document.sealers.insert(
            environment.into(),
            vec![SealerKey {
                key: key(seed).public(),
            }],
        );
        let trust = ClusterTrust {
            environment: environment.into(),
            level: Level::Signed,
        };
        document.clusters.insert(cluster.into(), trust);
    }
    document
}

fn known_by(document: &TrustRoot) -> Known {
    let root = document.sign(&[&key(ROOT)]).unwrap();
    let root = VerifiedRoot::parse(root.bytes(), &RingVerifier).unwrap();
    Known::new("metal-fra", Roots::new(root), None)
}

fn known() -> Known {
    known_by(&document(1, PROD))
}

/// The cluster, after the sealer key of prod was replaced.
fn known_with_next_root() -> Known {
    let mut known = known();
    let next = document(2, PROD_NEXT).sign(&[&key(ROOT)]).unwrap();
    known.roots.extend(next.bytes(), &RingVerifier).unwrap();
    known
}

fn desired(generation: u64, previous: Option<&Envelope>) -> Desired {
    Desired {
        manifest: manifest().digest(),
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        environment: "prod".into(),
        generation,
        previous: previous.map(Envelope::digest),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        source: Digest::of(b"source"),
        renderer: "r1".into(),
        admission: Admission::default(),
        ring: String::new(),
        trust_root: 1,
        permits: Vec::new(),
    }
}

fn seal_by(seed: u8, desired: &Desired) -> Envelope {
    dsse::sign(
        dsse::PAYLOAD_TYPE,
        &desired.payload().unwrap(),
        &[&key(seed)],
    )
    .unwrap()
}

fn seal(desired: &Desired) -> Envelope {
    seal_by(PROD, desired)
}

fn chain(length: u64) -> Vec<Envelope> {
    let mut chain: Vec<Envelope> = Vec::new();
    for generation in 1..=length {
        chain.push(seal(&desired(generation, chain.last())));
    }
    chain
}

fn bare(envelopes: &[Envelope]) -> Vec<Link<&[u8]>> {
    envelopes
        .iter()
        .map(|envelope| Link::bare(envelope.bytes()))
        .collect()
}

fn check(known: &Known, envelopes: &[Envelope]) -> Result<VerifiedStatement, &'static str> {
    let links = bare(envelopes);
    verify_chain(known, &links, &[], None, &RingVerifier).map_err(|refusal| refusal.code())
}

/// What one statement alone, as the first of its cluster, is refused with.
fn refused(change: impl FnOnce(&mut Desired)) -> &'static str {
    let mut desired = desired(1, None);
    change(&mut desired);
    check(&known(), &[seal(&desired)]).unwrap_err()
}

#[test]
fn a_chain_from_the_first_generation_is_verified_to_its_head() {
    let chain = chain(3);
    let head = check(&known(), &chain).unwrap();
    assert_eq!((head.generation(), head.envelope()), (3, chain[2].digest()));
    assert_eq!(*head.desired(), desired(3, Some(&chain[1])));
}

#[test]
fn a_chain_may_come_in_parts() {
    let chain = chain(5);
    let known = known();
    let first = check(&known, &chain[..1]).unwrap();
    let known = known.after(&first);
    let known = verify_part(&known, &bare(&chain[1..3]), &[], None, &RingVerifier).unwrap();
    assert_eq!(check(&known, &chain[3..]).unwrap().generation(), 5);
}

#[test]
fn one_statement_at_least_and_256_at_most() {
    assert_eq!(check(&known(), &[]), Err("CHAIN_EMPTY"));
    let one = chain(1).remove(0);
    assert_eq!(check(&known(), &vec![one; 257]), Err("CHAIN_TOO_LONG"));
}

// Check 1.

#[test]
fn a_statement_of_a_trust_root_that_is_not_known_waits_for_it() {
    assert_eq!(
        refused(|desired| desired.trust_root = 2),
        "TRUST_ROOT_UNKNOWN"
    );
}

#[test]
fn a_chain_never_goes_back_to_an_older_trust_root() {
    let known = known_with_next_root();
    let first = seal_by(
        PROD_NEXT,
        &Desired {
            trust_root: 2,
            ..desired(1, None)
        },
    );
    let second = seal_by(PROD_NEXT, &desired(2, Some(&first)));
    assert_eq!(check(&known, &[first, second]), Err("TRUST_ROOT_REPLAYED"));
}

#[test]
fn a_cluster_that_the_trust_root_does_not_list_gets_nothing() {
    let known = Known {
        cluster: "stranger".into(),
        ..known()
    };
    assert_eq!(check(&known, &chain(1)), Err("CLUSTER_UNKNOWN"));
}

// Check 3.

#[test]
fn a_key_of_another_environment_seals_nothing_here() {
    for seed in [DEV, ROOT, 99] {
        assert_eq!(
            check(&known(), &[seal_by(seed, &desired(1, None))]),
            Err("SIGNATURE_INVALID"),
            "{seed}"
        );
    }
}

#[test]
fn every_link_bears_a_signature() {
    let mut chain = chain(2);
    let unsigned = Envelope::assemble(dsse::PAYLOAD_TYPE, chain[0].payload(), &[]);
    chain[1] = seal(&desired(2, Some(&unsigned)));
    chain[0] = unsigned;
    assert_eq!(check(&known(), &chain), Err("SIGNATURE_INVALID"));
}

#[test]
fn one_changed_byte_breaks_the_signature() {
    let good = seal(&desired(1, None));
    let payload = String::from_utf8(good.payload().to_vec())
        .unwrap()
        .replace("\"r1\"", "\"r2\"");
    let mut signature = [0; 64];
    signature.copy_from_slice(&good.signatures()[0].sig);
    let forged = Envelope::assemble(
        dsse::PAYLOAD_TYPE,
        payload.as_bytes(),
        &[(key(PROD).public(), signature)],
    );
    assert_eq!(check(&known(), &[forged]), Err("SIGNATURE_INVALID"));
}

#[test]
fn a_dropped_key_seals_no_head_but_what_it_sealed_before_still_counts() {
    let known = known_with_next_root();
    let chain = chain(2);
    assert_eq!(check(&known, &chain), Err("SIGNATURE_INVALID"));
    let head = seal_by(
        PROD_NEXT,
        &Desired {
            trust_root: 2,
            ..desired(3, Some(&chain[1]))
        },
    );
    let whole = [chain, vec![head]].concat();
    assert_eq!(check(&known, &whole).unwrap().generation(), 3);
}

#[test]
fn a_dropped_key_can_not_speak_under_the_new_root() {
    let known = known_with_next_root();
    let stolen = seal_by(
        PROD,
        &Desired {
            trust_root: 2,
            ..desired(1, None)
        },
    );
    let head = seal_by(
        PROD_NEXT,
        &Desired {
            trust_root: 2,
            ..desired(2, Some(&stolen))
        },
    );
    assert_eq!(check(&known, &[stolen, head]), Err("SIGNATURE_INVALID"));
}

// Check 5.

#[test]
fn a_statement_for_somebody_else_is_refused() {
    assert_eq!(
        refused(|desired| desired.fleet = "evil".into()),
        "WRONG_FLEET"
    );
    assert_eq!(
        refused(|desired| desired.cluster = "metal-muc".into()),
        "WRONG_CLUSTER"
    );
    assert_eq!(
        refused(|desired| desired.environment = "dev".into()),
        "WRONG_ENVIRONMENT"
    );
}

#[test]
fn a_generation_never_comes_twice() {
    let chain = chain(2);
    let known = known().after(&check(&known(), &chain).unwrap());
    assert_eq!(check(&known, &chain[1..]), Err("REPLAYED"));
    assert_eq!(check(&known, &chain[..1]), Err("REPLAYED"));
}

#[test]
fn a_chain_that_does_not_reach_the_last_generation_is_skipped() {
    let chain = chain(3);
    assert_eq!(check(&known(), &chain[1..]), Err("SKIPPED"));
    assert_eq!(
        check(&known(), &[chain[0].clone(), chain[2].clone()]),
        Err("SKIPPED")
    );
}

#[test]
fn a_generation_follows_the_very_envelope_that_is_known() {
    let ours = chain(2);
    let theirs = seal(&Desired {
        renderer: "r2".into(),
        ..desired(1, None)
    });
    let known = known().after(&check(&known(), &[theirs]).unwrap());
    assert_eq!(check(&known, &ours[1..]), Err("PREVIOUS_MISMATCH"));
}

// What is no statement.

#[test]
fn other_envelopes_are_refused() {
    let payload = desired(1, None).payload().unwrap();
    let typed = dsse::sign("application/json", &payload, &[&key(PROD)]).unwrap();
    assert_eq!(check(&known(), &[typed]), Err("PAYLOAD_TYPE"));
    let empty = dsse::sign(dsse::PAYLOAD_TYPE, b"{}", &[&key(PROD)]).unwrap();
    assert_eq!(check(&known(), &[empty]), Err("STATEMENT_MALFORMED"));
    let source = Source {
        fleet: "acme".into(),
        repository: "r".into(),
        reference: "refs/heads/main".into(),
        old: String::new(),
        new: "0".repeat(40),
        tree: "0".repeat(40),
        commit_sha256: Digest::default(),
        author: String::new(),
        signer: String::new(),
        verdict: Verdict::Unsigned,
    };
    let source = dsse::sign(
        dsse::PAYLOAD_TYPE,
        &source.payload().unwrap(),
        &[&key(PROD)],
    )
    .unwrap();
    assert_eq!(check(&known(), &[source]), Err("NOT_DESIRED"));
    let refusal = verify_chain(
        &known(),
        &[Link::bare(b"nothing")],
        &[],
        None,
        &RingVerifier,
    )
    .unwrap_err();
    assert_eq!(refusal.code(), "ENVELOPE_MALFORMED");
}
