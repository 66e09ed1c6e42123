//! Which admission policies judge a commit (DECISIONS 16). Pure but for reading the tree.
//!
//! The files directly in `policies/` of the tracked ref are in force; folders in it hold their cases and other things.
//! A commit that only adds files is judged by them at once. One that removes or changes a file might weaken it, which nobody can decide by reading: until a person permits the
//! new set by its digest, what was in force and what the commit says both judge, for as many commits as it takes. So no
//! commit lowers its own checks, and neither do two in a row.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_fleet::path::RepoPath;
use countersign_fleet::tree::{ReadError, Stat, Tree, TreeFault};
use countersign_ledger::digest::Digest;

/// Folder of the policies.
pub const FOLDER: &str = "policies";
/// Files in a set.
const FILES_MAX: usize = 1_000;

/// Policy files by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFiles(BTreeMap<String, Bytes>);

/// Why the policies of a commit can't be used; nothing of that commit is sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoliciesError {
    /// The tree's store failed.
    #[error(transparent)]
    Fault(#[from] TreeFault),
    /// A file under `policies/` can't be read; ignoring it would lower the checks.
    #[error("{path}: {problem}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// More than are taken.
    #[error("policies: more than {FILES_MAX} files")]
    TooMany,
}

impl PolicyFiles {
    /// Reads the policies of a tree.
    ///
    /// # Errors
    /// [`PoliciesError`]
    pub fn read(tree: &dyn Tree) -> Result<Self, PoliciesError> {
        let mut files = Self::default();
        let folder = child(&RepoPath::root(), FOLDER)?;
        let listing = tree.list(&folder)?;
        let unread = listing.refused.iter().find(|(name, _)| is_policy(name));
        if let Some((name, refusal)) = unread {
            return Err(PoliciesError::Unreadable {
                path: format!("{folder}/{name}"),
                problem: refusal.to_string(),
            });
        }
        for entry in listing
            .entries
            .iter()
            .filter(|entry| is_policy(&entry.name))
        {
            let path = child(&folder, &entry.name)?;
            match &entry.stat {
                Stat::File { .. } => {
                    let content = tree.read(&path).map_err(|error| match error {
                        ReadError::Fault(fault) => PoliciesError::Fault(fault),
                        other => PoliciesError::Unreadable {
                            path: path.to_string(),
                            problem: other.to_string(),
                        },
                    })?;
                    files.0.insert(path.to_string(), content);
                }
                Stat::Refused(refusal) => {
                    return Err(PoliciesError::Unreadable {
                        path: path.to_string(),
                        problem: refusal.to_string(),
                    });
                }
                Stat::Folder { .. } | Stat::Absent => {}
            }
            if files.0.len() > FILES_MAX {
                return Err(PoliciesError::TooMany);
            }
        }
        Ok(files)
    }

    /// `(path, content)`, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Bytes)> {
        self.0
            .iter()
            .map(|(path, content)| (path.clone(), content.clone()))
            .collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set as one blob: for each file its path and content, each after its length (u32, big-endian).
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        for (path, content) in &self.0 {
            for part in [path.as_bytes(), content.as_ref()] {
                bytes.extend_from_slice(
                    &u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes(),
                );
                bytes.extend_from_slice(part);
            }
        }
        bytes.into()
    }

    /// Reads [`Self::bytes`] back.
    #[must_use]
    pub fn parse(bytes: &Bytes) -> Option<Self> {
        let mut files = BTreeMap::new();
        let mut at = 0;
        let part = |at: &mut usize| {
            let length = bytes.get(*at..*at + 4)?;
            let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
            let part = bytes.get(*at + 4..at.checked_add(4)?.checked_add(length)?)?;
            *at += 4 + length;
            Some(bytes.slice_ref(part))
        };
        while at < bytes.len() {
            let path = String::from_utf8(part(&mut at)?.to_vec()).ok()?;
            files.insert(path, part(&mut at)?);
        }
        Some(Self(files))
    }

    /// Names the set; none if it is empty.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        (!self.is_empty()).then(|| Digest::of(&self.bytes()))
    }

    /// Whether every file of `other` stands here unchanged.
    fn holds(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(path, content)| self.0.get(path) == Some(content))
    }
}

fn child(folder: &RepoPath, name: &str) -> Result<RepoPath, PoliciesError> {
    folder
        .join(name)
        .map_err(|problem| PoliciesError::Unreadable {
            path: format!("{folder}/{name}"),
            problem: problem.to_string(),
        })
}

fn is_policy(name: &str) -> bool {
    !name.starts_with('.')
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// What judges a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judges {
    /// Every set must admit; one or two.
    pub sets: Vec<PolicyFiles>,
    /// What is in force for the next commit.
    pub in_force: PolicyFiles,
    /// The digest of the set that waits for a permit, if any.
    pub permit_needed: Option<Digest>,
    /// The digest of the set that is in force by a permit from this commit on, if any.
    pub permit_used: Option<Digest>,
}

