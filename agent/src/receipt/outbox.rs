//! What those who sign and those who send share: the queue, the hub's nonce, the newest checkpoint.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_ledger::digest::Digest;
use countersign_ledger::trust::Windows;
use countersign_ledger::verify::Seen;
use tokio::sync::Notify;

use super::queue::{Queue, Room, Waiting};
use crate::saved::Log;

/// The queue and what goes with it.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    nonce: Mutex<String>,
    seen: Mutex<Option<Seen>>,
    added: Notify,
    eased: Notify,
}

impl Outbox {
    /// Around a queue.
    #[must_use]
    pub fn new(queue: Queue) -> Arc<Self> {
        let seen = queue.log().map(Log::seen);
        Arc::new(Self {
            queue: Mutex::new(queue),
            nonce: Mutex::default(),
            seen: Mutex::new(seen),
            added: Notify::new(),
            eased: Notify::new(),
        })
    }

    /// The queue, for a short look or, on a thread for such, a write.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much room there is; none before it is known where the chain begins.
    #[must_use]
    pub fn room(&self) -> Room {
        let queue = self.queue();
        if queue.has_begun() {
            queue.room()
        } else {
            Room::Full
        }
    }

    /// The hub's newest nonce, hex.
    #[must_use]
    pub fn nonce(&self) -> String {
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        nonce.clone()
    }

    /// The hub gave another one.
    pub fn set_nonce(&self, nonce: String) {
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = nonce;
    }

    /// The newest checkpoint that was verified here.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// A newer one was.
    pub fn saw(&self, newer: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(newer);
    }

    /// Something was recorded.
    pub fn tell_added(&self) {
        self.added.notify_one();
    }

    /// Waits until something was recorded.
    ///
    /// # Cancel safety
    /// May be dropped: the wish is kept then.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Waits until there is more room, or the chain has begun.
    ///
    /// # Cancel safety
    /// May be dropped: the wish is kept then.
    pub async fn eased(&self) {
        self.eased.notified().await;
    }

    /// As [`Queue::waiting`], on a thread where it blocks nobody.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn waiting(self: &Arc<Self>, max: usize, bytes: usize) -> io::Result<Vec<Waiting>> {
        self.blocking(move |queue| queue.waiting(max, bytes)).await
    }

    /// As [`Queue::proven`], with the checkpoint that was verified last.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn proven(self: &Arc<Self>, seq: u64) -> io::Result<()> {
        let log = Log::of(self.seen().as_ref(), None, &Windows::default());
        let done = self.blocking(move |queue| queue.proven(seq, log)).await;
        self.eased.notify_one();
        done
    }

    /// As [`Queue::begin`].
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn begin(self: &Arc<Self>, seq: u64, envelope: Option<Digest>) -> io::Result<()> {
        let done = self.blocking(move |queue| queue.begin(seq, envelope)).await;
        self.eased.notify_one();
        done
    }

    /// Runs `work` on a thread where a sync of the disk blocks nobody.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Queue) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&mut own.queue()))
            .await
            .map_err(io::Error::other)?
    }
}
