//! Attacks on logs that others fell for (THREATS, section 1.4), each against the pure core; the rest of each row stands in
//! `tests/threats/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::dsse::{self, Envelope};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _};
use countersign_ledger::refusal::Refusal;
use countersign_ledger::statement::Statement;
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::cosignature;
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{self, KeyKind, Note, Signature, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::tlog::tile::{self, TileId};
use countersign_ledger::trust::init::FirstRoot;
use countersign_ledger::trust::{ClusterTrust, Level, Roots, VerifiedRoot, log_name};
use countersign_ledger::verify::{self, Known};
use countersign_ledger::{bundle, name};

/// What refusing may take, at most, in a build without optimisation on a machine with other work.
const AT_ONCE: Duration = Duration::from_millis(500);

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

/// A history that differs from all others from some entry on.
#[derive(Clone, Copy)]
struct History {
    branch: u64,
    from: u64,
}

impl History {
    fn leaf(self, index: u64) -> Digest {
        let branch = if index < self.from { 0 } else { self.branch };
        leaf_hash(format!("{index} {branch}").as_bytes())
    }

    fn node(self, id: NodeId) -> Result<Digest, ProofError> {
        if id.level == 0 {
            return Ok(self.leaf(id.index));
        }
        let level = id.level - 1;
        let below = |index| self.node(NodeId { level, index });
        Ok(merkle::node_hash(
            &below(id.index * 2)?,
            &below(id.index * 2 + 1)?,
        ))
    }

    fn root(self, size: u64) -> Digest {
        let nodes = merkle::root_nodes(size);
        let hashes: Result<Vec<Digest>, _> = nodes.into_iter().map(|id| self.node(id)).collect();
        merkle::fold_root(size, &hashes.unwrap()).unwrap()
    }
}

const HONEST: History = History { branch: 0, from: 0 };

fn flipped(hash: &Digest, bit: usize) -> Digest {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Digest::from_bytes(bytes)
}

/// A tile is believed for the hashes that lead from it to the root, never for its place or its length.
#[test]
fn threat_cve_2026_56865_no_changed_hash_of_any_tile_proves_an_entry() {
    for size in (1..=40).chain([255, 256, 257]) {
        let root = HONEST.root(size);
        let step = if size > 40 { 37 } else { 1 };
        for index in (0..size).step_by(step) {
            let leaf = HONEST.leaf(index);
            let proof = merkle::inclusion_proof(index, size, |id| HONEST.node(id)).unwrap();
            merkle::verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
            for place in 0..proof.len() {
                let mut forged = proof.clone();
                forged[place] = flipped(&proof[place], 13 * place + 5);
                let checked = merkle::verify_inclusion(index, size, &leaf, &forged, &root);
                assert!(checked.is_err(), "{size} {index} {place}");
            }
        }
    }
    // The same hashes as they are stored: a byte of a tile of any height that a proof reads.
    for size in [2_u64, 255, 256, 257, 300, 65_537, 70_000] {
        for (node, id, place) in stored(size) {
            let count = usize::from(id.width);
            let row: Vec<Digest> = (0..count)
                .map(|n| Digest::of(format!("{size} {n}").as_bytes()))
                .collect();
            let bytes = tile::encode(&row);
            let honest = tile::node(node, &id, &bytes).unwrap();
            let mut changed = bytes.clone();
            changed[place * 32 + 7] ^= 1;
            assert_ne!(
                tile::node(node, &id, &changed).unwrap(),
                honest,
                "{size} {node:?}"
            );
            assert!(tile::node(node, &id, &bytes[..bytes.len() - 1]).is_err());
        }
    }
}

/// Nodes of a tree of that size, each with its tile and a hash below it.
fn stored(size: u64) -> Vec<(NodeId, TileId, usize)> {
    let nodes = merkle::root_nodes(size).into_iter();
    nodes
        .filter_map(|node| {
            let (id, place) = TileId::of(node, size)?;
            Some((node, id, place))
        })
        .collect()
}

/// What stands around the signed part is not handed out, however it is placed.
#[test]
fn threat_cve_2026_56864_only_what_was_signed_is_handed_out() {
    let signer = Vkey::new("example.org/log", KeyKind::Ed25519, key(1).public()).unwrap();
    let mut note = Note::new("example.org/log\n3\nroot\n").unwrap();
    note.sign("example.org/log", &key(1)).unwrap();
    let honest = String::from_utf8(note.bytes()).unwrap();
    let (text, lines) = honest.rsplit_once("\n\n").unwrap();
    for forged in [
        format!("injected\n{honest}"),
        format!("injected\n\n{honest}"),
        format!("{text}\ninjected\n\n{lines}"),
        format!("{text}\n\ninjected\n\n{lines}"),
        format!("{text}\n\ninjected\n{lines}"),
        format!("{honest}injected\n"),
        format!("{honest}\ninjected\n"),
        format!("{honest}\n"),
    ] {
        match note::open(
            forged.as_bytes(),
            std::slice::from_ref(&signer),
            &RingVerifier,
        ) {
            Err(_) => {}
            Ok(opened) => assert_eq!(opened.text(), "example.org/log\n3\nroot\n", "{forged:?}"),
        }
    }
}

/// What an agent knows at the start of a fleet with a log, and the log's key.
fn known() -> (Known, FileKey) {
    let made = FirstRoot {
        fleet: "acme".into(),
        issued: "2026-01-01T00:00:00Z".into(),
        owner: "owner".into(),
        hub_ca: Digest::of(b"ca"),
        clusters: [(
            "one".to_owned(),
            ClusterTrust {
                environment: "prod".into(),
                level: Level::Signed,
            },
        )]
        .into(),
    }
    .make(&ring::rand::SystemRandom::new())
    .unwrap();
    let root = VerifiedRoot::parse(made.trust.bytes(), &RingVerifier).unwrap();
    let log = FileKey::from_pem(made.log_key.as_ref().unwrap()).unwrap();
    (Known::new("one", Roots::new(root), None), log)
}

fn checkpoint(history: History, size: u64, log: &FileKey) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: log_name("acme"),
        size,
        root: history.root(size),
    };
    let mut note = Note::new(&checkpoint.text()).unwrap();
    note.sign(&log_name("acme"), log).unwrap();
    note.bytes()
}

