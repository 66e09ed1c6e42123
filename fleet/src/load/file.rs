//! One file → its documents of `countersign.dev/*`, checked along their schemas.
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::document::check::check;
use crate::document::{
    API_VERSION, AppDocument, ClusterDocument, DocumentKind, FleetDocument, GROUP,
    HealthRulesDocument,
};
use crate::mistake::{Mistake, Names, Problem};
use crate::path::RepoPath;
use crate::tree::{ReadError, Stat, Tree, TreeFault};
use crate::yaml::{self, Node};

/// Most documents in one file.
const DOCUMENTS_MAX: usize = 10_000;
/// Files whose documents are remembered.
const FILES_KEPT: usize = 100_000;

/// A document with the lines of its values.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) line: u32,
    pub(super) node: Arc<Node>,
    pub(super) document: T,
}

/// An App with mistakes.
#[derive(Debug, Clone)]
pub(super) struct BrokenApp {
    /// Its name, if that can be read.
    pub(super) name: Option<String>,
    pub(super) mistakes: Vec<Mistake>,
}

/// What one file holds.
#[derive(Debug, Clone, Default)]
pub(super) struct FileDocuments {
    pub(super) apps: Vec<Found<AppDocument>>,
    pub(super) clusters: Vec<Found<ClusterDocument>>,
    pub(super) fleets: Vec<Found<FleetDocument>>,
    pub(super) health: Vec<Found<HealthRulesDocument>>,
    pub(super) broken_apps: Vec<BrokenApp>,
    /// Mistakes in Clusters, Fleets and HealthRules.
    pub(super) broken_other: Vec<Mistake>,
    /// Mistakes that hide whatever else stands in the file.
    pub(super) unreadable: Vec<Mistake>,
    /// All of the above.
    pub(super) mistakes: Vec<Mistake>,
}

impl FileDocuments {
    pub(super) fn is_ours(&self) -> bool {
        !(self.apps.is_empty()
            && self.clusters.is_empty()
            && self.fleets.is_empty()
            && self.health.is_empty()
            && self.broken_apps.is_empty()
            && self.broken_other.is_empty())
    }
}

/// What files hold, by path and content. Grows with the fleet, not with its history.
#[derive(Debug, Default)]
pub struct DocumentCache {
    files: Mutex<HashMap<(RepoPath, String), Arc<FileDocuments>>>,
}

impl DocumentCache {
    pub(super) fn documents(
        &self,
        tree: &dyn Tree,
        stat: &Stat,
        path: &RepoPath,
    ) -> Result<Arc<FileDocuments>, TreeFault> {
        let Stat::File { oid, .. } = stat else {
            return Ok(Arc::default());
        };
        let key = (path.clone(), oid.clone());
        let lock = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let documents = Arc::new(match tree.read(path) {
            Ok(content) => parse(path, &content),
            Err(ReadError::Fault(fault)) => return Err(fault),
            Err(error) => {
                let mistake = whole(path, 0, Problem::Other(error.to_string()));
                FileDocuments {
                    unreadable: vec![mistake.clone()],
                    mistakes: vec![mistake],
                    ..Default::default()
                }
            }
        });
        let mut files = lock();
        if files.len() >= FILES_KEPT {
            files.clear();
        }
        files.insert(key, Arc::clone(&documents));
        Ok(documents)
    }
}

fn whole(path: &RepoPath, line: u32, problem: Problem) -> Mistake {
    Mistake {
        file: path.clone(),
        line,
        field: String::new(),
        problem,
    }
}

/// Whether a text may hold a document of ours: a line that says so. Everything else is the renderer's to read.
fn may_be_ours(content: &[u8]) -> bool {
    let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|part| part == word);
    content.split(|byte| *byte == b'\n').any(|line| {
        line.len() >= API_VERSION.len() && has(line, b"apiVersion") && has(line, GROUP.as_bytes())
    })
}

