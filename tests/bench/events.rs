//! What the API server says of objects, with the time at which it was heard.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long an event may be waited for.
const LIMIT: Duration = Duration::from_secs(180);

/// One object as an event shows it.
struct Shown {
    name: String,
    value: String,
    at: Instant,
}

/// A watch that stands open.
pub(crate) struct Events {
    shown: mpsc::UnboundedReceiver<Shown>,
    task: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Events {
    /// Opens a watch; everything after its return is heard.
    pub(crate) async fn open(api: Api<ConfigMap>) -> anyhow::Result<Self> {
        let listed = api.list_metadata(&ListParams::default().limit(1)).await?;
        let mut version = listed.metadata.resource_version.unwrap_or_default();
        let params = WatchParams::default();
        let mut stream = api.watch(&params, &version).await?.boxed();
        let (heard, shown) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                while let Ok(Some(event)) = stream.try_next().await {
                    let at = Instant::now();
                    let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                        continue;
                    };
                    version = object.metadata.resource_version.unwrap_or(version);
                    let value = object.data.and_then(|mut data| data.remove("value"));
                    let heard = heard.send(Shown {
                        name: object.metadata.name.unwrap_or_default(),
                        value: value.unwrap_or_default(),
                        at,
                    });
                    if heard.is_err() {
                        return;
                    }
                }
                match api.watch(&params, &version).await {
                    Ok(again) => stream = again.boxed(),
                    Err(_) => return,
                }
            }
        });
        Ok(Self { shown, task })
    }

    /// When the object shows the value.
    pub(crate) async fn shows(&mut self, name: &str, value: &str) -> anyhow::Result<Instant> {
        let wanted = BTreeSet::from([name.to_owned()]);
        Ok(self.all_show(wanted, value).await?.1)
    }

    /// When the first and when the last of the objects shows the value.
    pub(crate) async fn all_show(
        &mut self,
        mut wanted: BTreeSet<String>,
        value: &str,
    ) -> anyhow::Result<(Instant, Instant)> {
        let mut first = None;
        let mut last = Instant::now();
        while !wanted.is_empty() {
            let next = tokio::time::timeout(LIMIT, self.shown.recv()).await;
            let shown = next
                .with_context(|| format!("{} objects never showed {value}", wanted.len()))?
                .context("the watch ended")?;
            if shown.value == value && wanted.remove(&shown.name) {
                first.get_or_insert(shown.at);
                last = shown.at;
            }
        }
        Ok((first.unwrap_or(last), last))
    }
}

/// Milliseconds from one moment to another, which may lie before it.
pub(crate) fn ms(from: Instant, to: Instant) -> f64 {
    let after = to.saturating_duration_since(from).as_secs_f64();
    let before = from.saturating_duration_since(to).as_secs_f64();
    (after - before) * 1000.0
}
