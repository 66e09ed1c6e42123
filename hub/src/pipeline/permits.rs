//! What people permitted, in the words of each stage. Pure.

use std::sync::Arc;

use countersign_fleet::api;
use countersign_fleet::guard::DeletionPermits;
use countersign_ledger::digest::Digest;
use countersign_ledger::statement::{Permit, PermitKind};

use crate::track::refmove::RewritePermit;
use crate::track::refname::RefName;

/// Under this name a person permits a set of admission policies that lacks or changes one that was in force.
pub const POLICIES: &str = "policies";

/// Deletions, for [`countersign_fleet::carry`].
#[must_use]
pub fn deletions(given: &[Arc<api::Permit>]) -> DeletionPermits {
    given
        .iter()
        .filter_map(|permit| deletion(&permit.permit))
        .collect()
}

fn deletion(kind: &api::PermitKind) -> Option<(String, Digest)> {
    match kind {
        api::PermitKind::Deletion { app, manifest } => Some((app.clone(), manifest.parse().ok()?)),
        api::PermitKind::Rewrite { .. } => None,
    }
}

/// Rewrites of history, for the tracker.
#[must_use]
pub fn rewrites(given: &[Arc<api::Permit>]) -> Vec<RewritePermit> {
    given
        .iter()
        .filter_map(|permit| rewrite(&permit.permit))
        .collect()
}

fn rewrite(kind: &api::PermitKind) -> Option<RewritePermit> {
    match kind {
        api::PermitKind::Deletion { .. } => None,
        api::PermitKind::Rewrite { reference, commit } => Some(RewritePermit {
            name: RefName::parse(reference).ok()?,
            commit: commit.parse().ok()?,
        }),
    }
}

/// Those that a statement rests on: deletions that were used, and rewrites.
#[must_use]
pub fn used(
    given: &[Arc<api::Permit>],
    deleted: &[(String, Digest)],
    rewritten: &[RewritePermit],
) -> Vec<Permit> {
    let mut permits: Vec<Permit> = Vec::new();
    for permit in given {
        let said = match (deletion(&permit.permit), rewrite(&permit.permit)) {
            (Some(deletion), _) if deleted.contains(&deletion) => Permit {
                permit: PermitKind::Deletion,
                subject: deletion.0,
                object: deletion.1.to_string(),
                by: permit.by.clone(),
                reason: permit.reason.clone(),
            },
            (_, Some(rewrite)) if rewritten.contains(&rewrite) => Permit {
                permit: PermitKind::Rewrite,
                subject: rewrite.name.to_string(),
                object: rewrite.commit.to_string(),
                by: permit.by.clone(),
                reason: permit.reason.clone(),
            },
            (Some(_) | None, Some(_) | None) => continue,
        };
        let known = |had: &Permit| {
            (had.permit, &had.subject, &had.object) == (said.permit, &said.subject, &said.object)
        };
        if !permits.iter().any(known) {
            permits.push(said);
        }
    }
    permits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(permit: api::PermitKind, reason: &str) -> Arc<api::Permit> {
        let (id, by) = ("id".into(), "uid 1000".into());
        Arc::new(api::Permit {
            id,
            permit,
            reason: reason.into(),
            by,
            time: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_statement_names_exactly_the_permits_that_were_used_once_each() {
        let digest = Digest::of(b"x");
        let deletion = |app: &str| api::PermitKind::Deletion {
            app: app.into(),
            manifest: digest.to_string(),
        };
        let rewrite = api::PermitKind::Rewrite {
            reference: "refs/heads/main".into(),
            commit: "1".repeat(40),
        };
        let all = [
            given(deletion("a"), "first"),
            given(deletion("a"), "again"),
            given(deletion("b"), "unused"),
            given(rewrite, "cleaned"),
        ];
        assert_eq!(deletions(&all).len(), 2);
        let rewrites = rewrites(&all);
        assert_eq!(rewrites.len(), 1);
        let said = used(&all, &[("a".into(), digest)], &rewrites);
        let shown: Vec<_> = said
            .iter()
            .map(|permit| (permit.subject.as_str(), permit.reason.as_str()))
            .collect();
        assert_eq!(shown, [("a", "first"), ("refs/heads/main", "cleaned")]);
        assert!(used(&all, &[], &[]).is_empty());
    }
}