fn parse(path: &RepoPath, content: &[u8]) -> FileDocuments {
    let mut out = FileDocuments::default();
    if !may_be_ours(content) {
        return out;
    }
    let hidden = |out: &mut FileDocuments, line, problem| {
        let mistake = whole(path, line, problem);
        out.unreadable.push(mistake.clone());
        out.mistakes.push(mistake);
    };
    let Ok(text) = std::str::from_utf8(content) else {
        hidden(&mut out, 0, Problem::NotUtf8);
        return out;
    };
    let nodes = match yaml::parse(text) {
        Ok(nodes) => nodes,
        Err(error) => {
            hidden(&mut out, error.line, Problem::Syntax(error.message));
            return out;
        }
    };
    if nodes.len() > DOCUMENTS_MAX {
        let problem = Problem::TooMany {
            what: "documents in one file",
            max: DOCUMENTS_MAX,
        };
        hidden(&mut out, 0, problem);
        return out;
    }
    for node in nodes {
        document(path, node, &mut out);
    }
    out
}

static SCHEMAS: LazyLock<[(DocumentKind, Json); 4]> =
    LazyLock::new(|| DocumentKind::ALL.map(|kind| (kind, kind.schema())));

fn document(path: &RepoPath, node: Node, out: &mut FileDocuments) {
    let version = node
        .get("apiVersion")
        .and_then(Node::text)
        .unwrap_or_default();
    if version.split('/').next() != Some(GROUP) {
        return;
    }
    let name = node
        .at(&["metadata", "name"])
        .and_then(Node::text)
        .map(str::to_owned);
    let broken_app = |out: &mut FileDocuments, mistakes: Vec<Mistake>| {
        out.mistakes.extend(mistakes.iter().cloned());
        out.broken_apps.push(BrokenApp {
            name: name.clone(),
            mistakes,
        });
    };
    if version != API_VERSION {
        let mut mistake = whole(
            path,
            node.line_of("apiVersion"),
            Problem::UnknownVersion {
                found: version.to_owned(),
            },
        );
        mistake.field = "apiVersion".to_owned();
        return broken_app(out, vec![mistake]);
    }
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let Some((kind, schema)) = SCHEMAS.iter().find(|(known, _)| known.as_str() == kind) else {
        let mut mistake = whole(
            path,
            node.line_of("kind"),
            Problem::UnknownKind {
                found: kind.to_owned(),
                known: Names(
                    DocumentKind::ALL
                        .iter()
                        .map(|kind| kind.as_str().to_owned())
                        .collect(),
                ),
            },
        );
        mistake.field = "kind".to_owned();
        return broken_app(out, vec![mistake]);
    };
    let mistakes = check(schema, &node, path);
    match kind {
        DocumentKind::App => match take::<AppDocument>(path, node, mistakes) {
            Ok(found) => out.apps.push(found),
            Err(mistakes) => broken_app(out, mistakes),
        },
        DocumentKind::Cluster => keep(
            take(path, node, mistakes),
            &mut out.clusters,
            &mut out.broken_other,
            &mut out.mistakes,
        ),
        DocumentKind::Fleet => keep(
            take(path, node, mistakes),
            &mut out.fleets,
            &mut out.broken_other,
            &mut out.mistakes,
        ),
        DocumentKind::HealthRules => keep(
            take(path, node, mistakes),
            &mut out.health,
            &mut out.broken_other,
            &mut out.mistakes,
        ),
    }
}

fn keep<T>(
    taken: Result<Found<T>, Vec<Mistake>>,
    good: &mut Vec<Found<T>>,
    broken: &mut Vec<Mistake>,
    all: &mut Vec<Mistake>,
) {
    match taken {
        Ok(found) => good.push(found),
        Err(mistakes) => {
            broken.extend(mistakes.iter().cloned());
            all.extend(mistakes);
        }
    }
}

fn take<T: DeserializeOwned>(
    path: &RepoPath,
    node: Node,
    mistakes: Vec<Mistake>,
) -> Result<Found<T>, Vec<Mistake>> {
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    match serde_json::from_value(node.json()) {
        Ok(document) => Ok(Found {
            line: node.line,
            node: Arc::new(node),
            document,
        }),
        Err(error) => Err(vec![whole(
            path,
            node.line,
            Problem::Other(error.to_string()),
        )]),
    }
}
