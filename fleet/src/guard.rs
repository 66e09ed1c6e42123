//! How much a commit may delete without a person's word. Pure.
use std::collections::BTreeSet;

use countersign_ledger::deletion::{self, PERCENT_FROM};
use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;

use crate::document::KindName;
use crate::failure::AppFailure;
use crate::model::PruneLimits;
use crate::permit::deletion_digest;

/// Permits for deletions: app and [`deletion_digest`].
pub type DeletionPermits = BTreeSet<(String, Digest)>;

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Within the limits.
    Allowed,
    /// Above them, and a person allowed exactly this.
    Permitted(Digest),
    /// Above them.
    Refused(Box<AppFailure>),
}

/// Whether an app may lose these objects of the ones that it had.
pub fn deletion(
    cluster: &str,
    app: &str,
    limits: &PruneLimits,
    had: usize,
    lost: &[&ObjectId],
    permits: &DeletionPermits,
) -> Verdict {
    let Some(why) = reason(limits, had, lost) else {
        return Verdict::Allowed;
    };
    let digest = deletion_digest(cluster, app, lost.iter().copied());
    if permits.contains(&(app.to_owned(), digest)) {
        return Verdict::Permitted(digest);
    }
    let code = if lost.len() == had {
        "EMPTY_RENDER"
    } else {
        "DELETION_NEEDS_PERMIT"
    };
    let message =
        format!("{why}; if that is meant: countersign permit deletion {app} --manifest {digest}");
    Verdict::Refused(Box::new(AppFailure {
        permit: digest.to_string(),
        ..AppFailure::new(code, message)
    }))
}

fn reason(limits: &PruneLimits, had: usize, lost: &[&ObjectId]) -> Option<String> {
    if lost.is_empty() {
        return None;
    }
    if let Some(id) = lost.iter().find(|id| is_protected(limits, id)) {
        return Some(format!("{id} would be deleted, whose kind is protected"));
    }
    if lost.len() >= had {
        return Some(format!("all {had} objects that it had would be deleted"));
    }
    if lost.len() > limits.max_objects as usize {
        let max = limits.max_objects;
        return Some(format!(
            "{} objects would be deleted, {max} are allowed",
            lost.len()
        ));
    }
    if had > PERCENT_FROM && lost.len() * 100 > limits.max_percent as usize * had {
        let max = limits.max_percent;
        return Some(format!(
            "{} of its {had} objects would be deleted, {max} % are allowed",
            lost.len()
        ));
    }
    None
}

/// Whether an object of this kind is never deleted without a permit.
pub fn is_protected(limits: &PruneLimits, id: &ObjectId) -> bool {
    let kind = KindName::of(&id.group, &id.kind);
    deletion::is_protected(id) || limits.protected_kinds.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, n: usize) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: "default".into(),
            name: format!("o{n}"),
        }
    }

    fn verdict(had: usize, lost: usize) -> Verdict {
        let ids: Vec<_> = (0..lost).map(|n| id("ConfigMap", n)).collect();
        let lost: Vec<_> = ids.iter().collect();
        deletion(
            "c",
            "a",
            &PruneLimits::default(),
            had,
            &lost,
            &DeletionPermits::new(),
        )
    }

    #[test]
    fn the_limits_are_50_objects_20_percent_of_more_than_20_and_never_all() {
        for (had, lost, allowed) in [
            (10, 0, true),
            (10, 9, true),
            (10, 10, false),
            (1, 1, false),
            (20, 19, true),
            (21, 4, true),
            (21, 5, false),
            (1000, 50, true),
            (1000, 51, false),
            (100, 20, true),
            (100, 21, false),
        ] {
            assert_eq!(
                verdict(had, lost) == Verdict::Allowed,
                allowed,
                "{lost} of {had}"
            );
        }
    }

    #[test]
    fn protected_kinds_need_a_permit_that_names_exactly_them() {
        let limits = PruneLimits::default();
        let claim = id("PersistentVolumeClaim", 1);
        let other = id("PersistentVolumeClaim", 2);
        let ask = |lost: &[&ObjectId], permits: &DeletionPermits| {
            deletion("c", "a", &limits, 10, lost, permits)
        };
        assert!(matches!(
            ask(&[&claim], &DeletionPermits::new()),
            Verdict::Refused(_)
        ));
        let digest = deletion_digest("c", "a", [&claim]);
        let permits = DeletionPermits::from([("a".to_owned(), digest)]);
        assert_eq!(ask(&[&claim], &permits), Verdict::Permitted(digest));
        assert!(matches!(ask(&[&other], &permits), Verdict::Refused(_)));
        assert!(matches!(
            ask(&[&claim, &other], &permits),
            Verdict::Refused(_)
        ));
    }
}
