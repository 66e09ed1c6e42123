//! Apps that left a cluster: why what they had is an orphan, and which of it only waits for a person's word. Pure.
use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::digest::Digest;
use countersign_ledger::identity::ObjectId;
use countersign_ledger::manifest::Line;

use crate::permit::deletion_digest;

/// Why an orphan is one, as its line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanReason {
    /// The App's document is gone.
    AppRemoved,
    /// The App no longer chooses the cluster.
    Unselected,
    /// The App's document is gone and asked for deletion, which is above the limit or of a protected kind.
    RemovalNeedsPermit,
}

impl OrphanReason {
    /// As the line says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppRemoved => "APP_REMOVED",
            Self::Unselected => "UNSELECTED",
            Self::RemovalNeedsPermit => "REMOVAL_NEEDS_PERMIT",
        }
    }
}

/// A removal that asked for deletion and waits for a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The app that is gone.
    pub app: String,
    /// What a person permits: [`deletion_digest`] of all that it left on the cluster.
    pub digest: Digest,
    /// Number of those objects.
    pub objects: usize,
}

/// The removals on a cluster that wait for a permit, by app.
pub fn waiting(cluster: &str, lines: &[Line]) -> Vec<Waiting> {
    let asked: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Orphan(line) if line.reason == OrphanReason::RemovalNeedsPermit.as_str() => {
                Some(line.app.as_str())
            }
            Line::Orphan(_) | Line::Object(_) | Line::Tombstone(_) => None,
        })
        .collect();
    orphans(lines)
        .into_iter()
        .filter(|(app, _)| asked.contains(app.as_str()))
        .map(|(app, ids)| Waiting {
            digest: deletion_digest(cluster, &app, &ids),
            objects: ids.len(),
            app,
        })
        .collect()
}

/// All that each app left behind: one permit deletes all of an app's.
pub(super) fn orphans<'a>(
    lines: impl IntoIterator<Item = &'a Line>,
) -> BTreeMap<String, Vec<ObjectId>> {
    let mut orphans: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
    for line in lines {
        if let Line::Orphan(line) = line {
            let ids = orphans.entry(line.app.clone()).or_default();
            ids.push(line.id.clone());
        }
    }
    orphans
}
