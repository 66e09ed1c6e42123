//! A small log in a folder, read and damaged.

use std::path::PathBuf;

use clap::Parser as _;
use countersign_ledger::bundle;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_ledger::key::{FileKey, Sign as _};
use countersign_ledger::tlog::checkpoint::Checkpoint;
use countersign_ledger::tlog::merkle::{self, NodeId, ProofError};
use countersign_ledger::tlog::note::{KeyKind, Note, Vkey};
use countersign_ledger::tlog::tile::{self, bundles_for, tiles_for};
use tempfile::TempDir;

use super::*;

const ORIGIN: &str = "countersign.dev/fleet/test";
/// More than one bundle, and a partial one.
const SIZE: u64 = 300;

struct Log {
    folder: TempDir,
    branch: u8,
}

fn key() -> FileKey {
    FileKey::from_seed(&[1; 32]).unwrap()
}

fn vkey() -> Vkey {
    Vkey::new(ORIGIN, KeyKind::Ed25519, key().public()).unwrap()
}

impl Log {
    fn new(size: u64, branch: u8) -> Self {
        let log = Self {
            folder: tempfile::tempdir().unwrap(),
            branch,
        };
        log.publish(size);
        log
    }

    fn entry(&self, index: u64) -> Vec<u8> {
        let branch = if index < 5 { 0 } else { self.branch };
        format!("entry {index} {branch}").into_bytes()
    }

    fn node(&self, id: NodeId) -> Result<Digest, ProofError> {
        if id.level == 0 {
            return Ok(leaf_hash(&self.entry(id.index)));
        }
        let below = |index| {
            self.node(NodeId {
                level: id.level - 1,
                index,
            })
        };
        Ok(merkle::node_hash(
            &below(id.index * 2)?,
            &below(id.index * 2 + 1)?,
        ))
    }

    fn checkpoint(&self, size: u64) -> Vec<u8> {
        let nodes = merkle::root_nodes(size);
        let hashes: Result<Vec<Digest>, _> = nodes.into_iter().map(|id| self.node(id)).collect();
        let root = merkle::fold_root(size, &hashes.unwrap()).unwrap();
        let text = Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root,
        }
        .text();
        let mut note = Note::new(&text).unwrap();
        note.sign(ORIGIN, &key()).unwrap();
        note.bytes()
    }

    fn publish(&self, size: u64) {
        for id in bundles_for(0, size) {
            let first = id.index * 256;
            let entries: Vec<Vec<u8>> = (first..first + u64::from(id.width))
                .map(|n| self.entry(n))
                .collect();
            self.write(
                &id.path(),
                &bundle::encode(entries.iter().map(Vec::as_slice)).unwrap(),
            );
        }
        for id in tiles_for(0, size) {
            let first = id.index * 256;
            let level = id.level * 8;
            let hashes: Result<Vec<Digest>, _> = (first..first + u64::from(id.width))
                .map(|index| self.node(NodeId { level, index }))
                .collect();
            self.write(&id.path(), &tile::encode(&hashes.unwrap()));
        }
        self.write("checkpoint", &self.checkpoint(size));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Runs `countersign log …` with the log's key; `LOG` stands for the folder.
    fn run(&self, args: &str) -> Result<(), u8> {
        self.run_with(args, &format!("--vkey {}", vkey()))
    }

    fn run_with(&self, args: &str, known: &str) -> Result<(), u8> {
        let folder = self.folder.path().display().to_string();
        let line = format!("countersign log {args} {known}").replace("LOG", &folder);
        let cli = crate::args::Cli::try_parse_from(line.split_whitespace()).unwrap();
        let crate::args::Command::Log(args) = cli.command else {
            panic!("{line}");
        };
        run(&args).map_err(|failure| failure.code())
    }
}

#[test]
fn a_whole_log_is_sound() {
    for size in [0, 1, 255, 256, SIZE] {
        assert_eq!(Log::new(size, 0).run("fsck LOG"), Ok(()), "{size}");
    }
}

