//! Walks from a commit to its ancestors. Pure: parents come through a function.

use std::collections::{HashSet, VecDeque};

use git2::Oid;

use crate::track::refmove::Descent;
use crate::track::trouble::Trouble;

/// Whether `had` is among the ancestors of `tip`; commits that are missing end the walk there.
///
/// # Errors
/// What `parents` fails with.
pub fn descent(
    tip: Oid,
    had: Oid,
    max: usize,
    mut parents: impl FnMut(Oid) -> Result<Option<Vec<Oid>>, Trouble>,
) -> Result<Descent, Trouble> {
    let mut seen = HashSet::from([tip]);
    let mut queue = VecDeque::from([tip]);
    while let Some(commit) = queue.pop_front() {
        if commit == had {
            return Ok(Descent::Descendant);
        }
        if seen.len() > max {
            return Ok(Descent::Unproven);
        }
        for parent in parents(commit)?.unwrap_or_default() {
            if seen.insert(parent) {
                queue.push_back(parent);
            }
        }
    }
    Ok(Descent::Unproven)
}

/// Commits from `tip` back to, and without, those that `known` names; oldest side first. Commits whose parents are
/// neither known nor to be had are listed second.
///
/// # Errors
/// What `parents` fails with.
pub fn new_commits(
    tip: Oid,
    max: usize,
    mut known: impl FnMut(Oid) -> bool,
    mut parents: impl FnMut(Oid) -> Result<Option<Vec<Oid>>, Trouble>,
) -> Result<(Vec<Oid>, Vec<Oid>), Trouble> {
    let mut seen = HashSet::from([tip]);
    let mut queue = VecDeque::from([tip]);
    let (mut found, mut cut) = (Vec::new(), Vec::new());
    while let Some(commit) = queue.pop_front() {
        if known(commit) {
            continue;
        }
        let Some(list) = parents(commit)? else {
            continue;
        };
        found.push(commit);
        let full = seen.len() > max;
        let mut whole = true;
        for parent in list {
            if known(parent) || seen.contains(&parent) {
                continue;
            }
            if full || parents(parent)?.is_none() {
                whole = false;
            } else if seen.insert(parent) {
                queue.push_back(parent);
            }
        }
        if !whole {
            cut.push(commit);
        }
    }
    found.reverse();
    Ok((found, cut))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn oid(byte: u8) -> Oid {
        Oid::from_bytes(&[byte; 20]).unwrap()
    }

    /// 1 ← 2 ← 3 ← 5 and 2 ← 4 ← 5; 9 stands alone; 1's parent 0 is missing.
    fn parents(commit: Oid) -> Result<Option<Vec<Oid>>, Trouble> {
        let graph: HashMap<u8, Vec<u8>> = [
            (1, vec![0]),
            (2, vec![1]),
            (3, vec![2]),
            (4, vec![2]),
            (5, vec![3, 4]),
            (9, vec![]),
        ]
        .into();
        Ok(graph
            .get(&commit.as_bytes()[0])
            .map(|list| list.iter().map(|byte| oid(*byte)).collect()))
    }

    #[test]
    fn descent_is_proven_through_any_parent() {
        for had in [1, 2, 3, 4, 5] {
            assert_eq!(
                descent(oid(5), oid(had), 100, parents).unwrap(),
                Descent::Descendant,
                "{had}"
            );
        }
        assert_eq!(
            descent(oid(9), oid(5), 100, parents).unwrap(),
            Descent::Unproven
        );
        assert_eq!(
            descent(oid(3), oid(5), 100, parents).unwrap(),
            Descent::Unproven,
            "a ref that went back"
        );
        assert_eq!(
            descent(oid(5), oid(1), 1, parents).unwrap(),
            Descent::Unproven,
            "beyond the limit"
        );
    }

    #[test]
    fn only_what_is_new_is_listed_and_where_history_is_cut() {
        let (found, cut) = new_commits(oid(5), 100, |commit| commit == oid(2), parents).unwrap();
        assert_eq!(found.last(), Some(&oid(5)));
        assert_eq!(found.len(), 3);
        assert!(cut.is_empty());
        let (found, cut) = new_commits(oid(5), 100, |_| false, parents).unwrap();
        assert_eq!(found.first(), Some(&oid(1)));
        assert_eq!(cut, vec![oid(1)]);
    }
}
