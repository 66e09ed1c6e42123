//! A store whose n-th write fails, in both flavours. For tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Backend, Objects, StoreFault, Written};

/// What becomes of the write that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// It is not done.
    NotDone,
    /// It is done, and reported as failed.
    DoneButFailed,
    /// It is not done when the store is asked, and happens later.
    DoneLater,
}

pub(crate) const FLAVOURS: [Flavour; 3] =
    [Flavour::NotDone, Flavour::DoneButFailed, Flavour::DoneLater];

/// Fails write `at`, counted from 0, and, like a process that was killed, every request after it.
#[derive(Clone)]
pub(crate) struct FailAt {
    inner: Arc<Objects>,
    at: u64,
    flavour: Flavour,
    /// Whether the store answers again after the failure.
    goes_on: bool,
    writes: Arc<AtomicU64>,
    told: watch::Sender<bool>,
}

impl FailAt {
    pub(crate) fn new(inner: Arc<Objects>, at: u64, flavour: Flavour, goes_on: bool) -> Self {
        Self {
            inner,
            at,
            flavour,
            goes_on,
            writes: Arc::new(AtomicU64::new(0)),
            told: watch::Sender::new(false),
        }
    }

    /// Whether the write that fails was reached.
    pub(crate) fn failed(&self) -> bool {
        self.writes.load(Ordering::SeqCst) > self.at
    }

    /// Waits until the store answers nothing any more; for ever if it goes on after its failure.
    pub(crate) async fn died(&self) {
        if self.goes_on {
            std::future::pending::<()>().await;
        }
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }

    fn check(&self, path: &str) -> Result<(), StoreFault> {
        if self.failed() && !self.goes_on {
            Err(broken(path))
        } else {
            Ok(())
        }
    }
}

fn broken(path: &str) -> StoreFault {
    StoreFault {
        path: path.to_owned(),
        problem: "made to fail".to_owned(),
    }
}

impl Backend for FailAt {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            self.check(path)?;
            self.inner.get(path).await
        })
    }

    fn exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool, StoreFault>> {
        Box::pin(async move {
            self.check(path)?;
            self.inner.exists(path).await
        })
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Written, StoreFault>> {
        Box::pin(async move {
            self.check(path)?;
            if self.writes.fetch_add(1, Ordering::SeqCst) != self.at {
                return self.inner.create(path, bytes).await;
            }
            self.told.send_replace(true);
            match self.flavour {
                Flavour::NotDone => {}
                Flavour::DoneButFailed => {
                    self.inner.create(path, bytes).await?;
                }
                Flavour::DoneLater => {
                    let (inner, path) = (Arc::clone(&self.inner), path.to_owned());
                    tokio::spawn(async move { inner.create(&path, bytes).await });
                }
            }
            Err(broken(path))
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            self.check(path)?;
            self.inner.remove(path).await
        })
    }

    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            self.check(path)?;
            if self.writes.fetch_add(1, Ordering::SeqCst) != self.at {
                return self.inner.put(path, bytes).await;
            }
            self.told.send_replace(true);
            match self.flavour {
                Flavour::NotDone => {}
                Flavour::DoneButFailed => self.inner.put(path, bytes).await?,
                Flavour::DoneLater => {
                    let (inner, path) = (Arc::clone(&self.inner), path.to_owned());
                    tokio::spawn(async move { inner.put(&path, bytes).await });
                }
            }
            Err(broken(path))
        })
    }

    fn list<'a>(
        &'a self,
        folder: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, StoreFault>> {
        Box::pin(async move {
            self.check(folder)?;
            self.inner.list(folder, after).await
        })
    }
}
