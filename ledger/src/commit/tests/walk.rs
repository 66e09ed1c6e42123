//! From one commit to another.

use super::*;
use crate::commit::{AuthorRefusal, HashKind, ObjectKind, Oid, authored};

struct Team {
    root: Key,
    cart: Key,
    stranger: Key,
}

/// `root` may change everything, `cart` what is below `apps/cart/`.
fn team() -> (Repo, Team) {
    let team = Team {
        root: Key::new(1),
        cart: Key::new(2),
        stranger: Key::new(3),
    };
    let repo = Repo::new(&[
        person("root", &team.root, &["/"]),
        person("cart", &team.cart, &["apps/cart/"]),
    ]);
    (repo, team)
}

const START: &str = "fleet.yaml=1 apps/cart/a=1 apps/pay/a=1";

#[test]
fn every_commit_counts_for_the_paths_of_its_signer() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let own = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/cart/b/c=1 apps/pay/a=1",
        &[old],
        Some(&team.cart),
    );
    let new = repo.commit(
        "fleet.yaml=2 apps/cart/a=2 apps/cart/b/c=1 apps/pay/a=1",
        &[own],
        Some(&team.root),
    );
    let found = repo.judge(Some(old), new).unwrap();
    assert_eq!(found.commits().last().unwrap().id, new);
    assert_eq!(found.commits().len(), 2);
    assert_eq!(
        found.signers().into_iter().collect::<Vec<_>>(),
        ["cart", "root"]
    );
    assert_eq!(repo.judge(Some(new), new).unwrap().commits(), []);
}

#[test]
fn one_commit_that_nobody_signed_stops_all_after_it() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let unsigned = repo.commit("fleet.yaml=1 apps/cart/a=2 apps/pay/a=1", &[old], None);
    let new = repo.commit(
        "fleet.yaml=2 apps/cart/a=2 apps/pay/a=1",
        &[unsigned],
        Some(&team.root),
    );
    assert_eq!(
        repo.judge(Some(old), new),
        Err(AuthorRefusal::Unsigned { commit: unsigned })
    );
    let strange = repo.commit(START, &[old], Some(&team.stranger));
    assert_eq!(repo.code(Some(old), strange), "COMMIT_SIGNER_UNKNOWN");
}

#[test]
fn a_path_outside_of_the_signers_is_named() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    for (content, path) in [
        ("fleet.yaml=1 apps/cart/a=1 apps/pay/a=2", "apps/pay/a"),
        ("fleet.yaml=1 apps/cart/a=1", "apps/pay/a"),
        (
            "fleet.yaml=1 apps/cart/a=1 apps/pay/a=1 apps/cart2/a=1",
            "apps/cart2/a",
        ),
        ("fleet.yaml=1 apps/cart=1 apps/pay/a=1", "apps/cart"),
        ("apps/cart/a=1 apps/pay/a=1 fleet.yaml/x=1", "fleet.yaml"),
    ] {
        let new = repo.commit(content, &[old], Some(&team.cart));
        assert_eq!(
            repo.judge(Some(old), new),
            Err(AuthorRefusal::PathNotAllowed {
                commit: new,
                person: "cart".into(),
                path: path.into()
            }),
            "{content}"
        );
    }
    let gone = repo.commit("fleet.yaml=1 apps/pay/a=1", &[old], Some(&team.cart));
    assert_eq!(
        repo.code(Some(old), gone),
        "OK",
        "a folder of one's own may go"
    );
}

#[test]
fn a_file_that_only_becomes_executable_has_changed() {
    let (mut repo, team) = team();
    let file = |mode: &str| [mode.as_bytes(), b" x\0", &[7; 20]].concat();
    let (plain, program) = (
        repo.add(ObjectKind::Tree, file("100644")),
        repo.add(ObjectKind::Tree, file("100755")),
    );
    let old = repo.commit_tree(plain, &[], None);
    let new = repo.commit_tree(program, &[old], Some(&team.cart));
    assert_eq!(repo.code(Some(old), new), "COMMIT_PATH_NOT_ALLOWED");
}

#[test]
fn a_merge_counts_for_all_that_it_brings_against_its_first_parent() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let fleet = repo.commit(
        "fleet.yaml=2 apps/cart/a=1 apps/pay/a=1",
        &[old],
        Some(&team.root),
    );
    let smuggled = repo.commit(
        "fleet.yaml=2 apps/cart/a=1 apps/pay/a=1",
        &[old, fleet],
        Some(&team.cart),
    );
    assert_eq!(repo.code(Some(old), smuggled), "COMMIT_PATH_NOT_ALLOWED");
    let evil = repo.commit(
        "fleet.yaml=1 apps/cart/a=1 apps/pay/a=9",
        &[old, fleet],
        Some(&team.cart),
    );
    assert_eq!(repo.code(Some(old), evil), "COMMIT_PATH_NOT_ALLOWED");
    let merged = repo.commit(
        "fleet.yaml=2 apps/cart/a=1 apps/pay/a=1",
        &[old, fleet],
        Some(&team.root),
    );
    assert_eq!(repo.judge(Some(old), merged).unwrap().commits().len(), 2);
}

