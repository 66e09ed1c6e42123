//! Random inputs: valid ones, and valid ones with small damage, which is where readers part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::Digest;
use countersign_ledger::bundle;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::cosignature;
use countersign_ledger::tlog::merkle::{
    NodeId, ProofError, consistency_proof, inclusion_proof, node_hash,
};
use countersign_ledger::tlog::note::{KeyKind, Note, Vkey};
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::tlog::tile::{BundleId, TileId};
use serde_json::{Value, json};

/// Leaves of the tree that proofs are of.
pub(super) const TREE: u64 = 64;
/// Witnesses of the policies.
pub(super) const WITNESSES: usize = 5;

/// One question to both.
#[derive(Debug, Clone)]
pub(super) enum Case {
    Vkey(Vec<u8>),
    Note(Vec<u8>),
    Checkpoint(Vec<u8>),
    Path(Vec<u8>),
    Proof(Vec<u8>),
    Bundle(Vec<u8>),
    /// A policy, and which of the stock's cosigned checkpoints it is asked about.
    Policy(Vec<u8>, usize),
    Record(Merkle),
    Tree(Merkle),
}

/// A proof to check: of leaf `first` for inclusion, of the first `first` leaves for consistency.
#[derive(Debug, Clone)]
pub(super) struct Merkle {
    pub(super) first: u64,
    pub(super) size: u64,
    pub(super) hash: Digest,
    pub(super) root: Digest,
    pub(super) proof: Vec<Digest>,
}

/// A stream of numbers that follows from its seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn small(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// What cases are made from, signed once.
pub(super) struct Stock {
    notes: Vec<Vec<u8>>,
    pub(super) known: Vec<Vkey>,
    pub(super) witnesses: Vec<Vkey>,
    /// Checkpoints with cosignatures of each set of witnesses.
    pub(super) cosigned: Vec<Note>,
    tree: Vec<Vec<Digest>>,
    roots: Vec<Digest>,
}

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

impl Stock {
    pub(super) fn new() -> Self {
        let leaves: Vec<Digest> = (0..TREE).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut tree = vec![leaves];
        while let Some(below) = tree.last().filter(|below| below.len() > 1) {
            tree.push(
                below
                    .chunks_exact(2)
                    .map(|pair| node_hash(&pair[0], &pair[1]))
                    .collect(),
            );
        }
        let names = ["log.example/a", "log.example/é", "w", "x/y:1"];
        let kinds = [
            KeyKind::Ed25519,
            KeyKind::Ed25519,
            KeyKind::Cosignature,
            KeyKind::Ed25519,
        ];
        let known: Vec<Vkey> = (1..)
            .zip(names.into_iter().zip(kinds))
            .map(|(seed, (name, kind))| Vkey::new(name, kind, key(seed).public()).unwrap())
            .collect();
        let mut notes = Vec::new();
        for text in [
            "log.example/a\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "one\n\ntwo\n",
            "é\n",
        ] {
            for signers in 1_u8..16 {
                let mut note = Note::new(text).unwrap();
                for (place, name) in names
                    .into_iter()
                    .enumerate()
                    .filter(|(place, _)| signers >> place & 1 == 1)
                {
                    let seed = u8::try_from(place).unwrap() + 1;
                    if kinds[place] == KeyKind::Cosignature {
                        note.add(cosignature::sign(name, &key(seed), 1_700_000_000, text).unwrap());
                    } else {
                        note.sign(name, &key(seed)).unwrap();
                    }
                }
                note.sign("stranger", &key(77)).unwrap();
                notes.push(note.bytes());
            }
        }
        let witness = |number: usize| {
            (
                format!("w{number}.example"),
                u8::try_from(100 + number).unwrap(),
            )
        };
        let witnesses = (0..WITNESSES)
            .map(|number| {
                let (name, seed) = witness(number);
                Vkey::new(&name, KeyKind::Cosignature, key(seed).public()).unwrap()
            })
            .collect();
        let cosigned = (1..1 << WITNESSES)
            .map(|set: u32| {
                let mut note =
                    Note::new("log\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").unwrap();
                for number in (0..WITNESSES).filter(|number| set >> number & 1 == 1) {
                    let (name, seed) = witness(number);
                    note.add(cosignature::sign(&name, &key(seed), 5, note.text()).unwrap());
                }
                note
            })
            .collect();
        let mut stock = Self {
            notes,
            known,
            witnesses,
            cosigned,
            tree,
            roots: Vec::new(),
        };
        stock.roots = (0..=TREE).map(|size| stock.root_of(size)).collect();
        stock
    }

    fn node(&self, node: NodeId) -> Result<Digest, ProofError> {
        Ok(self.tree[usize::from(node.level)][usize::try_from(node.index).unwrap()])
    }

