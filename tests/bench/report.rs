//! What was measured: a table for people, a file for programs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::statistics::{median, percentile};

/// All results of one run, in the order in which they were measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    results: Vec<Measured>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// The figure that counts: the median of the samples, unless said otherwise.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    /// How many samples there are.
    pub(crate) runs: usize,
    /// The name of the result of this run that it is held against.
    pub(crate) compared_with: Option<String>,
    /// Its value divided by that one's.
    pub(crate) ratio: Option<f64>,
    /// The bound, on the ratio if there is one, else on the value.
    pub(crate) target: Option<f64>,
    pub(crate) met: Option<bool>,
}

/// Which side of a target is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

impl Measured {
    /// The median of samples.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of(name: &str, unit: &'static str, samples: &[f64]) -> anyhow::Result<Self> {
        let value = median(samples).with_context(|| format!("{name}: nothing was measured"))?;
        Ok(Self {
            name: name.to_owned(),
            value,
            unit,
            p50: Some(value),
            p95: percentile(samples, 95),
            runs: samples.len(),
            compared_with: None,
            ratio: None,
            target: None,
            met: None,
        })
    }

    /// One figure that is no median: a sum, a percentile, a state.
    pub(crate) fn single(name: &str, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            p50: None,
            p95: None,
            runs: 1,
            compared_with: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    /// How many samples stand behind it.
    pub(crate) fn runs(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }

    /// Holds it against another result of the same run.
    pub(crate) fn against(mut self, other: &Measured) -> Self {
        self.compared_with = Some(other.name.clone());
        self.ratio = Some(self.value / other.value);
        self
    }

    /// Judges the ratio, or the value if there is none.
    pub(crate) fn target(self, target: f64, better: Better) -> Self {
        let judged = self.ratio.unwrap_or(self.value);
        self.judge(judged, target, better)
    }

    /// Judges the value, whatever it is compared with.
    pub(crate) fn at_most(self, target: f64) -> Self {
        let judged = self.value;
        self.judge(judged, target, Better::Lower)
    }

    /// The same from below.
    pub(crate) fn at_least(self, target: f64) -> Self {
        let judged = self.value;
        self.judge(judged, target, Better::Higher)
    }

    fn judge(mut self, judged: f64, target: f64, better: Better) -> Self {
        self.target = Some(target);
        self.met = Some(match better {
            Better::Higher => judged >= target,
            Better::Lower => judged <= target,
        });
        self
    }
}

impl Report {
    pub(crate) fn add(&mut self, measured: Measured) {
        eprintln!("{}", row(&measured));
        self.results.push(measured);
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<56} {:>10} {:<10} {:>9} {:>9} {:>6} {:>7} {:>8}  {}\n",
            "what", "value", "unit", "p50", "p95", "runs", "ratio", "target", "met"
        );
        for measured in &self.results {
            text.push_str(&row(measured));
            text.push('\n');
        }
        text
    }

    /// The same table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| what | value | p50 | p95 | runs | compared with | ratio | target | met |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        let number = |value: Option<f64>| value.map_or_else(String::new, figure);
        for one in &self.results {
            let met = match one.met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            let _ = writeln!(
                text,
                "| {} | {} {} | {} | {} | {} | {} | {} | {} | {met} |",
                one.name,
                figure(one.value),
                one.unit,
                number(one.p50),
                number(one.p95),
                one.runs,
                one.compared_with.as_deref().unwrap_or_default(),
                number(one.ratio),
                number(one.target),
            );
        }
        text
    }

    /// Writes `{"results":[…]}`.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok(())
    }
}

fn row(measured: &Measured) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
    let met = match measured.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    format!(
        "{:<56} {:>10} {:<10} {:>9} {:>9} {:>6} {:>7} {:>8}  {met}",
        measured.name,
        figure(measured.value),
        measured.unit,
        number(measured.p50),
        number(measured.p95),
        measured.runs,
        measured
            .ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        number(measured.target),
    )
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_where_there_is_one() {
        let floor = Measured::of("floor", "objects/s", &[1000.0]).unwrap();
        let sync = Measured::of("sync", "objects/s", &[790.0, 850.0, 900.0])
            .unwrap()
            .against(&floor);
        assert_eq!(sync.clone().target(0.8, Better::Higher).met, Some(true));
        assert_eq!(sync.target(0.9, Better::Higher).met, Some(false));
        let push = Measured::of("push", "ms", &[99.0]).unwrap();
        assert_eq!(push.target(100.0, Better::Lower).met, Some(true));
    }

    #[test]
    fn the_file_has_every_field_of_every_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/report.json");
        let mut report = Report::default();
        report.add(Measured::of("floor", "objects/s", &[1.0, 2.0, 3.0]).unwrap());
        report.write(&path).unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"results": [{
                "name": "floor", "value": 2.0, "unit": "objects/s", "p50": 2.0, "p95": 3.0, "runs": 3,
                "compared_with": null, "ratio": null, "target": null, "met": null,
            }]})
        );
    }

    #[test]
    fn the_table_shows_what_was_missed() {
        let mut report = Report::default();
        report.add(
            Measured::of("push", "ms", &[120.0])
                .unwrap()
                .target(100.0, Better::Lower),
        );
        assert!(report.table().contains("NO"), "{}", report.table());
    }
}
