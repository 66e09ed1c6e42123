//! What people permitted, in the words of each stage. Pure. What comes in has not been used up; whether it has ended is
//! asked here.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_fleet::api;
use countersign_fleet::guard::DeletionPermits;
use countersign_ledger::digest::Digest;
use countersign_ledger::statement::{Permit, PermitKind};
use jiff::Timestamp;

use crate::track::refmove::RewritePermit;
use crate::track::refname::RefName;

/// What a statement names as the subject of a permit for admission policies. Permits given before there was a kind for
/// it are stored as the deletion of an app of this name; they count as what they were given for.
pub const POLICIES: &str = "policies";

/// Deletions that are permitted at `now`, for [`countersign_fleet::carry`].
#[must_use]
pub fn deletions(given: &[Arc<api::Permit>], now: Timestamp) -> DeletionPermits {
    holding(given, now)
        .filter_map(|permit| deletion(&permit.permit))
        .collect()
}

fn holding(given: &[Arc<api::Permit>], now: Timestamp) -> impl Iterator<Item = &Arc<api::Permit>> {
    given.iter().filter(move |permit| permit.holds(now))
}

fn deletion(kind: &api::PermitKind) -> Option<(String, Digest)> {
    match kind {
        api::PermitKind::Deletion { app, manifest } => Some((app.clone(), manifest.parse().ok()?)),
        api::PermitKind::Rewrite { .. } | api::PermitKind::Policies { .. } => None,
    }
}

/// Sets of admission policies that are permitted at `now`, by their digest.
#[must_use]
pub fn policies(given: &[Arc<api::Permit>], now: Timestamp) -> BTreeSet<Digest> {
    holding(given, now)
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

/// Rewrites of history that are still to come, and until when, for the tracker.
#[must_use]
pub fn rewrites(given: &[Arc<api::Permit>]) -> Vec<(RewritePermit, Option<Timestamp>)> {
    given
        .iter()
        .filter(|permit| !permit.used)
        .filter_map(|permit| Some((rewrite(&permit.permit)?, permit.until)))
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

/// What a statement says of a permit: its kind, its subject and its object.
fn statement(kind: &api::PermitKind) -> Option<(PermitKind, String, String)> {
    if let Some(set) = policy_set(kind) {
        return Some((PermitKind::Policies, POLICIES.to_owned(), set.to_string()));
    }
    if let Some((app, digest)) = deletion(kind) {
        return Some((PermitKind::Deletion, app, digest.to_string()));
    }
    let rewrite = rewrite(kind)?;
    let (name, commit) = (rewrite.name.to_string(), rewrite.commit.to_string());
    Some((PermitKind::Rewrite, name, commit))
}

/// Permits that a statement rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// As it names them.
    pub permits: Vec<Permit>,
    /// Ids of those that people signed: they are used up by it.
    pub signed: BTreeSet<String>,
}

/// Those that a statement names: each act once, by the permit that was given first. A rewrite was followed before, maybe
/// right before its permit ended.
#[must_use]
pub fn used(given: &[Arc<api::Permit>], now: Timestamp, used: &Used<'_>) -> Named {
    let mut named = Named::default();
    for permit in given {
        let holds = permit.holds(now);
        let counts = match &permit.permit {
            kind if policy_set(kind).is_some() => holds && used.policies == policy_set(kind),
            api::PermitKind::Deletion { .. } => {
                holds && deletion(&permit.permit).is_some_and(|it| used.deletions.contains(&it))
            }
            api::PermitKind::Rewrite { .. } => {
                rewrite(&permit.permit).is_some_and(|it| used.rewrites.contains(&it))
            }
            api::PermitKind::Policies { .. } => false,
        };
        if let Some((kind, subject, object)) = statement(&permit.permit).filter(|_| counts) {
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
            if !named.permits.iter().any(known) {
                named.permits.push(said);
                if permit.entry.is_some() {
                    named.signed.insert(permit.id.clone());
                }
            }
        }
    }
    named
}

/// Ids of the signed permits among `given` that `permits` of a sealed statement name.
#[must_use]
pub fn named_in(given: &[Arc<api::Permit>], permits: &[Permit]) -> BTreeSet<String> {
    let signed = given.iter().filter(|permit| permit.entry.is_some());
    let named = signed.filter(|given| {
        permits.iter().any(|said| {
            (&said.by, &said.reason) == (&given.by, &given.reason)
                && statement(&given.permit).is_some_and(|(kind, subject, object)| {
                    (said.permit, &said.subject, &said.object) == (kind, &subject, &object)
                })
        })
    });
    named.map(|permit| permit.id.clone()).collect()
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
            until: None,
            entry: None,
        })
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// The same, signed, until a second after [`NOW`].
    fn signed(permit: api::PermitKind, id: &str) -> Arc<api::Permit> {
        Arc::new(api::Permit {
            id: id.into(),
            until: Timestamp::from_second(1).ok(),
            entry: Some(7),
            ..(*given(permit, "a storm")).clone()
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
        assert_eq!(policies(&all, NOW), BTreeSet::from([set]));
        let rewrites: Vec<_> = rewrites(&all)
            .into_iter()
            .map(|(permit, _)| permit)
            .collect();
        assert_eq!(rewrites.len(), 1);
        let said = used(
            &all,
            NOW,
            &Used {
                deletions: &[("a".into(), digest)],
                rewrites: &rewrites,
                policies: Some(set),
            },
        );
        assert!(said.signed.is_empty(), "nobody signed these");
        let shown: Vec<_> = said
            .permits
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
        assert_eq!(used(&all, NOW, &Used::default()), Named::default());
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

    #[test]
    fn a_signed_permit_allows_until_its_end_and_is_used_by_the_statement_that_names_it() {
        let digest = Digest::of(b"x");
        let deletion = api::PermitKind::Deletion {
            app: "a".into(),
            manifest: digest.to_string(),
        };
        let rewrite = api::PermitKind::Rewrite {
            reference: "refs/heads/main".into(),
            commit: "1".repeat(40),
        };
        let all = [
            signed(deletion.clone(), "first"),
            signed(deletion, "second"),
            signed(rewrite, "third"),
        ];
        let after = Timestamp::from_second(1).unwrap();
        assert_eq!(deletions(&all, NOW).len(), 1);
        assert!(deletions(&all, after).is_empty());
        let rewrites: Vec<_> = rewrites(&all)
            .into_iter()
            .map(|(permit, _)| permit)
            .collect();
        let acts = Used {
            deletions: &[("a".into(), digest)],
            rewrites: &rewrites,
            policies: None,
        };
        let named = used(&all, NOW, &acts);
        let ids: Vec<&str> = named.signed.iter().map(String::as_str).collect();
        assert_eq!(ids, ["first", "third"], "one act uses one permit");
        assert_eq!(named_in(&all[..1], &named.permits).len(), 1);
        assert!(named_in(&all, &[]).is_empty());
        // What was followed while its permit held is named by it, though it has ended since.
        let late = used(&all, after, &acts);
        assert_eq!(late.permits.len(), 1);
        assert_eq!(late.permits[0].permit, PermitKind::Rewrite);
    }
}
