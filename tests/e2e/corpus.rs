//! Seeds of the fuzz targets for what comes from outside, replayed through the same functions on every test run. What
//! fuzzing finds is added under `tests/corpus`.

use std::path::PathBuf;

use countersign_tests::workspace;

#[path = "../../fuzz/src/outside.rs"]
#[allow(unreachable_pub, reason = "public where the fuzzer uses it")]
mod targets;

/// Longest part of a seed that is cut and changed at every place.
const CHANGED_MAX: usize = 400;

#[test]
fn every_seed_of_every_outside_target_passes() {
    for (name, target) in targets::TARGETS {
        let folder = workspace::root().join("tests/corpus").join(name);
        let seeds: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|seed| seed.unwrap().path())
            .collect();
        assert!(seeds.len() > 1, "{name} has no seeds");
        for seed in seeds {
            let bytes = std::fs::read(&seed).unwrap();
            target(&bytes);
            for end in 0..bytes.len().min(CHANGED_MAX) {
                target(&bytes[..end]);
                let mut changed = bytes.clone();
                changed[end] ^= 1;
                target(&changed);
            }
        }
    }
}
