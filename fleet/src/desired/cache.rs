//! What is known of renders: by the files that they read, so that a key needs no annotation.
//!
//! A render is a function of its request and of what it read. An entry says both: it is found by the request and holds
//! in every tree that gives the same answers. Plain files are known one by one.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_ledger::digest::Digest;

use super::Fresh;
use crate::failure::AppFailure;
use crate::model::App;
use crate::object::Object;
use crate::render::{Files, FilesFault, RenderFailure, RenderedObject, Trace, WorkerId};

/// Entries of one request: as many different states of its files are remembered.
const ENTRIES_KEPT: usize = 4;
/// Requests remembered.
const REQUESTS_KEPT: usize = 50_000;
/// Plain files remembered.
const FILES_KEPT: usize = 200_000;

/// Names a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) Digest);

/// What differs between two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Id of the older tree.
    pub from: String,
    /// Id of the newer one.
    pub to: String,
    /// Paths of all files that differ: [`crate::tree::changes::changes`].
    pub paths: BTreeSet<String>,
}

/// What an app rendered to.
#[derive(Debug)]
pub(super) struct RenderedSet {
    id: u64,
    parts: Vec<Arc<Vec<RenderedObject>>>,
    pub(super) warnings: Vec<String>,
    pub(super) workers: Vec<WorkerId>,
}

impl RenderedSet {
    pub(super) fn objects(&self) -> impl Iterator<Item = &RenderedObject> {
        self.parts.iter().flat_map(|part| part.iter())
    }
}

/// A render that is known.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Set(Arc<RenderedSet>),
    Failure(Box<AppFailure>),
}

#[derive(Debug)]
struct Entry {
    trace: Trace,
    /// The newest tree in which it is known to hold.
    tree: String,
    known: Known,
}

#[derive(Debug, Default)]
struct Inner {
    traced: HashMap<Key, Vec<Entry>>,
    files: HashMap<(String, String), Arc<Vec<RenderedObject>>>,
    plain: HashMap<Digest, Arc<RenderedSet>>,
    objects: HashMap<(String, String), Made>,
}

/// The objects that were made of a set, and with what.
#[derive(Debug)]
struct Made {
    set: u64,
    app: App,
    kinds: Digest,
    result: Result<Arc<Vec<Object>>, AppFailure>,
}

/// What is known of renders, shared by all clusters. Nothing in it can be wrong, only missing.
#[derive(Debug, Clone, Default)]
pub struct RenderCache {
    inner: Arc<Mutex<Inner>>,
    renders: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
}

impl RenderCache {
    /// Requests sent to the renderer so far.
    pub fn renders(&self) -> u64 {
        self.renders.load(Ordering::Relaxed)
    }

