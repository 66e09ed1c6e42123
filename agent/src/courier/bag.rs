//! The report: who this agent is, where it stands, and everything that it countersigned and has no proof of. One file, written
//! anew whenever that changes; a person may take it at any time.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::verify::Known;
use countersign_proto::agent::v1 as proto;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{self, Kind};
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Signed, report_path};
use crate::receipt::outbox::Outbox;

/// Receipts gather for so long before the file is written again.
const GATHER: Duration = Duration::from_secs(1);
/// Bytes of receipts and their blobs in one report: what the hub takes, less some room.
const RECEIPTS_BYTES_MAX: usize = 100 << 20;

/// Writes reports.
#[derive(Debug)]
pub struct Bag {
    /// Where to.
    pub folder: PathBuf,
    /// What was signed.
    pub outbox: Arc<Outbox>,
    /// What the agent believes.
    pub known: watch::Receiver<Known>,
    /// Who it is, without a token.
    pub registration: proto::RegisterRequest,
    /// The enrolment that it signed.
    pub signed: Signed,
}

/// By what a report differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    header: courier::ReportHeader,
    next: u64,
    waiting: usize,
}

impl Bag {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut written: Option<Mark> = None;
        loop {
            let mark = self.mark();
            if written.as_ref() != Some(&mark) {
                match self.write(&mark).await {
                    Ok(()) => written = Some(mark),
                    Err(error) => {
                        tracing::error!(folder = %self.folder.display(), %error, "the report can't be written");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }

    fn mark(&self) -> Mark {
        let known = self.known.borrow().clone();
        let (next, waiting) = {
            let queue = self.outbox.queue();
            (queue.next().seq, queue.len())
        };
        let envelope = known.last.map(|last| last.envelope);
        let header = courier::ReportHeader {
            fleet: known.roots.newest().fleet().to_owned(),
            cluster: known.cluster.clone(),
            generation: known.last.map_or(0, |last| last.generation),
            envelope: envelope
                .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
                .unwrap_or_default(),
            tree_size: known.seen.as_ref().map_or(0, |seen| seen.size),
            receipts_tree_size: self.outbox.seen().map_or(0, |seen| seen.size),
            registration: Some(self.registration.clone()),
            first_seq: next.saturating_sub(waiting as u64),
            enrolment: self
                .signed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        };
        Mark {
            header,
            next,
            waiting,
        }
    }

    async fn write(&self, mark: &Mark) -> io::Result<()> {
        let waiting = self
            .outbox
            .waiting(mark.waiting, RECEIPTS_BYTES_MAX)
            .await?;
        let path = report_path(&self.folder, &mark.header.cluster);
        let header = mark.header.encode_to_vec();
        tokio::task::spawn_blocking(move || {
            let items = waiting.iter().map(|waiting| &waiting.item);
            let blobs = items.clone().flat_map(|item| &item.blobs);
            let frames = std::iter::once((Kind::Report, &header[..]))
                .chain(blobs.map(|blob| (Kind::Blob, &blob[..])))
                .chain(items.map(|item| (Kind::Receipt, &item.envelope[..])));
            replace(&path, |file| parcel::write(file, frames))
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// Writes beside the file, then takes its place: who copies it has the old one or the new one.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<std::fs::File>) -> io::Result<()>,
) -> io::Result<()> {
    let scratch = path.with_extension("report.new");
    let mut options = std::fs::OpenOptions::new();
    let file =
        crate::saved::private(options.create(true).write(true).truncate(true)).open(&scratch)?;
    let mut file = io::BufWriter::new(file);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    std::fs::rename(&scratch, path)
}
