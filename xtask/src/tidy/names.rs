//! How files are called.

use super::Complaint;

/// Names that say nothing: what is in such a file belongs to its noun.
const DRAWERS: [&str; 7] = [
    "util", "utils", "common", "misc", "helper", "helpers", "shared",
];

/// Checks one path of the project.
pub(super) fn check(path: &str) -> Option<Complaint> {
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
    fn drawers_are_refused_and_nouns_are_not() {
        for (path, fine) in [
            ("hub/src/util.rs", false),
            ("hub/src/common/mod.rs", false),
            ("chain/internal/helpers/x.go", false),
            ("hub/src/seal/batch.rs", true),
            ("hub/src/commons.rs", true),
            ("docs/misc.md", true),
        ] {
            assert_eq!(check(path).is_none(), fine, "{path}");
        }
    }
}
