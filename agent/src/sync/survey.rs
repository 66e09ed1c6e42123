//! A look before the first write.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use countersign_ledger::identity::ObjectId;
use futures::StreamExt as _;

use crate::apply::discovery::{GroupKind, Kinds};
use crate::apply::{client, pace, request};
use crate::engine::Engine;
use crate::watch::{ownership, stream};

/// Objects of a kind from which one list is cheaper than a look at each.
const LIST_FROM: usize = 16;

/// Looks at what of `open` is to be written for the first time: Argo CD may track it, and then it is not touched at all.
pub(super) async fn survey(engine: &Arc<Engine>, open: &BTreeSet<Arc<ObjectId>>) {
    let mut new: BTreeMap<GroupKind, Vec<Arc<ObjectId>>> = BTreeMap::new();
    {
        let world = engine.world();
        for id in open {
            let unseen = world
                .get(id)
                .is_none_or(|object| object.held.is_none() && !object.argo);
            if unseen && engine.settings.rails.check(id).is_ok() {
                new.entry(GroupKind::of(id))
                    .or_default()
                    .push(Arc::clone(id));
            }
        }
    }
    let kinds = engine.kinds();
    for (kind, ids) in new {
        let Some(collection) = kinds.collection(&kind) else {
            continue;
        };
        if ids.len() >= LIST_FROM {
            let wanted: HashMap<(&str, &str), &Arc<ObjectId>> = ids
                .iter()
                .map(|id| ((id.namespace.as_str(), id.name.as_str()), id))
                .collect();
            let mut tracked: Vec<Arc<ObjectId>> = Vec::new();
            let mut each = |object: &[u8]| {
                if let Some(meta) = ownership::meta(object)
                    && let Some(id) =
                        wanted.get(&(meta.namespace.as_deref().unwrap_or(""), &*meta.name))
                    && meta.seen().argo
                {
                    tracked.push(Arc::clone(id));
                }
            };
            let listed = stream::list(&engine.api, &collection, None, &mut each).await;
            if listed.is_ok() {
                let mut world = engine.world();
                for id in tracked {
                    world.argo_tracked(&id);
                }
                continue;
            }
        }
        let looks: Vec<_> = ids
            .into_iter()
            .map(|id| look(Arc::clone(engine), Arc::clone(&kinds), id))
            .collect();
        futures::stream::iter(looks)
            .for_each_concurrent(pace::IN_FLIGHT_MIN as usize, |look| look)
            .await;
    }
}

async fn look(engine: Arc<Engine>, kinds: Arc<Kinds>, id: Arc<ObjectId>) {
    if let Ok(Some(bytes)) = request::get(&engine.api, &kinds, &id, client::METADATA).await
        && ownership::meta(&bytes).is_some_and(|meta| meta.seen().argo)
    {
        engine.world().argo_tracked(&id);
    }
}
