//! A rendered object → the object that is signed and applied. Pure.
//!
//! One gate for every object, hook or not: identity, namespace, our label, and all that must never be in Git. The bytes
//! that leave here are the bytes that are signed, and the bytes that are applied.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::json::canonical;
use countersign_ledger::limits::WAVE_MAX;
use serde_json::{Map, Value as Json};

use crate::document::{GROUP, KindName, Project};
use crate::failure::AppFailure;
use crate::kinds::Kinds;

mod applyset;
mod encrypted;

pub use applyset::PART_OF;
pub use encrypted::{Decrypt, Encrypted, NotDecrypted, SOPS};

/// Label of every object that we apply.
pub const APP_LABEL: &str = "countersign.dev/app";
/// Annotation that says in which wave an object is applied.
pub const WAVE_ANNOTATION: &str = "countersign.dev/wave";
/// Largest object; the API server takes little more.
pub const OBJECT_BYTES_MAX: usize = 1024 * 1024;
/// Hooks that have no meaning where nobody installs or tests by hand.
const HOOKS_LEFT_OUT: [&str; 6] = [
    "test",
    "test-success",
    "test-failure",
    "pre-delete",
    "post-delete",
    "pre-rollback",
];
/// Keys on a Namespace that decide what others may do in it.
const PROTECTED_PREFIXES: [&str; 2] = ["pod-security.kubernetes.io/", "system:"];

/// An object that can be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its identity.
    pub id: ObjectId,
    /// Group and version as written.
    pub api_version: String,
    /// Canonical JSON.
    pub bytes: bytes::Bytes,
    /// SHA-256 of the bytes. Of a Secret, never to be shown or stored.
    pub sha256: Digest,
    /// Its wave.
    pub wave: i32,
    /// Whether its content is secret.
    pub secret: bool,
    /// Whether its kind lies in namespaces.
    pub namespaced: bool,
    /// Plural name of its kind.
    pub resource: String,
    /// File or template that it comes from.
    pub file: String,
    /// Line in it; 0 if unknown.
    pub line: u32,
}

impl Object {
    /// As JSON.
    ///
    /// # Errors
    /// Never in practice: the bytes were written from JSON.
    pub fn json(&self) -> Result<Json, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }
}

/// What an app's objects are made with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The app's name.
    pub app: &'a str,
    /// Namespace of what names none.
    pub namespace: &'a str,
    /// What the app may touch.
    pub project: Option<&'a Project>,
    /// What the cluster knows.
    pub kinds: &'a Kinds,
    /// Whether the objects stand in Git as they are: then a Secret in plain text stands there too.
    pub from_git: bool,
    /// What is done with Secrets that stand encrypted in Git.
    pub encrypted: Encrypted<'a>,
    /// Whether documents of ours are expected among them, and left out.
    pub skip_documents: bool,
}

/// Makes objects of what a render gave: one of most, several of a list, none of our own documents and of hooks that
/// have no meaning here.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn normalise(
    json: &Json,
    file: &str,
    line: u32,
    context: &Context<'_>,
) -> Result<Vec<Object>, AppFailure> {
    let mut out = Vec::new();
    add(json, context, 0, &mut out).map_err(|failure| failure.at(file, line))?;
    for object in &mut out {
        file.clone_into(&mut object.file);
        object.line = line;
    }
    Ok(out)
}

fn fail(code: &str, field: &str, message: impl Into<String>) -> AppFailure {
    let mut failure = AppFailure::new(code, message);
    failure.field = field.to_owned();
    failure
}

fn add(
    json: &Json,
    context: &Context<'_>,
    depth: usize,
    out: &mut Vec<Object>,
) -> Result<(), AppFailure> {
    let Some(fields) = json.as_object() else {
        return Err(fail("OBJECT_INVALID", "", "is not an object with fields"));
    };
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Json::as_str)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| fail("OBJECT_INVALID", name, "is missing or not a text"))
    };
    let api_version = text("apiVersion")?;
    let kind = text("kind")?;
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    if group == GROUP {
        return if context.skip_documents {
            Ok(())
        } else {
            let why = "a document of countersign.dev is never applied; it stands below clusters/";
            Err(fail("OBJECT_INVALID", "apiVersion", why))
        };
    }
    if let (true, Some(items)) = (
        kind.ends_with("List"),
        fields.get("items").and_then(Json::as_array),
    ) {
        if depth > 0 {
            return Err(fail("OBJECT_INVALID", "items", "is a list in a list"));
        }
        for item in items {
            add(item, context, depth + 1, out)?;
        }
        return Ok(());
    }
    if left_out(fields) {
        return Ok(());
    }
    out.push(one(fields.clone(), api_version, group, kind, context)?);
    Ok(())
}

fn annotation<'a>(fields: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    fields
        .get("metadata")?
        .get("annotations")?
        .get(name)?
        .as_str()
}

fn hooks(fields: &Map<String, Json>) -> impl Iterator<Item = &str> {
    annotation(fields, "helm.sh/hook")
        .into_iter()
        .flat_map(|hooks| hooks.split(','))
        .map(str::trim)
        .filter(|hook| !hook.is_empty())
}