    /// Plain files parsed and builds made so far.
    pub fn inputs_rendered(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Forgets everything; nothing but time is lost.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    pub(super) fn count(&self, inputs: usize) {
        self.renders.fetch_add(1, Ordering::Relaxed);
        self.files.fetch_add(inputs as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(
        &self,
        parts: Vec<Arc<Vec<RenderedObject>>>,
        warnings: Vec<String>,
        workers: Vec<WorkerId>,
    ) -> Arc<RenderedSet> {
        Arc::new(RenderedSet {
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            parts,
            warnings,
            workers,
        })
    }

    /// What is known of a request in this tree.
    pub(super) fn look_up(
        &self,
        key: Key,
        files: &dyn Files,
        tree: &str,
        change: Option<&Change>,
    ) -> Result<Option<Known>, FilesFault> {
        let mut inner = self.lock();
        let Some(entries) = inner.traced.get_mut(&key) else {
            return Ok(None);
        };
        for entry in entries.iter_mut().rev() {
            let same = !tree.is_empty() && entry.tree == tree;
            let untouched = change.is_some_and(|change| {
                !tree.is_empty()
                    && change.to == tree
                    && change.from == entry.tree
                    && !entry
                        .trace
                        .affected_by(change.paths.iter().map(String::as_str))
            });
            if same || untouched || entry.trace.holds_in(files)? {
                tree.clone_into(&mut entry.tree);
                return Ok(Some(entry.known.clone()));
            }
        }
        Ok(None)
    }

    /// Remembers a traced render. A failure of the environment is not remembered.
    pub(super) fn traced(
        &self,
        key: Key,
        tree: &str,
        rendered: Result<Fresh, RenderFailure>,
    ) -> Result<Arc<RenderedSet>, AppFailure> {
        let (trace, known) = match rendered {
            Ok(rendered) => {
                let set = self.set(
                    vec![Arc::new(rendered.objects)],
                    rendered.warnings,
                    rendered.worker.into_iter().collect(),
                );
                (rendered.trace, Known::Set(set))
            }
            Err(failure) => {
                let known = AppFailure::from(&failure);
                let lasting = !known.fault && !is_limit(&known.code);
                if !lasting {
                    return Err(known);
                }
                (failure.trace, Known::Failure(Box::new(known)))
            }
        };
        let mut inner = self.lock();
        if inner.traced.len() >= REQUESTS_KEPT {
            inner.traced.clear();
        }
        let entries = inner.traced.entry(key).or_default();
        if entries.len() >= ENTRIES_KEPT {
            entries.remove(0);
        }
        entries.push(Entry {
            trace,
            tree: tree.to_owned(),
            known: known.clone(),
        });
        match known {
            Known::Set(set) => Ok(set),
            Known::Failure(failure) => Err(*failure),
        }
    }

    /// Which of these plain files nobody has parsed yet.
    pub(super) fn missing(&self, files: &[(String, String)]) -> Vec<(String, String)> {
        let inner = self.lock();
        files
            .iter()
            .filter(|file| !inner.files.contains_key(*file))
            .cloned()
            .collect()
    }

    /// Remembers what was missing and gives all of it.
    pub(super) fn plain(
        &self,
        files: &[(String, String)],
        missing: &[(String, String)],
        rendered: Option<Fresh>,
    ) -> Arc<RenderedSet> {
        let mut warnings = Vec::new();
        let mut workers = Vec::new();
        let mut by_file: BTreeMap<String, Vec<RenderedObject>> = BTreeMap::new();
        if let Some(rendered) = rendered {
            warnings = rendered.warnings;
            workers.extend(rendered.worker);
            for object in rendered.objects {
                by_file.entry(object.file.clone()).or_default().push(object);
            }
        }
        let names = files
            .iter()
            .flat_map(|(path, oid)| [path.as_bytes(), b"\0", oid.as_bytes(), b"\n"].concat())
            .collect::<Vec<u8>>();
        let name = Digest::of(&names);
        let mut inner = self.lock();
        if inner.files.len() + missing.len() > FILES_KEPT {
            // What this app has stays, or it would be parsed for ever.
            let here: BTreeSet<&(String, String)> = files.iter().collect();
            inner.files.retain(|file, _| here.contains(file));
        }
        for file in missing {
            let objects = by_file.remove(&file.0).unwrap_or_default();
            inner.files.insert(file.clone(), Arc::new(objects));
        }
        if missing.is_empty()
            && let Some(set) = inner.plain.get(&name)
        {
            return Arc::clone(set);
        }
        let parts = files
            .iter()
            .filter_map(|file| inner.files.get(file).cloned())
            .collect();
        let set = self.set(parts, warnings, workers);
        if inner.plain.len() >= REQUESTS_KEPT {
            inner.plain.clear();
        }
        inner.plain.insert(name, Arc::clone(&set));
        set
    }

    /// The objects of a set, made anew only if the set or what they are made with is another than last time.
    pub(super) fn objects(
        &self,
        cluster: &str,
        app: &App,
        kinds: Digest,
        set: &RenderedSet,
        make: impl FnOnce() -> Result<Vec<Object>, AppFailure>,
    ) -> Result<Arc<Vec<Object>>, AppFailure> {
        let at = (cluster.to_owned(), app.name.clone());
        if let Some(made) = self.lock().objects.get(&at)
            && made.set == set.id
            && made.app == *app
            && made.kinds == kinds
        {
            return made.result.clone();
        }
        let result = make().map(Arc::new);
        let made = Made {
            set: set.id,
            app: app.clone(),
            kinds,
            result: result.clone(),
        };
        self.lock().objects.insert(at, made);
        result
    }
}

/// A limit of time or memory may be met on another day.
fn is_limit(code: &str) -> bool {
    matches!(code, "RENDER_TIMEOUT" | "RENDER_MEMORY")
}
