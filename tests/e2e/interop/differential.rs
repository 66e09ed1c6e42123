//! Both readers on the same inputs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::bundle;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::tlog::checkpoint::{Checkpoint, CheckpointError};
use countersign_ledger::tlog::merkle::{EMPTY_ROOT, verify_consistency, verify_inclusion};
use countersign_ledger::tlog::note::{self, NAME_BYTES_MAX, Vkey};
use countersign_ledger::tlog::policy::Policy;
use countersign_ledger::tlog::proof::ProofFile;
use countersign_ledger::tlog::tile::{BundleId, TileId};

use super::cases::{Case, Random, Stock};
use super::oracle::{Answer, Oracle};

/// Set by `cargo xtask test --long`.
const LONG: &str = "COUNTERSIGN_LONG";
const CASES: u64 = 10_000;
const CASES_LONG: u64 = 1_000_000;
/// Cases that are asked at once.
const BATCH: u64 = 1_000;

/// What our reader says: as what it takes an input, or that it refuses.
fn ours(case: &Case, stock: &Stock) -> Option<String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match case {
        Case::Vkey(bytes) => {
            let vkey: Vkey = text(bytes)?.parse().ok()?;
            Some(format!("{} {:08x}", vkey.name(), vkey.id()))
        }
        Case::Note(bytes) => {
            let opened = note::open(bytes, &stock.known, &RingVerifier).ok()?;
            let names: Vec<String> = opened
                .verified()
                .iter()
                .map(|by| format!("{}+{:08x}", by.key.name(), by.key.id()))
                .collect();
            Some(format!("{} {}", names.join(" "), opened.unknown().len()))
        }
        Case::Checkpoint(bytes) => {
            let read = Checkpoint::parse(&text(bytes)?).ok()?;
            Some(format!(
                "{} {}",
                read.size,
                STANDARD.encode(read.root.as_bytes())
            ))
        }
        Case::Path(bytes) => {
            let path = text(bytes)?;
            let tile = TileId::parse(&path).map(|tile| tile.path());
            tile.or_else(|_| BundleId::parse(&path).map(|bundle| bundle.path()))
                .ok()
        }
        Case::Proof(bytes) => {
            let file = ProofFile::parse(bytes).ok()?;
            Some(format!(
                "{} {} {}",
                file.index,
                file.hashes.len(),
                file.checkpoint.bytes().len()
            ))
        }
        Case::Bundle(bytes) => {
            let entries = bundle::decode(bytes).ok()?;
            let total: usize = entries.iter().map(|entry| entry.len()).sum();
            Some(format!("{} {total}", entries.len()))
        }
        Case::Policy(bytes, note) => {
            let policy = Policy::parse(bytes).ok()?;
            let opened = stock.cosigned[*note]
                .open(&stock.witnesses, &RingVerifier)
                .unwrap();
            let time = policy.newest_time(&policy.cosigned(&opened));
            Some(format!("{} ", time.is_some()))
        }
        Case::Record(m) => verify_inclusion(m.first, m.size, &m.hash, &m.proof, &m.root)
            .is_ok()
            .then(String::new),
        Case::Tree(m) => verify_consistency(m.first, &m.hash, m.size, &m.root, &m.proof)
            .is_ok()
            .then(String::new),
    }
}

/// What our reader must say, given Go's answer: the same, but for what is said here.
fn wanted(case: &Case, theirs: &Answer) -> Option<bool> {
    let strictly = theirs.taken && !theirs.lax;
    match case {
        // A key whose name holds a control character could sign no note, and ML-DSA has no room for longer names.
        Case::Vkey(bytes) => {
            let name = bytes.split(|byte| *byte == b'+').next().unwrap_or_default();
            let odd =
                std::str::from_utf8(name).is_ok_and(|name| name.chars().any(char::is_control));
            Some(strictly && !odd && name.len() <= NAME_BYTES_MAX)
        }
        // An origin is text, and the empty tree has one root.
        Case::Checkpoint(bytes) => {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return Some(false);
            };
            let origin = text.split('\n').next().unwrap_or_default();
            let odd = origin.chars().any(char::is_control);
            let root = matches!(
                Checkpoint::parse(text),
                Err(CheckpointError::EmptyRoot { .. })
            );
            let empty = text.split('\n').nth(1) == Some("0");
            Some(strictly && !odd && !(empty && root))
        }
        // Go has no proof from the empty tree; C2SP's witnesses are asked for it, with an empty one.
        Case::Tree(m) if m.first == 0 => {
            let right = m.hash == EMPTY_ROOT && m.proof.is_empty();
            Some(right && (m.size > 0 || m.root == EMPTY_ROOT))
        }
        // Go's policies are Sigsum's, which ask nobody and count twice where one wants to: it must take all that we take.
        Case::Policy(..) => (!theirs.taken).then_some(false),
        Case::Note(_)
        | Case::Path(_)
        | Case::Proof(_)
        | Case::Bundle(_)
        | Case::Record(_)
        | Case::Tree(_) => Some(strictly),
    }
}

/// Whether both took it as the same.
fn same(case: &Case, ours: &str, theirs: &str) -> bool {
    match case {
        // Theirs begins with the quoted text, whose quoting is Go's own.
        Case::Note(_) | Case::Checkpoint(_) => theirs.ends_with(&format!("\" {ours}")),
        // A quorum that Go's code can name is all that is compared.
        _ => ours == theirs,
    }
}

#[test]
fn go_and_we_take_and_refuse_the_same() {
    let long = std::env::var_os(LONG).is_some();
    let cases = if long { CASES_LONG } else { CASES };
    let stock = Stock::new();
    let mut oracle = Oracle::start();
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for batch in 0..cases / BATCH {
        // One seed a case: a case that fails is run again alone by its number.
        let numbered: Vec<(u64, Case)> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|number| (number, stock.case(&mut Random(number))))
            .collect();
        let questions: Vec<_> = numbered
            .iter()
            .map(|(_, case)| case.question(&stock))
            .collect();
        let answers = oracle.ask(&questions);
        for ((number, case), theirs) in numbered.iter().zip(answers) {
            let ours = ours(case, &stock);
            let context = || {
                format!(
                    "case {number}: ours {ours:?}, theirs {theirs:?}, {}",
                    shown(case)
                )
            };
            if let Some(wanted) = wanted(case, &theirs) {
                assert_eq!(ours.is_some(), wanted, "{}", context());
            }
            if let Some(ours) = &ours
                && theirs.taken
            {
                assert!(same(case, ours, &theirs.value), "{}", context());
            }
            let kind = format!("{case:?}")
                .split('(')
                .next()
                .unwrap_or_default()
                .to_owned();
            counts.entry(kind).or_default()[usize::from(ours.is_some())] += 1;
        }
    }
    // A generator that makes only good inputs, or only bad ones, would prove nothing.
    assert_eq!(counts.len(), 9);
    for (kind, [refused, taken]) in counts {
        let least = cases / 100;
        assert!(
            refused > least && taken > least,
            "{kind}: {refused} refused, {taken} taken"
        );
    }
}

fn shown(case: &Case) -> String {
    match case {
        Case::Vkey(bytes)
        | Case::Note(bytes)
        | Case::Checkpoint(bytes)
        | Case::Path(bytes)
        | Case::Proof(bytes)
        | Case::Bundle(bytes)
        | Case::Policy(bytes, _) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Case::Record(_) | Case::Tree(_) => format!("{case:?}"),
    }
}
