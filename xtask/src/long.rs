//! The steps that only `cargo xtask test --long` takes: fuzzing each parser, and mutants of the verifier.
//!
//! Both need a cargo subcommand, which is installed once in a pinned version under `target/tools`. The fuzzer runs on the
//! pinned stable toolchain: `RUSTC_BOOTSTRAP` unlocks the instrumentation, and no sanitizer is used, since our own code
//! has no unsafe block.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use countersign_tests::workspace;

use crate::step;

/// What is installed: the crate and its version.
struct Subcommand {
    name: &'static str,
    version: &'static str,
}

const FUZZ: Subcommand = Subcommand {
    name: "cargo-fuzz",
    version: "0.13.2",
};
const MUTANTS: Subcommand = Subcommand {
    name: "cargo-mutants",
    version: "27.1.0",
};

/// Seconds that each target is fuzzed.
const FUZZ_SECONDS: u32 = 60;
/// Seconds that one input may take before it counts as a finding.
const INPUT_SECONDS: u32 = 10;
/// MiB that a target may hold before that counts as a finding.
const MEMORY_MIB: u32 = 2_048;
/// The folder whose every mutant a test must catch.
const MUTATED: &str = "ledger/src/verify/**";

/// Fuzzes each target whose name contains `filter`; a finding is an error that names the input's file.
pub(crate) fn fuzz(root: &Path, filter: &str) -> anyhow::Result<()> {
    let path = install(root, &FUZZ)?;
    let names: Vec<String> = targets(root)?
        .into_iter()
        .filter(|name| name.contains(filter))
        .collect();
    ensure!(
        !names.is_empty(),
        "no fuzz target's name contains {filter:?}"
    );
    let build = workspace::target().join("fuzz");
    let build_text = build.to_string_lossy();
    let env = [
        ("RUSTC_BOOTSTRAP", "1"),
        ("CARGO_TARGET_DIR", &*build_text),
        ("PATH", &*path),
    ];
    let mut failed = Vec::new();
    for name in names {
        eprintln!("-- fuzz {name} ({FUZZ_SECONDS} s)");
        let found = build.join("corpus").join(&name);
        std::fs::create_dir_all(&found)?;
        let seeds = ["ledger/tests/corpus", "tests/corpus"]
            .map(|folder| root.join(folder).join(&name))
            .into_iter()
            .find(|folder| folder.is_dir());
        let mut argv: Vec<String> = ["cargo", "fuzz", "run", "--sanitizer", "none", &name]
            .map(str::to_owned)
            .to_vec();
        argv.push(found.display().to_string());
        argv.extend(seeds.map(|folder| folder.display().to_string()));
        argv.extend([
            "--".to_owned(),
            format!("-max_total_time={FUZZ_SECONDS}"),
            format!("-timeout={INPUT_SECONDS}"),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            "-verbosity=0".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        if let Err(error) = step::command(&root.join("fuzz"), &env, &argv) {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Changes the verifier in every way that compiles; a change that no test notices is an error.
pub(crate) fn mutants(root: &Path) -> anyhow::Result<()> {
    let path = install(root, &MUTANTS)?;
    let output = workspace::target().join("mutants").display().to_string();
    std::fs::create_dir_all(&output)?;
    let argv = [
        "cargo",
        "mutants",
        "--package",
        "countersign-ledger",
        "--file",
        MUTATED,
        "--output",
        &output,
        "--no-times",
        "--colors",
        "never",
    ];
    step::command(root, &[("PATH", &path)], &argv)
}

/// The names of all fuzz targets, as the fuzz workspace lists them.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Installs a subcommand unless it is there; returns a `PATH` that finds it.
fn install(root: &Path, subcommand: &Subcommand) -> anyhow::Result<String> {
    let Subcommand { name, version } = subcommand;
    let folder = workspace::target()
        .join("tools")
        .join(format!("{name}-{version}"));
    if !folder.join("bin").join(name).exists() {
        eprintln!("installing {name} {version} (once; usually 120 s on two cores)");
        let into = folder.display().to_string();
        let argv = [
            "cargo",
            "install",
            name,
            "--version",
            version,
            "--locked",
            "--root",
            &into,
        ];
        step::command(root, &[], &argv)?;
    }
    with_folder(&folder.join("bin"))
}

fn with_folder(folder: &Path) -> anyhow::Result<String> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::iter::once(folder.to_owned())
        .chain(std::env::split_paths(&old))
        .collect();
    let joined: OsString = std::env::join_paths(folders)?;
    joined
        .into_string()
        .map_err(|path| anyhow::anyhow!("PATH is not UTF-8: {}", path.display()))
}
