//! How fast.

use countersign_ledger::bundle;
use countersign_ledger::digest::leaf_hash;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::tlog::tile::BundleId;
use countersign_ledger::trust::Level;

use super::audit;
use crate::audit::tests::fixture::Fixture;
use crate::audit::tree::Tree;

/// By hand, in release: `AUDIT_ENTRIES=1000000 cargo test --release -p countersign-cli million -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_entries_are_read_judged_and_asked() {
    let count: usize =
        std::env::var("AUDIT_ENTRIES").map_or(20_000, |count| count.parse().unwrap());
    let mut fixture = Fixture::complete(Level::Signed);
    let manifest = fixture.manifest(&[("cart", "{}")]);
    while fixture.entries.len() < count {
        fixture.source();
        for name in ["eks-a", "metal-b"] {
            let desired = fixture.desired_of(name, manifest);
            fixture.seal(desired, "sealer-prod");
            fixture.receipt(name, ReceiptKind::Sync);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    let (size, now) = (fixture.entries.len() as u64, fixture.now);
    drop(fixture);
    let index = folder.path().join("index.sqlite");
    let timed = |what: &str, started: std::time::Instant| {
        let rate = f64::from(u32::try_from(size).unwrap()) / started.elapsed().as_secs_f64();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status
            .lines()
            .find(|line| line.starts_with("RssAnon"))
            .unwrap_or("")
            .to_owned();
        println!(
            "{what}: {:?}, {rate:.0} entries/s, {memory}",
            started.elapsed()
        );
    };
    let started = std::time::Instant::now();
    let mut tree = Tree::new();
    for at in 0..size.div_ceil(256) {
        let id = BundleId::at(at, size).unwrap();
        let bytes = std::fs::read(folder.path().join(id.path())).unwrap();
        for entry in bundle::decode(&bytes).unwrap() {
            tree.append(leaf_hash(entry)).unwrap();
        }
    }
    timed("hashes, one thread", started);
    let started = std::time::Instant::now();
    let outcome = audit(folder.path(), Some(&index), now).unwrap();
    timed("verify", started);
    assert!(
        outcome.tree_holds && outcome.findings.is_empty(),
        "{:?}",
        outcome.findings.first()
    );
    let started = std::time::Instant::now();
    let outcome = audit(folder.path(), Some(&index), now).unwrap();
    timed("open the index and check it", started);
    assert_eq!(outcome.read, 0);
}