#[test]
fn commits_of_merged_branches_are_checked_too_however_deep() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let unsigned = repo.commit(START, &[old], None);
    let first = repo.commit(START, &[old, unsigned], Some(&team.root));
    assert_eq!(repo.code(Some(old), first), "COMMIT_UNSIGNED");
    // A later branch parts from the merge and leads to it: that must not make the first branch known.
    let side = repo.commit(START, &[first], Some(&team.root));
    let second = repo.commit(START, &[first, side], Some(&team.root));
    assert_eq!(
        repo.judge(Some(old), second),
        Err(AuthorRefusal::Unsigned { commit: unsigned })
    );
    let alien = repo.commit("fleet.yaml=3", &[], Some(&team.cart));
    let joined = repo.commit(START, &[old, alien], Some(&team.root));
    assert_eq!(
        repo.code(Some(old), joined),
        "COMMIT_PATH_NOT_ALLOWED",
        "a history of its own begins with nothing"
    );
}

#[test]
fn a_branch_that_parted_before_the_last_commit_ends_at_its_ancestors() {
    let (mut repo, team) = team();
    let first = repo.commit(START, &[], None);
    let between = repo.commit("fleet.yaml=2 apps/cart/a=1 apps/pay/a=1", &[first], None);
    let old = repo.commit("fleet.yaml=3 apps/cart/a=1 apps/pay/a=1", &[between], None);
    let side = repo.commit(
        "fleet.yaml=1 apps/cart/a=5 apps/pay/a=1",
        &[first],
        Some(&team.cart),
    );
    let new = repo.commit(
        "fleet.yaml=3 apps/cart/a=5 apps/pay/a=1",
        &[old, side],
        Some(&team.cart),
    );
    assert_eq!(repo.judge(Some(old), new).unwrap().commits().len(), 2);
    // Without the way from the last commit down to it, the branch's beginning is nobody's.
    repo.objects.remove(&between);
    assert_eq!(repo.code(Some(old), new), "COMMIT_UNSIGNED");
    repo.objects.remove(&first);
    assert_eq!(
        repo.judge(Some(old), new),
        Err(AuthorRefusal::CommitMissing { commit: first })
    );
}

#[test]
fn the_new_commit_leads_to_the_last_one_by_first_parents() {
    let (mut repo, team) = team();
    let first = repo.commit(START, &[], None);
    let old = repo.commit(
        "fleet.yaml=2 apps/cart/a=1 apps/pay/a=1",
        &[first],
        Some(&team.root),
    );
    let side = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/pay/a=1",
        &[first],
        Some(&team.cart),
    );
    let swapped = repo.commit(
        "fleet.yaml=2 apps/cart/a=2 apps/pay/a=1",
        &[side, old],
        Some(&team.root),
    );
    assert_eq!(
        repo.judge(Some(old), swapped),
        Err(AuthorRefusal::NotDescended { old, new: swapped })
    );
    assert_eq!(
        repo.code(Some(old), side),
        "COMMIT_NOT_DESCENDED",
        "rewritten"
    );
    assert_eq!(repo.code(Some(side), old), "COMMIT_NOT_DESCENDED");
}

#[test]
fn a_first_judgement_rests_on_a_person_who_may_change_everything() {
    let (mut repo, team) = team();
    let first = repo.commit(START, &[], None);
    let ground = repo.commit(START, &[first], Some(&team.root));
    let new = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/pay/a=1",
        &[ground],
        Some(&team.cart),
    );
    let found = repo.judge(None, new).unwrap();
    assert_eq!(
        found.commits().iter().map(|c| c.id).collect::<Vec<_>>(),
        [ground, new]
    );
    let unsigned = repo.commit(START, &[ground], None);
    let above = repo.commit(START, &[unsigned], Some(&team.cart));
    assert_eq!(repo.code(None, above), "COMMIT_UNSIGNED");
    let smuggled = repo.commit(
        "fleet.yaml=9 apps/cart/a=2 apps/pay/a=1",
        &[ground],
        Some(&team.cart),
    );
    assert_eq!(repo.code(None, smuggled), "COMMIT_PATH_NOT_ALLOWED");
    let own = repo.commit("apps/cart/a=1", &[], Some(&team.cart));
    assert_eq!(
        repo.code(None, own),
        "OK",
        "a whole history of allowed changes"
    );
    let own = repo.commit(START, &[], Some(&team.cart));
    assert_eq!(repo.code(None, own), "COMMIT_PATH_NOT_ALLOWED");
}

