//! Metrics of the log. Prefix `countersign_hub_log`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Which witness: names come from the trust root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WitnessLabels {
    /// Its name in the policy.
    pub witness: String,
}

/// Which witness, and how it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    /// Its name in the policy.
    pub witness: String,
    /// UPPER_SNAKE code, or "OK".
    pub outcome: &'static str,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    /// Entries claimed.
    pub size: Gauge,
    /// Entries up to which tiles are written.
    pub tiled: Gauge,
    /// Entries up to which the checkpoint is published.
    pub published: Gauge,
    /// When a checkpoint was published last, in seconds since 1970.
    pub published_time: Gauge,
    /// Claims written since the start.
    pub claims: Counter,
    /// Entries appended since the start.
    pub appended: Counter,
    /// Groups that were not claimed.
    pub failed: Counter,
    /// Rounds of tiles that failed.
    pub tiles_failed: Counter,
    /// Publishing that failed or found no quorum in time.
    pub publish_failed: Counter,
    /// Seconds from an append to its acknowledgement.
    pub append_seconds: Histogram,
    /// Answers of witnesses.
    pub witness_answers: Family<AnswerLabels, Counter>,
    /// The size that each witness cosigned last.
    pub witness_size: Family<WitnessLabels, Gauge>,
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self {
            size: Gauge::default(),
            tiled: Gauge::default(),
            published: Gauge::default(),
            published_time: Gauge::default(),
            claims: Counter::default(),
            appended: Counter::default(),
            failed: Counter::default(),
            tiles_failed: Counter::default(),
            publish_failed: Counter::default(),
            append_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            witness_answers: Family::default(),
            witness_size: Family::default(),
        }
    }
}

impl LogMetrics {
    pub(super) fn group(&self, entries: usize, failed: bool) {
        if failed {
            self.failed.inc();
        } else {
            self.appended.inc_by(entries as u64);
        }
    }

    pub(super) fn claimed(&self, size: u64) {
        self.claims.inc();
        self.size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Makes them known to a registry whose prefix is `countersign_hub`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("log");
        registry.register("size", "Entries claimed", self.size.clone());
        registry.register(
            "tiled_size",
            "Entries up to which tiles are written",
            self.tiled.clone(),
        );
        registry.register(
            "published_size",
            "Entries of the published checkpoint",
            self.published.clone(),
        );
        registry.register(
            "published_time_seconds",
            "When a checkpoint was published last, in seconds since 1970",
            self.published_time.clone(),
        );
        registry.register("claims", "Claims written", self.claims.clone());
        registry.register("appended", "Entries appended", self.appended.clone());
        registry.register(
            "groups_failed",
            "Groups of appends that were not claimed",
            self.failed.clone(),
        );
        registry.register(
            "tiles_failed",
            "Rounds of tiles that failed",
            self.tiles_failed.clone(),
        );
        registry.register(
            "publish_failed",
            "Checkpoints that were not published in their time, for want of a quorum or of the store",
            self.publish_failed.clone(),
        );
        registry.register(
            "append_seconds",
            "From an append to its acknowledgement",
            self.append_seconds.clone(),
        );
        registry.register(
            "witness_answers",
            "Answers of witnesses",
            self.witness_answers.clone(),
        );
        registry.register(
            "witness_size",
            "Size that a witness cosigned last",
            self.witness_size.clone(),
        );
    }
}
