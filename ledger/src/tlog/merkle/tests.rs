//! Proofs against their definition, against changed ones, and at sizes that no test can build.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest::leaf_hash;
use crate::tlog::Frontier;

fn leaf(index: u64) -> Digest {
    leaf_hash(&index.to_be_bytes())
}

/// A tree as a log stores it: its complete subtrees.
struct Tree {
    nodes: BTreeMap<NodeId, Digest>,
    roots: Vec<Digest>,
}

impl Tree {
    fn new(size: u64) -> Self {
        let mut frontier = Frontier::new();
        let mut nodes = BTreeMap::new();
        let mut roots = vec![frontier.root()];
        for index in 0..size {
            frontier
                .append_with(leaf(index), |node, hash| {
                    nodes.insert(node, hash);
                })
                .unwrap();
            roots.push(frontier.root());
        }
        Self { nodes, roots }
    }

    fn node(&self, node: NodeId) -> Result<Digest, ProofError> {
        Ok(self.nodes[&node])
    }

    fn root(&self, size: u64) -> Digest {
        self.roots[usize::try_from(size).unwrap()]
    }
}

/// MTH(D[from:to]) of RFC 6962, 2.1.
fn mth(from: u64, to: u64) -> Digest {
    match to - from {
        0 => EMPTY_ROOT,
        1 => leaf(from),
        size => {
            let middle = from + size.next_power_of_two() / 2;
            node_hash(&mth(from, middle), &mth(middle, to))
        }
    }
}

/// PATH(m, D[from:to]) of RFC 6962, 2.1.1; `index` counts from the tree's begin.
fn path(index: u64, from: u64, to: u64) -> Vec<Digest> {
    if to - from == 1 {
        return Vec::new();
    }
    let middle = from + (to - from).next_power_of_two() / 2;
    let (mut hashes, other) = if index < middle {
        (path(index, from, middle), mth(middle, to))
    } else {
        (path(index, middle, to), mth(from, middle))
    };
    hashes.push(other);
    hashes
}

/// SUBPROOF(m, D[from:to], b) of RFC 6962, 2.1.2; `old` counts from the tree's begin.
fn subproof(old: u64, from: u64, to: u64, whole: bool) -> Vec<Digest> {
    if old == to {
        return if whole {
            Vec::new()
        } else {
            vec![mth(from, to)]
        };
    }
    let middle = from + (to - from).next_power_of_two() / 2;
    let (mut hashes, other) = if old <= middle {
        (subproof(old, from, middle, whole), mth(middle, to))
    } else {
        (subproof(old, middle, to, false), mth(from, middle))
    };
    hashes.push(other);
    hashes
}