/// A small generator that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Whatever order a lying server answers in: what was believed once stays a prefix of what is believed later.
#[test]
fn threat_cve_2022_36111_no_order_of_answers_moves_an_agent_to_an_unproven_root() {
    const SIZES: u64 = 24;
    let (start, log) = known();
    let histories = [
        HONEST,
        History { branch: 1, from: 5 },
        History {
            branch: 2,
            from: 12,
        },
    ];
    // Signing is what takes time: each checkpoint is made once.
    let notes: Vec<Vec<Vec<u8>>> = histories
        .iter()
        .map(|history| {
            (0..SIZES)
                .map(|size| checkpoint(*history, size + 1, &log))
                .collect()
        })
        .collect();
    let rounds = if std::env::var_os("COUNTERSIGN_LONG").is_some() {
        100_000
    } else {
        300
    };
    let mut random = Random(0x51ab);
    let mut taken = 0;
    for _ in 0..rounds {
        let mut known = start.clone();
        let mut believed: Vec<(u64, Digest)> = Vec::new();
        for _ in 0..10 {
            let history = histories[usize::try_from(random.below(3)).unwrap()];
            let prover = histories[usize::try_from(random.below(3)).unwrap()];
            let size = 1 + random.below(SIZES);
            let had = known.seen.as_ref().map_or(0, |seen| seen.size);
            let from = if random.below(3) == 0 {
                random.below(SIZES)
            } else {
                had
            };
            let proof = merkle::consistency_proof(from, size, |id| prover.node(id));
            let branch = histories
                .iter()
                .position(|other| other.from == history.from)
                .unwrap();
            let note = &notes[branch][usize::try_from(size - 1).unwrap()];
            let proof = proof.unwrap_or_default();
            if let Ok(verified) = verify::checkpoint(&known, note, &proof, None, &RingVerifier) {
                known = known.seeing(&verified);
                believed.push((size, history.root(size)));
                taken += 1;
            }
        }
        // One history must explain all that was believed.
        let explained = histories.iter().any(|history| {
            believed
                .iter()
                .all(|(size, root)| history.root(*size) == *root)
        });
        let grows = believed.windows(2).all(|pair| pair[0].0 <= pair[1].0);
        assert!(explained && grows, "{believed:?}");
    }
    assert!(taken > rounds, "lies alone prove nothing: {taken}");
}

