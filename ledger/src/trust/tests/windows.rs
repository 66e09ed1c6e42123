//! Windows of keys by places in the log.

use std::sync::Arc;

use super::*;
use proptest::prelude::*;

/// A root of `version` whose sealers of prod are those of `seeds`.
fn root_with(version: u64, seeds: &[u8]) -> Arc<VerifiedRoot> {
    let mut document = document(version, &[1], 1);
    document.sealers.insert(
        "prod".into(),
        seeds
            .iter()
            .map(|seed| SealerKey {
                key: key(*seed).public(),
            })
            .collect(),
    );
    Arc::new(parse(&signed(&document, &[1])).unwrap())
}

const PROD: Role<'_> = Role::Sealer("prod");

#[test]
fn threat_cve_2026_54787_a_key_holds_from_the_root_that_lists_it_to_the_one_that_drops_it() {
    let mut windows = Windows::default();
    assert!(windows.is_empty());
    assert_eq!(
        windows.holds(&key(100).public(), PROD, 5),
        Holds::Unrecorded
    );
    windows.push(10, root_with(1, &[100])).unwrap();
    windows.push(20, root_with(2, &[100, 101])).unwrap();
    windows.push(30, root_with(3, &[101])).unwrap();
    windows.push(40, root_with(4, &[102])).unwrap();
    windows.push(50, root_with(5, &[100])).unwrap();
    assert!(!windows.is_empty());
    let holds = |seed, index| windows.holds(&key(seed).public(), PROD, index);
    let dropped = |version, since| Holds::Dropped { version, since };
    assert_eq!(holds(100, 9), Holds::Unrecorded);
    for index in [10, 19, 20, 29] {
        assert_eq!(holds(100, index), Holds::Yes, "{index}");
    }
    assert_eq!(holds(100, 30), dropped(3, 30));
    assert_eq!(holds(100, 49), dropped(3, 30), "the first root without it");
    assert_eq!(holds(100, 50), Holds::Yes, "listed again");
    assert_eq!(holds(101, 19), Holds::NotYet);
    assert_eq!(holds(101, 20), Holds::Yes);
    assert_eq!(holds(101, 40), dropped(4, 40));
    assert_eq!(holds(103, 99), Holds::NotYet);
    assert_eq!(windows.at(9), None);
    let at = |index| {
        windows
            .at(index)
            .map(|(since, root)| (since, root.version()))
    };
    assert_eq!(at(10), Some((10, 1)));
    assert_eq!(at(29), Some((20, 2)));
    assert_eq!(at(u64::MAX), Some((50, 5)));
}

#[test]
fn places_and_versions_only_grow() {
    let mut windows = Windows::default();
    windows.push(10, root_with(2, &[100])).unwrap();
    for (index, version) in [(10, 3), (9, 3), (11, 2), (11, 1)] {
        let refused = windows.push(index, root_with(version, &[100]));
        assert_eq!(refused, Err(OutOfOrder { version, index }));
    }
    assert_eq!(windows.push(11, root_with(4, &[100])), Ok(()));
}

#[test]
fn each_role_has_its_own_keys() {
    let mut document = document(1, &[1], 1);
    document.sealers.insert(
        "dev".into(),
        vec![SealerKey {
            key: key(101).public(),
        }],
    );
    let named = |seed: u8| {
        vec![NamedKey {
            key: key(seed).public(),
            name: "x".into(),
        }]
    };
    document.log = Some(LogTrust {
        vkey: vkey("acme", 30),
        url: None,
    });
    document.agent_cas = vec![RoleKey {
        key: key(31).public(),
    }];
    document.overriders = named(32);
    document.reproducers = named(33);
    document.ci = named(34);
    let root = parse(&signed(&document, &[1])).unwrap();
    for (role, seeds) in [
        (Role::Sealer("prod"), &[100][..]),
        (Role::Sealer("dev"), &[101]),
        (Role::Sealer("other"), &[]),
        (Role::AnySealer, &[101, 100]),
        (Role::Log, &[30]),
        (Role::AgentCa, &[31]),
        (Role::Overrider, &[32]),
        (Role::Reproducer, &[33]),
        (Role::Ci, &[34]),
    ] {
        let want: Vec<PublicKey> = seeds.iter().map(|seed| key(*seed).public()).collect();
        assert_eq!(root.holders(role), want, "{role:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever roots come: a key holds at a place if and only if the newest root there lists it.
    #[test]
    fn a_key_holds_where_the_root_in_effect_lists_it(
        lists in proptest::collection::vec(proptest::collection::btree_set(100..104u8, 1..4), 1..6),
        index in 0..70u64,
        seed in 100..104u8,
    ) {
        let mut windows = Windows::default();
        for (version, list) in (1..).zip(&lists) {
            let seeds: Vec<u8> = list.iter().copied().collect();
            windows.push(version * 10, root_with(version, &seeds)).unwrap();
        }
        let holds = windows.holds(&key(seed).public(), PROD, index);
        let in_effect = usize::try_from(index / 10).unwrap().min(lists.len());
        let before = &lists[..in_effect];
        let want = match before.last() {
            None => Holds::Unrecorded,
            Some(newest) if newest.contains(&seed) => Holds::Yes,
            Some(_) => match before.iter().rposition(|list| list.contains(&seed)) {
                None => Holds::NotYet,
                Some(last) => {
                    let version = last as u64 + 2;
                    Holds::Dropped { version, since: version * 10 }
                }
            },
        };
        prop_assert_eq!(holds, want);
    }
}
