//! What an app rendered to → the objects that are signed. May block: runs on the blocking pool.
use std::sync::Arc;

use countersign_ledger::digest::Digest;

use super::cache::RenderCache;
use super::{AppOutcome, AppSet, EncryptedSecrets};
use crate::kinds::Kinds;
use crate::model::{App, Fleet};
use crate::object::{Context, Encrypted, SOPS, normalise};
use crate::path::RepoPath;
use crate::render::RenderedObject;
use crate::tree::SharedTree;
use crate::yaml::{self, Node};

/// What the objects of a cluster are made with.
pub(super) struct Finish<'a> {
    pub(super) cache: &'a RenderCache,
    pub(super) tree: &'a SharedTree,
    pub(super) fleet: &'a Fleet,
    pub(super) cluster: &'a str,
    pub(super) kinds: &'a Arc<Kinds>,
    /// Names the kinds.
    pub(super) made_with: Digest,
    pub(super) secrets: &'a EncryptedSecrets,
}

impl Finish<'_> {
    /// One app's.
    pub(super) fn app(&self, app: &App, outcome: AppSet) -> AppOutcome {
        let (warnings, workers) = match &outcome.set {
            Ok(set) => (set.warnings.clone(), set.workers.clone()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        let from_git = outcome.from_git;
        let make = |rendered: &RenderedObject| {
            let path = RepoPath::parse(&rendered.file).ok();
            let ours = path
                .as_ref()
                .is_some_and(|path| self.fleet.document_files.contains(path));
            let documents = match &self.secrets {
                EncryptedSecrets::Decrypted(_) if rendered.json.get(SOPS).is_some() => {
                    path.map(|path| self.documents(&path)).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            let context = Context {
                app: &app.name,
                namespace: &app.namespace,
                project: app.project.as_ref(),
                kinds: self.kinds,
                from_git,
                encrypted: match self.secrets {
                    EncryptedSecrets::Shown => Encrypted::Shown,
                    EncryptedSecrets::Refused => Encrypted::Refused,
                    EncryptedSecrets::Decrypted(by) => Encrypted::Decrypted {
                        by: by.as_ref(),
                        documents: &documents,
                    },
                },
                skip_documents: ours,
            };
            normalise(&rendered.json, &rendered.file, rendered.line, &context)
        };
        let result = outcome.set.and_then(|set| {
            self.cache
                .objects(self.cluster, app, self.made_with, &set, make)
        });
        AppOutcome {
            app: app.name.clone(),
            result,
            warnings,
            fresh: outcome.fresh,
            workers,
            kinds: Arc::clone(self.kinds),
        }
    }

    /// A file as it stands in Git, its fields in their order; nothing if it is none of the fleet's.
    fn documents(&self, path: &RepoPath) -> Vec<Node> {
        let content = self.tree.read(path).ok();
        let text = content.and_then(|content| String::from_utf8(content.to_vec()).ok());
        text.and_then(|text| yaml::parse(&text).ok())
            .unwrap_or_default()
    }
}