/// One party is one voice: under two lines, two keys, or two spellings of one signature.
#[test]
fn threat_cve_2026_49834_a_party_counts_once_however_it_signs() {
    let log = Vkey::new("example.org/log", KeyKind::Ed25519, key(1).public()).unwrap();
    let witness =
        |name: &str, seed| Vkey::new(name, KeyKind::Cosignature, key(seed).public()).unwrap();
    let (one, again, two) = (
        witness("w.example/one", 2),
        witness("w.example/one", 3),
        witness("w.example/two", 4),
    );
    let text = format!(
        "log {log}\nwitness a {one}\nwitness b {again}\nwitness c {two}\ngroup g 2 a b c\nquorum g\n"
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let signed = |signers: &[(&str, u8, u64)]| {
        let mut note =
            Note::new("example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
                .unwrap();
        note.sign("example.org/log", &key(1)).unwrap();
        let text = note.text().to_owned();
        let mut bytes = note.bytes();
        for (name, seed, time) in signers {
            let signature = cosignature::sign(name, &key(*seed), *time, &text).unwrap();
            bytes.extend_from_slice(signature.line().as_bytes());
        }
        let opened = note::open(&bytes, &policy.vkeys(), &RingVerifier).unwrap();
        policy.satisfied(&policy.cosigned(&opened).keys().copied().collect())
    };
    assert!(signed(&[("w.example/one", 2, 9), ("w.example/two", 4, 9)]));
    for (what, signers) in [
        (
            "one line twice",
            vec![("w.example/one", 2, 9), ("w.example/one", 2, 9)],
        ),
        (
            "two times",
            vec![("w.example/one", 2, 9), ("w.example/one", 2, 10)],
        ),
        (
            "two keys of one party",
            vec![("w.example/one", 2, 9), ("w.example/one", 3, 9)],
        ),
        (
            "a key under another name",
            vec![("w.example/one", 2, 9), ("w.example/two", 2, 9)],
        ),
    ] {
        let counted = std::panic::catch_unwind(|| signed(&signers));
        assert!(!matches!(counted, Ok(true)), "{what}");
    }
    // Base64 has one spelling in a note.
    let line = cosignature::sign("w.example/one", &key(2), 9, "text\n")
        .unwrap()
        .line();
    for other in [
        line.replace('=', ""),
        line.replace(' ', "  "),
        line.replacen("w.", "W.", 1),
    ] {
        if other != line {
            assert!(
                Signature::parse(other.trim_end_matches('\n'))
                    .map_or(true, |read| read.line() == other),
                "{other:?}"
            );
        }
    }
}

/// A payload that is signed and means nothing.
#[test]
fn threat_cve_2026_39395_a_good_signature_makes_no_statement_of_what_is_none() {
    let good = Statement::parse(SOURCE.as_bytes());
    assert!(good.is_ok(), "{good:?}");
    let doubled = SOURCE.replacen(
        "\"_type\"",
        "\"_type\":\"https://in-toto.io/Statement/v1\",\"_type\"",
        1,
    );
    let other_type = SOURCE.replacen("Statement/v1", "Statement/v0.1", 1);
    let trailing = format!("{SOURCE} {{}}");
    let marked = format!("\u{feff}{SOURCE}");
    for payload in [
        "",
        "[]",
        "{}",
        "null",
        &doubled,
        &other_type,
        &trailing,
        &marked,
    ] {
        let signed = dsse::sign(dsse::PAYLOAD_TYPE, payload.as_bytes(), &[&key(1)]).unwrap();
        let read = Envelope::parse(signed.bytes(), &dsse::Limits::entry());
        // Either reader may be the one that refuses.
        if let Ok(read) = read {
            assert!(!read.signed_by([&key(1).public()], &RingVerifier).is_empty());
            assert!(Statement::parse(read.payload()).is_err(), "{payload:?}");
        }
    }
}

const SOURCE: &str = include_str!("golden/source.statement.json");

/// What has no end is refused before it costs anything.
#[test]
fn threat_cve_2024_45395_endless_input_is_refused_at_once() {
    let start = Instant::now();
    let line = "\u{2014} w.example/one AAAAAAAAAAAAAAAAAAAA\n";
    let many_lines = format!("{}\n\n{line}", "x\n".repeat(100_000));
    assert!(note::open(many_lines.as_bytes(), &[], &RingVerifier).is_err());
    let many_signatures = format!("x\n\n{}", line.repeat(65_536));
    assert!(Note::parse(many_signatures.as_bytes()).is_err());
    assert!(Signature::parse_lines(line.repeat(65_536).as_bytes()).is_err());

    let hash = Digest::of(b"x");
    for count in [64, 65, 1_000] {
        let proof = vec![hash; count];
        assert!(merkle::verify_inclusion(0, u64::MAX, &hash, &proof[..], &hash).is_err());
        assert!(merkle::verify_consistency(1, &hash, u64::MAX, &hash, &proof).is_err());
    }
    let size = format!(
        "example.org/log\n{}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        1_u64 << 63
    );
    assert!(Checkpoint::parse(&size).is_err());
    let beyond =
        "example.org/log\n18446744073709551616\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    assert!(Checkpoint::parse(beyond).is_err());

    assert!(bundle::decode(&[0xff, 0xff, b'a', b'b', b'c']).is_err());
    let large = vec![b'x'; usize::from(u16::MAX) + 1];
    assert!(
        bundle::encode([&large[..]]).is_err(),
        "an entry of more than 64 KiB"
    );
    assert!(ProofFile::parse(&vec![b'A'; 8 << 20]).is_err());

    let payload = "A".repeat(64 << 20);
    let envelope = format!("{{\"payload\":\"{payload}\",\"payloadType\":\"x\",\"signatures\":[]}}");
    let begin = Instant::now();
    assert!(Envelope::parse(envelope.as_bytes(), &dsse::Limits::entry()).is_err());
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    assert!(start.elapsed() < 10 * AT_ONCE, "{:?}", start.elapsed());
}

/// A key counts under its own name, kind and bytes, and only if the trust root lists it.
#[test]
fn threat_ghsa_3633_keys_that_are_offered_or_of_another_kind_count_for_nothing() {
    let (known, log) = known();
    let honest = checkpoint(HONEST, 3, &log);
    assert!(verify::checkpoint(&known, &honest, &[], None, &RingVerifier).is_ok());
    let origin = log_name("acme");
    let text = Note::parse(&honest).unwrap().text().to_owned();
    let stranger = key(9);
    let own = Vkey::new(&origin, KeyKind::Ed25519, log.public()).unwrap();
    // A stranger's signature under the log's own id; a cosignature in the place of a signature; a stranger's line alone.
    let mut under_id = Note::new(&text).unwrap();
    under_id.add(Signature {
        name: origin.clone(),
        id: own.id(),
        bytes: stranger.sign(text.as_bytes()).unwrap().to_vec(),
    });
    let mut as_witness = Note::new(&text).unwrap();
    as_witness.add(cosignature::sign(&origin, &log, 9, &text).unwrap());
    let mut offered = Note::new(&text).unwrap();
    offered.sign(&origin, &stranger).unwrap();
    for note in [under_id, as_witness, offered] {
        let refused = verify::checkpoint(&known, &note.bytes(), &[], None, &RingVerifier);
        let refused = refused.map_err(|refusal| refusal.code());
        assert_eq!(refused.map(|_| ()), Err("LOG_SIGNATURE_INVALID"));
    }
    // A kind that nobody knows.
    let vkey = own.to_string();
    let (head, key) = vkey.rsplit_once('+').unwrap();
    let odd = format!("{head}+/w{}", &key[2..]);
    assert!(odd.parse::<Vkey>().is_err(), "{odd}");
}

/// Names never become paths: what could lead elsewhere is no name, and what is free text is filed by its digest.
#[test]
fn threat_cve_2026_24137_a_name_that_could_lead_elsewhere_is_none() {
    let long = "a".repeat(4_096);
    for odd in ["../x", "a/b", "a\0b", "", ".", "..", "a\nb", &long] {
        assert!(name::check("cluster", odd).is_err(), "{odd:?}");
    }
    for odd in ["a b", "a+b", "a\0b", "a\nb", "", &long] {
        let made = Vkey::new(odd, KeyKind::Cosignature, key(1).public());
        assert!(made.is_err(), "{odd:?}");
    }
    for odd in [
        "../../etc/passwd",
        "sha256:../x",
        &"A".repeat(64),
        &"g".repeat(64),
        &long,
    ] {
        assert!(odd.parse::<Digest>().is_err(), "{odd:?}");
    }
}

/// A rolled-back or forked log is refused, and what was believed before stays.
#[test]
fn threat_cve_2022_29173_what_was_seen_is_never_taken_back() {
    let (start, log) = known();
    let seen = verify::checkpoint(
        &start,
        &checkpoint(HONEST, 9, &log),
        &[],
        None,
        &RingVerifier,
    );
    let known = start.seeing(&seen.unwrap());
    let fork = History { branch: 7, from: 2 };
    let way = |history: History, size| {
        merkle::consistency_proof(9, size, |id| history.node(id)).unwrap_or_default()
    };
    for (history, size, code) in [
        (HONEST, 8, "LOG_ROLLED_BACK"),
        (HONEST, 1, "LOG_ROLLED_BACK"),
        (fork, 9, "LOG_FORKED"),
        (fork, 20, "LOG_FORKED"),
    ] {
        let note = checkpoint(history, size, &log);
        let refused = verify::checkpoint(&known, &note, &way(history, size), None, &RingVerifier);
        let refusal: Refusal = refused.unwrap_err();
        assert_eq!(refusal.code(), code, "{size}");
        assert!(refusal.evidence().is_some());
    }
    let on = checkpoint(HONEST, 20, &log);
    assert!(verify::checkpoint(&known, &on, &way(HONEST, 20), None, &RingVerifier).is_ok());
}
