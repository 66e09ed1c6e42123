//! Which charts that the fleet's own charts need are not pinned: what `countersign lint` says before a render fails.
//! Offline; the sources of Apps themselves are looked at when the fleet is loaded.
use std::collections::BTreeSet;

use super::dependency;
use super::lock::{LOCK_FILE, LockedDependency};
use crate::mistake::{Mistake, Problem};
use crate::model::{App, Fleet, Render, Source};
use crate::path::RepoPath;
use crate::template::fill;
use crate::tree::{SharedTree, TreeFault};

/// Whether an app's files may be a chart.
pub(super) fn may_be_chart(app: &App) -> bool {
    matches!(app.render, Render::Auto | Render::Helm { .. })
}

/// The fleet's own folders in which an app's chart may lie, on all clusters that it chooses. What can't be filled in is
/// the render's to say.
pub(super) fn folders(fleet: &Fleet, app: &App) -> BTreeSet<RepoPath> {
    let Source::Path(path) = &app.source else {
        return BTreeSet::new();
    };
    if !may_be_chart(app) {
        return BTreeSet::new();
    }
    fleet
        .clusters
        .values()
        .filter(|cluster| app.runs_on(cluster))
        .filter_map(|cluster| RepoPath::parse(&fill(path, cluster).ok()?).ok())
        .collect()
}

/// Every dependency without an entry in the lock file, with its file, line and field; and descriptions of charts that
/// can't be read as such.
///
/// # Errors
/// [`TreeFault`]
pub fn unpinned(tree: &SharedTree, fleet: &Fleet) -> Result<Vec<Mistake>, TreeFault> {
    let folders: BTreeSet<RepoPath> = fleet
        .apps
        .values()
        .flat_map(|app| folders(fleet, app))
        .collect();
    let mut mistakes = Vec::new();
    for folder in folders {
        match dependency::of_folder(tree, &folder)? {
            Ok(all) => mistakes.extend(
                all.iter()
                    .filter_map(|one| Some((one, one.needed.as_ref()?)))
                    .filter(|(_, needed)| fleet.lock.dependency(needed).is_none())
                    .map(|(one, needed)| Mistake {
                        file: folder.child("Chart.yaml"),
                        line: one.line,
                        field: one.field.clone(),
                        problem: Problem::Other(not_pinned(needed)),
                    }),
            ),
            Err(wrong) => mistakes.push(Mistake {
                file: folder.child(wrong.file),
                line: wrong.line,
                field: wrong.field,
                problem: Problem::Other(wrong.why),
            }),
        }
    }
    Ok(mistakes)
}

/// For a person: what is missing and the way out.
pub(crate) fn not_pinned(needed: &LockedDependency) -> String {
    format!(
        "chart {} {} of {} is not pinned in {LOCK_FILE}; run `countersign lock`",
        needed.chart, needed.version, needed.repository
    )
}
