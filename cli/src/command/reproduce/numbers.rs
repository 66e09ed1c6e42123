//! Numbers of a second renderer that runs on, for a monitor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use countersign_witness::serve;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::round::Counts;
use crate::exit::Failure;

/// What came of a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verdict: &'static str,
}

/// The numbers.
#[derive(Debug)]
pub struct Numbers {
    registry: Registry,
    states: Family<Labels, Counter>,
    open: Gauge<u64, AtomicU64>,
    size: Gauge<u64, AtomicU64>,
    next: Gauge<u64, AtomicU64>,
    up: Gauge<u64, AtomicU64>,
}

impl Numbers {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("countersign_reproduce");
        let states = Family::default();
        registry.register(
            "states",
            "States that were rendered again, by what came of it",
            states.clone(),
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let open = "Clusters of whose newest state nothing can be said";
        let up = "Whether the last look at the log came to its end";
        Self {
            open: gauge("open", open),
            size: gauge("log_size", "Entries of the last checkpoint"),
            next: gauge("log_done", "Entries that were looked at"),
            up: gauge("up", up),
            states,
            registry,
        }
    }

    /// Serves them at `address`, until the process ends.
    pub fn serve(address: SocketAddr, runtime: &Handle) -> Result<Arc<Self>, Failure> {
        let this = Arc::new(Self::new());
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(|error| Failure::Fault(format!("--metrics {address}: {error}")))?;
        let numbers = Arc::clone(&this);
        let answer = move || {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            std::future::ready(([(CONTENT_TYPE, kind)], numbers.text()))
        };
        let router = Router::new().route("/metrics", get(answer));
        runtime.spawn(serve(listener, router, CancellationToken::new()));
        Ok(this)
    }

    /// Takes in what came of a round.
    pub fn set(&self, counts: &Counts, size: u64, next: u64, away: bool) {
        for (verdict, total) in [
            ("agree", counts.agree),
            ("disagree", counts.disagree),
            ("otherVersion", counts.by_version),
            ("unsigned", counts.unsigned),
        ] {
            let counter = self.states.get_or_create(&Labels { verdict });
            // Totals since the start: they never shrink.
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.open.set(counts.open);
        self.size.set(size);
        self.next.set(next);
        self.up.set(u64::from(!away));
    }

    /// As Prometheus reads them.
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_has_its_number() {
        let numbers = Numbers::new();
        let mut counts = Counts {
            agree: 4,
            disagree: 1,
            open: 2,
            ..Counts::default()
        };
        numbers.set(&counts, 39, 38, false);
        counts.agree = 5;
        numbers.set(&counts, 40, 39, true);
        let text = numbers.text();
        for line in [
            "countersign_reproduce_states_total{verdict=\"agree\"} 5\n",
            "countersign_reproduce_states_total{verdict=\"disagree\"} 1\n",
            "countersign_reproduce_states_total{verdict=\"unsigned\"} 0\n",
            "countersign_reproduce_open 2\n",
            "countersign_reproduce_log_size 40\n",
            "countersign_reproduce_log_done 39\n",
            "countersign_reproduce_up 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
