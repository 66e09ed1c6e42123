//! Numbers of a second renderer that runs on, for a monitor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::round::Counts;
use crate::exit::Failure;

/// Bytes of a request that are read; more is no scrape.
const REQUEST_BYTES_MAX: u64 = 8 << 10;
/// One scrape takes this long at most.
const SCRAPE_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// The numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    agree: AtomicU64,
    disagree: AtomicU64,
    by_version: AtomicU64,
    unsigned: AtomicU64,
    open: AtomicU64,
    size: AtomicU64,
    next: AtomicU64,
    away: AtomicBool,
}

impl Numbers {
    /// Serves them at `address`.
    pub fn serve(address: SocketAddr, runtime: &Handle) -> Result<Arc<Self>, Failure> {
        let this = Arc::new(Self::default());
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(|error| Failure::Fault(format!("--metrics {address}: {error}")))?;
        let numbers = Arc::clone(&this);
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                };
                let text = numbers.text();
                tokio::spawn(tokio::time::timeout(SCRAPE_MAX, answer(stream, text)));
            }
        });
        Ok(this)
    }

    /// Takes in what came of a round.
    pub fn set(&self, counts: &Counts, size: u64, next: u64, away: bool) {
        let set = |number: &AtomicU64, value| number.store(value, Ordering::Relaxed);
        set(&self.agree, counts.agree);
        set(&self.disagree, counts.disagree);
        set(&self.by_version, counts.by_version);
        set(&self.unsigned, counts.unsigned);
        set(&self.open, counts.open);
        set(&self.size, size);
        set(&self.next, next);
        self.away.store(away, Ordering::Relaxed);
    }

    /// As Prometheus reads them.
    fn text(&self) -> String {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let up = u8::from(!self.away.load(Ordering::Relaxed));
        format!(
            "# HELP countersign_reproduce_states States that were rendered again, by what came of it.\n\
             # TYPE countersign_reproduce_states counter\n\
             countersign_reproduce_states_total{{verdict=\"agree\"}} {}\n\
             countersign_reproduce_states_total{{verdict=\"disagree\"}} {}\n\
             countersign_reproduce_states_total{{verdict=\"otherVersion\"}} {}\n\
             countersign_reproduce_states_total{{verdict=\"unsigned\"}} {}\n\
             # HELP countersign_reproduce_open Clusters of whose newest state nothing can be said.\n\
             # TYPE countersign_reproduce_open gauge\n\
             countersign_reproduce_open {}\n\
             # HELP countersign_reproduce_log_size Entries of the last checkpoint.\n\
             # TYPE countersign_reproduce_log_size gauge\n\
             countersign_reproduce_log_size {}\n\
             # HELP countersign_reproduce_log_done Entries that were looked at.\n\
             # TYPE countersign_reproduce_log_done gauge\n\
             countersign_reproduce_log_done {}\n\
             # HELP countersign_reproduce_up Whether the last look at the log came to its end.\n\
             # TYPE countersign_reproduce_up gauge\n\
             countersign_reproduce_up {up}\n\
             # EOF\n",
            get(&self.agree),
            get(&self.disagree),
            get(&self.by_version),
            get(&self.unsigned),
            get(&self.open),
            get(&self.size),
            get(&self.next),
        )
    }
}

/// One request, one answer, whatever is asked for.
async fn answer(mut stream: tokio::net::TcpStream, text: String) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut reading = reading.take(REQUEST_BYTES_MAX);
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match reading.read(&mut piece).await? {
            0 => return Ok(()),
            count => head.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    let length = text.len();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
    );
    writing.write_all(answer.as_bytes()).await?;
    writing.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_has_its_number() {
        let numbers = Numbers::default();
        let counts = Counts {
            agree: 5,
            disagree: 1,
            open: 2,
            ..Counts::default()
        };
        numbers.set(&counts, 40, 39, true);
        let text = numbers.text();
        for line in [
            "countersign_reproduce_states_total{verdict=\"agree\"} 5\n",
            "countersign_reproduce_states_total{verdict=\"disagree\"} 1\n",
            "countersign_reproduce_open 2\n",
            "countersign_reproduce_log_size 40\n",
            "countersign_reproduce_log_done 39\n",
            "countersign_reproduce_up 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
