//! Every metric of the witness. Prefix `countersign_witness`; origins are those of the logs it was told to follow.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A stable code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    /// UPPER_SNAKE.
    pub code: &'static str,
}

/// A log that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LogLabels {
    /// Its origin.
    pub origin: String,
}

/// All of them. A clone counts into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests answered without a cosignature, by why.
    pub refusals: Family<CodeLabels, Counter>,
    /// Checkpoints cosigned.
    pub cosigned: Family<LogLabels, Counter>,
    /// Size of the newest cosigned checkpoint.
    pub size: Family<LogLabels, Gauge<u64, AtomicU64>>,
    /// When it was cosigned.
    pub time: Family<LogLabels, Gauge<u64, AtomicU64>>,
    /// Checkpoints that prove a fork.
    pub forks: Family<LogLabels, Counter>,
    /// Cosignatures withheld because the state could not be made durable.
    pub faults: Counter,
    /// Making a checkpoint durable.
    pub store_seconds: Histogram,
    /// Requests turned away because too many were in the works.
    pub turned_away: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            refusals: Family::default(),
            cosigned: Family::default(),
            size: Family::default(),
            time: Family::default(),
            forks: Family::default(),
            faults: Counter::default(),
            store_seconds: Histogram::new([
                0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0,
            ]),
            turned_away: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers all of them, under the witness's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("countersign_witness");
        registry.register(
            "refusals",
            "Requests answered without a cosignature, by why",
            self.refusals.clone(),
        );
        registry.register("cosigned", "Checkpoints cosigned", self.cosigned.clone());
        registry.register(
            "log_size",
            "Leaves of the newest cosigned checkpoint",
            self.size.clone(),
        );
        registry.register_with_unit(
            "cosigned_time",
            "When the newest checkpoint was cosigned, since 1970",
            Unit::Seconds,
            self.time.clone(),
        );
        registry.register(
            "forks",
            "Checkpoints with another root than the one cosigned at their size: proof of a fork",
            self.forks.clone(),
        );
        registry.register(
            "faults",
            "Cosignatures withheld because the state could not be made durable",
            self.faults.clone(),
        );
        registry.register_with_unit(
            "store",
            "Making a checkpoint durable",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register(
            "turned_away",
            "Requests turned away because too many were in the works",
            self.turned_away.clone(),
        );
    }

    /// All of it as OpenMetrics text, for a witness that stands alone.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_and_help() {
        let metrics = Metrics::default();
        let code = "NOT_SIGNED";
        metrics.refusals.get_or_create(&CodeLabels { code }).inc();
        let text = metrics.text();
        assert!(
            text.contains("countersign_witness_refusals_total{code=\"NOT_SIGNED\"} 1"),
            "{text}"
        );
        assert!(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.starts_with("countersign_witness_"))
        );
    }
}
