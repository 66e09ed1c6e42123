//! Which files differ between two trees.
use std::collections::BTreeSet;

use git2::{Delta, DiffOptions, Oid};

use super::TreeFault;
use super::git::GitStore;

/// Paths of all files that were added, removed or changed between two trees of a repository; `None` is the empty tree.
/// A path that is not UTF-8 is given as the folder that it lies in.
///
/// # Errors
/// [`TreeFault`] if the repository can't answer.
pub fn changes(
    store: &GitStore,
    old: Option<Oid>,
    new: Oid,
) -> Result<BTreeSet<String>, TreeFault> {
    if old == Some(new) {
        return Ok(BTreeSet::new());
    }
    store
        .with_repository(|repository| {
            let old = old.map(|id| repository.find_tree(id)).transpose()?;
            let new = repository.find_tree(new)?;
            let mut options = DiffOptions::new();
            options.include_typechange(true).skip_binary_check(true);
            let diff =
                repository.diff_tree_to_tree(old.as_ref(), Some(&new), Some(&mut options))?;
            let mut paths = BTreeSet::new();
            for delta in diff.deltas() {
                if delta.status() == Delta::Unmodified {
                    continue;
                }
                for file in [delta.old_file(), delta.new_file()] {
                    if let Some(bytes) = file.path_bytes() {
                        paths.insert(utf8_part(bytes));
                    }
                }
            }
            Ok(paths)
        })
        .map_err(|error: git2::Error| TreeFault {
            path: new.to_string(),
            why: error.message().to_owned(),
        })
}

fn utf8_part(path: &[u8]) -> String {
    let valid = match std::str::from_utf8(path) {
        Ok(text) => return text.to_owned(),
        Err(error) => path.get(..error.valid_up_to()).unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(valid);
    text.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_utf8_becomes_its_folder() {
        assert_eq!(utf8_part(b"a/b/\xff.yaml"), "a/b");
        assert_eq!(utf8_part(b"\xff/b"), "");
        assert_eq!(utf8_part(b"a/b"), "a/b");
    }
}
