//! Random histories against a judge that is slow and simple.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::commit::Oid;

#[derive(Debug, Clone)]
struct Step {
    parents: (usize, Option<usize>),
    file: usize,
    content: u8,
    signer: usize,
    /// Its committer's clock goes wrong by so much.
    skew: i64,
}

const FILES: [&str; 3] = ["a/x", "b/x", "c"];

fn step() -> impl Strategy<Value = Step> {
    (
        (
            any::<usize>(),
            proptest::option::weighted(0.4, any::<usize>()),
        ),
        0..3_usize,
        1..4_u8,
        proptest::sample::select(vec![0_usize, 0, 0, 0, 1, 2, 3]),
        proptest::sample::select(vec![0_i64, 0, 0, -5_000, 5_000]),
    )
        .prop_map(|(parents, file, content, signer, skew)| Step {
            parents,
            file,
            content,
            signer,
            skew,
        })
}

/// What the walk promises, by whole sets.
fn simple(commits: &[(Oid, Vec<usize>, repo::Files, usize)], old: usize, new: usize) -> bool {
    let reach = |from: usize| {
        let mut seen = BTreeSet::new();
        let mut stack = vec![from];
        while let Some(at) = stack.pop() {
            if seen.insert(at) {
                stack.extend(&commits[at].1);
            }
        }
        seen
    };
    let mut line = new;
    while line != old {
        match commits[line].1.first() {
            Some(parent) => line = *parent,
            None => return false,
        }
    }
    let known = reach(old);
    reach(new).difference(&known).all(|at| {
        let (_, parents, files, signer) = &commits[*at];
        let before = parents
            .first()
            .map(|parent| commits[*parent].2.clone())
            .unwrap_or_default();
        FILES.iter().all(|path| {
            let allowed = match signer {
                0 => true,
                1 => path.starts_with("a/"),
                _ => false,
            };
            before.get(*path) == files.get(*path) || allowed
        }) && *signer < 3
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_walk_finds_what_whole_sets_say(steps in proptest::collection::vec(step(), 1..9), old: usize, new: usize) {
        let keys = [Key::new(1), Key::new(2), Key::new(3)];
        let mut repo = Repo::new(&[
            person("all", &keys[0], &["/"]),
            person("a", &keys[1], &["a/"]),
            person("none", &keys[2], &[]),
        ]);
        let mut commits: Vec<(Oid, Vec<usize>, repo::Files, usize)> = Vec::new();
        let first = files("a/x=1 b/x=1 c=1");
        let tree = repo.tree(&first);
        commits.push((repo.commit_tree(tree, &[], Some(&keys[0])), vec![], first, 0));
        for step in &steps {
            let one = step.parents.0 % commits.len();
            let other = step.parents.1.map(|at| at % commits.len()).filter(|at| *at != one);
            let parents: Vec<usize> = std::iter::once(one).chain(other).collect();
            let mut content = commits[one].2.clone();
            content.insert(FILES[step.file].to_owned(), step.content);
            let tree = repo.tree(&content);
            let ids: Vec<Oid> = parents.iter().map(|at| commits[*at].0).collect();
            repo.skew(step.skew);
            let id = repo.commit_tree(tree, &ids, keys.get(step.signer));
            commits.push((id, parents, content, step.signer));
        }
        let (old, new) = (old % commits.len(), new % commits.len());
        let found = repo.judge(Some(commits[old].0), commits[new].0);
        let want = simple(&commits, old, new);
        // A clock that lies may cost an answer, never give one.
        if steps.iter().all(|step| step.skew == 0) {
            prop_assert_eq!(found.is_ok(), want, "{:?}", found);
        } else {
            prop_assert!(found.is_err() || want, "{:?}", found);
        }
    }
}
