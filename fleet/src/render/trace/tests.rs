use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::render::files::MemoryFiles;

fn traced(files: &MemoryFiles, questions: &[(Query, String)]) -> Trace {
    let mut trace = Trace::default();
    for (query, path) in questions {
        let seen = look(files, *query, path).unwrap();
        trace.record(*query, path, seen);
    }
    trace
}

#[test]
fn a_file_that_was_read_affects_and_its_neighbour_does_not() {
    let files = MemoryFiles::new([("a/x.yaml", "1"), ("a/y.yaml", "2")]);
    let trace = traced(&files, &[(Query::Read, "a/x.yaml".to_owned())]);
    assert!(trace.affected_by(["a/x.yaml"]));
    assert!(!trace.affected_by(["a/y.yaml", "a/x.yaml2", "b"]));
}

#[test]
fn a_file_that_was_looked_for_in_vain_affects_when_it_appears() {
    let files = MemoryFiles::new([("a/x.yaml", "1")]);
    let trace = traced(&files, &[(Query::Stat, "a/kustomization.yml".to_owned())]);
    assert!(trace.affected_by(["a/kustomization.yml"]));
    assert!(trace.affected_by(["a/kustomization.yml/now-a-folder"]));
}

#[test]
fn a_link_on_the_way_affects() {
    let mut trace = Trace::default();
    trace.record(Query::Read, "a/link/x", Seen::File("1".to_owned()));
    trace.record_link("b/target/x");
    assert!(trace.affected_by(["b/target/x"]));
    assert!(trace.affected_by(["a/link"]));
}

fn tree() -> impl Strategy<Value = BTreeMap<String, u8>> {
    proptest::collection::btree_map("[ab](/[ab]){0,2}", 0u8..3, 0..6).prop_map(|files| {
        // No path may be both a file and a folder.
        let names: Vec<String> = files.keys().cloned().collect();
        files
            .into_iter()
            .filter(|(path, _)| {
                !names
                    .iter()
                    .any(|other| other != path && within(other, path))
            })
            .collect()
    })
}

fn memory(files: &BTreeMap<String, u8>) -> MemoryFiles {
    MemoryFiles::new(
        files
            .iter()
            .map(|(path, content)| (path.clone(), vec![*content])),
    )
}

fn question() -> impl Strategy<Value = (Query, String)> {
    (
        prop_oneof![Just(Query::Stat), Just(Query::Read), Just(Query::List)],
        "([ab](/[ab]){0,2})?",
    )
}

proptest! {
    #[test]
    fn no_change_that_alters_an_answer_is_missed(
        old in tree(),
        new in tree(),
        questions in proptest::collection::vec(question(), 1..5),
    ) {
        let trace = traced(&memory(&old), &questions);
        let changed: BTreeSet<&str> = old
            .keys()
            .chain(new.keys())
            .filter(|path| old.get(*path) != new.get(*path))
            .map(String::as_str)
            .collect();
        let holds = trace.holds_in(&memory(&new)).unwrap();
        prop_assert!(holds || trace.affected_by(changed));
    }
}
