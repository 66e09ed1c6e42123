//! What is known of renders: by the files that they read, so that a key needs no annotation.
//!
//! A render is a function of its request and of what it read. An entry says both: it is found by the request and holds
//! in every tree that gives the same answers. Plain files are known one by one.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;

use super::Fresh;
use super::reads::Reads;
use super::shelf::{self, Shelf, Shelved};
use super::standing::Standing;
use crate::failure::AppFailure;
use crate::model::{App, Fleet};
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

/// What a render gave, and the paths that decided it; `None` if it may give something else on another day.
pub(super) type Traced = (Result<Arc<RenderedSet>, AppFailure>, Option<Arc<Reads>>);

#[derive(Debug)]
struct Entry {
    trace: Trace,
    reads: Arc<Reads>,
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
    standing: HashMap<String, Arc<Standing>>,
}

impl Inner {
    fn enter(&mut self, key: Key, entry: Entry) {
        if self.traced.len() >= REQUESTS_KEPT {
            self.traced.clear();
        }
        let entries = self.traced.entry(key).or_default();
        if entries.len() >= ENTRIES_KEPT {
            entries.remove(0);
        }
        entries.push(entry);
    }
}

/// The objects that were made of a set, and with what.
#[derive(Debug)]
struct Made {
    set: u64,
    app: App,
    kinds: Digest,
    result: Result<Arc<Vec<Object>>, AppFailure>,
    /// Which of the objects came from which part, by index.
    parts: Origins,
}

/// Objects by the part that they came from, as indexes.
type Origins = HashMap<Part, Vec<usize>>;

/// A part of a set, by its identity: the same part is the same bytes.
#[derive(Debug, Clone)]
struct Part(Arc<Vec<RenderedObject>>);

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Part {}