#[test]
fn proofs_are_those_of_the_definition_at_every_size() {
    let tree = Tree::new(34);
    for new in 1..=34 {
        let root = tree.root(new);
        for index in 0..new {
            let proof = inclusion_proof(index, new, |node| tree.node(node)).unwrap();
            assert_eq!(proof, path(index, 0, new), "{index} in {new}");
            assert_eq!(
                verify_inclusion(index, new, &leaf(index), &proof, &root),
                Ok(())
            );
        }
        for old in 1..=new {
            let proof = consistency_proof(old, new, |node| tree.node(node)).unwrap();
            assert_eq!(proof, subproof(old, 0, new, true), "{old} to {new}");
            assert_eq!(
                verify_consistency(old, &tree.root(old), new, &root, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn needed_nodes_are_stored_by_a_tree_of_that_size() {
    let tree = Tree::new(70);
    for size in 0..=70_u64 {
        let stored =
            |node: &NodeId| (node.index + 1) << node.level <= size && tree.nodes.contains_key(node);
        assert!(root_nodes(size).iter().all(stored));
        for other in 0..size {
            assert!(inclusion_nodes(other, size).unwrap().iter().all(stored));
            assert!(consistency_nodes(other, size).unwrap().iter().all(stored));
        }
    }
}

#[test]
fn empty_and_equal_trees_take_the_empty_proof_alone() {
    let tree = Tree::new(5);
    let (root, other) = (tree.root(5), tree.root(4));
    assert_eq!(verify_consistency(0, &EMPTY_ROOT, 5, &root, &[]), Ok(()));
    assert_eq!(
        verify_consistency(0, &EMPTY_ROOT, 0, &EMPTY_ROOT, &[]),
        Ok(())
    );
    assert_eq!(verify_consistency(5, &root, 5, &root, &[]), Ok(()));
    let too_many = Err(ProofError::HashCount { want: 0, got: 1 });
    assert_eq!(
        verify_consistency(0, &EMPTY_ROOT, 5, &root, &[other]),
        too_many
    );
    assert_eq!(verify_consistency(5, &root, 5, &root, &[other]), too_many);
    for (old, old_root, new, new_root) in [
        (0, root, 5, root),
        (0, root, 0, root),
        (5, other, 5, root),
        (5, root, 5, other),
    ] {
        assert!(matches!(
            verify_consistency(old, &old_root, new, &new_root, &[]),
            Err(ProofError::OldRootMismatch { .. })
        ));
    }
}

#[test]
fn what_no_tree_has_is_refused() {
    let root = Tree::new(3).root(3);
    let outside = |index, size| Err(ProofError::IndexOutOfTree { index, size });
    assert_eq!(verify_inclusion(3, 3, &leaf(3), &[], &root), outside(3, 3));
    assert_eq!(
        verify_inclusion(0, 0, &leaf(0), &[], &EMPTY_ROOT),
        outside(0, 0)
    );
    assert_eq!(
        inclusion_nodes(u64::MAX, u64::MAX).map(|_| ()),
        outside(u64::MAX, u64::MAX)
    );
    let shrinks = ProofError::TreeShrinks { old: 4, new: 3 };
    assert_eq!(
        verify_consistency(4, &root, 3, &root, &[]),
        Err(shrinks.clone())
    );
    assert_eq!(consistency_nodes(4, 3), Err(shrinks));
    assert_eq!(
        fold_inclusion(0, 2, &[]),
        Err(ProofError::HashCount { want: 1, got: 0 })
    );
    assert_eq!(
        fold_root(3, &[root]),
        Err(ProofError::HashCount { want: 2, got: 1 })
    );
    assert_eq!(fold_root(0, &[]), Ok(EMPTY_ROOT));
}

/// Every way to change a proof a little.
fn changed(proof: &[Digest], bit: usize) -> Vec<Vec<Digest>> {
    let mut all = Vec::new();
    for place in 0..proof.len() {
        let mut flipped = proof.to_vec();
        let mut bytes = *flipped[place].as_bytes();
        bytes[bit / 8 % 32] ^= 1 << (bit % 8);
        flipped[place] = Digest::from_bytes(bytes);
        all.push(flipped);
        let mut without = proof.to_vec();
        without.remove(place);
        all.push(without);
        if place > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(place, place - 1);
            all.push(swapped);
        }
    }
    let extra = Digest::of(b"extra");
    all.push([proof, &[extra]].concat());
    all.push([&[extra], proof].concat());
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_proof_proves_nothing(new in 1_u64..200, pick in any::<u64>(), bit in 0_usize..256) {
        let tree = Tree::new(new);
        let (index, old) = (pick % new, 1 + pick % new);
        let root = tree.root(new);
        let proof = inclusion_proof(index, new, |node| tree.node(node)).unwrap();
        for wrong in changed(&proof, bit) {
            prop_assert!(verify_inclusion(index, new, &leaf(index), &wrong, &root).is_err());
        }
        prop_assert!(verify_inclusion(index, new, &leaf(new), &proof, &root).is_err());
        prop_assert!(verify_inclusion(index, new, &leaf(index), &proof, &EMPTY_ROOT).is_err());
        for other in (0..new).filter(|other| *other != index) {
            prop_assert!(verify_inclusion(other, new, &leaf(index), &proof, &root).is_err());
        }
        let proof = consistency_proof(old, new, |node| tree.node(node)).unwrap();
        for wrong in changed(&proof, bit) {
            prop_assert!(verify_consistency(old, &tree.root(old), new, &root, &wrong).is_err());
        }
        for other in (0..=new).filter(|other| *other != old) {
            prop_assert!(verify_consistency(other, &tree.root(old), new, &root, &proof).is_err());
            prop_assert!(verify_consistency(old, &tree.root(other), new, &root, &proof).is_err());
        }
    }
}

proptest! {
    #[test]
    fn the_number_of_hashes_is_known_before_the_proof(first in any::<u64>(), second in any::<u64>(), cut in 0_u32..64) {
        let (first, second) = (first >> cut, second >> cut);
        let (low, high) = (first.min(second), first.max(second));
        let nodes = consistency_nodes(low, high).unwrap();
        let proof = fold_consistency(low, high, &vec![EMPTY_ROOT; nodes.len()]).unwrap();
        prop_assert_eq!(proof.len(), plan::consistency_length(low, high));
        prop_assert!(proof.len() <= PROOF_HASHES_MAX || high >> 63 == 1);
        if low < high {
            let nodes = inclusion_nodes(low, high).unwrap();
            let proof = fold_inclusion(low, high, &vec![EMPTY_ROOT; nodes.len()]).unwrap();
            prop_assert_eq!(proof.len(), plan::inclusion_length(low, high));
            prop_assert!(proof.len() <= PROOF_HASHES_MAX || high >> 63 == 1);
        }
        prop_assert_eq!(root_nodes(high).len(), high.count_ones() as usize);
    }

    #[test]
    fn no_proof_of_any_size_makes_the_checks_panic(
        first in any::<u64>(), second in any::<u64>(), cut in 0_u32..64, count in 0_usize..70,
    ) {
        let proof = vec![EMPTY_ROOT; count];
        let (first, second) = (first >> cut, second >> cut);
        let _ = verify_inclusion(first, second, &EMPTY_ROOT, &proof, &EMPTY_ROOT);
        let _ = verify_consistency(first, &EMPTY_ROOT, second, &EMPTY_ROOT, &proof);
    }
}
