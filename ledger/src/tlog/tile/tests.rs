//! Tiles by the specification's examples, and against a tree built leaf by leaf.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest::leaf_hash;
use crate::tlog::Frontier;
use crate::tlog::merkle::{consistency_nodes, inclusion_nodes};

fn tile(level: u8, index: u64, width: u16) -> TileId {
    TileId {
        level,
        index,
        width,
    }
}

#[test]
fn paths_are_those_of_the_specification() {
    for (id, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(3, 1_234_067, 256), "tile/3/x001/x234/067"),
        (tile(0, 273, 112), "tile/0/273.p/112"),
        (tile(63, 1_000, 1), "tile/63/x001/000.p/1"),
        (
            tile(0, u64::MAX, 256),
            "tile/0/x018/x446/x744/x073/x709/x551/615",
        ),
    ] {
        assert_eq!(id.path(), path);
        assert_eq!(TileId::parse(path), Ok(id));
        let bundle = BundleId {
            index: id.index,
            width: id.width,
        };
        let path = path.replacen(&format!("tile/{}/", id.level), "tile/entries/", 1);
        assert_eq!(bundle.path(), path);
        assert_eq!(BundleId::parse(&path), Ok(bundle));
    }
}

#[test]
fn another_spelling_is_no_path() {
    use TilePathError::{Index, IndexTooLarge, Level, Prefix, Width};
    for (path, error) in [
        ("", Prefix),
        ("tile", Prefix),
        ("tile/0", Prefix),
        ("/tile/0/000", Prefix),
        ("Tile/0/000", Prefix),
        ("tile/00/000", Level),
        ("tile/+1/000", Level),
        ("tile/64/000", Level),
        ("tile/-1/000", Level),
        ("tile/data/000", Level),
        ("tile/entries/000", Level),
        ("tile//000", Level),
        ("tile/8/0/000", Index),
        ("tile/0/", Index),
        ("tile/0/0", Index),
        ("tile/0/0000", Index),
        ("tile/0/00a", Index),
        ("tile/0/x00", Index),
        ("tile/0/x000", Index),
        ("tile/0/x000/001", Index),
        ("tile/0/001/001", Index),
        ("tile/0/x001/x001", Index),
        ("tile/0/X001/001", Index),
        ("tile/0/x001//001", Index),
        ("tile/0/x001/001/", Index),
        ("tile/0/000/", Index),
        ("tile/0/000.p", Index),
        ("tile/0/000.p1", Index),
        ("tile/0/٠٠٠", Index),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", IndexTooLarge),
        (
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            IndexTooLarge,
        ),
        ("tile/0/000.p/", Width),
        ("tile/0/000.p/0", Width),
        ("tile/0/000.p/256", Width),
        ("tile/0/000.p/01", Width),
        ("tile/0/000.p/+1", Width),
        ("tile/0/000.p/1/", Width),
        ("tile/0/000.p/1.p/1", Width),
    ] {
        assert_eq!(TileId::parse(path), Err(error), "{path}");
    }
    assert_eq!(BundleId::parse("tile/0/000"), Err(Prefix));
    assert_eq!(BundleId::parse("tile/entries/x000/000"), Err(Index));
}

#[test]
fn a_log_of_70_000_entries_has_the_tiles_of_the_specification() {
    let tiles = tiles_for(0, 70_000);
    let of = |level| {
        tiles
            .iter()
            .copied()
            .filter(move |tile| tile.level == level)
    };
    assert_eq!(of(0).filter(TileId::is_full).count(), 273);
    assert_eq!(of(0).last(), Some(tile(0, 273, 112)));
    assert_eq!(of(1).collect::<Vec<_>>(), [tile(1, 0, 256), tile(1, 1, 17)]);
    assert_eq!(of(2).collect::<Vec<_>>(), [tile(2, 0, 1)]);
    assert_eq!(tiles.len(), 277);
    assert_eq!(bundles_for(0, 70_000).len(), 274);
    assert_eq!(tiles_for(0, 256), [tile(0, 0, 256), tile(1, 0, 1)]);
}

#[test]
fn only_what_grew_is_written() {
    assert_eq!(tiles_for(5, 5), []);
    assert_eq!(tiles_for(6, 5), []);
    assert_eq!(bundles_for(5, 5), []);
    assert_eq!(tiles_for(0, 0), []);
    assert_eq!(tiles_for(5, 6), [tile(0, 0, 6)]);
    assert_eq!(tiles_for(255, 256), [tile(0, 0, 256), tile(1, 0, 1)]);
    assert_eq!(tiles_for(256, 257), [tile(0, 1, 1)]);
    assert_eq!(
        bundles_for(255, 257),
        [
            BundleId {
                index: 0,
                width: 256
            },
            BundleId { index: 1, width: 1 }
        ]
    );
    assert_eq!(bundles_for(256, 257), [BundleId { index: 1, width: 1 }]);
}

