//! One agent a cluster: a Lease in the agent's namespace, where that is allowed. A second agent steps back and waits.
//!
//! The holder's name is derived from the receipt key, so the same agent started again holds its lease at once and a
//! crash leaves nothing to wait for. [`judge`] decides; the rest reads and writes. With each renewal goes the floor
//! ([`crate::floor`]), which stands in an annotation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::apply::client::{self, ApiServer, CALL_MAX};
use crate::clock;
use crate::floor::{ANNOTATION, Floor, Floors};
use crate::plan::rails::LEASE as NAME;

/// A lease that was not renewed for so long is free.
const DURATION: Duration = Duration::from_secs(30);
/// Between renewals.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A lease as read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    holder: String,
    /// As written; only whether it changes matters, never what it says, since clocks differ.
    renewed: String,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write ourselves in.
    Take,
    /// Somebody else has it: look again.
    Wait,
}

/// Whether a lease may be taken: it is ours, free, or was not renewed while we watched for its whole duration.
#[must_use]
pub fn judge(me: &str, seen: &Seen, unchanged_for: Duration) -> Step {
    if seen.holder.is_empty() || seen.holder == me || unchanged_for >= DURATION {
        Step::Take
    } else {
        Step::Wait
    }
}

/// How an attempt ended.
enum Outcome {
    /// Written; the revision that it got, the newest of the whole store.
    Held(u64),
    Other(Seen),
    /// Not allowed, or no such namespace: go on without.
    Without(StatusCode),
    Failed,
}

/// A lease to be had.
#[derive(Debug, Clone)]
pub struct Lease {
    api: ApiServer,
    namespace: String,
    me: String,
    floor: Arc<Floors>,
    /// What the Lease held of it when it was read last, whoever wrote it.
    found: Arc<Mutex<Option<Floor>>>,
}

impl Lease {
    /// The lease of the agent in `namespace`, for the holder `me`.
    #[must_use]
    pub fn new(api: ApiServer, namespace: &str, me: &str, floor: Arc<Floors>) -> Self {
        Self {
            api,
            namespace: namespace.to_owned(),
            me: me.to_owned(),
            floor,
            found: Arc::default(),
        }
    }

    /// The floor that it held when it was read last.
    #[must_use]
    pub fn found(&self) -> Option<Floor> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// What the Lease says of the floor from now on: as it stands here or, until that is known, as it was found.
    fn annotation(&self) -> Option<String> {
        let floor = self.floor.get().or_else(|| self.found());
        floor.map(|floor| floor.text())
    }

