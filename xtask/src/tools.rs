//! Builds the pinned Go programs, with progress.

use std::{path::PathBuf, time::Duration};

use countersign_tests::tool::{Progress, Tool};
use indicatif::{ProgressBar, ProgressStyle};

/// Builds all of them and prints their paths.
pub(crate) fn run() -> anyhow::Result<()> {
    for tool in available() {
        println!("{:<24} {}", tool.name(), build(tool)?.display());
    }
    Ok(())
}

/// Builds all of them.
pub(crate) fn build_all() -> anyhow::Result<()> {
    available().try_for_each(|tool| build(tool).map(drop))
}

/// The tools whose module is in this checkout.
fn available() -> impl Iterator<Item = Tool> {
    let root = countersign_tests::workspace::root();
    Tool::ALL
        .into_iter()
        .filter(|tool| root.join(tool.module()).join("go.mod").exists())
}

/// Builds one: a spinner with the seconds on a terminal, a line at its begin and its end elsewhere.
pub(crate) fn build(tool: Tool) -> anyhow::Result<PathBuf> {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        spinner.set_style(style);
    }
    let path = tool.path_with(&mut |progress| {
        if spinner.is_hidden() {
            tell_plainly(tool, progress);
        } else {
            spinner.set_message(words(tool, progress));
            spinner.tick();
        }
    });
    spinner.finish_and_clear();
    path
}

fn tell_plainly(tool: Tool, progress: Progress) {
    match progress {
        Progress::Began | Progress::Done(_) => eprintln!("{}", words(tool, progress)),
        Progress::Waiting(_) | Progress::Building(_) => {}
    }
}

fn words(tool: Tool, progress: Progress) -> String {
    let name = tool.name();
    let seconds = |time: Duration| time.as_secs();
    match progress {
        Progress::Waiting(time) => {
            format!("{name}: another process builds it ({} s)", seconds(time))
        }
        Progress::Began => format!(
            "building {name} (once; usually {} s on two cores)",
            seconds(tool.usual())
        ),
        Progress::Building(time) => {
            format!(
                "building {name}: {} s (once; usually {} s on two cores)",
                seconds(time),
                seconds(tool.usual())
            )
        }
        Progress::Done(time) => format!("built {name} in {} s", seconds(time)),
    }
}
