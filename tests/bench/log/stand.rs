//! A log of the hub's own make in a folder, under a key that everybody knows: what it signs is worth nothing.

use std::path::Path;
use std::sync::Arc;

use countersign_hub::log::{self, Log, LogMetrics, Timing};
use countersign_hub::seal::FileSigner;
use countersign_hub::serve::Clock;
use countersign_hub::store::{Index, Location, Store};
use countersign_ledger::key::FileKey;
use countersign_ledger::tlog::note::Vkey;
use countersign_ledger::tlog::policy::Policy;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The log's fleet.
pub(crate) const FLEET: &str = "bench";
const SEED: [u8; 32] = [1; 32];

/// An open log; its tasks are told to end when this is dropped.
pub(crate) struct Stand {
    pub(crate) log: Log,
    pub(crate) store: Store,
    stop: DropGuard,
}

impl Stand {
    /// Opens the log in `folder`, whose checkpoints need the cosignatures that `policy` asks for.
    pub(crate) async fn open(folder: &Path, policy: Option<Policy>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let store = Store::open(&Location::Folder(folder.join("store")))?;
        let index = Arc::new(Index::open(&folder.join("index.sqlite"))?);
        let stop = CancellationToken::new();
        let parts = log::Parts {
            signer: Arc::new(signer()?),
            keys: vec![vkey()?],
            policy: policy.map(Arc::new),
            timing: Timing::default(),
            clock: Clock::system(),
            metrics: LogMetrics::default(),
            alarm: Arc::new(|code, text| eprintln!("{code}: {text}")),
            stop: stop.clone(),
        };
        let log = Log::open(store.clone(), index, parts).await?;
        let stop = stop.drop_guard();
        Ok(Self { log, store, stop })
    }

    /// Ends the log; nothing is written to its folder any more.
    pub(crate) async fn end(self) {
        drop(self.stop);
        self.log.ended().await;
    }
}

/// The key that checks the log's signatures.
pub(crate) fn vkey() -> anyhow::Result<Vkey> {
    Ok(log::vkey(FLEET, &signer()?)?)
}

fn signer() -> anyhow::Result<FileSigner> {
    let key = FileKey::from_seed(&SEED).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(FileSigner::new(key))
}
