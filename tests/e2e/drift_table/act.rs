//! Performs a change on the real API server and reads our entry back, from metadata alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use countersign_tests::{cluster::Cluster, port, until};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use super::{Does, LIMIT, OURS, STRANGER, objects};

/// An entry of `metadata.managedFields`: what the agent digests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) fields: Value,
    /// When it was last changed, in seconds since 1970.
    pub(super) time: i64,
}

/// One test's namespace and custom kind.
pub(super) struct Acts {
    client: Client,
    namespace: String,
    group: String,
}

impl Acts {
    pub(super) async fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let group = format!("t{:08x}.example.org", port::random() & 0xffff_ffff);
        let acts = Self {
            client: cluster.client().await?,
            namespace: cluster.namespace().await?,
            group,
        };
        let definition = objects::definition(&acts.group);
        acts.apply(STRANGER, &definition).await?;
        // Established is said a moment before every request is served; the first that succeeds decides.
        let probe = acts.placed(&objects::custom(&acts.group), "probe");
        until("the custom kind is served", LIMIT, || {
            acts.apply(STRANGER, &probe)
        })
        .await;
        Ok(acts)
    }

    pub(super) fn custom_group(&self) -> &str {
        &self.group
    }

    /// Deletes what the whole cluster sees; the namespace is left to the cluster's end.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        let definition = objects::definition(&self.group);
        self.api(&definition)?
            .delete(&name(&definition)?, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The object under a name in our namespace.
    pub(super) fn placed(&self, object: &Value, name: &str) -> Value {
        let mut object = object.clone();
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(self.namespace);
        object
    }

    /// Applies it as `manager`, with force, and returns its resourceVersion.
    pub(super) async fn apply(&self, manager: &str, object: &Value) -> anyhow::Result<String> {
        let params = PatchParams::apply(manager).force();
        let applied = self
            .api(object)?
            .patch(&name(object)?, &params, &Patch::Apply(object))
            .await?;
        applied
            .metadata
            .resource_version
            .context("no resourceVersion")
    }

    /// Our entry; `None` if there is none, or no object.
    pub(super) async fn entry(&self, object: &Value) -> anyhow::Result<Option<Entry>> {
        self.find(object, |entry| {
            entry.manager.as_deref() == Some(OURS)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or("").is_empty()
        })
        .await
    }

    /// The first entry of another manager.
    pub(super) async fn entry_of(
        &self,
        object: &Value,
        manager: &str,
    ) -> anyhow::Result<Option<Entry>> {
        self.find(object, |entry| entry.manager.as_deref() == Some(manager))
            .await
    }

    async fn find(
        &self,
        object: &Value,
        is: impl Fn(&ManagedFieldsEntry) -> bool,
    ) -> anyhow::Result<Option<Entry>> {
        let Some(seen) = self.api(object)?.get_metadata_opt(&name(object)?).await? else {
            return Ok(None);
        };
        let entry = seen
            .metadata
            .managed_fields
            .into_iter()
            .flatten()
            .find(|entry| is(entry));
        entry
            .map(|entry| {
                let fields = entry.fields_v1.context("an entry without fields")?.0;
                let time = entry.time.context("an entry without time")?.0.as_second();
                Ok(Entry { fields, time })
            })
            .transpose()
    }

    pub(super) async fn perform(&self, object: &Value, does: &Does) -> anyhow::Result<()> {
        let (api, name) = (self.api(object)?, name(object)?);
        let stranger = PatchParams {
            field_manager: Some(STRANGER.to_owned()),
            ..PatchParams::default()
        };
        let us = PatchParams {
            field_manager: Some(OURS.to_owned()),
            ..PatchParams::default()
        };
        match does {
            Does::Merge(patch) => drop(api.patch(&name, &stranger, &Patch::Merge(patch)).await?),
            Does::Strategic(patch) => drop(
                api.patch(&name, &stranger, &Patch::Strategic(patch))
                    .await?,
            ),
            Does::MergeAsUs(patch) => drop(api.patch(&name, &us, &Patch::Merge(patch)).await?),
            Does::Subresource("scale", patch) => drop(
                api.patch_scale(&name, &stranger, &Patch::Merge(patch))
                    .await?,
            ),
            Does::Subresource("status", patch) => drop(
                api.patch_status(&name, &stranger, &Patch::Merge(patch))
                    .await?,
            ),
            Does::Subresource(other, _) => bail!("no row patches {other}"),
            Does::Put(edit) => self.put(object, STRANGER, *edit).await?,
            Does::PutAsUs(edit) => self.put(object, OURS, *edit).await?,
            Does::Apply(fields) => {
                let mut theirs =
                    json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
                theirs["metadata"] = json!({"name": name, "namespace": self.namespace});
                merge(&mut theirs, fields);
                self.apply(STRANGER, &theirs).await?;
            }
            Does::ApplyAsUs(edit) => {
                let mut edited = object.clone();
                edit(&mut edited);
                self.apply(OURS, &edited).await?;
            }
            Does::Delete => {
                api.delete(&name, &DeleteParams::default()).await?;
                until("it is gone", LIMIT, || async {
                    let seen = api.get_metadata_opt(&name).await?;
                    if seen.is_some() {
                        bail!("still there")
                    } else {
                        Ok(())
                    }
                })
                .await;
            }
            Does::Create => {
                let params = PostParams {
                    field_manager: Some(STRANGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&params, &serde_json::from_value(object.clone())?)
                    .await?;
            }
        }
        Ok(())
    }

    /// Reads it, edits it and writes it back whole, whatever its resourceVersion is by then.
    async fn put(&self, object: &Value, manager: &str, edit: fn(&mut Value)) -> anyhow::Result<()> {
        let (api, name) = (self.api(object)?, name(object)?);
        let mut whole = serde_json::to_value(api.get(&name).await?)?;
        edit(&mut whole);
        let mut whole: DynamicObject = serde_json::from_value(whole)?;
        whole.metadata.resource_version = None;
        let params = PostParams {
            field_manager: Some(manager.to_owned()),
            ..PostParams::default()
        };
        api.replace(&name, &params, &whole).await?;
        Ok(())
    }

    /// Waits until the clock shows a later second than the entry. Both clocks are this machine's.
    pub(super) async fn until_later_than(&self, entry: &Entry, limit: Duration) {
        until("a later second", limit, || {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            std::future::ready(i64::try_from(now).is_ok_and(|now| now > entry.time))
        })
        .await;
    }

    fn api(&self, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let types: TypeMeta = serde_json::from_value(object.clone())?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        Ok(match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }
}

fn name(object: &Value) -> anyhow::Result<String> {
    Ok(object["metadata"]["name"]
        .as_str()
        .context("no name")?
        .to_owned())
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
