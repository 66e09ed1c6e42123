//! What the forge's own key may sign.

use super::*;
use crate::commit::Oid;

struct Team {
    root: Key,
    cart: Key,
    forge: Key,
}

fn team() -> (Repo, Team, Oid) {
    let team = Team {
        root: Key::new(1),
        cart: Key::new(2),
        forge: Key::new(3),
    };
    let mut forge = person("forge", &team.forge, &["/"]);
    forge.forge = true;
    let mut repo = Repo::new(&[
        person("root", &team.root, &["/"]),
        person("cart", &team.cart, &["apps/cart/"]),
        forge,
    ]);
    let old = repo.commit("f=1 apps/cart/a=1 apps/cart/b=1", &[], None);
    (repo, team, old)
}

#[test]
fn a_clean_merge_of_signed_branches_is_theirs() {
    let (mut repo, team, old) = team();
    let main = repo.commit("f=2 apps/cart/a=1 apps/cart/b=1", &[old], Some(&team.root));
    let side = repo.commit(
        "f=1 apps/cart/a=2 apps/cart/b=1 apps/cart/c/d=1",
        &[old],
        Some(&team.cart),
    );
    let merge = repo.commit(
        "f=2 apps/cart/a=2 apps/cart/b=1 apps/cart/c/d=1",
        &[main, side],
        Some(&team.forge),
    );
    let found = repo.judge(Some(old), merge).unwrap();
    assert_eq!(
        found.signers().into_iter().collect::<Vec<_>>(),
        ["cart", "forge", "root"]
    );
    let fast = repo.commit(
        "f=1 apps/cart/a=2 apps/cart/b=1 apps/cart/c/d=1",
        &[old, side],
        Some(&team.forge),
    );
    assert_eq!(repo.code(Some(old), fast), "OK");
    // The button that brings a branch up to date merges the other way round.
    let updated = repo.commit(
        "f=2 apps/cart/a=2 apps/cart/b=1 apps/cart/c/d=1",
        &[side, main],
        Some(&team.forge),
    );
    let merged = repo.commit(
        "f=2 apps/cart/a=2 apps/cart/b=1 apps/cart/c/d=1",
        &[main, updated],
        Some(&team.forge),
    );
    assert_eq!(repo.code(Some(old), merged), "OK");
}

#[test]
fn a_squash_a_rebase_and_an_edit_by_the_forge_are_nobodys_word() {
    let (mut repo, team, old) = team();
    let squash = repo.commit("f=1 apps/cart/a=2 apps/cart/b=1", &[old], Some(&team.forge));
    assert_eq!(repo.code(Some(old), squash), "COMMIT_FORGE_NOT_MERGE");
    let first = repo.commit("f=1", &[], Some(&team.forge));
    assert_eq!(
        repo.code(None, first),
        "COMMIT_FORGE_NOT_MERGE",
        "a forge vouches for no tree"
    );
}

#[test]
fn a_merge_with_a_word_of_its_own_is_refused() {
    let (mut repo, team, old) = team();
    let main = repo.commit("f=2 apps/cart/a=1 apps/cart/b=7", &[old], Some(&team.root));
    let side = repo.commit("f=1 apps/cart/a=2 apps/cart/b=1", &[old], Some(&team.cart));
    for (content, what) in [
        (
            "f=2 apps/cart/a=2 apps/cart/b=7 x=1",
            "a file that neither has",
        ),
        ("f=2 apps/cart/a=3 apps/cart/b=7", "another content"),
        (
            "f=1 apps/cart/a=2 apps/cart/b=7",
            "what the first has changed, taken back",
        ),
        (
            "f=2 apps/cart/a=2 apps/cart/b=1",
            "the same within a folder that both changed",
        ),
        ("f=2 apps/cart/a=2", "a file gone that both have"),
    ] {
        let merge = repo.commit(content, &[main, side], Some(&team.forge));
        assert_eq!(
            repo.code(Some(old), merge),
            "COMMIT_FORGE_CONTENT",
            "{what}"
        );
    }
    let both = repo.commit("f=3 apps/cart/a=1 apps/cart/b=1", &[old], Some(&team.root));
    let merge = repo.commit(
        "f=3 apps/cart/a=1 apps/cart/b=7",
        &[main, both],
        Some(&team.forge),
    );
    assert_eq!(
        repo.code(Some(old), merge),
        "COMMIT_FORGE_CONTENT",
        "both changed one file"
    );
}

#[test]
fn the_forge_launders_no_branch_that_nobody_signed() {
    let (mut repo, team, old) = team();
    let unsigned = repo.commit("f=9 apps/cart/a=1 apps/cart/b=1", &[old], None);
    let merge = repo.commit(
        "f=9 apps/cart/a=1 apps/cart/b=1",
        &[old, unsigned],
        Some(&team.forge),
    );
    assert_eq!(repo.code(Some(old), merge), "COMMIT_UNSIGNED");
    let foreign = repo.commit("f=9 apps/cart/a=1 apps/cart/b=1", &[old], Some(&team.cart));
    let merge = repo.commit(
        "f=9 apps/cart/a=1 apps/cart/b=1",
        &[old, foreign],
        Some(&team.forge),
    );
    assert_eq!(repo.code(Some(old), merge), "COMMIT_PATH_NOT_ALLOWED");
    let alien = repo.commit("f=1 apps/cart/a=1 apps/cart/b=1", &[], Some(&team.root));
    let merge = repo.commit(
        "f=1 apps/cart/a=1 apps/cart/b=1",
        &[old, alien],
        Some(&team.forge),
    );
    assert_eq!(
        repo.code(Some(old), merge),
        "COMMIT_FORGE_NOT_MERGE",
        "no common history"
    );
}

#[test]
fn the_forges_own_paths_bound_it_too() {
    let (mut repo, team, old) = team();
    repo.people[2].paths = vec!["apps/".into()];
    let side = repo.commit("f=2 apps/cart/a=1 apps/cart/b=1", &[old], Some(&team.root));
    let merge = repo.commit(
        "f=2 apps/cart/a=1 apps/cart/b=1",
        &[old, side],
        Some(&team.forge),
    );
    assert_eq!(repo.code(Some(old), merge), "COMMIT_PATH_NOT_ALLOWED");
}