#[test]
fn a_flipped_bit_a_cut_or_a_missing_file_is_found_in_every_file() {
    let log = Log::new(SIZE, 0);
    let mut names = vec!["checkpoint".to_owned()];
    names.extend(bundles_for(0, SIZE).iter().map(|id| id.path()));
    names.extend(tiles_for(0, SIZE).iter().map(|id| id.path()));
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        let whole = std::fs::read(log.path(&name)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [flipped, whole[..whole.len() - 1].to_vec()] {
            log.write(&name, &bytes);
            assert_eq!(log.run("fsck LOG"), Err(1), "{name}");
        }
        std::fs::remove_file(log.path(&name)).unwrap();
        let missing = if name == "checkpoint" { 2 } else { 1 };
        assert_eq!(log.run("fsck LOG"), Err(missing), "{name}");
        log.write(&name, &whole);
    }
    assert_eq!(log.run("fsck LOG -o json"), Ok(()));
}

#[test]
fn the_full_bundle_serves_in_a_partial_ones_place() {
    let log = Log::new(SIZE, 0);
    for id in bundles_for(0, SIZE) {
        std::fs::remove_file(log.path(&id.path())).unwrap();
    }
    for id in tiles_for(0, SIZE).into_iter().filter(|id| id.level == 0) {
        std::fs::remove_file(log.path(&id.path())).unwrap();
    }
    assert_eq!(log.run("fsck LOG"), Err(1));
    // The log grew and dropped its partial files; the checkpoint is an older one.
    let grown = Log {
        folder: tempfile::tempdir().unwrap(),
        branch: 0,
    };
    grown.publish(512);
    for id in bundles_for(0, 512) {
        log.write(&id.path(), &std::fs::read(grown.path(&id.path())).unwrap());
    }
    for id in tiles_for(0, 512).into_iter().filter(|id| id.level == 0) {
        log.write(&id.path(), &std::fs::read(grown.path(&id.path())).unwrap());
    }
    assert_eq!(log.run("fsck LOG"), Ok(()));
    assert_eq!(log.run("proof LOG --index 299 --out LOG/p"), Ok(()));
}

#[test]
fn another_log_s_key_opens_nothing() {
    let log = Log::new(9, 0);
    let other = FileKey::from_seed(&[2; 32]).unwrap();
    let other = Vkey::new(ORIGIN, KeyKind::Ed25519, other.public()).unwrap();
    assert_eq!(log.run_with("fsck LOG", &format!("--vkey {other}")), Err(1));
    let witness = Vkey::new("w", KeyKind::Cosignature, key().public()).unwrap();
    assert_eq!(
        log.run_with("fsck LOG", &format!("--vkey {witness}")),
        Err(2)
    );
    assert_eq!(
        log.run_with("checkpoint LOG/nowhere", &format!("--vkey {}", vkey())),
        Err(2)
    );
}

#[test]
fn a_proof_is_made_and_proves_its_entry_alone() {
    let log = Log::new(SIZE, 0);
    for (which, index) in [
        ("--index 17".to_owned(), 17),
        (format!("--leaf {}", leaf_hash(&log.entry(299))), 299),
    ] {
        assert_eq!(
            log.run(&format!("proof LOG {which} --out LOG/p --entry-out LOG/e")),
            Ok(())
        );
        assert_eq!(std::fs::read(log.path("e")).unwrap(), log.entry(index));
        assert_eq!(log.run("verify-proof LOG/p --entry LOG/e"), Ok(()));
        assert_eq!(log.run("proof LOG --entry LOG/e --out LOG/p2"), Ok(()));
        assert_eq!(
            std::fs::read(log.path("p")).unwrap(),
            std::fs::read(log.path("p2")).unwrap()
        );
        log.write("e", &log.entry(18));
        assert_eq!(log.run("verify-proof LOG/p --entry LOG/e"), Err(1));
    }
    assert_eq!(log.run("proof LOG --index 300"), Err(2));
    assert_eq!(
        log.run(&format!("proof LOG --leaf {}", Digest::of(b"x"))),
        Err(1)
    );
    // A damaged entry is not proven, and nothing is written.
    log.write("tile/entries/000", b"garbage");
    assert_eq!(log.run("proof LOG --index 17 --out LOG/p3"), Err(1));
    assert!(!log.path("p3").exists());
}

