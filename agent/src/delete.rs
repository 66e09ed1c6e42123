//! The one function that deletes, after a live look, with UID and resourceVersion as preconditions.
//!
//! Nothing else in the agent sends a DELETE. An object goes only if a tombstone of the verified state names it, our own
//! inventory knows its UID, Argo CD does not track it, no guard rail and no trouble of the API server forbids it. A namespace goes only when it
//! holds nothing of others. The inventory shrinks only after NotFound was seen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_ledger::identity::ObjectId;
use http::{Method, StatusCode};

use crate::apply::client::{self, CALL_MAX};
use crate::apply::discovery::{GroupKind, Kinds};
use crate::apply::outcome::{self, Problem, Retry};
use crate::apply::request;
use crate::clock;
use crate::engine::Engine;
use crate::watch::ownership;
use crate::watch::stream;

/// How a tombstone stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// NotFound was seen.
    Gone,
    /// Deleted, and still there: these finalizers hold it.
    Leaving(Vec<String>),
    /// Kept, for this reason.
    Kept(&'static str, String),
}

/// How long a deletion may take before the next object's turn; it goes on by itself.
const LEAVE_MAX: Duration = Duration::from_secs(30);

/// Carries out one tombstone.
///
/// # Errors
/// A [`Problem`] of the API server; nothing is known to be deleted then.
pub async fn delete(engine: &Arc<Engine>, id: &Arc<ObjectId>) -> Result<Fate, Problem> {
    let (stands, held) = {
        let world = engine.world();
        let desired = world.desired();
        (
            desired.tombstones.contains_key(id) && !desired.objects.contains_key(id),
            world
                .get(id)
                .and_then(|object| object.held.as_ref())
                .map(|held| held.expected.uid.clone()),
        )
    };
    if !stands {
        return Ok(Fate::Kept(
            "NO_TOMBSTONE",
            "the newest state no longer says so".to_owned(),
        ));
    }
    if let Err(breach) = engine.settings.rails.check(id) {
        return Ok(Fate::Kept("GUARD_RAIL", breach.to_string()));
    }
    engine.is_sure().await;
    if let Some(paused) = paused(engine) {
        return Ok(paused);
    }
    let kinds = engine.kinds();
    let Some(bytes) = request::get(&engine.api, &kinds, id, client::METADATA).await? else {
        return Ok(gone(engine, id));
    };
    let Some(meta) = ownership::meta(&bytes) else {
        return Ok(Fate::Kept(
            "ODD_ANSWER",
            "the API server's answer holds no metadata".to_owned(),
        ));
    };
    let seen = meta.seen();
    let Some(uid) = held else {
        return Ok(Fate::Kept(
            "NOT_OURS",
            "not in the inventory: somebody else made it".to_owned(),
        ));
    };
    if uid != seen.uid {
        // What we applied is gone; what stands there now is another's.
        return Ok(Fate::Kept(
            "NOT_OURS",
            "recreated by somebody else".to_owned(),
        ));
    }
    if seen.argo {
        return Ok(Fate::Kept("ARGO_TRACKED", "Argo CD tracks it".to_owned()));
    }
    if id.group.is_empty() && id.kind == "Namespace" {
        let foreign = foreign_objects(engine, &kinds, &id.name).await?;
        if !foreign.is_empty() {
            return Ok(Fate::Kept(
                "NAMESPACE_IN_USE",
                format!("it holds objects of others: {}", foreign.join(", ")),
            ));
        }
    }
    if !seen.deleting {
        // The looks just now may have shown trouble.
        if let Some(paused) = paused(engine) {
            return Ok(paused);
        }
        let path = kinds
            .path(id, None)
            .map_err(|error| request::no_path(&error))?;
        let body = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": &*seen.uid, "resourceVersion": meta.resource_version()},
        });
        let answer = engine
            .api
            .call(
                Method::DELETE,
                &path,
                client::METADATA,
                Some(("application/json", body.to_string().into())),
                CALL_MAX,
            )
            .await
            .map_err(|error| outcome::unanswered(&error))?;
        engine.metrics.deleted.inc();
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => return Ok(gone(engine, id)),
            _ => return Err(outcome::problem(&answer, id)),
        }
    }
    wait(engine, &kinds, id, &seen.uid).await
}