#[test]
fn the_largest_tree_has_tiles_up_to_the_top() {
    assert_eq!(TileId::at(7, 0, u64::MAX), Some(tile(7, 0, 255)));
    assert_eq!(TileId::at(8, 0, u64::MAX), None);
    let last = (1_u64 << 56) - 1;
    assert_eq!(TileId::at(0, last, u64::MAX), Some(tile(0, last, 255)));
    assert_eq!(TileId::at(0, last + 1, u64::MAX), None);
    assert_eq!(TileId::at(0, u64::MAX, u64::MAX), None);
    assert_eq!(
        BundleId::of(u64::MAX - 1, u64::MAX),
        Some((
            BundleId {
                index: last,
                width: 255
            },
            254
        ))
    );
    assert_eq!(BundleId::of(u64::MAX, u64::MAX), None);
    let top = NodeId {
        level: 63,
        index: 0,
    };
    assert_eq!(TileId::of(top, u64::MAX), Some((tile(7, 0, 255), 0)));
    assert_eq!(
        TileId::of(
            NodeId {
                level: 63,
                index: 1
            },
            u64::MAX
        ),
        None
    );
    assert_eq!(
        TileId::of(
            NodeId {
                level: 200,
                index: 0
            },
            u64::MAX
        ),
        None
    );
}

#[test]
fn other_bytes_are_no_tile() {
    let id = tile(0, 0, 2);
    for got in [0, 32, 63, 65, 96] {
        assert_eq!(
            hashes(&id, &vec![0; got]),
            Err(TileError::Length { want: 64, got })
        );
    }
    let bytes = encode(&[leaf_hash(b"a"), leaf_hash(b"b")]);
    for (level, index) in [(0, 2), (1, 1), (2, 0), (8, 0), (0, 256)] {
        assert_eq!(
            node(NodeId { level, index }, &id, &bytes),
            Err(TileError::NodeOutside { level, index })
        );
    }
}

/// What a log wrote while it grew through `sizes`, as files.
fn written(sizes: &[u64]) -> (BTreeMap<String, Vec<u8>>, Edge, Frontier) {
    let (mut edge, mut frontier) = (Edge::new(), Frontier::new());
    let mut files = BTreeMap::new();
    for size in sizes {
        let wanted: Vec<String> = tiles_for(edge.size(), *size)
            .iter()
            .map(TileId::path)
            .collect();
        let mut new = BTreeMap::new();
        while edge.size() < *size {
            let leaf = leaf_hash(&edge.size().to_be_bytes());
            edge.append(leaf, |tile, hashes| {
                new.insert(tile.path(), encode(hashes));
            })
            .unwrap();
            frontier.append(leaf).unwrap();
        }
        for (tile, hashes) in edge.partial() {
            new.insert(tile.path(), encode(hashes));
        }
        for path in wanted {
            files.insert(path.clone(), new.remove(&path).unwrap());
        }
        // What is left was there before, as it is.
        for (path, bytes) in new {
            assert_eq!(files.get(&path), Some(&bytes), "{path}");
        }
    }
    (files, edge, frontier)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_growing_log_holds_every_node_that_proofs_need(
        steps in prop::collection::vec(prop_oneof![1_u64..4, 200_u64..520], 1..5),
        pick in any::<u64>(),
    ) {
        let sizes: Vec<u64> = steps.iter().scan(0, |size, step| { *size += step; Some(*size) }).collect();
        let (files, edge, frontier) = written(&sizes);
        let size = edge.size();
        prop_assert_eq!(edge.root(), frontier.root());
        prop_assert_eq!(edge.frontier().unwrap(), frontier.clone());
        let (index, old) = (pick % size, pick % size + 1);
        let mut nodes = inclusion_nodes(index, size).unwrap();
        nodes.extend(consistency_nodes(old, size).unwrap());
        nodes.extend(crate::tlog::merkle::root_nodes(size));
        for wanted in nodes {
            let (tile, offset) = TileId::of(wanted, size).unwrap();
            let bytes = &files[&tile.path()];
            let hash = node(wanted, &tile, bytes).unwrap();
            let row = hashes(&tile, bytes).unwrap();
            prop_assert_eq!(hash, root(&row[offset..offset + (1 << (wanted.level % 8))]));
        }
        let rows = Edge::tiles(size)
            .into_iter()
            .map(|tile| tile.map_or(Vec::new(), |tile| hashes(&tile, &files[&tile.path()]).unwrap()))
            .collect();
        prop_assert_eq!(Edge::from_levels(size, rows).unwrap(), edge);
    }
}

proptest! {
    #[test]
    fn a_path_is_read_back(level in 0_u8..64, index in any::<u64>(), cut in 0_u32..64, width in 1_u16..=256) {
        let id = TileId { level, index: index >> cut, width };
        prop_assert_eq!(TileId::parse(&id.path()), Ok(id));
        let bundle = BundleId { index: index >> cut, width };
        prop_assert_eq!(BundleId::parse(&bundle.path()), Ok(bundle));
    }

    #[test]
    fn what_is_read_is_written_the_same(path in "tile/[0-9]{1,2}/(x?[0-9]{3}/?){1,3}(\\.p/[0-9]{1,3})?") {
        if let Ok(id) = TileId::parse(&path) {
            prop_assert_eq!(id.path(), path);
        }
    }
}

#[test]
fn another_row_is_no_edge() {
    let row = vec![EMPTY_ROOT; 3];
    assert_eq!(
        Edge::from_levels(4, vec![row.clone()]),
        Err(EdgeError::Width {
            level: 0,
            size: 4,
            want: 4,
            got: 3
        })
    );
    assert_eq!(
        Edge::from_levels(3, vec![row.clone(), row.clone()]),
        Err(EdgeError::Width {
            level: 1,
            size: 3,
            want: 0,
            got: 3
        })
    );
    assert!(Edge::from_levels(3, vec![row]).is_ok());
    assert_eq!(Edge::from_levels(0, Vec::new()), Ok(Edge::new()));
}
