//! One state, rendered again from the own clone and judged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use countersign_fleet::desired::{self, EncryptedSecrets, render_cluster};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::guard::DeletionPermits;
use countersign_fleet::model::Fleet;
use countersign_fleet::reproduce::{self, Difference, Input, Judged, State, Verdict};
use countersign_ledger::statement::{Desired, Source};
use tokio::runtime::Runtime;

use super::clone::{Clone, Missing};
use super::memory::Standing;
use super::salts::Salts;
use crate::exit::Failure;
use crate::local::{Local, Renderer, RendererArgs};

/// What renders.
pub struct Second {
    runtime: Runtime,
    renderer: Renderer,
    clone: Clone,
}

/// A state and what is known of it.
pub struct Case<'a> {
    /// What the sealer said.
    pub desired: &'a Desired,
    /// Its source entry.
    pub source: Option<&'a Source>,
    /// Its content.
    pub sealed: &'a State,
    /// Content of the last reproduced state.
    pub confirmed: &'a State,
    /// Where the cluster stands.
    pub standing: &'a Standing,
    /// Salts of its Secrets.
    pub salts: &'a Salts,
    /// Deletions that people permitted.
    pub permits: &'a DeletionPermits,
}

impl Second {
    /// Starts the renderer. `secrets` says what becomes of Secrets that stand in Git encrypted by SOPS.
    pub fn start(
        args: &RendererArgs,
        secrets: EncryptedSecrets,
        repo: &str,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let clone = Clone::open(repo, folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::Fault(format!("runtime: {error}")))?;
        let mut renderer = runtime.block_on(args.start())?;
        renderer.secrets = secrets;
        Ok(Self {
            runtime,
            renderer,
            clone,
        })
    }

    /// On which it runs.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// What renders here.
    pub fn version(&self) -> String {
        desired::Renderer::version(&self.renderer.renderer)
    }

    /// Renders and judges.
    pub fn judge(&self, case: &Case<'_>) -> Result<Verdict, Failure> {
        let desired = case.desired;
        let local = match self.clone.fleet(&desired.commit) {
            Ok(local) => local,
            Err(Missing::Commit(why)) => return Ok(open("COMMIT_MISSING", why)),
            Err(Missing::Failed(Failure::Fault(why))) => return Ok(open("REPOSITORY", why)),
            Err(Missing::Failed(failure)) => return Err(failure),
        };
        if let Some(source) = case.source
            && self.clone.commit_sha256(&desired.commit) != Some(source.commit_sha256)
        {
            let why = format!(
                "the log's commit {} has other bytes than the clone's",
                desired.commit
            );
            return Ok(open("COMMIT_DIFFERS", why));
        }
        let outcomes = self.runtime.block_on(render_cluster(
            &self.renderer,
            &local.tree,
            &local.fleet,
            &desired.cluster,
            None,
        ));
        let confirmed = case.standing.confirmed.as_ref();
        let last = confirmed.map(|confirmed| confirmed.commit.as_str());
        let first = [self.removals(last)];
        let mut input = Input {
            fleet: &local.fleet,
            cluster: &desired.cluster,
            commit: &desired.commit,
            outcomes: &outcomes,
            sealed: case.sealed,
            confirmed: case.confirmed,
            between: &case.standing.between,
            dropped: &case.standing.dropped,
            removals: &first,
            permits: case.permits,
        };
        let secret = |object: &_, there: Option<&_>| case.salts.content(object, there);
        let verdict = reproduce::judge(&input, secret);
        // Whether an app that is gone deletes was said by a commit that need not have been sealed for this cluster.
        let deletes = |judged: &Judged| {
            let mut all = judged.differences.iter();
            all.any(|difference| matches!(difference, Difference::Deletes(_)))
        };
        if !matches!(&verdict, Verdict::Judged(judged) if deletes(judged)) {
            return Ok(self.by_version(desired, verdict));
        }
        let before = self.clone.before(&desired.commit, last);
        let wider: Vec<BTreeSet<String>> = before.iter().map(|fleet| fleet.removals()).collect();
        let all = [&first[..], &wider].concat();
        input.removals = &all;
        Ok(self.by_version(desired, reproduce::judge(&input, secret)))
    }

    /// Another version may render something else of the same commit: that is nobody's lie.
    fn by_version(&self, desired: &Desired, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Judged(judged) if !judged.agrees() && desired.renderer != self.version() => {
                let why = format!(
                    "it differs ({} here, {} sealed), and was rendered by {}, not by {}",
                    judged.own,
                    judged.sealed,
                    desired.renderer,
                    self.version()
                );
                open("RENDERER_DIFFERS", why)
            }
            other => other,
        }
    }

    fn removals(&self, commit: Option<&str>) -> BTreeSet<String> {
        let fleet: Option<Arc<Fleet>> = commit
            .and_then(|commit| self.clone.fleet(commit).ok())
            .map(|Local { fleet, .. }| fleet);
        fleet.map(|fleet| fleet.removals()).unwrap_or_default()
    }
}

fn open(code: &str, why: String) -> Verdict {
    Verdict::Open(AppFailure::new(code, why).as_fault())
}
