//! The demo as a list of steps: each told while it runs, timed, and kept for the report.

use std::{
    future::Future,
    io::{IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

/// One step as it stands in the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// What was done.
    name: String,
    /// Whether it came out as it must.
    ok: bool,
    /// How long it took.
    seconds: f64,
    /// What was seen, or why it failed.
    detail: String,
}

/// What has been told so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Story {
    steps: Vec<Step>,
}

impl Story {
    /// Runs one step and tells how it ended. What it returns beside its value is shown as the detail.
    ///
    /// # Errors
    /// The step's own error, after it has been told and kept.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        let terminal = std::io::stdout().is_terminal();
        if terminal {
            print!("  … {name}");
            let _ = std::io::stdout().flush();
        }
        let start = Instant::now();
        let result = work.await;
        let took = start.elapsed();
        let (ok, detail) = match &result {
            Ok((_, detail)) => (true, detail.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        if terminal {
            print!("\r\x1b[K");
        }
        tell(name, ok, took, &detail, terminal);
        self.steps.push(Step {
            name: name.to_owned(),
            ok,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            detail,
        });
        Ok(result?.0)
    }

    /// Writes the report: `{"steps":[{"name","ok","seconds","detail"}]}`.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}

fn tell(name: &str, ok: bool, took: Duration, detail: &str, colour: bool) {
    let mark = match (ok, colour) {
        (true, true) => "\x1b[32m✓\x1b[0m",
        (true, false) => "✓",
        (false, true) => "\x1b[31m✗\x1b[0m",
        (false, false) => "✗",
    };
    println!("  {mark} {name} ({:.1} s)", took.as_secs_f64());
    for line in detail.lines() {
        println!("      {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_step_stands_in_the_report_and_ends_the_story() {
        let mut story = Story::default();
        let value = story
            .step("first", async { Ok((7, "seen".to_owned())) })
            .await
            .unwrap();
        assert_eq!(value, 7);
        let error = story
            .step::<()>("second", async { anyhow::bail!("broken") })
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "broken");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        story.write(&path).unwrap();
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let steps = report["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0]["ok"], true);
        assert_eq!(steps[1]["ok"], false);
        assert_eq!(steps[1]["detail"], "broken");
        assert!(steps[1]["seconds"].is_number());
    }
}
