//! A step of `cargo xtask test`: a name, what it does, and how it went.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

/// How a step went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    /// Why it failed; `None` if it did not.
    pub(crate) failure: Option<String>,
}

/// Runs one step and says on stderr when it begins and ends.
pub(crate) fn perform(name: &'static str, act: impl FnOnce() -> anyhow::Result<()>) -> Outcome {
    eprintln!("== {name}");
    let began = Instant::now();
    let failure = act().err().map(|error| format!("{error:#}"));
    let took = began.elapsed();
    match &failure {
        None => eprintln!("== {name}: ok, {:.1} s", took.as_secs_f64()),
        Some(failure) => eprintln!("== {name}: FAILED, {:.1} s\n{failure}", took.as_secs_f64()),
    }
    Outcome {
        name,
        took,
        failure,
    }
}

/// Runs a command; its output goes where ours does, it gets no input.
pub(crate) fn command(folder: &Path, env: &[(&str, &str)], argv: &[&str]) -> anyhow::Result<()> {
    let [program, args @ ..] = argv else {
        anyhow::bail!("an empty command")
    };
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("run {program}"))?;
    ensure!(
        status.success(),
        "`{}` in {} ended with {status}",
        argv.join(" "),
        folder.display()
    );
    Ok(())
}

/// The table at the end.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let word = if outcome.failure.is_none() {
            "ok"
        } else {
            "FAILED"
        };
        text.push_str(&format!(
            "{:<12} {:>7.1} s  {word}\n",
            outcome.name,
            outcome.took.as_secs_f64()
        ));
    }
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    text.push_str(&format!(
        "{:<12} {:>7.1} s",
        "together",
        total.as_secs_f64()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_failed() {
        let outcome = |name, failure: Option<&str>| Outcome {
            name,
            took: Duration::from_millis(1500),
            failure: failure.map(str::to_owned),
        };
        let text = summary(&[outcome("tidy", None), outcome("go", Some("vet"))]);
        assert_eq!(
            text,
            "tidy             1.5 s  ok\ngo               1.5 s  FAILED\ntogether         3.0 s"
        );
    }
}
