//! One test for each check: it fails if the check is removed.

use std::collections::BTreeMap;

use crate::dsse::{self, Envelope};
use crate::key::{FileKey, RingVerifier, Sign};
use crate::manifest::{AppEntry, Content, Line, Manifest, ObjectLine, Section, SectionList};
use crate::statement::{Admission, Desired, Source, Verdict};
use crate::trust::{ClusterTrust, Level, NamedKey, RootRole, SealerKey, TrustRoot, VerifiedRoot};
use crate::{Digest, ObjectId};

use super::*;

mod log;
mod words;

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

// Check 8.

fn blob(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

fn manifest() -> Manifest {
    let lines = (0..300)
        .map(|n| {
            let id = ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "x".into(),
                name: format!("c{n}"),
            };
            let blob = blob(n);
            let content = Content::Plain {
                sha256: Digest::of(&blob),
            };
            let bytes = blob.len() as u64;
            Line::Object(ObjectLine {
                id,
                app: "cart".into(),
                commit: "c".into(),
                wave: 0,
                bytes,
                content,
            })
        })
        .collect();
    let app = AppEntry {
        name: "cart".into(),
        commit: "c".into(),
        depends_on: Vec::new(),
        exclusive: false,
        health_rules: Vec::new(),
    };
    Manifest::build(lines, vec![app]).unwrap()
}

fn blobs(manifest: &Manifest) -> BTreeMap<Digest, Vec<u8>> {
    let sections = manifest
        .sections()
        .iter()
        .map(|section| section.bytes().to_vec());
    sections
        .chain([manifest.apps_bytes().to_vec()])
        .map(|bytes| (Digest::of(&bytes), bytes))
        .collect()
}

fn statement_of(manifest: Digest) -> VerifiedStatement {
    check(
        &known(),
        &[seal(&Desired {
            manifest,
            ..desired(1, None)
        })],
    )
    .unwrap()
}

fn assembled(
    list: &[u8],
    blobs: &BTreeMap<Digest, Vec<u8>>,
) -> Result<VerifiedManifest, &'static str> {
    let statement = statement_of(Digest::of(list));
    assemble(statement, list, |digest| blobs.get(digest)).map_err(|refusal| refusal.code())
}

#[test]
fn a_manifest_is_assembled_and_completed() {
    let manifest = manifest();
    let verified = assembled(manifest.list_bytes(), &blobs(&manifest)).unwrap();
    assert_eq!(verified.lines().len(), 300);
    assert_eq!(verified.apps().as_slice().len(), 1);
    let seen: BTreeMap<Digest, Checked> = (0..300)
        .map(|n| {
            check_blob(&Digest::of(&blob(n)), blob(n).len() as u64, blob(n))
                .unwrap()
                .checked()
        })
        .map(|checked| (*checked.digest(), checked))
        .collect();
    let state = complete(verified, |digest| seen.get(digest).copied()).unwrap();
    assert_eq!(state.generation(), 1);
}

#[test]
fn after_another_manifest_only_what_it_lacks_is_read_and_the_same_comes_out() {
    let line = |n: u64, content: u64| {
        Line::Object(ObjectLine {
            app: "cart".into(),
            bytes: 1,
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            content: Content::Plain {
                sha256: Digest::of(&content.to_be_bytes()),
            },
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "default".into(),
                name: format!("m{n}"),
            },
            wave: 0,
        })
    };
    let build = |lines: Vec<Line>| {
        let app = AppEntry {
            name: "cart".into(),
            commit: "c".into(),
            depends_on: Vec::new(),
            exclusive: false,
            health_rules: Vec::new(),
        };
        Manifest::build(lines, vec![app]).unwrap()
    };
    let old = build((0..1000).map(|n| line(n, n)).collect());
    let changes: [(&str, Vec<Line>); 4] = [
        ("none", (0..1000).map(|n| line(n, n)).collect()),
        (
            "one line",
            (0..1000)
                .map(|n| line(n, if n == 7 { 0 } else { n }))
                .collect(),
        ),
        ("fewer sections", (0..100).map(|n| line(n, n)).collect()),
        ("more sections", (0..3000).map(|n| line(n, n)).collect()),
    ];
    for (what, lines) in changes {
        let new = build(lines);
        let read = |manifest: &Manifest, before, asked: &mut usize| {
            let blobs = blobs(manifest);
            sections(statement_of(manifest.digest()), manifest.list_bytes())
                .unwrap()
                .assemble_after(before, |digest| {
                    *asked += 1;
                    blobs.get(digest).cloned()
                })
                .unwrap()
        };
        let (mut alone, mut after) = (0, 0);
        let before = read(&old, None, &mut 0);
        let want = read(&new, None, &mut alone);
        assert_eq!(read(&new, Some(before), &mut after), want, "{what}");
        assert_eq!(
            alone,
            blobs(&new).len(),
            "{what}: all sections, and the apps"
        );
        let changed = Manifest::diff_sections(old.list(), new.list()).len();
        assert_eq!(
            after,
            changed + 1,
            "{what}: the sections that differ, and the apps"
        );
    }
}

