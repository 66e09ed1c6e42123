//! A tree in memory, for tests and small generated inputs.
use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::TreeFault;
use super::resolve::{Node, Raw};
use crate::path::RepoPath;

/// A tree in memory. Ids are SHA-256 of the bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    nodes: BTreeMap<String, Leaf>,
}

#[derive(Debug, Clone)]
enum Leaf {
    File(Bytes),
    Link(String),
    Submodule,
}

impl MemoryTree {
    /// A tree of these files.
    pub fn new<P: Into<String>, C: Into<Bytes>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let mut tree = Self::default();
        for (path, content) in files {
            tree = tree.with(path, content);
        }
        tree
    }

    /// The same tree with another file.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.nodes.insert(path.into(), Leaf::File(content.into()));
        self
    }

    /// The same tree with another link.
    #[must_use]
    pub fn with_link(mut self, path: impl Into<String>, target: impl Into<String>) -> Self {
        self.nodes.insert(path.into(), Leaf::Link(target.into()));
        self
    }

    /// The same tree with another submodule.
    #[must_use]
    pub fn with_submodule(mut self, path: impl Into<String>) -> Self {
        self.nodes.insert(path.into(), Leaf::Submodule);
        self
    }

    /// The same tree without the file or folder at `path`.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/");
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
        self
    }
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Raw for MemoryTree {
    fn node(&self, path: &RepoPath) -> Result<Node, TreeFault> {
        Ok(match self.nodes.get(path.as_str()) {
            Some(Leaf::File(content)) => Node::File {
                oid: hex(content),
                size: content.len() as u64,
            },
            Some(Leaf::Link(target)) => Node::Link {
                target: Some(target.clone()),
            },
            Some(Leaf::Submodule) => Node::Submodule,
            None => {
                let below = format!("{path}/", path = path.as_str());
                let any = self
                    .nodes
                    .range(below.clone()..)
                    .next()
                    .is_some_and(|(name, _)| name.starts_with(&below));
                if any || path.as_str().is_empty() {
                    Node::Folder { oid: String::new() }
                } else {
                    Node::Absent
                }
            }
        })
    }

    fn names(&self, path: &RepoPath) -> Result<Vec<Result<String, String>>, TreeFault> {
        let prefix = if path.as_str().is_empty() {
            String::new()
        } else {
            format!("{}/", path.as_str())
        };
        let mut names: Vec<String> = self
            .nodes
            .range(prefix.clone()..)
            .map_while(|(name, _)| name.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        Ok(names.into_iter().map(Ok).collect())
    }

    fn bytes(&self, path: &RepoPath) -> Result<Bytes, TreeFault> {
        match self.nodes.get(path.as_str()) {
            Some(Leaf::File(content)) => Ok(content.clone()),
            _ => Err(TreeFault {
                path: path.to_string(),
                why: "no such file".to_owned(),
            }),
        }
    }

    fn id(&self) -> &str {
        ""
    }
}

#[cfg(test)]
mod tests {
    use crate::tree::{ReadError, Stat, Tree, TreeRefusal};

    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text).unwrap()
    }

    fn refused(tree: &MemoryTree, at: &str) -> TreeRefusal {
        match tree.stat(&path(at)).unwrap() {
            Stat::Refused(refusal) => refusal,
            other => panic!("{at}: {other:?}"),
        }
    }

    #[test]
    fn a_link_inside_the_tree_is_followed() {
        let tree = MemoryTree::new([("shared/values.yaml", "a: 1")])
            .with_link("apps/values.yaml", "../shared/values.yaml")
            .with_link("apps/all", "../shared");
        assert_eq!(tree.read(&path("apps/values.yaml")).unwrap(), "a: 1");
        assert_eq!(tree.read(&path("apps/all/values.yaml")).unwrap(), "a: 1");
        let links = tree.links(&path("apps/all/values.yaml")).unwrap();
        assert_eq!(links, vec![path("apps/all"), path("shared/values.yaml")]);
        assert!(tree.links(&path("shared/values.yaml")).unwrap().is_empty());
    }

    #[test]
    fn a_link_out_of_the_tree_is_refused() {
        let tree = MemoryTree::new([("a/x", "")])
            .with_link("a/up", "../../etc/passwd")
            .with_link("a/abs", "/proc/self/environ")
            .with_link("a/chain", "up")
            .with_link("a/git", "../.git/config");
        assert_eq!(refused(&tree, "a/up"), TreeRefusal::LinkEscapes);
        assert_eq!(refused(&tree, "a/abs"), TreeRefusal::LinkEscapes);
        assert_eq!(refused(&tree, "a/chain"), TreeRefusal::LinkEscapes);
        assert_eq!(refused(&tree, "a/git"), TreeRefusal::NameForbidden);
    }

    #[test]
    fn links_that_lead_nowhere_are_refused() {
        let tree = MemoryTree::new([("a/x", "")])
            .with_link("a/self", "self")
            .with_link("a/one", "two")
            .with_link("a/two", "one")
            .with_link("a/none", "nothing");
        assert_eq!(refused(&tree, "a/self"), TreeRefusal::LinkLoop);
        assert_eq!(refused(&tree, "a/one"), TreeRefusal::LinkLoop);
        assert_eq!(refused(&tree, "a/none"), TreeRefusal::LinkDangling);
    }

    #[test]
    fn what_a_fleet_must_not_be_made_of_is_refused() {
        let tree = MemoryTree::new([
            (
                "lfs",
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            ),
            (".GIT/config", "x"),
        ])
        .with("big", vec![b'x'; 4 * 1024 * 1024 + 1])
        .with_submodule("module");
        assert_eq!(refused(&tree, "lfs"), TreeRefusal::LfsPointer);
        assert_eq!(
            refused(&tree, "big"),
            TreeRefusal::FileTooLarge {
                size: 4 * 1024 * 1024 + 1
            }
        );
        assert_eq!(refused(&tree, "module"), TreeRefusal::Submodule);
        assert_eq!(refused(&tree, "module/x"), TreeRefusal::Submodule);
        assert!(matches!(
            tree.read(&path("lfs")),
            Err(ReadError::Refused { .. })
        ));
        let listing = tree.list(&RepoPath::root()).unwrap();
        assert_eq!(
            listing.refused,
            vec![(".GIT".to_owned(), TreeRefusal::NameForbidden)]
        );
    }

    #[test]
    fn nothing_below_a_file() {
        let tree = MemoryTree::new([("a", "x")]);
        assert_eq!(tree.stat(&path("a/b")).unwrap(), Stat::Absent);
        assert_eq!(tree.stat(&path("b")).unwrap(), Stat::Absent);
    }
}