    /// Waits until this agent may act.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn acquire(&self) {
        let mut watched: Option<(Seen, Instant)> = None;
        loop {
            let unchanged = watched
                .as_ref()
                .map_or(Duration::ZERO, |(_, since)| since.elapsed());
            match self.attempt(unchanged).await {
                Outcome::Held(_) => return,
                Outcome::Without(status) => {
                    tracing::warn!(%status, namespace = self.namespace, "no Lease is to be had: a second agent on this cluster would not be noticed");
                    return;
                }
                Outcome::Other(seen) => {
                    if watched.as_ref().is_none_or(|(before, _)| *before != seen) {
                        tracing::warn!(
                            holder = seen.holder,
                            "another agent keeps this cluster: standing by"
                        );
                        watched = Some((seen, Instant::now()));
                    }
                }
                Outcome::Failed => {}
            }
            tokio::time::sleep(clock::jittered(Duration::from_secs(2))).await;
        }
    }

    /// Keeps it and tells each time which revision the write got; returns when it is lost, or at `stop` after giving it
    /// back.
    pub async fn keep(&self, stop: &CancellationToken, mut written_at: impl FnMut(u64)) {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.release().await;
                    return;
                }
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            match self.attempt(Duration::ZERO).await {
                Outcome::Held(revision) => {
                    renewed = Instant::now();
                    written_at(revision);
                }
                Outcome::Without(_) => renewed = Instant::now(),
                Outcome::Other(seen) => {
                    tracing::error!(
                        holder = seen.holder,
                        "the lease was taken by another agent: stepping back"
                    );
                    return;
                }
                // While the API server is away nobody can take it either, and nothing can be written.
                Outcome::Failed => {
                    tracing::debug!(since = ?renewed.elapsed(), "lease not renewed");
                }
            }
        }
    }

    fn path(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            self.namespace
        )
    }

    async fn attempt(&self, unchanged: Duration) -> Outcome {
        let path = self.path();
        let Ok(answer) = self.api.get(&format!("{path}/{NAME}"), client::FULL).await else {
            return Outcome::Failed;
        };
        let (method, path, version) = match answer.status {
            StatusCode::OK => {
                let Ok(lease) = serde_json::from_slice::<Object>(&answer.body) else {
                    return Outcome::Failed;
                };
                let held = lease.metadata.annotations.get(ANNOTATION);
                *self.found.lock().unwrap_or_else(PoisonError::into_inner) =
                    held.and_then(|text| Floor::parse(text));
                let seen = Seen {
                    holder: lease.spec.holder_identity.unwrap_or_default(),
                    renewed: lease.spec.renew_time.unwrap_or_default(),
                };
                if judge(&self.me, &seen, unchanged) == Step::Wait {
                    return Outcome::Other(seen);
                }
                (
                    Method::PUT,
                    format!("{path}/{NAME}"),
                    lease.metadata.resource_version,
                )
            }
            StatusCode::NOT_FOUND => (Method::POST, path, String::new()),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                return Outcome::Without(answer.status);
            }
            _ => return Outcome::Failed,
        };
        match self.write(method, &path, &version, &self.me).await {
            Ok(lease) => Outcome::Held(lease.metadata.resource_version.parse().unwrap_or(0)),
            Err(Some(status @ (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND))) => {
                Outcome::Without(status)
            }
            Err(_) => Outcome::Failed,
        }
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        version: &str,
        holder: &str,
    ) -> Result<Object, Option<StatusCode>> {
        let now = jiff::Timestamp::from_millisecond(clock::unix_millis()).unwrap_or_default();
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": DURATION.as_secs(),
                "renewTime": format!("{now:.6}"),
            },
        });
        if let Some(floor) = self.annotation() {
            lease["metadata"]["annotations"] = json!({ ANNOTATION: floor });
        }
        if !version.is_empty() {
            lease["metadata"]["resourceVersion"] = version.into();
        }
        let body = Some(("application/json", lease.to_string().into()));
        let answer = self
            .api
            .call(method, path, client::FULL, body, CALL_MAX)
            .await
            .map_err(|_| None)?;
        if !answer.status.is_success() {
            return Err(Some(answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| None)
    }

    /// Gives it back, so that another need not wait.
    async fn release(&self) {
        let path = format!("{}/{NAME}", self.path());
        let Ok(answer) = self.api.get(&path, client::FULL).await else {
            return;
        };
        if let Ok(lease) = serde_json::from_slice::<Object>(&answer.body)
            && lease.spec.holder_identity.as_deref() == Some(&self.me)
        {
            // Not given back, it is free after its duration.
            let _ = self
                .write(Method::PUT, &path, &lease.metadata.resource_version, "")
                .await;
        }
    }
}

#[derive(Deserialize)]
struct Object {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    renew_time: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str) -> Seen {
        Seen {
            holder: holder.into(),
            renewed: "then".into(),
        }
    }

    #[test]
    fn a_second_agent_waits_until_the_first_is_silent_for_the_whole_duration() {
        assert_eq!(judge("b", &seen("a"), Duration::ZERO), Step::Wait);
        assert_eq!(
            judge("b", &seen("a"), DURATION - Duration::from_secs(1)),
            Step::Wait
        );
        assert_eq!(judge("b", &seen("a"), DURATION), Step::Take);
    }

    #[test]
    fn the_same_agent_started_again_waits_for_nothing() {
        assert_eq!(judge("a", &seen("a"), Duration::ZERO), Step::Take);
        assert_eq!(judge("a", &seen(""), Duration::ZERO), Step::Take);
    }
}
