//! `cargo xtask test`: every check and every test, in steps.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use countersign_tests::{program, tool, workspace};
use serde::{Deserialize, Serialize};

use crate::{
    codegen, long, sources,
    step::{self, Outcome},
    tidy, tools,
};

/// Tells tests that they may take hours: full sweeps, a million cases.
const LONG: &str = "COUNTERSIGN_LONG";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Full sweeps and a million cases where the short run takes samples, then fuzzing and mutants; hours
    #[arg(long)]
    long: bool,
    /// Only this step (tidy, fmt, clippy, tools, codegen, build, rust, wasm, go, fuzz, mutants); `rust:TEXT` runs the Rust tests
    /// whose name contains TEXT, `fuzz:TEXT` the fuzz targets
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave out the steps that a run before this one passed on the very same sources
    #[arg(long)]
    resume: bool,
}

type Act = fn(&Context) -> anyhow::Result<()>;

/// Modules of one file around another's program: to vet that file, every package of the program would be analysed first,
/// which takes as long as building it.
const UNVETTED: [&str; 1] = ["tests/tools/vault"];

/// What a step knows.
struct Context {
    root: &'static Path,
    long: bool,
    /// Part of the name of the Rust tests or fuzz targets to run; empty means all.
    filter: String,
}

/// Steps that are taken only if they are asked for, or all of them are.
const LONG_STEPS: [&str; 2] = ["fuzz", "mutants"];

