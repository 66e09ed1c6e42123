//! Which paths of a tree decide what an app renders to. Pure.
//!
//! Coarser than a trace and quick to ask: a commit that meets none of them can't change the app. It may say yes for
//! nothing, never no where something did change.
use std::collections::BTreeSet;

use crate::path::RepoPath;
use crate::render::Trace;

/// Paths; what lies below one counts as well, and so does what it lies in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reads {
    paths: BTreeSet<String>,
}

impl Reads {
    /// What a traced render read.
    pub(super) fn of(trace: &Trace) -> Self {
        Self {
            paths: trace.deciding().map(str::to_owned).collect(),
        }
    }

    /// All that lies at a path or below it, and the links that lead to it.
    pub(super) fn add(&mut self, path: &RepoPath, links: &[RepoPath]) {
        self.paths.insert(path.as_str().to_owned());
        self.paths
            .extend(links.iter().map(|link| link.as_str().to_owned()));
    }

    /// Whether a change of the file at `changed` can matter.
    pub(super) fn met_by(&self, changed: &str) -> bool {
        let folders = changed
            .char_indices()
            .filter(|(_, letter)| *letter == '/')
            .filter_map(|(end, _)| changed.get(..end));
        if std::iter::once("")
            .chain(folders)
            .chain(std::iter::once(changed))
            .any(|folder| self.paths.contains(folder))
        {
            return true;
        }
        // What was a file may have been a folder before.
        let below = format!("{changed}/");
        self.paths
            .range(below.clone()..)
            .next()
            .is_some_and(|path| path.starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reads(paths: &[&str]) -> Reads {
        Reads {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn a_path_is_met_at_below_and_above_it() {
        let some = reads(&["apps/web", "values/prod.yaml"]);
        for met in [
            "apps/web",
            "apps/web/a.yaml",
            "apps/web/x/y",
            "apps",
            "values/prod.yaml",
        ] {
            assert!(some.met_by(met), "{met}");
        }
        for other in ["apps/webhook/a.yaml", "values/dev.yaml", "README.md", "app"] {
            assert!(!some.met_by(other), "{other}");
        }
        assert!(reads(&[""]).met_by("anything/at/all"));
        assert!(!reads(&[]).met_by("anything"));
    }

    proptest! {
        #[test]
        fn it_agrees_with_looking_at_every_path(
            paths in prop::collection::btree_set("[ab](/[ab]){0,3}", 0..5),
            changed in "[ab](/[ab]){0,3}",
        ) {
            let within = |path: &str, folder: &str| {
                path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            };
            let plain = paths
                .iter()
                .any(|path| within(path, &changed) || within(&changed, path));
            prop_assert_eq!(Reads { paths }.met_by(&changed), plain);
        }
    }
}
