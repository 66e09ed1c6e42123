//! Every metric of the agent: its name, its help, its unit.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A stable code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    code: &'static str,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    refusals: Family<Code, Counter>,
    applies: Family<Code, Counter>,
    apply_seconds: Histogram,
    drifts: Family<Code, Counter>,
    heal_seconds: Histogram,
    watch_ends: Family<Code, Counter>,
    /// Answers by which the API server asked for less.
    pub pushbacks: Counter,
    /// DELETE requests sent.
    pub deleted: Counter,
    /// Watches that run.
    pub watches: Gauge,
    /// Generation of the newest verified state.
    pub generation_verified: Gauge,
    /// Generation of the newest state that is applied whole.
    pub generation_applied: Gauge,
    /// 1 while the stream of heads is open.
    pub connected: Gauge,
    /// Objects that are desired.
    pub objects: Gauge,
    /// Seconds from a head to its verified state: all checks, fetching its blobs and keeping it.
    pub verify_seconds: Histogram,
    /// Seconds of them in which neither the hub nor the disk was waited for.
    pub check_seconds: Histogram,
    /// Receipts and drift records signed.
    pub receipts_signed: Counter,
    /// Receipts and drift records proven to be in the log.
    pub receipts_proven: Counter,
    receipts_waiting: Gauge,
    /// Bytes of blobs that were fetched.
    pub blob_bytes: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = || {
            [
                0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0,
            ]
            .into_iter()
        };
        let mut registry = Registry::with_prefix("countersign_agent");
        let out = Self {
            refusals: Family::default(),
            applies: Family::default(),
            apply_seconds: Histogram::new(buckets()),
            drifts: Family::default(),
            heal_seconds: Histogram::new(buckets()),
            watch_ends: Family::default(),
            pushbacks: Counter::default(),
            deleted: Counter::default(),
            watches: Gauge::default(),
            generation_verified: Gauge::default(),
            generation_applied: Gauge::default(),
            connected: Gauge::default(),
            objects: Gauge::default(),
            verify_seconds: Histogram::new(buckets()),
            check_seconds: Histogram::new(buckets()),
            receipts_signed: Counter::default(),
            receipts_proven: Counter::default(),
            receipts_waiting: Gauge::default(),
            blob_bytes: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("refusals", "Refusals by check", out.refusals.clone());
        registry.register(
            "applies",
            "Server-side applies by outcome",
            out.applies.clone(),
        );
        registry.register_with_unit(
            "apply",
            "From sending an apply to its answer",
            Unit::Seconds,
            out.apply_seconds.clone(),
        );
        registry.register("drifts", "Drifts by what was done", out.drifts.clone());
        registry.register_with_unit(
            "heal",
            "From the event to the answer of the healing write",
            Unit::Seconds,
            out.heal_seconds.clone(),
        );
        registry.register(
            "watch_ends",
            "Watches that ended before their time, by reason",
            out.watch_ends.clone(),
        );
        registry.register(
            "pushbacks",
            "Answers by which the API server asked for less",
            out.pushbacks.clone(),
        );
        registry.register("deletes", "DELETE requests sent", out.deleted.clone());
        registry.register("watches", "Watches that run", out.watches.clone());
        registry.register(
            "generation_verified",
            "Generation of the newest verified state",
            out.generation_verified.clone(),
        );
        registry.register(
            "generation_applied",
            "Generation of the newest state that is applied whole",
            out.generation_applied.clone(),
        );
        registry.register(
            "connected",
            "1 while the stream of heads is open",
            out.connected.clone(),
        );
        registry.register("objects", "Objects that are desired", out.objects.clone());
        registry.register_with_unit(
            "verify",
            "From a head to its verified state: all checks, fetching its blobs and keeping it",
            Unit::Seconds,
            out.verify_seconds.clone(),
        );
        registry.register_with_unit(
            "check",
            "All checks on a head, without waiting for the hub and the disk",
            Unit::Seconds,
            out.check_seconds.clone(),
        );
        registry.register(
            "receipts_signed",
            "Receipts and drift records signed",
            out.receipts_signed.clone(),
        );
        registry.register(
            "receipts_proven",
            "Receipts and drift records proven to be in the log",
            out.receipts_proven.clone(),
        );
        registry.register(
            "receipts_waiting",
            "Receipts and drift records that wait for their proof",
            out.receipts_waiting.clone(),
        );
        registry.register_with_unit("blob", "Blobs fetched", Unit::Bytes, out.blob_bytes.clone());
        Self { registry, ..out }
    }
}

impl Metrics {
    /// A check said no.
    pub fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&Code { code }).inc();
    }

    /// An apply was answered; none stands for success.
    pub fn applied(&self, problem: Option<&'static str>, took: Duration) {
        self.applies
            .get_or_create(&Code {
                code: problem.unwrap_or("OK"),
            })
            .inc();
        self.apply_seconds.observe(took.as_secs_f64());
    }

    /// A drift was healed.
    pub fn healed(&self, what: &'static str, took: Duration) {
        self.drifts.get_or_create(&Code { code: what }).inc();
        self.heal_seconds.observe(took.as_secs_f64());
    }

    /// So many receipts and drift records wait for their proof.
    pub fn receipts_waiting(&self, count: usize) {
        self.receipts_waiting
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A watch ended before its time.
    pub fn watch_ended(&self, why: &'static str) {
        self.watch_ends.get_or_create(&Code { code: why }).inc();
    }

    /// All of it as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_and_help() {
        let metrics = Metrics::default();
        metrics.refused("REPLAYED");
        metrics.applied(None, Duration::from_millis(3));
        let text = metrics.text();
        assert!(
            text.contains("countersign_agent_refusals_total{code=\"REPLAYED\"} 1"),
            "{text}"
        );
        assert!(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.starts_with("countersign_agent_"))
        );
    }
}