impl std::hash::Hash for Part {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Made {
    /// The objects of a part that was there before.
    fn of(&self, part: &Part) -> Option<Vec<Object>> {
        let objects = self.result.as_ref().ok()?;
        let indexes = self.parts.get(part)?;
        indexes
            .iter()
            .map(|index| objects.get(*index).cloned())
            .collect()
    }
}

/// What is known of renders, shared by all clusters. Nothing in it can be wrong, only missing.
#[derive(Debug, Clone, Default)]
pub struct RenderCache {
    inner: Arc<Mutex<Inner>>,
    renders: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
    shelf: Option<Arc<dyn Shelf>>,
}

impl RenderCache {
    /// One that also finds what an earlier process put on the shelf.
    #[must_use]
    pub fn with_shelf(shelf: Arc<dyn Shelf>) -> Self {
        Self {
            shelf: Some(shelf),
            ..Self::default()
        }
    }

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
    ) -> Result<Option<(Known, Arc<Reads>)>, FilesFault> {
        self.take_traced(key);
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
                return Ok(Some((entry.known.clone(), Arc::clone(&entry.reads))));
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
    ) -> Traced {
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
                if is_passing(&known) {
                    return (Err(known), None);
                }
                (failure.trace, Known::Failure(Box::new(known)))
            }
        };
        let reads = Arc::new(Reads::of(&trace));
        self.lock().enter(
            key,
            Entry {
                trace,
                reads: Arc::clone(&reads),
                tree: tree.to_owned(),
                known: known.clone(),
            },
        );
        let result = match known {
            Known::Set(set) => Ok(set),
            Known::Failure(failure) => Err(*failure),
        };
        (result, Some(reads))
    }

    /// Which of these plain files nobody has parsed yet.
    pub(super) fn missing(
        &self,
        renderer: &str,
        files: &[(String, String)],
    ) -> Vec<(String, String)> {
        let mut missing: Vec<(String, String)> = {
            let inner = self.lock();
            files
                .iter()
                .filter(|file| !inner.files.contains_key(*file))
                .cloned()
                .collect()
        };
        if let Some(shelf) = &self.shelf {
            missing.retain(|file| {
                let entry = shelf.get(&shelf::file_key(renderer, file));
                let Some(shelved) = entry.and_then(|entry| shelf::decode(&entry)) else {
                    return true;
                };
                let mut inner = self.lock();
                let room = inner.files.len() < FILES_KEPT;
                if room {
                    inner.files.insert(file.clone(), Arc::new(shelved.objects));
                }
                !room
            });
        }
        missing
    }

    /// Finds what an earlier process knew of a request, if this one knows nothing.
    fn take_traced(&self, key: Key) {
        let Some(shelf) = &self.shelf else { return };
        if self.lock().traced.contains_key(&key) {
            return;
        }
        let entry = shelf.get(&shelf::traced_key(&key));
        if let Some(shelved) = entry.and_then(|entry| shelf::decode(&entry)) {
            let set = self.set(
                vec![Arc::new(shelved.objects)],
                shelved.warnings,
                Vec::new(),
            );
            let entry = Entry {
                reads: Arc::new(Reads::of(&shelved.trace)),
                trace: shelved.trace,
                // It holds in no tree until its trace was compared with it.
                tree: String::new(),
                known: Known::Set(set),
            };
            self.lock().enter(key, entry);
        }
    }

    /// Puts on the shelf what `again` knows: a second render gave it that was equal to the first. May block.
    pub(super) fn shelve(&self, again: &Self, renderer: &str) {
        let Some(shelf) = &self.shelf else { return };
        let inner = again.lock();
        let files = inner.files.iter().map(|(file, objects)| {
            let shelved = Shelved {
                trace: Trace::default(),
                warnings: Vec::new(),
                objects: objects.to_vec(),
            };
            (shelf::file_key(renderer, file), shelved)
        });
        let traced = inner.traced.iter().filter_map(|(key, entries)| {
            let entry = entries.last()?;
            let Known::Set(set) = &entry.known else {
                return None;
            };
            let shelved = Shelved {
                trace: entry.trace.clone(),
                warnings: set.warnings.clone(),
                objects: set.objects().cloned().collect(),
            };
            Some((shelf::traced_key(key), shelved))
        });
        let entries: Vec<(Digest, Vec<u8>)> = files
            .chain(traced)
            .filter_map(|(key, shelved)| Some((key, shelf::encode(&shelved)?)))
            .collect();
        drop(inner);
        if !entries.is_empty() {
            shelf.put(entries);
        }
    }

    /// Remembers what was missing and gives all of it.
    ///
    /// # Errors
    /// A fault if a file was forgotten meanwhile, since too many are in use; never less than all of it.
    pub(super) fn plain(
        &self,
        files: &[(String, String)],
        missing: &[(String, String)],
        rendered: Option<Fresh>,
    ) -> Result<Arc<RenderedSet>, AppFailure> {
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
            return Ok(Arc::clone(set));
        }
        let parts = files
            .iter()
            .map(|file| inner.files.get(file).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                let why =
                    format!("more than {FILES_KEPT} plain files are in use; it is tried again");
                AppFailure::new("RENDER_UNAVAILABLE", why).as_fault()
            })?;
        let set = self.set(parts, warnings, workers);
        if inner.plain.len() >= REQUESTS_KEPT {
            inner.plain.clear();
        }
        inner.plain.insert(name, Arc::clone(&set));
        Ok(set)
    }

    /// The objects of a set. Made anew is only what has changed since last time: all of it if what they are made with
    /// is another, else the parts that were not there.
    ///
    /// # Errors
    /// What `make` says of an object, or `OBJECT_TWICE`.
    pub(super) fn objects(
        &self,
        cluster: &str,
        app: &App,
        kinds: Digest,
        set: &RenderedSet,
        make: impl Fn(&RenderedObject) -> Result<Vec<Object>, AppFailure>,
    ) -> Result<Arc<Vec<Object>>, AppFailure> {
        let at = (cluster.to_owned(), app.name.clone());
        let before = {
            let mut inner = self.lock();
            match inner.objects.get(&at) {
                Some(made) if made.app != *app || made.kinds != kinds => None,
                Some(made) if made.set == set.id => return made.result.clone(),
                Some(_) => inner.objects.remove(&at),
                None => None,
            }
        };
        let (result, parts) = match gather(set, before.as_ref(), make) {
            Ok((objects, parts)) => (Ok(Arc::new(objects)), parts),
            Err(failure) => (Err(failure), HashMap::new()),
        };
        let made = Made {
            set: set.id,
            app: app.clone(),
            kinds,
            result: result.clone(),
            parts,
        };
        self.lock().objects.insert(at, made);
        result
    }

    /// Whether a change can matter to what a cluster renders to. If not, all that is known of the older tree is known
    /// of the newer one.
    #[must_use]
    pub fn touched(
        &self,
        cluster: &str,
        fleet: &Arc<Fleet>,
        renderer: &str,
        change: &Change,
    ) -> bool {
        let mut inner = self.lock();
        let Some(standing) = inner.standing.get_mut(cluster).and_then(Arc::get_mut) else {
            return true;
        };
        !(standing.counts(fleet, renderer, change) && standing.outlives(change))
    }

    /// What stood in the tree before the change.
    pub(super) fn standing(
        &self,
        cluster: &str,
        fleet: &Arc<Fleet>,
        renderer: &str,
        change: &Change,
    ) -> Option<Arc<Standing>> {
        self.lock()
            .standing
            .get(cluster)
            .filter(|standing| standing.counts(fleet, renderer, change))
            .cloned()
    }

    /// Remembers what stands now.
    pub(super) fn stands(&self, cluster: &str, standing: Standing) {
        self.lock()
            .standing
            .insert(cluster.to_owned(), Arc::new(standing));
    }
}

