//! The right edge of a growing tree: all that appending needs, in as many hashes as the size has bits set.

use super::merkle::{EMPTY_ROOT, NodeId, node_hash, plan};
use crate::digest::Digest;

/// The complete subtrees that a tree consists of, from the largest to the smallest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Digest>,
}

/// Why hashes or bytes are no frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The bytes are no size followed by whole hashes.
    #[error("{bytes} bytes are no size and hashes")]
    Length {
        /// Bytes given.
        bytes: usize,
    },
    /// Another number of hashes than the size has bits set.
    #[error("a tree of {size} entries consists of {want} complete subtrees, got {got}")]
    NodeCount {
        /// Leaves of the tree.
        size: u64,
        /// Hashes needed.
        want: usize,
        /// Hashes given.
        got: usize,
    },
    /// The tree cannot take another leaf.
    #[error("a tree has 2^64 - 1 entries at most")]
    Full,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose complete subtrees ([`super::merkle::root_nodes`]) have these hashes.
    pub fn from_nodes(size: u64, nodes: Vec<Digest>) -> Result<Self, FrontierError> {
        let want = size.count_ones() as usize;
        if nodes.len() == want {
            Ok(Self { size, nodes })
        } else {
            Err(FrontierError::NodeCount {
                size,
                want,
                got: nodes.len(),
            })
        }
    }

    /// Leaves of the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the complete subtrees, from the largest to the smallest.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }

    /// Appends the leaf with hash `leaf`; its index is the size before.
    pub fn append(&mut self, leaf: Digest) -> Result<(), FrontierError> {
        self.append_with(leaf, |_, _| {})
    }

    /// Appends like [`Frontier::append`] and tells each node that became complete: the leaf first, then those above.
    pub fn append_with(
        &mut self,
        leaf: Digest,
        mut complete: impl FnMut(NodeId, Digest),
    ) -> Result<(), FrontierError> {
        let after = self.size.checked_add(1).ok_or(FrontierError::Full)?;
        let mut node = NodeId {
            level: 0,
            index: self.size,
        };
        let mut hash = leaf;
        complete(node, hash);
        while node.index & 1 == 1
            && let Some(left) = self.nodes.pop()
        {
            hash = node_hash(&left, &hash);
            node = NodeId {
                level: node.level + 1,
                index: node.index >> 1,
            };
            complete(node, hash);
        }
        self.nodes.push(hash);
        self.size = after;
        Ok(())
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        plan::fold(&self.nodes).unwrap_or(EMPTY_ROOT)
    }

    /// The frontier as bytes: the size in 64 bits, big-endian, and the hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.nodes.len());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for node in &self.nodes {
            bytes.extend_from_slice(node.as_bytes());
        }
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let wrong = FrontierError::Length { bytes: bytes.len() };
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or(wrong)?;
        let (hashes, odd) = rest.as_chunks::<32>();
        if !odd.is_empty() {
            return Err(wrong);
        }
        let nodes = hashes.iter().copied().map(Digest::from_bytes).collect();
        Self::from_nodes(u64::from_be_bytes(*size), nodes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::leaf_hash;
    use crate::tlog::merkle::{fold_root, root_nodes};

    fn tree(size: u64) -> (Frontier, std::collections::BTreeMap<NodeId, Digest>) {
        let mut frontier = Frontier::new();
        let mut nodes = std::collections::BTreeMap::new();
        for index in 0..size {
            frontier
                .append_with(leaf_hash(&index.to_be_bytes()), |node, hash| {
                    assert_eq!(nodes.insert(node, hash), None, "told once");
                })
                .unwrap();
        }
        (frontier, nodes)
    }

    /// MTH as RFC 6962 2.1 defines it.
    fn root_by_definition(from: u64, to: u64) -> Digest {
        match to - from {
            0 => EMPTY_ROOT,
            1 => leaf_hash(&from.to_be_bytes()),
            size => {
                let middle = from + size.next_power_of_two() / 2;
                node_hash(
                    &root_by_definition(from, middle),
                    &root_by_definition(middle, to),
                )
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_at_every_size() {
        let mut frontier = Frontier::new();
        for size in 0..300 {
            assert_eq!(frontier.root(), root_by_definition(0, size), "{size}");
            frontier.append(leaf_hash(&size.to_be_bytes())).unwrap();
        }
    }

    #[test]
    fn a_frontier_consists_of_the_nodes_of_the_root() {
        for size in 0..200 {
            let (frontier, nodes) = tree(size);
            let row: Vec<Digest> = root_nodes(size).iter().map(|node| nodes[node]).collect();
            assert_eq!(frontier.nodes(), row);
            assert_eq!(fold_root(size, &row), Ok(frontier.root()));
            assert_eq!(Frontier::from_nodes(size, row), Ok(frontier));
        }
    }

    #[test]
    fn a_full_tree_takes_no_leaf() {
        let mut frontier = Frontier::from_nodes(u64::MAX, vec![EMPTY_ROOT; 64]).unwrap();
        let before = frontier.clone();
        assert_eq!(frontier.append(EMPTY_ROOT), Err(FrontierError::Full));
        assert_eq!(frontier, before);
    }

    #[test]
    fn other_bytes_are_no_frontier() {
        for bytes in [0, 7, 9, 40] {
            assert!(Frontier::from_bytes(&vec![0; bytes]).is_err(), "{bytes}");
        }
        assert_eq!(Frontier::from_bytes(&[0; 8]), Ok(Frontier::new()));
        let (frontier, _) = tree(7);
        let bytes = frontier.to_bytes();
        assert_eq!(
            Frontier::from_bytes(&bytes[..bytes.len() - 1]),
            Err(FrontierError::Length { bytes: 103 })
        );
        assert_eq!(
            Frontier::from_bytes(&bytes[..72]),
            Err(FrontierError::NodeCount {
                size: 7,
                want: 3,
                got: 2
            })
        );
    }

    proptest! {
        #[test]
        fn a_frontier_survives_its_bytes_and_grows_on(size in 0_u64..300, more in 0_u64..20) {
            let (mut frontier, _) = tree(size);
            let mut read = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            for index in 0..more {
                frontier.append(leaf_hash(&index.to_be_bytes())).unwrap();
                read.append(leaf_hash(&index.to_be_bytes())).unwrap();
            }
            prop_assert_eq!(read, frontier);
        }
    }
}
