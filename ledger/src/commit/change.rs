//! What a commit changes against its first parent, and what a merge of the forge may hold. Folders of one id are equal
//! and never opened; a folder that the signer may change altogether isn't either.

use std::collections::BTreeMap;

use super::limits::TREE_DEPTH_MAX;
use super::oid::Oid;
use super::paths::{Paths, escaped};
use super::reader::{Content, Reader};
use super::refusal::AuthorRefusal;
use super::source::Objects;
use super::tree::Mode;

/// The first path that differs between two trees and is not covered.
pub(super) fn uncovered<O: Objects>(
    reader: &mut Reader<O>,
    paths: &Paths,
    old: Option<Oid>,
    new: Oid,
) -> Result<Option<String>, AuthorRefusal> {
    step(reader, paths, [old, Some(new)], &mut Vec::new(), 0)
}

fn step<O: Objects>(
    reader: &mut Reader<O>,
    paths: &Paths,
    trees: [Option<Oid>; 2],
    folder: &mut Vec<u8>,
    depth: usize,
) -> Result<Option<String>, AuthorRefusal> {
    if trees[0] == trees[1] || paths.cover_folder(folder) {
        return Ok(None);
    }
    for (name, [old, new]) in side_by_side(reader, trees, folder, depth)? {
        if old == new {
            continue;
        }
        let length = folder.len();
        folder.extend_from_slice(&name);
        if leaf(old) != leaf(new) && !paths.cover_file(folder) {
            return Ok(Some(escaped(folder)));
        }
        folder.push(b'/');
        let below = step(reader, paths, [below(old), below(new)], folder, depth + 1)?;
        folder.truncate(length);
        if below.is_some() {
            return Ok(below);
        }
    }
    Ok(None)
}

/// The trees of a merge: its first parent's, its second parent's, that of the commit where they parted, its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    pub(super) ours: Oid,
    pub(super) theirs: Oid,
    pub(super) base: Oid,
    pub(super) merged: Oid,
}

/// The first path of a merge that is neither as in its first parent, nor as in its second where the first has not changed
/// it since they parted. Then no line of it was written by the merge.
pub(super) fn unclean<O: Objects>(
    reader: &mut Reader<O>,
    merge: Merge,
) -> Result<Option<String>, AuthorRefusal> {
    let trees = [merge.ours, merge.theirs, merge.base, merge.merged].map(Some);
    if clean(&trees) {
        return Ok(None);
    }
    merged(reader, trees, &mut Vec::new(), 0)
}

fn merged<O: Objects>(
    reader: &mut Reader<O>,
    trees: [Option<Oid>; 4],
    folder: &mut Vec<u8>,
    depth: usize,
) -> Result<Option<String>, AuthorRefusal> {
    for (name, contents) in side_by_side(reader, trees, folder, depth)? {
        if clean(&contents) {
            continue;
        }
        let length = folder.len();
        folder.extend_from_slice(&name);
        if contents.iter().any(|content| leaf(*content).is_some()) {
            return Ok(Some(escaped(folder)));
        }
        folder.push(b'/');
        let found = merged(reader, contents.map(below), folder, depth + 1)?;
        folder.truncate(length);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn clean<T: PartialEq>([ours, theirs, base, merged]: &[T; 4]) -> bool {
    merged == ours || (merged == theirs && ours == base)
}

/// The entries of folders, by name.
fn side_by_side<O: Objects, const N: usize>(
    reader: &mut Reader<O>,
    trees: [Option<Oid>; N],
    path: &[u8],
    depth: usize,
) -> Result<BTreeMap<Vec<u8>, [Option<Content>; N]>, AuthorRefusal> {
    if depth > TREE_DEPTH_MAX {
        return Err(AuthorRefusal::Malformed {
            object: escaped(path),
            defect: "folders nested too deeply",
        });
    }
    let mut found: BTreeMap<Vec<u8>, [Option<Content>; N]> = BTreeMap::new();
    for (at, tree) in trees.into_iter().enumerate() {
        for (name, content) in reader.folder(tree, path)? {
            found.entry(name).or_insert([None; N])[at] = Some(content);
        }
    }
    Ok(found)
}

fn leaf(content: Option<Content>) -> Option<Content> {
    content.filter(|(mode, _)| *mode != Mode::Folder)
}

fn below(content: Option<Content>) -> Option<Oid> {
    content
        .filter(|(mode, _)| *mode == Mode::Folder)
        .map(|(_, id)| id)
}