    fn root_of(&self, size: u64) -> Digest {
        use countersign_ledger::tlog::merkle::{fold_root, root_nodes};
        let hashes: Vec<Digest> = root_nodes(size)
            .into_iter()
            .map(|node| self.node(node).unwrap())
            .collect();
        fold_root(size, &hashes).unwrap()
    }

    fn root(&self, size: u64) -> Digest {
        self.roots[usize::try_from(size).unwrap()]
    }

    /// The next case.
    pub(super) fn case(&self, random: &mut Random) -> Case {
        match random.below(9) {
            0 => Case::Vkey(damaged(
                random_vkey(&self.known, &self.witnesses, random),
                random,
            )),
            1 => Case::Note(self.note(random)),
            2 => Case::Checkpoint(damaged(checkpoint(random).into_bytes(), random)),
            3 => Case::Path(damaged(path(random).into_bytes(), random)),
            4 => Case::Proof(self.proof(random)),
            5 => Case::Bundle(damaged(entries(random), random)),
            6 => {
                let note = random.below(self.cosigned.len());
                Case::Policy(self.policy(random).into_bytes(), note)
            }
            7 => Case::Record(self.record(random)),
            _ => Case::Tree(self.consistency(random)),
        }
    }

    fn note(&self, random: &mut Random) -> Vec<u8> {
        let note = random.of(&self.notes).clone();
        damaged(note, random)
    }

    fn proof(&self, random: &mut Random) -> Vec<u8> {
        let checkpoint = random.of(&self.notes);
        let size = 1 + random.small(TREE);
        let index = random.small(size);
        let extra = match random.below(3) {
            0 => Some(
                (0..random.below(9))
                    .map(|n| u8::try_from(n * 29).unwrap())
                    .collect(),
            ),
            _ => None,
        };
        let file = ProofFile {
            extra,
            index,
            hashes: inclusion_proof(index, size, |node| self.node(node)).unwrap(),
            checkpoint: Note::parse(checkpoint).unwrap(),
        };
        damaged(file.bytes(), random)
    }

    fn record(&self, random: &mut Random) -> Merkle {
        let size = 1 + random.small(TREE);
        let first = random.small(size);
        let proof = inclusion_proof(first, size, |node| self.node(node)).unwrap();
        let hash = leaf_hash(&first.to_be_bytes());
        self.shaken(
            random,
            Merkle {
                first,
                size,
                hash,
                root: self.root(size),
                proof,
            },
        )
    }

    fn consistency(&self, random: &mut Random) -> Merkle {
        let size = 1 + random.small(TREE);
        let first = random.small(size + 1);
        let proof = consistency_proof(first, size, |node| self.node(node)).unwrap();
        self.shaken(
            random,
            Merkle {
                first,
                size,
                hash: self.root(first),
                root: self.root(size),
                proof,
            },
        )
    }

    fn shaken(&self, random: &mut Random, mut merkle: Merkle) -> Merkle {
        let stray = *random.of(&self.roots);
        let places = merkle.proof.len();
        match random.below(12) {
            0 => merkle.first = random.small(TREE + 2),
            1 => merkle.size = random.small(TREE + 2),
            2 => merkle.size <<= random.below(56),
            3 => merkle.root = stray,
            4 => merkle.hash = stray,
            5 => merkle.proof.push(stray),
            6 => merkle.proof.insert(0, stray),
            7 if places > 0 => drop(merkle.proof.remove(random.below(places))),
            8 if places > 0 => merkle.proof[random.below(places)] = stray,
            9 if places > 1 => merkle.proof.swap(0, 1),
            _ => {}
        }
        merkle
    }

    /// Policies in the form that both read: every witness with an address, a party each, no comment behind a line.
    fn policy(&self, random: &mut Random) -> String {
        let mut lines = Vec::new();
        let mut free: Vec<String> = Vec::new();
        for (number, vkey) in self.witnesses.iter().enumerate() {
            lines.push(format!(
                "witness w{number} {vkey} http://w{number}.example/"
            ));
            free.push(format!("w{number}"));
        }
        for group in 0..random.below(4) {
            let members: Vec<String> = (0..random.below(4))
                .filter_map(|_| {
                    let place = random.below(free.len().max(1));
                    // Now and then one that is in a group already.
                    if random.below(30) == 0 {
                        free.get(place).cloned()
                    } else {
                        (place < free.len()).then(|| free.remove(place))
                    }
                })
                .collect();
            let threshold = *random.of(&["any", "all", "1", "2", "3", "0", "01"]);
            lines.push(format!("group g{group} {threshold} {}", members.join(" ")));
            free.push(format!("g{group}"));
        }
        let quorum = match random.below(12) {
            0 => "none".to_owned(),
            1 => "nobody".to_owned(),
            _ => free.last().cloned().unwrap_or_default(),
        };
        lines.push(format!("quorum {quorum}"));
        if random.below(10) == 0 {
            let place = random.below(lines.len());
            lines.swap(place, 0);
        }
        lines.join("\n") + "\n"
    }
}

