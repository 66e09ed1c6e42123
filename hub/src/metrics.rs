//! Metrics of tracking and of the pipeline; those of serving stand in [`crate::serve::metrics`]. Prefix
//! `countersign_hub`; labels come from enums of ours.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A stable code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    /// UPPER_SNAKE.
    pub code: &'static str,
}

/// Why an app keeps an older commit: a code of the renderer's or of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeptLabels {
    /// UPPER_SNAKE.
    pub code: String,
}

/// Different codes that are shown; codes are ours, so this many never come.
const CODES_MAX: usize = 100;

/// All of them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// 1 at the code that keeps the tracker from following, 0 at those that did.
    pub track_trouble: Family<CodeLabels, Gauge>,
    /// Looks at the repository.
    pub track_looks: Gauge,
    /// Fetches of objects.
    pub track_fetches: Gauge,
    /// Commits taken through the pipeline.
    pub commits: Counter,
    /// Renders that a worker did.
    pub renders: Counter,
    /// Renders that were not needed: nothing that they read has changed.
    pub renders_kept: Counter,
    /// Apps that keep an older commit now, by why; an app counts once a cluster.
    pub apps_kept: Family<KeptLabels, Gauge>,
    /// Heads sealed.
    pub heads_sealed: Counter,
    /// From a commit seen to its heads published.
    pub pipeline_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            track_trouble: Family::default(),
            track_looks: Gauge::default(),
            track_fetches: Gauge::default(),
            commits: Counter::default(),
            renders: Counter::default(),
            renders_kept: Counter::default(),
            apps_kept: Family::default(),
            heads_sealed: Counter::default(),
            pipeline_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        }
    }
}

impl Metrics {
    /// Shows what keeps the tracker from following now, if anything does.
    pub fn trouble(&self, code: Option<&'static str>) {
        self.track_trouble.clear();
        if let Some(code) = code {
            self.track_trouble
                .get_or_create(&CodeLabels { code })
                .set(1);
        }
    }

    /// Shows why apps keep an older commit now: the code of each.
    pub fn kept<'a>(&self, codes: impl Iterator<Item = &'a str>) {
        let mut counts = std::collections::BTreeMap::<&str, i64>::new();
        for code in codes {
            *counts.entry(code).or_default() += 1;
        }
        self.apps_kept.clear();
        for (code, count) in counts.into_iter().take(CODES_MAX) {
            let code = code.to_owned();
            self.apps_kept
                .get_or_create(&KeptLabels { code })
                .set(count);
        }
    }

    /// Makes them known to a registry whose prefix is `countersign_hub`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "track_trouble",
            "1 at the code that keeps the tracker from following its ref",
            self.track_trouble.clone(),
        );
        registry.register(
            "track_looks",
            "Looks at the repository since the start",
            self.track_looks.clone(),
        );
        registry.register(
            "track_fetches",
            "Fetches of objects since the start",
            self.track_fetches.clone(),
        );
        registry.register(
            "commits",
            "Commits taken through the pipeline",
            self.commits.clone(),
        );
        registry.register("renders", "Renders done by a worker", self.renders.clone());
        registry.register(
            "renders_kept",
            "Renders that were not needed",
            self.renders_kept.clone(),
        );
        registry.register(
            "apps_kept",
            "Apps that keep an older commit now; an app counts once a cluster",
            self.apps_kept.clone(),
        );
        registry.register("heads_sealed", "Heads sealed", self.heads_sealed.clone());
        registry.register(
            "pipeline_seconds",
            "From a commit seen to its heads published",
            self.pipeline_seconds.clone(),
        );
    }
}
