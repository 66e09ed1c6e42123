//! Which cluster this is: the UID of its kube-system, the fingerprint of its CA, its version.

use bytes::Bytes;
use countersign_proto::agent::v1 as proto;

use crate::apply::client::{self, ApiServer};
use crate::watch::ownership;

/// What a person reads when this is another cluster than the saved state is for.
pub const CHANGED: &str = "this is not the cluster that this state is for (its kube-system or its CA is another one): nothing is applied; enrol it anew with an empty --data folder";

/// The UID of kube-system; none when the API server did not tell.
pub async fn kube_system(api: &ApiServer) -> Option<String> {
    let answer = api
        .get("/api/v1/namespaces/kube-system", client::METADATA)
        .await
        .ok()
        .filter(|answer| answer.status.is_success())?;
    Some(ownership::meta(&answer.body)?.seen().uid.to_string())
}

/// What the agent sees of its cluster; none when the API server did not tell.
pub async fn read(api: &ApiServer) -> Option<proto::ClusterIdentity> {
    let (uid, version) = tokio::join!(kube_system(api), api.get("/version", client::FULL));
    let kubernetes = serde_json::from_slice::<serde_json::Value>(&version.ok()?.body)
        .ok()
        .and_then(|version| version["gitVersion"].as_str().map(str::to_owned))
        .unwrap_or_default();
    Some(proto::ClusterIdentity {
        uid: uid?,
        ca_fingerprint: Bytes::copy_from_slice(&api.ca_fingerprint()),
        kubernetes,
    })
}
