//! What is asked of a worker, and what it gave.
use bytes::Bytes;

use super::trace::Trace;

/// One render. Everything that decides the objects stands here or is read from the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderRequest {
    /// With what, from where.
    pub how: How,
    /// Version of the cluster, `"v1.35.4"` (DECISIONS 12).
    pub kubernetes_version: String,
    /// `"group/version"` and `"group/version/Kind"`, sorted.
    pub api_versions: Vec<String>,
}

/// The engine and its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Files of YAML or JSON, as they are.
    Plain {
        /// Paths in the tree, in order.
        files: Vec<String>,
    },
    /// A folder with a kustomization.
    Kustomize {
        /// Path in the tree.
        folder: String,
    },
    /// A chart.
    Helm(Helm),
}

/// A chart with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helm {
    /// Where the chart is.
    pub chart: Chart,
    /// Later ones win.
    pub values: Vec<Values>,
    /// The app's name (DECISIONS 12).
    pub release_name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Dependencies that were fetched by digest, by file name (`charts/name-1.2.3.tgz`).
    pub dependencies: Vec<(String, Bytes)>,
}

/// Where a chart is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chart {
    /// Unpacked, in the tree.
    Folder(String),
    /// A `.tgz` that was fetched by digest.
    Archive(Bytes),
}

/// Values for a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// A file of the tree.
    File {
        /// Its path.
        path: String,
        /// Whether its absence is fine.
        optional: bool,
    },
    /// A JSON object.
    Inline(serde_json::Map<String, serde_json::Value>),
}

/// What a render gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In the engine's order, which is the same each time.
    pub objects: Vec<RenderedObject>,
    /// What was read.
    pub trace: Trace,
    /// For people; a chart's deprecation, for example.
    pub warnings: Vec<String>,
    /// Which process rendered, so that a second render can be given to another (DECISIONS 13).
    pub worker: WorkerId,
}

/// One object as the engine wrote it; the receiver makes it canonical.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderedObject {
    /// The object.
    pub json: serde_json::Value,
    /// File of the tree, or template of the chart.
    pub file: String,
    /// Line of the document in it, from 1; 0 if unknown.
    pub line: u32,
}

/// Names one worker process within its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub(super) u64);