/// Whether all that an object is a hook of never happens here.
fn left_out(fields: &Map<String, Json>) -> bool {
    let mut any = false;
    for hook in hooks(fields) {
        any = true;
        if !HOOKS_LEFT_OUT.contains(&hook) && hook != "post-rollback" {
            return false;
        }
    }
    any
}

fn one(
    mut fields: Map<String, Json>,
    api_version: &str,
    group: &str,
    kind: &str,
    context: &Context<'_>,
) -> Result<Object, AppFailure> {
    let Some(known) = context.kinds.get(group, kind) else {
        let name = KindName::of(group, kind);
        let why = format!(
            "nobody says what {name} is: let an app bring its CustomResourceDefinition, or list it in Cluster.spec.kubernetes.kinds"
        );
        return Err(fail("KIND_UNKNOWN", "kind", why));
    };
    let wave = wave(&fields)?;
    let meta = metadata(&mut fields)?;
    let name = meta
        .get("name")
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned();
    let namespace = match (
        known.namespaced,
        meta.get("namespace").and_then(Json::as_str),
    ) {
        (false, _) => {
            meta.remove("namespace");
            String::new()
        }
        (true, None | Some("")) => {
            meta.insert("namespace".to_owned(), context.namespace.into());
            context.namespace.to_owned()
        }
        (true, Some(namespace)) => namespace.to_owned(),
    };
    let id = ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace,
        name,
    };
    id.check().map_err(|bad| {
        fail(
            "OBJECT_INVALID",
            &format!("metadata.{}", bad.field),
            bad.to_string(),
        )
    })?;
    allowed(&id, context.project)?;
    let meta = metadata(&mut fields)?;
    label(meta, context.app)?;
    if id.kind == "Namespace" && id.group.is_empty() {
        let free = context
            .project
            .is_some_and(|project| project.allow_protected_keys);
        if !free {
            protected_keys(&fields)?;
        }
    }
    let rest =
        |name: &String| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status");
    if fields.contains_key("status") && !fields.keys().any(rest) {
        let why = "has nothing but a status, which only controllers write";
        return Err(fail("OBJECT_INVALID", "status", why));
    }
    fields.remove("status");
    let secret = id.kind == "Secret" && id.group.is_empty();
    if secret {
        secret_data(&mut fields, context)?;
    }
    let bytes = canonical(&Json::Object(fields))
        .map_err(|error| fail("OBJECT_INVALID", "", format!("{id}: {error}")))?;
    if bytes.len() > OBJECT_BYTES_MAX {
        let why = format!(
            "{id} is {} bytes, at most {OBJECT_BYTES_MAX} are allowed",
            bytes.len()
        );
        return Err(fail("SIZE_LIMIT", "", why));
    }
    Ok(Object {
        sha256: Digest::of(&bytes),
        id,
        api_version: api_version.to_owned(),
        bytes: bytes.into(),
        wave,
        secret,
        namespaced: known.namespaced,
        resource: known.resource.clone(),
        file: String::new(),
        line: 0,
    })
}

/// The declared wave; hooks before and after an installation lie around it.
fn wave(fields: &Map<String, Json>) -> Result<i32, AppFailure> {
    let field = "metadata.annotations";
    let Some(text) = annotation(fields, WAVE_ANNOTATION) else {
        let mut hooks = hooks(fields);
        return Ok(match hooks.next() {
            Some(hook) if hook.starts_with("pre-") || hook == "crd-install" => -1,
            Some(hook) if hook.starts_with("post-") => 1,
            _ => 0,
        });
    };
    text.parse::<i32>()
        .ok()
        .filter(|wave| (-WAVE_MAX..=WAVE_MAX).contains(wave))
        .ok_or_else(|| {
            let why = format!(
                "{WAVE_ANNOTATION} must be a whole number from -{WAVE_MAX} to {WAVE_MAX}, in quotes"
            );
            fail("OBJECT_INVALID", field, why)
        })
}

/// The metadata, without what an empty field of a generator leaves behind.
fn metadata(fields: &mut Map<String, Json>) -> Result<&mut Map<String, Json>, AppFailure> {
    let Some(meta) = fields.get_mut("metadata").and_then(Json::as_object_mut) else {
        return Err(fail("OBJECT_INVALID", "metadata", "is missing"));
    };
    meta.retain(|_, value| !value.is_null());
    for (name, why) in [
        (
            "generateName",
            "gives another object at each apply; write a name",
        ),
        ("managedFields", "is the API server's own record"),
        ("ownerReferences", "names a UID, which no other cluster has"),
        ("uid", "is the API server's to give"),
        ("resourceVersion", "is the API server's to give"),
        ("deletionTimestamp", "is the API server's to give"),
        ("selfLink", "is the API server's to give"),
    ] {
        if meta.contains_key(name) {
            return Err(fail("OBJECT_INVALID", &format!("metadata.{name}"), why));
        }
    }
    meta.remove("creationTimestamp");
    meta.remove("generation");
    for name in ["labels", "annotations"] {
        let Some(value) = meta.get(name) else {
            continue;
        };
        let texts = value
            .as_object()
            .is_some_and(|map| map.values().all(Json::is_string));
        if !texts {
            let why = "must be a map of texts; put numbers and true or false in quotes";
            return Err(fail("OBJECT_INVALID", &format!("metadata.{name}"), why));
        }
    }
    Ok(meta)
}

