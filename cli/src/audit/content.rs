//! What stood in the states: manifests, read from blobs and checked by their digests. Of an encrypted Secret only its
//! identity is known.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::manifest::{Content, Line, Section, SectionList};

use super::index::{Asked, Change, Index, IndexError};
use crate::log::{Log, LogError};

/// States after which the index is kept.
const STATES_KEPT: u64 = 512;
/// Images of one object at most.
const IMAGES_MAX: usize = 64;

/// What stood in a state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The index.
    #[error("{0}")]
    Index(#[from] IndexError),
    /// A blob that has the digest of a manifest's part, and is none.
    #[error("manifest {manifest}: {why}")]
    Manifest {
        /// The manifest.
        manifest: String,
        /// Why.
        why: String,
    },
}

/// Lines of a manifest by object; none if its blobs are not there.
pub type Lines = BTreeMap<String, Line>;

fn list(log: &Log<'_>, manifest: &Digest) -> Result<Option<SectionList>, ContentError> {
    let Some(bytes) = log.blob(manifest)? else {
        return Ok(None);
    };
    let list = SectionList::parse(&bytes).map_err(|e| ContentError::Manifest {
        manifest: manifest.to_string(),
        why: e.to_string(),
    })?;
    Ok(Some(list))
}

/// The lines of those sections of a manifest that `wanted` wants; nothing if a blob is missing.
fn lines(
    log: &Log<'_>,
    list: &SectionList,
    wanted: impl Fn(&Digest) -> bool,
) -> Result<Option<Lines>, ContentError> {
    let mut lines = Lines::new();
    for part in list.sections.iter().filter(|part| wanted(&part.digest)) {
        let Some(bytes) = log.blob(&part.digest)? else {
            return Ok(None);
        };
        let section = Section::parse(&part.prefix, &bytes).map_err(|e| ContentError::Manifest {
            manifest: part.digest.to_string(),
            why: e.to_string(),
        })?;
        for line in section.into_lines() {
            lines.insert(line.id().to_string(), line);
        }
    }
    Ok(Some(lines))
}

/// All lines of a manifest.
pub fn manifest(log: &Log<'_>, digest: &Digest) -> Result<Option<Lines>, ContentError> {
    match list(log, digest)? {
        Some(list) => lines(log, &list, |_| true),
        None => Ok(None),
    }
}

/// The word for a line.
pub const fn kind(line: &Line) -> &'static str {
    match line {
        Line::Object(_) => "object",
        Line::Tombstone(_) => "tombstone",
        Line::Orphan(_) => "orphan",
    }
}

/// The digest of a line's content, or empty.
pub fn digest(line: &Line) -> String {
    match line {
        Line::Object(object) => object.content.blob().to_string(),
        Line::Tombstone(_) | Line::Orphan(_) => String::new(),
    }
}

/// The images that an object names, if its content is public and there.
pub fn images(log: &Log<'_>, line: &Line) -> Result<Vec<String>, LogError> {
    let Line::Object(object) = line else {
        return Ok(Vec::new());
    };
    let Content::Plain { sha256 } = object.content else {
        return Ok(Vec::new());
    };
    let Some(bytes) = log.blob(&sha256)? else {
        return Ok(Vec::new());
    };
    let mut images = BTreeSet::new();
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) {
        collect(&value, &mut images);
    }
    Ok(images.into_iter().take(IMAGES_MAX).collect())
}

/// The value of each `image` that stands in a list of containers.
fn collect(value: &serde_json::Value, images: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let containers = matches!(
                    name.as_str(),
                    "containers" | "initContainers" | "ephemeralContainers"
                );
                for container in value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|_| containers)
                {
                    let image = container.get("image").and_then(serde_json::Value::as_str);
                    images.extend(image.map(str::to_owned));
                }
                collect(value, images);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, images)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Reads what changed from state to state into the index, as far as it was not read yet.
