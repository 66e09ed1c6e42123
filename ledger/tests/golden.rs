//! The bytes of each format, as files that are reviewed like code. `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use countersign_ledger::claim::Claim;
use countersign_ledger::dsse::{self, Envelope};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _};
use countersign_ledger::manifest::{
    AppEntry, Content, Line, Manifest, ObjectLine, OrphanLine, TombstoneLine,
};
use countersign_ledger::secret::{Commitment, plaintext};
use countersign_ledger::statement::{Admission, Desired, Permit, PermitKind, Source, Verdict};
use countersign_ledger::tlog::{Checkpoint, Note};
use countersign_ledger::trust::{
    ClusterTrust, Level, NamedKey, Person, PersonKey, RootRole, Roots, SealerKey, TrustRoot,
    VerifiedRoot,
};
use countersign_ledger::verify::{self, Known, Link};
use countersign_ledger::{Digest, ObjectId, bundle};
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn check(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&golden),
        String::from_utf8_lossy(bytes),
        "{name} differs; UPDATE_GOLDEN=1 writes it anew"
    );
}

fn check_schema(name: &str, fragment: &str, instance: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto/schemas")
        .join(name);
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    if !fragment.is_empty() {
        schema = json!({"$ref": format!("#/$defs/{fragment}"), "$defs": schema["$defs"]});
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mistakes: Vec<String> = validator
        .iter_errors(instance)
        .map(|mistake| mistake.to_string())
        .collect();
    assert!(
        mistakes.is_empty(),
        "{name}#{fragment}: {mistakes:?} in {instance}"
    );
    // A schema that takes anything shows nothing.
    assert!(!validator.is_valid(&json!({"x": 1})), "{name}#{fragment}");
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn trust() -> TrustRoot {
    let named = |seed: u8, name: &str| NamedKey {
        key: key(seed).public(),
        name: name.into(),
    };
    let role = RootRole {
        keys: vec![named(1, "ada"), named(2, "grace"), named(3, "edith")],
        threshold: 2,
    };
    let mut trust = TrustRoot::new("acme", "2026-11-25T08:00:00Z", role, Digest::of(b"hub CA"));
    trust.sealers.insert(
        "prod".into(),
        vec![SealerKey {
            key: key(10).public(),
        }],
    );
    let cluster = ClusterTrust {
        environment: "prod".into(),
        level: Level::Signed,
    };
    trust.clusters.insert("metal-fra".into(), cluster);
    trust.people.push(Person {
        name: "ada".into(),
        keys: vec![PersonKey {
            key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ2Yy1leGFtcGxlLWtleS1ub3QtcmVhbC0wMDAw ada"
                .into(),
            valid_after: Some("2026-01-01T00:00:00.000Z".parse().unwrap()),
            valid_before: None,
        }],
        paths: vec!["clusters/".into()],
        forge: false,
    });
    trust
}

fn id(group: &str, kind: &str, namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn manifest() -> Manifest {
    let (app, commit) = ("cart".to_owned(), COMMIT.to_owned());
    let deployment = br#"{"apiVersion":"apps/v1","kind":"Deployment"}"#;
    let lines = vec![
        Line::Object(ObjectLine {
            id: id("apps", "Deployment", "shop", "cart"),
            app: app.clone(),
            commit: commit.clone(),
            wave: 0,
            bytes: deployment.len() as u64,
            content: Content::Plain {
                sha256: Digest::of(deployment),
            },
        }),
        Line::Object(ObjectLine {
            id: id("", "Secret", "shop", "db"),
            app: app.clone(),
            commit: commit.clone(),
            wave: -1,
            bytes: 300,
            content: Content::Secret {
                blob: Digest::of(b"ciphertext"),
                commitment: Commitment::to(&[7; 32], br#"{"kind":"Secret"}"#),
            },
        }),
        Line::Tombstone(TombstoneLine {
            id: id("", "Service", "shop", "cart-old"),
            app: app.clone(),
            commit: commit.clone(),
        }),
        Line::Orphan(OrphanLine {
            id: id("", "Namespace", "", "legacy"),
            app: "legacy".into(),
            commit,
            reason: "app \"legacy\" no longer chooses this cluster".into(),
        }),
    ];
    let app = AppEntry {
        name: app,
        commit: COMMIT.into(),
        depends_on: vec!["database".into()],
        exclusive: true,
        health_rules: vec![json!({"kind": "Cart", "healthy": "self.status.ready"})],
    };
    Manifest::build(lines, vec![app]).unwrap()
}

fn source() -> Source {
    Source {
        fleet: "acme".into(),
        repository: "https://git.example/fleet.git".into(),
        reference: "refs/heads/main".into(),
        old: "89abcdef0123456789abcdef0123456789abcdef".into(),
        new: COMMIT.into(),
        tree: "fedcba9876543210fedcba9876543210fedcba98".into(),
        commit_sha256: Digest::of(b"raw commit"),
        author: "Ada <ada@example.com>".into(),
        signer: "ada".into(),
        verdict: Verdict::Verified,
    }
}

fn seal(payload: &[u8]) -> Envelope {
    dsse::sign(dsse::PAYLOAD_TYPE, payload, &[&key(10)]).unwrap()
}

fn desired(generation: u64, previous: Option<&Envelope>) -> Desired {
    Desired {
        manifest: manifest().digest(),
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        environment: "prod".into(),
        generation,
        previous: previous.map(Envelope::digest),
        commit: COMMIT.into(),
        source: seal(&source().payload().unwrap()).leaf_hash(),
        renderer: "helm/4.0.0 kustomize/5.8.0".into(),
        admission: Admission {
            policies: Some(Digest::of(b"policies")),
            verdicts: Some(Digest::of(b"verdicts")),
        },
        ring: "canary".into(),
        trust_root: 1,
        permits: vec![Permit {
            permit: PermitKind::Deletion,
            subject: "cart".into(),
            object: manifest().digest().to_string(),
            by: "ada".into(),
            reason: "cart-old is replaced".into(),
        }],
    }
}

#[test]
fn the_trust_root_has_its_golden_bytes() {
    let document = trust().sign(&[&key(1), &key(3)]).unwrap();
    check("trust.payload.json", document.payload());
    check("trust.json", document.bytes());
    check_schema("trust.schema.json", "", &read(document.payload()));
    VerifiedRoot::parse(document.bytes(), &RingVerifier).unwrap();
}

#[test]
fn statements_have_their_golden_bytes() {
    let source = source().payload().unwrap();
    check("source.statement.json", &source);
    check("source.envelope.json", seal(&source).bytes());
    check_schema("source.schema.json", "", &read(&source));
    let first = seal(&desired(1, None).payload().unwrap());
    let second = desired(2, Some(&first)).payload().unwrap();
    check("desired.statement.json", &second);
    check("desired.envelope.json", seal(&second).bytes());
    check_schema("desired.schema.json", "", &read(first.payload()));
    check_schema("desired.schema.json", "", &read(&second));
}

#[test]
fn the_manifest_has_its_golden_bytes() {
    let manifest = manifest();
    check("manifest.sections.json", manifest.list_bytes());
    check("manifest.section.jsonl", manifest.sections()[0].bytes());
    check("manifest.apps.json", manifest.apps_bytes());
    check_schema("manifest.schema.json", "", &read(manifest.list_bytes()));
    check_schema("manifest.schema.json", "apps", &read(manifest.apps_bytes()));
    let lines = String::from_utf8(manifest.sections()[0].bytes().to_vec()).unwrap();
    for line in lines.lines() {
        check_schema("manifest.schema.json", "line", &read(line.as_bytes()));
    }
}

/// The log's checkpoint over three entries.
fn checkpoint() -> String {
    let name = countersign_ledger::trust::log_name("acme");
    let text = Checkpoint {
        origin: name.clone(),
        size: 3,
        root: Digest::of(b"root"),
    }
    .text();
    let mut note = Note::new(&text).unwrap();
    note.sign(&name, &key(30)).unwrap();
    String::from_utf8(note.bytes()).unwrap()
}

#[test]
fn claims_staging_objects_and_secrets_have_their_golden_bytes() {
    let source = seal(&source().payload().unwrap());
    let desired = seal(&desired(1, None).payload().unwrap());
    let staging = bundle::encode([source.bytes(), desired.bytes()]).unwrap();
    check("staging.bin", &staging);
    let first = Claim {
        number: 0,
        previous: None,
        staging: Digest::of(&staging),
        checkpoint: None,
    };
    let second = Claim {
        number: 1,
        previous: Some(Digest::of(&first.bytes())),
        staging: Digest::of(&staging),
        checkpoint: Some(checkpoint()),
    };
    check("claim.json", &second.bytes());
    check("claim.before-log.json", &first.bytes());
    check(
        "secret.plaintext.bin",
        &plaintext(&[7; 32], br#"{"kind":"Secret"}"#),
    );
}

/// The golden files fit together: an agent takes the chain that they make.
#[test]
fn an_agent_takes_the_golden_state() {
    let root = trust().sign(&[&key(1), &key(3)]).unwrap();
    let roots = Roots::new(VerifiedRoot::parse(root.bytes(), &RingVerifier).unwrap());
    let known = Known::new("metal-fra", roots, None);
    let first = seal(&desired(1, None).payload().unwrap());
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = |name: &str| std::fs::read(golden.join(name)).unwrap();
    let chain = [first.bytes().to_vec(), file("desired.envelope.json")].map(Link::bare);
    let statement = verify::verify_chain(&known, &chain, &[], None, &RingVerifier).unwrap();
    let blobs = [file("manifest.section.jsonl"), file("manifest.apps.json")];
    let find = |digest: &Digest| blobs.iter().find(|blob| Digest::of(blob) == *digest);
    let manifest = verify::assemble(statement, &file("manifest.sections.json"), find).unwrap();
    assert_eq!(manifest.lines().len(), 4);
}