/// The reason why nothing is deleted now, if there is one.
fn paused(engine: &Engine) -> Option<Fate> {
    let until = engine.deletes_forbidden_until()?;
    let left = until
        .saturating_duration_since(std::time::Instant::now())
        .as_secs();
    let why = format!("the API server was in trouble: nothing is deleted for another {left} s");
    Some(Fate::Kept("DELETES_PAUSED", why))
}

/// Waits until NotFound, for a while.
async fn wait(
    engine: &Arc<Engine>,
    kinds: &Kinds,
    id: &Arc<ObjectId>,
    uid: &str,
) -> Result<Fate, Problem> {
    let deadline = tokio::time::Instant::now() + LEAVE_MAX;
    let mut pause = Duration::from_millis(20);
    loop {
        let Some(bytes) = request::get(&engine.api, kinds, id, client::METADATA).await? else {
            return Ok(gone(engine, id));
        };
        let meta = ownership::meta(&bytes);
        if meta.as_ref().is_some_and(|meta| &*meta.seen().uid != uid) {
            return Ok(gone(engine, id)); // ours is gone, another came
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(Fate::Leaving(
                meta.and_then(|meta| meta.finalizers).unwrap_or_default(),
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn gone(engine: &Engine, id: &Arc<ObjectId>) -> Fate {
    engine.world().gone(id);
    if let Err(error) = engine.saved.note(id, None) {
        tracing::error!(%error, "inventory could not be noted");
    }
    engine.news().gone((**id).clone());
    engine.receipts.deleted(id, clock::unix_millis());
    tracing::info!(object = %id, "deleted");
    engine.touch();
    Fate::Gone
}

/// Objects in a namespace that are neither ours nor made by Kubernetes itself; a few names, for the person.
async fn foreign_objects(
    engine: &Arc<Engine>,
    kinds: &Kinds,
    namespace: &str,
) -> Result<Vec<String>, Problem> {
    const NAMES_MAX: usize = 5;
    /// What people keep in a namespace; kinds that only exist as children of these need no look.
    const LOOK: [(&str, &str); 11] = [
        ("", "PersistentVolumeClaim"),
        ("", "Service"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("networking.k8s.io", "Ingress"),
        ("", "Pod"),
    ];
    let ours: HashSet<Box<str>> = {
        let world = engine.world();
        world
            .iter()
            .filter(|(id, _)| id.namespace == namespace)
            .filter_map(|(_, object)| object.held.as_ref().map(|held| held.expected.uid.clone()))
            .collect()
    };
    let mut foreign = Vec::new();
    let custom = engine
        .world()
        .desired()
        .objects
        .keys()
        .map(|id| GroupKind::of(id))
        .collect::<HashSet<_>>();
    let look: HashSet<GroupKind> = LOOK
        .iter()
        .map(|(group, kind)| GroupKind {
            group: (*group).to_owned(),
            kind: (*kind).to_owned(),
        })
        .chain(custom)
        .collect();
    for kind in look {
        let Some(place) = kinds.place(&kind).filter(|place| place.namespaced) else {
            continue;
        };
        let collection = kinds.collection(&kind).map(|path| {
            path.replacen(
                &format!("/{}", place.plural),
                &format!("/namespaces/{namespace}/{}", place.plural),
                1,
            )
        });
        let Some(collection) = collection else {
            continue;
        };
        let mut each = |object: &[u8]| {
            if let Some(meta) = ownership::meta(object)
                && foreign.len() < NAMES_MAX
                && !ours.contains(&meta.seen().uid)
                && !is_from_kubernetes(&kind, &meta.name, object)
            {
                foreign.push(format!("{kind} {}", meta.name));
            }
        };
        stream::list(&engine.api, &collection, None, &mut each)
            .await
            .map_err(|ended| Problem {
                code: "NAMESPACE_UNREADABLE",
                text: format!("{kind}: {ended:?}"),
                retry: Retry::Later,
            })?;
    }
    Ok(foreign)
}

/// Kubernetes puts these into every namespace, and owns what bears an owner reference.
fn is_from_kubernetes(kind: &GroupKind, name: &str, object: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Owned {
        metadata: Owners,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owners {
        #[serde(default)]
        owner_references: Vec<serde::de::IgnoredAny>,
    }
    let root =
        kind.kind == "ConfigMap" && matches!(name, "kube-root-ca.crt" | "openshift-service-ca.crt");
    root || serde_json::from_slice::<Owned>(object)
        .is_ok_and(|owned| !owned.metadata.owner_references.is_empty())
}