#[test]
fn another_section_list_than_the_signed_one_is_refused() {
    let manifest = manifest();
    let other = SectionList {
        lines: 0,
        sections: Vec::new(),
        ..manifest.list().clone()
    }
    .bytes();
    let refusal = sections(statement_of(manifest.digest()), &other).unwrap_err();
    assert_eq!(refusal.code(), "MANIFEST_MISMATCH");
}

#[test]
fn missing_and_tampered_sections_and_apps_are_refused() {
    let manifest = manifest();
    for digest in blobs(&manifest).into_keys() {
        let mut missing = blobs(&manifest);
        missing.remove(&digest);
        assert_eq!(
            assembled(manifest.list_bytes(), &missing),
            Err("BLOB_MISSING")
        );
        let mut tampered = blobs(&manifest);
        tampered.entry(digest).and_modify(|bytes| bytes[3] ^= 1);
        assert_eq!(
            assembled(manifest.list_bytes(), &tampered),
            Err("BLOB_TAMPERED")
        );
    }
    let mut long = blobs(&manifest);
    long.entry(manifest.list().sections[0].digest)
        .and_modify(|bytes| bytes.push(b'\n'));
    assert_eq!(assembled(manifest.list_bytes(), &long), Err("BLOB_LENGTH"));
}

#[test]
fn a_section_with_another_number_of_lines_is_refused() {
    let manifest = manifest();
    let mut list = manifest.list().clone();
    list.sections[0].lines += 1;
    list.sections[1].lines -= 1;
    assert_eq!(
        assembled(&list.bytes(), &blobs(&manifest)),
        Err("MANIFEST_MALFORMED")
    );
}

#[test]
fn a_section_in_another_place_is_refused() {
    let manifest = manifest();
    let mut list = manifest.list().clone();
    let [first, second] = list.sections.as_mut_slice() else {
        panic!("two sections")
    };
    std::mem::swap(&mut first.prefix, &mut second.prefix);
    list.sections.swap(0, 1);
    assert_eq!(
        assembled(&list.bytes(), &blobs(&manifest)),
        Err("MANIFEST_MALFORMED")
    );
}

#[test]
fn an_object_of_no_app_is_refused() {
    let manifest = manifest();
    let apps = br#"{"apps":[]}"#.to_vec();
    let list = SectionList {
        apps: Digest::of(&apps),
        ..manifest.list().clone()
    };
    let mut blobs = blobs(&manifest);
    blobs.insert(Digest::of(&apps), apps);
    assert_eq!(assembled(&list.bytes(), &blobs), Err("MANIFEST_MALFORMED"));
}

#[test]
fn a_blob_has_the_signed_length_and_digest() {
    let digest = Digest::of(b"abc");
    assert_eq!(check_blob(&digest, 3, b"abc").unwrap().into_bytes(), b"abc");
    assert_eq!(
        check_blob(&digest, 4, b"abc").unwrap_err().code(),
        "BLOB_LENGTH"
    );
    assert_eq!(
        check_blob(&digest, 3, b"abd").unwrap_err().code(),
        "BLOB_TAMPERED"
    );
}

#[test]
fn a_state_is_complete_only_with_every_blob_at_its_signed_length() {
    let manifest = manifest();
    let verified = assembled(manifest.list_bytes(), &blobs(&manifest)).unwrap();
    let all = |digest: &Digest| {
        let bytes = (0..300)
            .map(blob)
            .find(|bytes| Digest::of(bytes) == *digest)?;
        check_blob(digest, bytes.len() as u64, bytes)
            .ok()
            .map(|blob| blob.checked())
    };
    let last = Digest::of(&blob(299));
    let code = |checked: &dyn Fn(&Digest) -> Option<Checked>| {
        complete(verified.clone(), checked).unwrap_err().code()
    };
    assert_eq!(
        code(&|digest| all(digest).filter(|_| *digest != last)),
        "BLOB_MISSING"
    );
    assert_eq!(
        code(&|_| all(&last)),
        "BLOB_MISSING",
        "another blob's proof"
    );
    let mut lines: Vec<Line> = manifest
        .sections()
        .iter()
        .flat_map(Section::lines)
        .cloned()
        .collect();
    if let Some(Line::Object(object)) = lines.first_mut() {
        object.bytes += 1;
    }
    let apps = verified.apps().as_slice().to_vec();
    let lying = Manifest::build(lines, apps).unwrap();
    let verified = assembled(lying.list_bytes(), &blobs(&lying)).unwrap();
    assert_eq!(complete(verified, all).unwrap_err().code(), "BLOB_LENGTH");
}
