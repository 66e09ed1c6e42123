//! What the API server's own bookkeeping says about an object: a digest of our entry in `managedFields`, and what
//! others own beside it. Computed from raw bytes; no tree of the object is built.
//!
//! Pure. Called for every event of a watch and for every answer to a write. Anything odd in an object (null, a huge
//! annotation, text where a list should be) makes that one object unreadable and nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The field manager under which everything is applied.
pub const MANAGER: &str = "countersign";
/// The label by which we watch.
pub const APP_LABEL: &str = "countersign.dev/app";

/// Digest of `fieldsV1` and `time` of our Apply entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub [u8; 16]);

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Mark {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut out = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(());
        }
        for (at, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(out))
    }
}

/// What one event or answer says of an object, small enough to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The object's UID.
    pub uid: Box<str>,
    /// Its resourceVersion as a number; 0 where it was none.
    pub revision: u64,
    /// Its generation; 0 where the kind has none.
    pub generation: i64,
    /// Digest of our entry; none when we own nothing.
    pub mark: Option<Mark>,
    /// Seconds since 1970 of our entry.
    pub written: i64,
    /// Hash of labels and annotations.
    pub words: u64,
    /// Hash of what others own beside us, controllers and status aside; 0 when nothing.
    pub others: u64,
    /// Being deleted.
    pub deleting: bool,
    /// Tracked by Argo CD.
    pub argo: bool,
    /// Bears our label.
    pub labelled: bool,
}

/// An entry of `managedFields`, borrowed from the bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    /// Who.
    #[serde(borrow, default)]
    pub manager: Option<Cow<'a, str>>,
    /// `Apply` or `Update`.
    #[serde(borrow, default)]
    pub operation: Option<Cow<'a, str>>,
    /// `status`, `scale`, …
    #[serde(borrow, default)]
    pub subresource: Option<Cow<'a, str>>,
    /// RFC 3339, whole seconds.
    #[serde(borrow, default)]
    pub time: Option<Cow<'a, str>>,
    /// What it owns.
    #[serde(borrow, rename = "fieldsV1", default)]
    pub fields: Option<&'a RawValue>,
}

impl Entry<'_> {
    /// Our own: applied under our name, to the object itself.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.manager.as_deref() == Some(MANAGER)
            && self.operation.as_deref() == Some("Apply")
            && self.subresource.as_deref().unwrap_or("").is_empty()
    }

    /// A manager whose work beside ours is expected: Kubernetes' own controllers and autoscalers, and any subresource.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        const CONTROLLERS: [&str; 8] = [
            "kube-controller-manager",
            "kube-scheduler",
            "kube-apiserver",
            "kubelet",
            "vpa-recommender",
            "vpa-updater",
            "cluster-autoscaler",
            "cloud-controller-manager",
        ];
        !self.subresource.as_deref().unwrap_or("").is_empty()
            || self
                .manager
                .as_deref()
                .is_some_and(|manager| CONTROLLERS.contains(&manager))
    }

    /// Seconds since 1970, 0 where there is no time.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.time
            .as_deref()
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .map_or(0, jiff::Timestamp::as_second)
    }
}

/// Metadata of an object, borrowed from the bytes of an event or answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its namespace, if it has one.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource_version: Option<Cow<'a, str>>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    /// Finalizers that hold up its deletion.
    #[serde(default)]
    pub finalizers: Option<Vec<String>>,
    /// The bookkeeping.
    #[serde(borrow, default)]
    pub managed_fields: Option<Vec<Entry<'a>>>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

/// Reads the metadata out of an object's bytes; none when they are not an object's.
#[must_use]
pub fn meta(object: &[u8]) -> Option<Meta<'_>> {
    serde_json::from_slice::<Outer<'_>>(object)
        .ok()
        .map(|outer| outer.metadata)
}

impl Meta<'_> {
    /// The identity, given the kind that was asked for.
    #[must_use]
    pub fn id(&self, group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: self.namespace.as_deref().unwrap_or("").to_owned(),
            name: self.name.clone().into_owned(),
        }
    }

    /// The resourceVersion as it stood there.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.resource_version.as_deref().unwrap_or("")
    }

    /// The small digest of it all.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let labels = map(self.labels);
        let annotations = map(self.annotations);
        let ours = self
            .managed_fields
            .iter()
            .flatten()
            .find(|entry| entry.is_ours());
        let mut others: u64 = 0;
        for entry in self.managed_fields.iter().flatten() {
            if let Some(fields) = entry
                .fields
                .filter(|fields| !entry.is_ours() && !entry.is_expected() && owns_content(fields))
            {
                others = others.wrapping_add(hash(&[
                    entry.manager.as_deref().unwrap_or("").as_bytes(),
                    fields.get().as_bytes(),
                ]));
            }
        }
        Seen {
            uid: self.uid.as_deref().unwrap_or("").into(),
            revision: self.resource_version().parse().unwrap_or(0),
            generation: self.generation.unwrap_or(0),
            mark: ours.map(mark),
            written: ours.map_or(0, Entry::seconds),
            words: hash(&[
                self.labels.map_or("", RawValue::get).as_bytes(),
                self.annotations.map_or("", RawValue::get).as_bytes(),
            ]),
            others,
            deleting: self.deletion_timestamp.is_some(),
            argo: argo_tracked(&labels, &annotations),
            labelled: labels.contains_key(APP_LABEL),
        }
    }
}

/// The managers that own something beside us, newest first, for a person; "somebody" when none is named.
#[must_use]
pub fn rivals(object: &[u8]) -> String {
    let Some(meta) = meta(object) else {
        return "somebody".to_owned();
    };
    let of_status = |entry: &Entry<'_>| entry.subresource.as_deref() == Some("status");
    let entries = meta.managed_fields.iter().flatten();
    let mut entries: Vec<&Entry<'_>> = entries
        .filter(|entry| !entry.is_ours() && !of_status(entry))
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.seconds()));
    let mut names: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    names.dedup();
    names.truncate(3);
    if names.is_empty() {
        "somebody".to_owned()
    } else {
        names.join(", ")
    }
}

fn mark(entry: &Entry<'_>) -> Mark {
    let fields = entry.fields.map_or("", RawValue::get);
    let time = entry.time.as_deref().unwrap_or("");
    let whole = *Digest::of(format!("{time}\n{fields}").as_bytes()).as_bytes();
    let mut out = [0; 16];
    out.copy_from_slice(&whole[..16]);
    Mark(out)
}

/// Whether a field set names something besides metadata and status, by a look at its first level only.
fn owns_content(fields: &RawValue) -> bool {
    serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(fields.get()).is_ok_and(|top| {
        top.keys()
            .any(|key| key != "f:metadata" && key != "f:status")
    })
}

fn map(raw: Option<&RawValue>) -> BTreeMap<String, String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// Argo CD's marks: its annotation, or its label; the label that others use too counts only beside one of them.
fn argo_tracked(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> bool {
    annotations.contains_key("argocd.argoproj.io/tracking-id")
        || labels.contains_key("argocd.argoproj.io/instance")
        || (labels.contains_key("app.kubernetes.io/instance")
            && annotations
                .keys()
                .any(|key| key.starts_with("argocd.argoproj.io/")))
}

/// FNV-1a over the parts with a separator; not for anything that an enemy must not collide.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut out: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            out = (out ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    out
}

#[cfg(test)]
mod tests;