pub fn fill(log: &Log<'_>, index: &mut Index, progress: &dyn Fn(u64)) -> Result<(), ContentError> {
    let from = index.content();
    let size = index.progress().size;
    if from >= size {
        return Ok(());
    }
    let states = index.entries(&Asked {
        kinds: &["desired"],
        from,
        to: size,
        ..Asked::default()
    })?;
    let mut before: BTreeMap<String, Option<Digest>> = BTreeMap::new();
    let mut kept = 0;
    index.start()?;
    for held in states.into_iter().filter(|held| held.holds) {
        let row = held.row;
        let had = match before.get(&row.cluster) {
            Some(had) => *had,
            None => {
                let head = index.head(&row.cluster, row.index.min(from))?;
                head.and_then(|head| head.row.subject.parse().ok())
            }
        };
        let now: Option<Digest> = row.subject.parse().ok();
        if let Some(now) = now.filter(|now| had != Some(*now)) {
            let mut change = Change {
                index: row.index,
                cluster: row.cluster.clone(),
                generation: row.generation,
                line: "?".to_owned(),
                object: String::new(),
                app: String::new(),
                commit: row.commit.clone(),
                digest: now.to_string(),
            };
            match difference(log, had.as_ref(), &now)? {
                None => index.add_change(&change)?,
                Some(lines) => {
                    for (object, line) in lines {
                        change.object = object;
                        match &line {
                            Some(line) => {
                                kind(line).clone_into(&mut change.line);
                                line.app().clone_into(&mut change.app);
                                line.commit().clone_into(&mut change.commit);
                                change.digest = digest(line);
                                let new = !change.digest.is_empty()
                                    && !index.knows_content(&change.digest)?;
                                if new {
                                    for image in images(log, line)? {
                                        index.add_image(&change.digest, &image)?;
                                    }
                                }
                            }
                            None => {
                                "gone".clone_into(&mut change.line);
                                change.commit.clone_from(&row.commit);
                                change.app.clear();
                                change.digest.clear();
                            }
                        }
                        index.add_change(&change)?;
                    }
                }
            }
        }
        before.insert(row.cluster, now);
        kept += 1;
        if kept % STATES_KEPT == 0 {
            index.set_content(row.index + 1)?;
            index.commit()?;
            progress(row.index);
            index.start()?;
        }
    }
    index.set_content(size)?;
    index.commit()?;
    Ok(())
}

/// The apps of which something is another in `new` than in `old`; nothing if a blob is missing.
pub fn apps_changed(
    log: &Log<'_>,
    old: Option<&Digest>,
    new: &Digest,
) -> Result<Option<BTreeSet<String>>, ContentError> {
    let changed = difference(log, old, new)?;
    Ok(changed.map(|changed| {
        let lines = changed.into_values().flatten();
        lines.map(|line| line.app().to_owned()).collect()
    }))
}

/// Objects whose line is another in `new` than in `old`, and the new line; nothing if a blob is missing.
fn difference(
    log: &Log<'_>,
    old: Option<&Digest>,
    new: &Digest,
) -> Result<Option<BTreeMap<String, Option<Line>>>, ContentError> {
    let old = match old {
        Some(old) => list(log, old)?,
        None => None,
    };
    let Some(new) = list(log, new)? else {
        return Ok(None);
    };
    let digests = |list: &SectionList| -> BTreeSet<Digest> {
        list.sections.iter().map(|part| part.digest).collect()
    };
    let had = old.as_ref().map(digests).unwrap_or_default();
    let has = digests(&new);
    let before = match &old {
        Some(old) => lines(log, old, |digest| !has.contains(digest))?.unwrap_or_default(),
        None => Lines::new(),
    };
    let Some(after) = lines(log, &new, |digest| !had.contains(digest))? else {
        return Ok(None);
    };
    let mut changed: BTreeMap<String, Option<Line>> = BTreeMap::new();
    for (object, line) in &after {
        if before.get(object) != Some(line) {
            changed.insert(object.clone(), Some(line.clone()));
        }
    }
    for object in before.keys().filter(|object| !after.contains_key(*object)) {
        changed.insert(object.clone(), None);
    }
    Ok(Some(changed))
}
