//! What people permitted, in the words of each stage. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::api;
use countersign_fleet::guard::DeletionPermits;
use countersign_ledger::digest::Digest;
use countersign_ledger::statement::{Permit, PermitKind};

use crate::track::refmove::RewritePermit;
use crate::track::refname::RefName;

/// What a statement names as the subject of a permit for admission policies. Permits given before there was a kind for
/// it are stored as the deletion of an app of this name; they count as what they were given for.
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
        api::PermitKind::Rewrite { .. } | api::PermitKind::Policies { .. } => None,
    }
}

/// Sets of admission policies, by their digest.
#[must_use]
pub fn policies(given: &[Arc<api::Permit>]) -> BTreeSet<Digest> {
    given
        .iter()
        .filter_map(|permit| policy_set(&permit.permit))
        .collect()
}

fn policy_set(kind: &api::PermitKind) -> Option<Digest> {
    match kind {
        api::PermitKind::Policies { set } => set.parse().ok(),
        api::PermitKind::Deletion { app, manifest } if app == POLICIES => manifest.parse().ok(),
        api::PermitKind::Deletion { .. } | api::PermitKind::Rewrite { .. } => None,
    }
}

/// Rewrites of history that are still to come, for the tracker.
#[must_use]
pub fn rewrites(given: &[Arc<api::Permit>]) -> Vec<RewritePermit> {
    given
        .iter()
        .filter(|permit| !permit.used)
        .filter_map(|permit| rewrite(&permit.permit))
        .collect()
}

fn rewrite(kind: &api::PermitKind) -> Option<RewritePermit> {
    match kind {
        api::PermitKind::Deletion { .. } | api::PermitKind::Policies { .. } => None,
        api::PermitKind::Rewrite { reference, commit } => Some(RewritePermit {
            name: RefName::parse(reference).ok()?,
            commit: commit.parse().ok()?,
        }),
    }
}

/// What a commit's statements rest on.
#[derive(Debug, Clone, Default)]
pub struct Used<'a> {
    /// Deletions of one cluster, by app and digest.
    pub deletions: &'a [(String, Digest)],
    /// Rewrites that led to the commit.
    pub rewrites: &'a [RewritePermit],
    /// The set of admission policies that came into force.
    pub policies: Option<Digest>,
}

/// Those that a statement names: each act once, by the permit that was given first.
#[must_use]
pub fn used(given: &[Arc<api::Permit>], used: &Used<'_>) -> Vec<Permit> {
    let mut permits: Vec<Permit> = Vec::new();
    for permit in given {
        let said = [
            deletion(&permit.permit)
                .filter(|deletion| used.deletions.contains(deletion))
                .map(|(app, digest)| (PermitKind::Deletion, app, digest.to_string())),
            rewrite(&permit.permit)
                .filter(|rewrite| used.rewrites.contains(rewrite))
                .map(|rewrite| {
                    (
                        PermitKind::Rewrite,
                        rewrite.name.to_string(),
                        rewrite.commit.to_string(),
                    )
                }),
            policy_set(&permit.permit)
                .filter(|set| used.policies == Some(*set))
                .map(|set| (PermitKind::Policies, POLICIES.to_owned(), set.to_string())),
        ];
        for (kind, subject, object) in said.into_iter().flatten() {
            let said = Permit {
                permit: kind,
                subject,
                object,
                by: permit.by.clone(),
                reason: permit.reason.clone(),
            };
            let known = |had: &Permit| {
                (had.permit, &had.subject, &had.object)
                    == (said.permit, &said.subject, &said.object)
            };
            if !permits.iter().any(known) {
                permits.push(said);
            }
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
            used: false,
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
        let set = Digest::of(b"a set");
        let old_form = api::PermitKind::Deletion {
            app: POLICIES.into(),
            manifest: set.to_string(),
        };
        let all = [
            given(deletion("a"), "first"),
            given(deletion("a"), "again"),
            given(deletion("b"), "unused"),
            given(rewrite.clone(), "cleaned"),
            given(old_form, "of before"),
            given(
                api::PermitKind::Policies {
                    set: set.to_string(),
                },
                "looser",
            ),
        ];
        assert_eq!(policies(&all), BTreeSet::from([set]));
        let rewrites = rewrites(&all);
        assert_eq!(rewrites.len(), 1);
        let said = used(
            &all,
            &Used {
                deletions: &[("a".into(), digest)],
                rewrites: &rewrites,
                policies: Some(set),
            },
        );
        let shown: Vec<_> = said
            .iter()
            .map(|permit| {
                (
                    permit.permit,
                    permit.subject.as_str(),
                    permit.reason.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (PermitKind::Deletion, "a", "first"),
                (PermitKind::Rewrite, "refs/heads/main", "cleaned"),
                (PermitKind::Policies, "policies", "of before"),
            ]
        );
        assert!(used(&all, &Used::default()).is_empty());
    }

    #[test]
    fn a_rewrite_that_was_used_is_not_handed_to_the_tracker_again() {
        let rewrite = api::PermitKind::Rewrite {
            reference: "refs/heads/main".into(),
            commit: "1".repeat(40),
        };
        let fresh = given(rewrite, "cleaned");
        let spent = Arc::new(api::Permit {
            used: true,
            ..(*fresh).clone()
        });
        assert_eq!(rewrites(&[fresh]).len(), 1);
        assert_eq!(rewrites(&[spent]).len(), 0);
    }
}