fn label(meta: &mut Map<String, Json>, app: &str) -> Result<(), AppFailure> {
    let labels = meta
        .entry("labels")
        .or_insert_with(|| Json::Object(Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        for (name, value) in [(APP_LABEL, app), (PART_OF, &applyset::id(app))] {
            match labels.get(name).and_then(Json::as_str) {
                Some(other) if other != value => {
                    let why = format!("{name} is set by the hub, to {value}");
                    return Err(fail("PROTECTED_KEY", "metadata.labels", why));
                }
                _ => labels.insert(name.to_owned(), value.into()),
            };
        }
    }
    Ok(())
}

fn allowed(id: &ObjectId, project: Option<&Project>) -> Result<(), AppFailure> {
    let Some(project) = project else {
        return Ok(());
    };
    let kind = KindName::of(&id.group, &id.kind);
    if let Some(kinds) = &project.kinds
        && !kinds.iter().any(|allowed| allowed.as_str() == kind)
    {
        let why = format!("{id}: the project does not allow the kind {kind}");
        return Err(fail("PROJECT_DENIED", "kind", why));
    }
    // A Namespace is judged as if it lay in itself.
    let namespace = if id.group.is_empty() && id.kind == "Namespace" {
        &id.name
    } else {
        &id.namespace
    };
    if let Some(namespaces) = &project.namespaces
        && !(namespaces
            .iter()
            .any(|allowed| allowed.as_str() == namespace)
            || namespace.is_empty() && project.kinds.is_some())
    {
        let why = if namespace.is_empty() {
            format!(
                "{id} belongs to the whole cluster, and the project lists namespaces but no kinds"
            )
        } else {
            format!("{id}: the project does not allow the namespace {namespace}")
        };
        return Err(fail("PROJECT_DENIED", "metadata.namespace", why));
    }
    Ok(())
}

fn protected_keys(fields: &Map<String, Json>) -> Result<(), AppFailure> {
    let meta = fields.get("metadata");
    for name in ["labels", "annotations"] {
        let keys = meta
            .and_then(|meta| meta.get(name))
            .and_then(Json::as_object)
            .into_iter()
            .flat_map(Map::keys);
        for key in keys {
            if PROTECTED_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix))
            {
                let why = format!(
                    "{key} on a Namespace decides what others may do in it; the project must allow it"
                );
                return Err(fail("PROTECTED_KEY", &format!("metadata.{name}"), why));
            }
        }
    }
    let finalizers = |at: Option<&Json>| at.and_then(|at| at.get("finalizers")).is_some();
    if finalizers(meta) || finalizers(fields.get("spec")) {
        let why = "finalizers on a Namespace hold up its deletion; the project must allow them";
        return Err(fail("PROTECTED_KEY", "metadata.finalizers", why));
    }
    Ok(())
}

/// Texts of a Secret become bytes, as the API server would make them; one in plain text in Git is refused.
fn secret_data(fields: &mut Map<String, Json>, context: &Context<'_>) -> Result<(), AppFailure> {
    let encrypted = fields.contains_key(SOPS);
    if encrypted {
        encrypted::open(fields, context.encrypted)?;
    }
    let filled = |name: &str| {
        fields
            .get(name)
            .and_then(Json::as_object)
            .is_some_and(|map| !map.is_empty())
    };
    if context.from_git && !encrypted && (filled("data") || filled("stringData")) {
        let why = "a Secret in plain text stands in Git: refer to a secret store, or encrypt it with SOPS or age";
        return Err(fail("SECRET_IN_GIT", "data", why));
    }
    if fields.contains_key(SOPS) {
        return Ok(());
    }
    let Some(texts) = fields.remove("stringData") else {
        return Ok(());
    };
    let Some(texts) = texts.as_object() else {
        return match texts {
            Json::Null => Ok(()),
            _ => Err(fail(
                "OBJECT_INVALID",
                "stringData",
                "must be a map of texts",
            )),
        };
    };
    let data = fields
        .entry("data")
        .or_insert_with(|| Json::Object(Map::new()));
    if data.is_null() {
        *data = Json::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else {
        return Err(fail("OBJECT_INVALID", "data", "must be a map of texts"));
    };
    for (key, value) in texts {
        // The value is not shown, whatever it is.
        let Some(text) = value.as_str() else {
            return Err(fail(
                "OBJECT_INVALID",
                "stringData",
                "must be a map of texts",
            ));
        };
        data.insert(key.clone(), STANDARD.encode(text).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
