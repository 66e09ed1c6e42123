//! Seeds of the fuzz targets, replayed through the same functions on every test run. What fuzzing finds is added here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

#[path = "../../fuzz/src/ledger.rs"]
#[allow(unreachable_pub)] // public where the fuzzer uses it
mod targets;

#[path = "../../fuzz/src/commits.rs"]
#[allow(unreachable_pub)]
mod commits;

#[test]
fn every_seed_of_every_target_passes() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, target) in targets::TARGETS.into_iter().chain(commits::TARGETS) {
        let folder = corpus.join(name);
        let seeds: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|seed| seed.unwrap().path())
            .collect();
        assert!(seeds.len() > 1, "{name} has no seeds");
        for seed in seeds {
            let bytes = std::fs::read(&seed).unwrap();
            // Whole, cut and changed: a seed is worth more than itself.
            target(&bytes);
            for end in 0..bytes.len().min(1_200) {
                target(&bytes[..end]);
                let mut changed = bytes.clone();
                changed[end] ^= 1;
                target(&changed);
            }
        }
    }
}