/// The objects of all parts by identity, and which part gave which.
fn gather(
    set: &RenderedSet,
    before: Option<&Made>,
    make: impl Fn(&RenderedObject) -> Result<Vec<Object>, AppFailure>,
) -> Result<(Vec<Object>, Origins), AppFailure> {
    let mut objects: BTreeMap<ObjectId, (usize, Object)> = BTreeMap::new();
    for (number, part) in set.parts.iter().enumerate() {
        let known = before.and_then(|made| made.of(&Part(Arc::clone(part))));
        let made = match known {
            Some(known) => known,
            None => {
                let mut made = Vec::new();
                for rendered in part.iter() {
                    made.extend(make(rendered)?);
                }
                made
            }
        };
        for object in made {
            if let Some((_, other)) = objects.get(&object.id) {
                let why = format!(
                    "{} stands twice in one app, also in {}:{}",
                    object.id, other.file, other.line
                );
                return Err(AppFailure::new("OBJECT_TWICE", why).at(&object.file, object.line));
            }
            objects.insert(object.id.clone(), (number, object));
        }
    }
    let mut parts: Origins = set
        .parts
        .iter()
        .map(|part| (Part(Arc::clone(part)), Vec::new()))
        .collect();
    for (index, (number, _)) in objects.values().enumerate() {
        if let Some(indexes) = set
            .parts
            .get(*number)
            .and_then(|part| parts.get_mut(&Part(Arc::clone(part))))
        {
            indexes.push(index);
        }
    }
    let objects = objects.into_values().map(|(_, object)| object).collect();
    Ok((objects, parts))
}

/// Whether a failure may pass by itself: then nothing is concluded from it.
pub(super) fn is_passing(failure: &AppFailure) -> bool {
    failure.fault || is_limit(&failure.code)
}

/// A limit of time or memory may be met on another day.
fn is_limit(code: &str) -> bool {
    matches!(code, "RENDER_TIMEOUT" | "RENDER_MEMORY")
}
