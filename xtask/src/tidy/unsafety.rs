//! No crate has unsafe code: by the workspace's lints, or, where those do not fit (generated code), by its own word.

use std::collections::BTreeMap;

use anyhow::Context as _;
use toml::{Table, Value};

use super::Complaint;
use crate::sources::Source;

const OWN_WORD: &str = "#![forbid(unsafe_code)]";

/// Checks the manifests, given by their folder, and the roots of crates.
pub(super) fn check(
    manifests: &BTreeMap<&str, &str>,
    sources: &[Source],
) -> anyhow::Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    for (&folder, &text) in manifests {
        let manifest: Table = text
            .parse()
            .with_context(|| format!("{folder}/Cargo.toml"))?;
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(Value::as_bool);
        let root = format!("{folder}/src/lib.rs");
        let own_word = sources
            .iter()
            .any(|source| source.path == root && source.text.contains(OWN_WORD));
        if lints != Some(true) && !own_word {
            let problem = "unsafe code is not forbidden; write `[lints] workspace = true`";
            complaints.push(Complaint::new(format!("{folder}/Cargo.toml"), 0, problem));
        }
    }
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_or_its_own_word_forbid_it() {
        let source = |text: &str| Source {
            path: "proto/src/lib.rs".to_owned(),
            text: text.to_owned(),
        };
        for (manifest, root, fine) in [
            ("[lints]\nworkspace = true", "", true),
            ("", OWN_WORD, true),
            ("", "//! x", false),
            ("[lints]\nworkspace = false", "", false),
        ] {
            let manifests = BTreeMap::from([("proto", manifest)]);
            assert_eq!(
                check(&manifests, &[source(root)]).unwrap().is_empty(),
                fine,
                "{manifest:?} {root:?}"
            );
        }
    }
}
