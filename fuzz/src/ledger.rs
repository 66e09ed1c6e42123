//! The parsers of the signed formats: no bytes make them panic, and what they take they write again as it was.

use countersign_ledger::bundle as bundles;
use countersign_ledger::claim::Claim;
use countersign_ledger::dsse::{Envelope, Limits};
use countersign_ledger::fork::Fork;
use countersign_ledger::json as canonical_json;
use countersign_ledger::key::{FileKey, RingVerifier};
use countersign_ledger::manifest::{Apps, Prefix, Section, SectionList};
use countersign_ledger::statement::Statement;
use countersign_ledger::trust::{TrustRoot, VerifiedRoot};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("json", json),
    ("dsse", dsse),
    ("statement", statement),
    ("section", section),
    ("section_list", section_list),
    ("apps", apps),
    ("claim", claim),
    ("trust", trust),
    ("bundle", bundle),
    ("key", key),
    ("fork", fork),
];

/// JSON: canonical bytes are a fixed point, and another parser reads them alike.
pub fn json(bytes: &[u8]) {
    let Ok(value) = canonical_json::parse(bytes, &canonical_json::Limits::object()) else {
        return;
    };
    let theirs: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    assert!(theirs.is_ok(), "taken by us alone");
    let Ok(written) = canonical_json::canonical(&value) else {
        return;
    };
    let limits = canonical_json::Limits {
        bytes: usize::MAX,
        depth: 128,
    };
    let read =
        canonical_json::parse(&written, &limits).map(|value| canonical_json::canonical(&value));
    assert_eq!(read, Ok(Ok(written)), "canonical bytes are a fixed point");
}

/// Envelopes: the exact bytes stay the truth.
pub fn dsse(bytes: &[u8]) {
    for limits in [Limits::entry(), Limits::trust_root()] {
        if let Ok(envelope) = Envelope::parse(bytes, &limits) {
            assert_eq!(envelope.bytes(), bytes);
            let again = Envelope::assemble(envelope.payload_type(), envelope.payload(), &[]);
            let read = Envelope::parse(
                again.bytes(),
                &Limits {
                    bytes: usize::MAX,
                    signatures: 0,
                },
            );
            assert_eq!(
                read.map(|read| read.payload().to_vec()),
                Ok(envelope.payload().to_vec())
            );
        }
    }
}

/// Statements: what is read can be written, and is read again as the same.
pub fn statement(bytes: &[u8]) {
    if let Ok(statement) = Statement::parse(bytes)
        // Unknown fields are left out and escapes shortened, so what is written is never longer than what was read.
        && let Ok(payload) = statement.payload()
    {
        assert_eq!(Statement::parse(&payload), Ok(statement));
    }
}

/// Sections: only canonical bytes are taken.
pub fn section(bytes: &[u8]) {
    if let Ok(section) = Section::parse(&Prefix::default(), bytes) {
        assert_eq!(section.bytes(), bytes);
        let mut written = Vec::new();
        for line in section.lines() {
            line.write(&mut written);
            written.push(b'\n');
        }
        assert_eq!(written, bytes);
    }
}

/// Section lists: only canonical bytes are taken.
pub fn section_list(bytes: &[u8]) {
    if let Ok(list) = SectionList::parse(bytes) {
        assert_eq!(list.bytes(), bytes);
    }
}

/// Apps: what is read can be written, and is read again as the same.
pub fn apps(bytes: &[u8]) {
    if let Ok(apps) = Apps::parse(bytes)
        && let Ok(written) = apps.bytes()
    {
        let again = Apps::parse(&written).and_then(|apps| apps.bytes());
        assert_eq!(again, Ok(written));
    }
}

/// Claims: only canonical bytes are taken.
pub fn claim(bytes: &[u8]) {
    if let Ok(claim) = Claim::parse(bytes) {
        assert_eq!(claim.bytes(), bytes);
    }
}

/// Trust roots, with and without their envelope.
pub fn trust(bytes: &[u8]) {
    let _ = VerifiedRoot::parse(bytes, &RingVerifier);
    if let Ok(root) = TrustRoot::parse(bytes)
        && let Ok(payload) = root.payload()
    {
        assert_eq!(TrustRoot::parse(&payload), Ok(root));
    }
}

/// Fork files: only canonical bytes are taken, and whatever stands in them is judged.
pub fn fork(bytes: &[u8]) {
    use countersign_ledger::key::PublicKey;
    use countersign_ledger::tlog::note::{KeyKind, Vkey};
    if let Ok(fork) = Fork::parse(bytes) {
        assert_eq!(fork.bytes().as_deref(), Ok(bytes));
        if let Ok(log) = Vkey::new("log.example", KeyKind::Ed25519, PublicKey([7; 32])) {
            assert!(
                fork.check(&log, &RingVerifier).is_err(),
                "nobody has this key"
            );
        }
    }
}

/// Bundles: what decodes encodes to the same bytes.
pub fn bundle(bytes: &[u8]) {
    if let Ok(entries) = bundles::decode(bytes) {
        assert_eq!(bundles::encode(entries), Ok(bytes.to_vec()));
    }
}

/// Key files: what is read is written as a key that is read as the same.
pub fn key(bytes: &[u8]) {
    use countersign_ledger::key::Sign as _;
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(key) = FileKey::from_pem(text)
    {
        let again = FileKey::from_pem(&key.to_pem()).map(|again| again.public());
        assert_eq!(again, Ok(key.public()));
    }
}
