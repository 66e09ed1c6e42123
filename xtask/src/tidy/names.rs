//! How files are called.

use super::Complaint;

/// Names that say nothing: what is in such a file belongs to its noun.
const DRAWERS: [&str; 7] = [
    "util", "utils", "common", "misc", "helper", "helpers", "shared",
];

/// Checks one path of the project.
pub(super) fn check(path: &str) -> Option<Complaint> {
    if path.split('/').any(|part| part == "target") {
        return Some(Complaint::new(
            path,
            0,
            "a build's result; git rm it, and let the build write under the root's target/",
        ));
    }
    let code = [".rs", ".go", ".proto"]
        .iter()
        .any(|ending| path.ends_with(ending));
    if !code {
        return None;
    }
    let drawer = path.split('/').find_map(|part| {
        let stem = part.split('.').next().unwrap_or(part);
        DRAWERS.iter().find(|drawer| **drawer == stem)
    })?;
    Some(Complaint::new(
        path,
        0,
        format!("nothing is called {drawer:?}; a function lives in the file of its noun"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_and_built_files_are_refused_and_nouns_are_not() {
        for (path, fine) in [
            ("hub/src/util.rs", false),
            ("hub/src/common/mod.rs", false),
            ("chain/internal/helpers/x.go", false),
            ("hub/src/seal/batch.rs", true),
            ("hub/src/commons.rs", true),
            ("docs/misc.md", true),
            ("hub/renderer/target/tools/x", false),
        ] {
            assert_eq!(check(path).is_none(), fine, "{path}");
        }
    }
}
