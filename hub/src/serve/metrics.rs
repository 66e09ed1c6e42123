//! Metrics of the serving side. Labels come from enums and tables of ours, never from a request.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A path of the access table and how the request ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// A path of the table, or "none" if the request matched no row.
    pub route: &'static str,
    /// "admitted", "denied" (the caller may not) or "unknown" (no such row).
    pub outcome: &'static str,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// UPPER_SNAKE code, or "OK".
    pub outcome: &'static str,
}

/// Which listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabels {
    /// "agents" or "operators".
    pub listener: &'static str,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Open connections.
    pub connections: Family<ListenerLabels, Gauge>,
    /// Connections that were closed because there were too many.
    pub connections_refused: Family<ListenerLabels, Counter>,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    /// Requests by row of the access table.
    pub requests: Family<RequestLabels, Counter>,
    /// Open streams of heads.
    pub streams: Gauge,
    /// Messages sent on streams of heads.
    pub heads_sent: Counter,
    /// Blobs sent, fetched or attached.
    pub blobs_sent: Counter,
    /// Their bytes, before compression.
    pub blob_bytes_sent: Counter<u64, AtomicU64>,
    /// Blobs that the store held damaged.
    pub blobs_damaged: Counter,
    /// Requests to register, by outcome.
    pub registrations: Family<OutcomeLabels, Counter>,
    /// Requests to renew, by outcome.
    pub renewals: Family<OutcomeLabels, Counter>,
    /// Requests to enrol, by outcome.
    pub enrolments: Family<OutcomeLabels, Counter>,
    /// Receipts and drift records taken, by what their nonce shows.
    pub nonces: Family<OutcomeLabels, Counter>,
    /// Reports taken in.
    pub reports: Counter,
    /// Drifts reported.
    pub drifts: Counter,
    /// Refusals reported by agents.
    pub agent_refusals: Counter,
    /// Receipts and drift records taken into the log.
    pub receipts: Counter,
    /// Receipts and drift records refused, by code.
    pub receipts_refused: Family<OutcomeLabels, Counter>,
    /// Entries of outsiders that came into the log, by predicate type.
    pub outside: Family<OutcomeLabels, Counter>,
    /// Alarms raised, by code.
    pub alarms: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    /// Makes them known to a registry whose prefix is `countersign_hub`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because there were too many",
            self.connections_refused.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed or took too long",
            self.handshakes_failed.clone(),
        );
        registry.register(
            "requests",
            "Requests by row of the access table",
            self.requests.clone(),
        );
        registry.register(
            "head_streams",
            "Open streams of heads",
            self.streams.clone(),
        );
        registry.register(
            "heads_sent",
            "Messages sent on streams of heads",
            self.heads_sent.clone(),
        );
        registry.register(
            "blobs_sent",
            "Blobs sent, fetched or attached",
            self.blobs_sent.clone(),
        );
        registry.register(
            "blob_sent_bytes",
            "Bytes of blobs sent, before compression",
            self.blob_bytes_sent.clone(),
        );
        registry.register(
            "blobs_damaged",
            "Blobs that the store held damaged",
            self.blobs_damaged.clone(),
        );
        registry.register(
            "registrations",
            "Requests to register, by outcome",
            self.registrations.clone(),
        );
        registry.register(
            "renewals",
            "Requests to renew, by outcome",
            self.renewals.clone(),
        );
        registry.register(
            "enrolments",
            "Requests to enrol a receipt key, by outcome",
            self.enrolments.clone(),
        );
        registry.register(
            "reports",
            "Reports of agents taken in",
            self.reports.clone(),
        );
        registry.register("drifts", "Drifts that agents reported", self.drifts.clone());
        registry.register(
            "agent_refusals",
            "Refusals that agents reported",
            self.agent_refusals.clone(),
        );
        registry.register(
            "receipts",
            "Receipts and drift records taken into the log",
            self.receipts.clone(),
        );
        registry.register(
            "receipts_refused",
            "Receipts and drift records refused, by code",
            self.receipts_refused.clone(),
        );
        registry.register(
            "outside_entries",
            "Entries of people, second renderers and CI that came into the log, by predicate type",
            self.outside.clone(),
        );
        registry.register(
            "receipt_nonces",
            "Receipts and drift records taken, by what their nonce shows: fresh, late, none or unknown",
            self.nonces.clone(),
        );
        registry.register("alarms", "Alarms raised, by code", self.alarms.clone());
    }

    pub(crate) fn registration(&self, outcome: &'static str) {
        self.registrations
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn renewal(&self, outcome: &'static str) {
        self.renewals
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn enrolment(&self, outcome: &'static str) {
        self.enrolments
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn nonce(&self, outcome: &'static str) {
        self.nonces.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn receipt_refused(&self, outcome: &'static str) {
        self.receipts_refused
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn outside(&self, outcome: &'static str) {
        self.outside.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn request(&self, route: &'static str, outcome: &'static str) {
        self.requests
            .get_or_create(&RequestLabels { route, outcome })
            .inc();
    }
}