fn random_vkey(known: &[Vkey], witnesses: &[Vkey], random: &mut Random) -> Vec<u8> {
    let all = if random.below(2) == 0 {
        known
    } else {
        witnesses
    };
    random.of(all).to_string().into_bytes()
}

fn checkpoint(random: &mut Random) -> String {
    let size = random.next() >> (1 + random.below(63));
    let root = match size {
        0 => countersign_ledger::tlog::merkle::EMPTY_ROOT,
        size => leaf_hash(&size.to_be_bytes()),
    };
    let origin =
        (*random.of(&["log.example/fleet", "é", "go.sum database tree", "a b"])).to_owned();
    Checkpoint { origin, size, root }.text()
}

fn path(random: &mut Random) -> String {
    let index = random.next() >> (1 + random.below(63));
    let width = match random.below(2) {
        0 => 256,
        _ => u16::try_from(1 + random.below(255)).unwrap(),
    };
    if random.below(3) == 0 {
        BundleId { index, width }.path()
    } else {
        let level = u8::try_from(random.below(66)).unwrap();
        TileId {
            level,
            index,
            width,
        }
        .path()
    }
}

fn entries(random: &mut Random) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = (0..random.below(9))
        .map(|n| vec![u8::try_from(n).unwrap(); random.below(40)])
        .collect();
    bundle::encode(entries.iter().map(Vec::as_slice)).unwrap()
}

/// The input as it is, or with one to three small changes.
fn damaged(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    const BITS_AND_PIECES: [&[u8]; 24] = [
        b"0",
        b"1",
        b"x",
        b"+",
        b"=",
        b"/",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\t",
        b"\0",
        b"\x7f",
        b"\xff",
        b".p/",
        b"-",
        "\u{a0}".as_bytes(),
        "\u{2014} ".as_bytes(),
        "\u{85}".as_bytes(),
        b"A",
        b"00",
        b"index ",
        b"extra ",
        b"000",
    ];
    if random.below(3) == 0 {
        return bytes;
    }
    for _ in 0..=random.below(3) {
        let place = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 => bytes.truncate(place),
            3 => {
                let piece = *random.of(&BITS_AND_PIECES);
                bytes.splice(place..place, piece.iter().copied());
            }
            4 if place < bytes.len() => {
                let piece = *random.of(&BITS_AND_PIECES);
                bytes.splice(place..=place, piece.iter().copied());
            }
            5 => {
                // Two lines change places, or one is there twice.
                let mut lines: Vec<Vec<u8>> = bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect();
                if !lines.is_empty() {
                    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
                    if random.below(2) == 0 {
                        lines.swap(from, to);
                    } else {
                        let line = lines[from].clone();
                        lines.insert(to, line);
                    }
                }
                bytes = lines.concat();
            }
            _ => {}
        }
    }
    bytes
}

impl Case {
    /// The question to the outsider.
    pub(super) fn question(&self, stock: &Stock) -> Value {
        let data = |kind: &str, bytes: &[u8]| json!({"kind": kind, "data": STANDARD.encode(bytes)});
        match self {
            Self::Vkey(bytes) => data("vkey", bytes),
            Self::Note(bytes) => {
                let mut question = data("note", bytes);
                question["keys"] = json!(stock.known);
                question
            }
            Self::Checkpoint(bytes) => data("checkpoint", bytes),
            Self::Path(bytes) => data("path", bytes),
            Self::Proof(bytes) => data("proof", bytes),
            Self::Bundle(bytes) => data("bundle", bytes),
            Self::Policy(bytes, note) => {
                let mut question = data("policy", bytes);
                let note = stock.cosigned[*note].bytes();
                question["keys"] = json!([String::from_utf8(note).unwrap()]);
                question
            }
            Self::Record(merkle) => merkle.question("record", "index"),
            Self::Tree(merkle) => merkle.question("tree", "old"),
        }
    }
}

impl Merkle {
    fn question(&self, kind: &str, first: &str) -> Value {
        let text = |hash: &Digest| STANDARD.encode(hash.as_bytes());
        json!({
            "kind": kind, first: self.first, "size": self.size, "leaf": text(&self.hash), "root": text(&self.root),
            "proof": self.proof.iter().map(text).collect::<Vec<_>>(),
        })
    }
}
