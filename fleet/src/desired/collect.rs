//! Which files of a folder are manifests.
use super::reads::Reads;
use crate::failure::AppFailure;
use crate::load::is_manifest;
use crate::path::RepoPath;
use crate::tree::{SharedTree, Stat, TreeFault};

/// Most files of one plain app.
const PLAIN_FILES_MAX: usize = 20_000;
/// Names of a kustomization's file.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

pub(super) fn has_file(tree: &SharedTree, path: &RepoPath) -> Result<bool, TreeFault> {
    Ok(matches!(tree.stat(path)?, Stat::File { .. }))
}

pub(super) fn is_kustomization(tree: &SharedTree, folder: &RepoPath) -> Result<bool, TreeFault> {
    for name in KUSTOMIZATIONS {
        if has_file(tree, &folder.child(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every manifest below a folder but dot-files, folders with their own kustomization, and what is excepted.
pub(super) fn collect(
    tree: &SharedTree,
    folder: &RepoPath,
    except: &[RepoPath],
    top: bool,
    out: &mut Vec<(String, String)>,
    reads: &mut Reads,
) -> Result<(), AppFailure> {
    if !top && is_kustomization(tree, folder)? {
        return Ok(());
    }
    let listing = tree.list(folder)?;
    if let Some((name, refusal)) = listing.refused.first() {
        let why = format!("{name:?} {refusal}");
        return Err(AppFailure::new(refusal.code(), why).at(folder.to_string(), 0));
    }
    for entry in listing.entries {
        let path = folder.child(&entry.name);
        if entry.name.starts_with('.') || except.contains(&path) {
            continue;
        }
        if !entry.links.is_empty() {
            reads.add(&path, &entry.links);
        }
        match entry.stat {
            Stat::Folder { .. } => collect(tree, &path, except, false, out, reads)?,
            Stat::File { oid, .. } if is_manifest(&entry.name) => {
                out.push((path.as_str().to_owned(), oid));
                if out.len() > PLAIN_FILES_MAX {
                    let why = format!("has more than {PLAIN_FILES_MAX} files");
                    return Err(AppFailure::new("SIZE_LIMIT", why).at(folder.to_string(), 0));
                }
            }
            Stat::File { .. } if entry.name.strip_suffix(".age").is_some_and(is_manifest) => {
                let why = "is encrypted with age as a whole, and what it holds nobody could judge: encrypt its values with SOPS and an age recipient";
                return Err(AppFailure::new("SECRET_ENCRYPTED", why).at(path.to_string(), 0));
            }
            // A manifest that must not be read is not a manifest that is not there.
            Stat::Refused(refusal)
                if is_manifest(&entry.name) || refusal == crate::tree::TreeRefusal::Submodule =>
            {
                let why = format!("{path} {refusal}");
                return Err(AppFailure::new(refusal.code(), why).at(path.to_string(), 0));
            }
            Stat::File { .. } | Stat::Refused(_) | Stat::Absent => {}
        }
    }
    Ok(())
}