/// The steps in their order: what fails soonest first.
const STEPS: [(&str, Act); 11] = [
    ("tidy", |_| tidy::run()),
    ("fmt", |context| {
        step::command(context.root, &[], &["cargo", "fmt", "--all", "--check"])
    }),
    ("clippy", |context| {
        let argv = [
            "cargo",
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        step::command(context.root, &[], &argv)
    }),
    ("tools", |_| tools::build_all()),
    ("codegen", |context| codegen::run(context.root, true)),
    ("build", |context| {
        step::command(
            context.root,
            &[],
            &["cargo", "build", "--workspace", "--bins", "--locked"],
        )
    }),
    ("rust", rust),
    ("wasm", wasm),
    ("go", go),
    ("fuzz", |context| long::fuzz(context.root, &context.filter)),
    ("mutants", |context| long::mutants(context.root)),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let chosen = choose(&args.only)?;
    let root = workspace::root();
    let mut passed = Passed::load(&sources::digest(root)?, args.long);
    let context = Context {
        root,
        long: args.long,
        filter: chosen.filter,
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (name, act) in STEPS {
        let wanted = if chosen.steps.is_empty() {
            args.long || !LONG_STEPS.contains(&name)
        } else {
            chosen.steps.contains(name)
        };
        if !wanted {
            continue;
        }
        if args.resume && passed.steps.contains(name) {
            eprintln!("== {name}: passed before on these sources");
            continue;
        }
        let outcome = step::perform(name, || act(&context));
        if outcome.failure.is_none() && context.filter.is_empty() {
            passed.add(name)?;
        }
        outcomes.push(outcome);
    }
    eprintln!("\n{}", step::summary(&outcomes));
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|o| o.failure.is_some())
        .map(|o| o.name)
        .collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Chosen {
    /// Empty means all.
    steps: BTreeSet<String>,
    filter: String,
}

fn choose(only: &[String]) -> anyhow::Result<Chosen> {
    let mut chosen = Chosen::default();
    for text in only {
        let (step, filter) = text.split_once(':').unwrap_or((text, ""));
        let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        ensure!(
            known.contains(&step),
            "no step is called {step:?}; there are {}",
            known.join(", ")
        );
        if !filter.is_empty() {
            ensure!(
                step == "rust" || step == "fuzz",
                "{text:?}: only `rust` and `fuzz` take a part of a name"
            );
            chosen.filter = filter.to_owned();
        }
        chosen.steps.insert(step.to_owned());
    }
    Ok(chosen)
}

fn rust(context: &Context) -> anyhow::Result<()> {
    // The step before has built them; a test that runs alone builds them itself.
    let programs = workspace::target().join("debug");
    let programs = programs.to_string_lossy();
    let mut env: Vec<(&str, &str)> = vec![(program::BUILT, &programs)];
    if context.long {
        env.push((LONG, "1"));
    }
    let mut argv = vec!["cargo", "test", "--workspace", "--locked", "--no-fail-fast"];
    if !context.filter.is_empty() {
        argv.extend(["--", &context.filter]);
    }
    step::command(context.root, &env, &argv)
}

/// What verifies must build for a browser too; said, not failed, where that target's standard library isn't installed.
fn wasm(context: &Context) -> anyhow::Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let output = std::process::Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(context.root)
        .output()
        .context("run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !sysroot.join("lib/rustlib").join(TARGET).exists() {
        eprintln!("not done: `rustup target add {TARGET}` first");
        return Ok(());
    }
    let ledger = ["cargo", "check", "--package", "countersign-ledger", "--lib"];
    let argv = [ledger.as_slice(), &["--locked", "--target", TARGET]].concat();
    step::command(context.root, &[], &argv)
}

fn go(context: &Context) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for module in tool::go_modules(context.root)? {
        let folder = context.root.join(&module);
        if !holds_go(&folder)? {
            continue; // it pins a tool and has no code of its own
        }
        eprintln!("-- {}", module.display());
        // `go test` would vet once more, with other analyses, every package of Kubernetes that ours import.
        let checks: [&[&str]; 3] = [
            &["gofmt", "-l", "."],
            &["go", "vet", "./..."],
            &["go", "test", "-vet=off", "-ldflags=-s -w", "./..."],
        ];
        for check in checks {
            if check[1] == "vet" && UNVETTED.contains(&&*module.to_string_lossy()) {
                continue;
            }
            let done = if check[0] == "gofmt" {
                gofmt(&folder)
            } else {
                step::command(&folder, &tool::GO_ENV, check)
            };
            if let Err(error) = done {
                eprintln!("{error:#}");
                failed.push(format!("{}: {}", module.display(), check[..2].join(" ")));
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// gofmt names the files it would change and succeeds; here that is a failure.
fn gofmt(folder: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new("gofmt")
        .args(["-l", "."])
        .current_dir(folder)
        .output()
        .context("run gofmt")?;
    let files = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && files.is_empty(),
        "not formatted (run gofmt -w):\n{}",
        files.trim()
    );
    Ok(())
}

fn holds_go(folder: &Path) -> anyhow::Result<bool> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "go")
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Which steps passed, and on which sources.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Passed {
    sources: String,
    long: bool,
    steps: BTreeSet<String>,
}

impl Passed {
    fn path() -> PathBuf {
        workspace::target().join("xtask-test.json")
    }

    /// What passed on these sources; nothing if the file is missing, broken or about others.
    fn load(sources: &str, long: bool) -> Self {
        let read = std::fs::read(Self::path()).ok();
        let saved = read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        saved
            .filter(|saved| saved.sources == sources && saved.long == long)
            .unwrap_or_else(|| Self {
                sources: sources.to_owned(),
                long,
                steps: BTreeSet::new(),
            })
    }

    fn add(&mut self, step: &str) -> anyhow::Result<()> {
        self.steps.insert(step.to_owned());
        std::fs::write(Self::path(), serde_json::to_vec_pretty(self)?).context("write what passed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(only: &[&str]) -> Result<Chosen, String> {
        choose(&only.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap(), Chosen::default());
        let two = chosen(&["go", "rust:drift"]).unwrap();
        assert_eq!(two.steps.into_iter().collect::<Vec<_>>(), ["go", "rust"]);
        assert_eq!(two.filter, "drift");
    }

    #[test]
    fn an_unknown_step_is_answered_with_the_known_ones() {
        assert!(
            chosen(&["lint"])
                .unwrap_err()
                .contains("there are tidy, fmt, clippy")
        );
        assert!(
            chosen(&["go:x"])
                .unwrap_err()
                .contains("only `rust` and `fuzz`")
        );
    }
}