#[test]
fn a_checkpoint_continues_an_earlier_one_or_not() {
    let log = Log::new(SIZE, 0);
    log.write("earlier", &log.checkpoint(9));
    assert_eq!(log.run("checkpoint LOG --since LOG/earlier"), Ok(()));
    log.write(
        "earlier",
        &Log {
            folder: tempfile::tempdir().unwrap(),
            branch: 1,
        }
        .checkpoint(9),
    );
    assert_eq!(log.run("checkpoint LOG --since LOG/earlier"), Err(1));
    log.write("earlier", &log.checkpoint(SIZE + 1));
    assert_eq!(log.run("checkpoint LOG --since LOG/earlier"), Err(1));
}

#[test]
fn a_policy_asks_for_its_witnesses() {
    let log = Log::new(9, 0);
    let (name, witness) = ("witness.example/w1", FileKey::from_seed(&[7; 32]).unwrap());
    let wkey = Vkey::new(name, KeyKind::Cosignature, witness.public()).unwrap();
    let policy = format!("log {}\nwitness w1 {wkey}\nquorum w1\n", vkey());
    log.write("policy", policy.as_bytes());
    let known = format!("--policy {}", log.path("policy").display());
    assert_eq!(log.run_with("checkpoint LOG", &known), Err(1));
    let mut note = Note::parse(&log.checkpoint(9)).unwrap();
    note.add(
        countersign_ledger::tlog::cosignature::sign(name, &witness, 1_800_000_000, note.text())
            .unwrap(),
    );
    log.write("checkpoint", &note.bytes());
    assert_eq!(log.run_with("checkpoint LOG", &known), Ok(()));
    assert_eq!(
        log.run_with("proof LOG --index 3 --out LOG/p --entry-out LOG/e", &known),
        Ok(())
    );
    assert_eq!(
        log.run_with("verify-proof LOG/p --entry LOG/e", &known),
        Ok(())
    );
}

#[test]
fn a_fork_is_proven_and_what_is_none_is_not() {
    let (log, other) = (Log::new(SIZE, 0), Log::new(SIZE, 1));
    let write = |name: &str, bytes: Vec<u8>| log.write(name, &bytes);
    write("a9", log.checkpoint(9));
    write("b9", other.checkpoint(9));
    write("a12", log.checkpoint(12));
    write("b12", other.checkpoint(12));
    assert_eq!(log.run("prove-fork LOG/a9 LOG/b9 --out LOG/f"), Ok(()));
    assert_eq!(log.run("verify-fork LOG/f"), Ok(()));
    assert_eq!(log.run("prove-fork LOG/a9 LOG/a9 --out LOG/f2"), Err(1));
    assert_eq!(
        log.run("prove-fork LOG/a9 LOG/b12 --out LOG/f2"),
        Err(2),
        "sizes differ: which log?"
    );
    let tiles = log.folder.path().display();
    assert_eq!(
        log.run(&format!(
            "prove-fork LOG/a9 LOG/a12 --log {tiles} --out LOG/f2"
        )),
        Err(1)
    );
    assert!(!log.path("f2").exists());
    let tiles = other.folder.path().display();
    assert_eq!(
        log.run(&format!(
            "prove-fork LOG/a9 LOG/b12 --log {tiles} --out LOG/f3"
        )),
        Ok(())
    );
    // Recorded, and no proof by itself.
    assert_eq!(log.run("verify-fork LOG/f3"), Err(1));
    let whole = std::fs::read(log.path("f")).unwrap();
    write("f", whole[..whole.len() - 1].to_vec());
    assert_eq!(log.run("verify-fork LOG/f"), Err(1));
}

#[test]
fn whose_signatures_count_must_be_said() {
    let line = ["countersign", "log", "fsck", "x"];
    assert!(crate::args::Cli::try_parse_from(line).is_err());
}