#[test]
fn what_is_missing_is_named() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let new = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/pay/a=1",
        &[old],
        Some(&team.cart),
    );
    let apps = repo.tree(&files("cart/a=2 pay/a=1"));
    let kept = repo.objects.remove(&apps).unwrap();
    assert_eq!(
        repo.judge(Some(old), new),
        Err(AuthorRefusal::TreeMissing {
            tree: apps,
            path: "apps/".into()
        })
    );
    repo.objects.insert(apps, kept);
    repo.objects.remove(&old);
    assert_eq!(
        repo.judge(Some(old), new),
        Err(AuthorRefusal::CommitMissing { commit: old })
    );
}

#[test]
fn one_other_byte_in_any_object_is_no_proof() {
    let (mut repo, team) = team();
    let old = repo.commit(START, &[], None);
    let new = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/pay/a=1",
        &[old],
        Some(&team.cart),
    );
    let people = repo.people();
    let objects = repo.framed();
    assert!(authored(&people, Some(old), new, &objects, NOW).is_ok());
    for at in 0..objects.len() {
        let (_, needed) =
            crate::commit::prove(&people, Some(old), new, |kind, id| repo.read(kind, id), NOW)
                .unwrap();
        if !needed.contains(&objects[at]) {
            continue;
        }
        let mut changed = objects.clone();
        let last = changed[at].len() - 1;
        changed[at][last] ^= 1;
        let code = authored(&people, Some(old), new, &changed, NOW)
            .unwrap_err()
            .code();
        assert!(matches!(code, "COMMIT_MISSING" | "TREE_MISSING"), "{code}");
    }
}

#[test]
fn a_folder_that_holds_nothing_hides_nothing() {
    let (mut repo, team) = team();
    let empty = repo.add(ObjectKind::Tree, Vec::new());
    let tree = repo.add(ObjectKind::Tree, [b"40000 x\0", empty.bytes()].concat());
    let old = repo.commit_tree(empty, &[], None);
    let new = repo.commit_tree(tree, &[old], Some(&team.cart));
    assert_eq!(repo.code(Some(old), new), "COMMIT_MALFORMED");
}

#[test]
fn a_few_trees_that_name_a_billion_paths_cost_little() {
    let (mut repo, team) = team();
    let leaf = repo.tree(&files("x=1"));
    let deep = |repo: &mut Repo, leaf: Oid| {
        (0..30).fold(leaf, |below, _| {
            let raw = (b'a'..=b'h')
                .flat_map(|name| [b"40000 ", &[name][..], b"\0", below.bytes()].concat())
                .collect();
            repo.add(ObjectKind::Tree, raw)
        })
    };
    let bomb = deep(&mut repo, leaf);
    let old = repo.commit(START, &[], None);
    repo.people[1].paths =
        vec!["a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/y".into()];
    let raw = [b"40000 a\0", bomb.bytes()].concat();
    let tree = repo.add(ObjectKind::Tree, raw);
    let new = repo.commit_tree(tree, &[old], Some(&team.cart));
    assert_eq!(repo.code(Some(old), new), "COMMIT_PATH_NOT_ALLOWED");
    let mut nested = repo.tree(&files("x=1"));
    for _ in 0..70 {
        nested = repo.add(ObjectKind::Tree, [b"40000 a\0", nested.bytes()].concat());
    }
    let new = repo.commit_tree(nested, &[], Some(&team.cart));
    let code = repo.code(None, new);
    assert!(
        matches!(code, "COMMIT_MALFORMED" | "COMMIT_PATH_NOT_ALLOWED"),
        "{code}"
    );
}

#[test]
fn a_repository_with_sha_256_is_judged_alike() {
    let (mut repo, team) = team();
    repo.hash = HashKind::Sha256;
    let old = repo.commit(START, &[], None);
    let new = repo.commit(
        "fleet.yaml=1 apps/cart/a=2 apps/pay/a=1",
        &[old],
        Some(&team.cart),
    );
    assert_eq!(repo.code(Some(old), new), "OK");
    let bad = repo.commit(
        "fleet.yaml=2 apps/cart/a=2 apps/pay/a=1",
        &[new],
        Some(&team.cart),
    );
    assert_eq!(repo.code(Some(old), bad), "COMMIT_PATH_NOT_ALLOWED");
}