/// Decides what judges a commit that holds `wanted` while `in_force` was in force. `permitted` says whether a person
/// allowed a set by its digest; the empty set has the digest of no bytes.
#[must_use]
pub fn judges(
    in_force: Option<PolicyFiles>,
    wanted: PolicyFiles,
    permitted: impl FnOnce(&Digest) -> bool,
) -> Judges {
    let one = |set: PolicyFiles| Judges {
        sets: vec![set.clone()],
        in_force: set,
        permit_needed: None,
        permit_used: None,
    };
    let Some(before) = in_force else {
        return one(wanted);
    };
    if wanted.holds(&before) {
        return one(wanted);
    }
    let name = Digest::of(&wanted.bytes());
    if permitted(&name) {
        return Judges {
            permit_used: Some(name),
            ..one(wanted)
        };
    }
    // New files count at once and from then on; files that were changed or removed judge as they were, too.
    let mut in_force = before;
    for (path, content) in &wanted.0 {
        in_force
            .0
            .entry(path.clone())
            .or_insert_with(|| content.clone());
    }
    Judges {
        sets: vec![in_force.clone(), wanted],
        in_force,
        permit_needed: Some(name),
        permit_used: None,
    }
}

#[cfg(test)]
mod tests {
    use countersign_fleet::tree::MemoryTree;

    use super::*;

    fn set(files: &[(&str, &str)]) -> PolicyFiles {
        PolicyFiles(
            files
                .iter()
                .map(|(path, content)| {
                    (
                        (*path).to_owned(),
                        Bytes::copy_from_slice(content.as_bytes()),
                    )
                })
                .collect(),
        )
    }

    #[test]
    fn the_files_in_the_folder_itself_are_read_and_survive_their_bytes() {
        let tree = MemoryTree::new([
            ("policies/a.yaml", "a"),
            ("policies/b.json", "b"),
            ("policies/cases/c.yaml", "no"),
            ("policies/README.md", "no"),
            ("policies/.hidden/c.yaml", "no"),
            ("other/d.yaml", "no"),
        ]);
        let read = PolicyFiles::read(&tree).unwrap();
        assert_eq!(
            read,
            set(&[("policies/a.yaml", "a"), ("policies/b.json", "b")])
        );
        assert_eq!(PolicyFiles::parse(&read.bytes()), Some(read.clone()));
        let cut = read.bytes().slice(..5);
        assert_eq!(PolicyFiles::parse(&cut), None);
        assert_eq!(set(&[]).digest(), None);
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_never_skipped() {
        let tree = MemoryTree::new([("policies/a.yaml", "a")])
            .with_link("policies/b.yaml", "../../outside");
        assert!(matches!(
            PolicyFiles::read(&tree),
            Err(PoliciesError::Unreadable { .. })
        ));
    }

    #[test]
    fn added_policies_judge_at_once() {
        let (a, ab) = (set(&[("a", "1")]), set(&[("a", "1"), ("b", "1")]));
        for before in [None, Some(a.clone()), Some(set(&[]))] {
            let judges = judges(before, ab.clone(), |_| false);
            assert_eq!(
                (judges.sets, judges.permit_needed),
                (vec![ab.clone()], None)
            );
        }
    }

    #[test]
    fn a_policy_that_came_with_a_weakening_commit_is_not_lost_in_the_next() {
        let before = set(&[("a", "1")]);
        let first = judges(Some(before), set(&[("b", "1")]), |_| false);
        let second = judges(Some(first.in_force), set(&[]), |_| false);
        assert_eq!(second.in_force, set(&[("a", "1"), ("b", "1")]));
    }

    #[test]
    fn a_removed_or_changed_policy_keeps_judging_until_a_person_permits_the_new_set() {
        let before = set(&[("a", "1"), ("b", "1")]);
        for wanted in [
            set(&[("a", "1")]),
            set(&[("a", "1"), ("b", "weaker")]),
            set(&[]),
        ] {
            let name = Digest::of(&wanted.bytes());
            let first = judges(Some(before.clone()), wanted.clone(), |_| false);
            assert_eq!((first.sets.len(), first.permit_needed), (2, Some(name)));
            let second = judges(Some(first.in_force), wanted.clone(), |_| false);
            assert_eq!(
                second.sets,
                vec![before.clone(), wanted.clone()],
                "also for the commit after"
            );
            let permitted = judges(Some(second.in_force), wanted.clone(), |digest| {
                *digest == name
            });
            assert_eq!(
                (permitted.sets, permitted.permit_needed),
                (vec![wanted], None)
            );
        }
    }
}
