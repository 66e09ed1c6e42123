use git2::{Repository, Signature};

use super::*;
use crate::tree::changes::changes;
use crate::tree::{Stat, Tree, TreeRefusal};

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn write_tree(repository: &Repository, entries: &[(&[u8], Oid, i32)]) -> Oid {
    // The raw object, because a tree builder refuses the very names that this is about.
    let mut raw = Vec::new();
    for (name, id, mode) in entries {
        raw.extend_from_slice(format!("{mode:o} ").as_bytes());
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(id.as_bytes());
    }
    repository
        .odb()
        .unwrap()
        .write(ObjectType::Tree, &raw)
        .unwrap()
}

#[test]
fn a_hostile_tree_is_refused_name_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(dir.path()).unwrap();
    let blob = |content: &[u8]| repository.blob(content).unwrap();
    let file = blob(b"a: 1\n");
    let inner = write_tree(&repository, &[(b"ok.yaml", file, 0o100_644)]);
    let lfs = blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    let root = write_tree(
        &repository,
        &[
            (b".git", inner, 0o040_000),
            (b"abs", blob(b"/etc/passwd"), 0o120_000),
            (b"folder", inner, 0o040_000),
            (b"in", blob(b"folder/ok.yaml"), 0o120_000),
            (b"lfs", lfs, 0o100_644),
            (b"module", Oid::from_bytes(&[7; 20]).unwrap(), 0o160_000),
            (b"up", blob(b"../x"), 0o120_000),
            (b"\xff.yaml", file, 0o100_644),
        ],
    );
    let tree = GitStore::new(repository).tree(root);
    let stat = |text: &str| tree.stat(&path(text)).unwrap();
    assert_eq!(stat("abs"), Stat::Refused(TreeRefusal::LinkEscapes));
    assert_eq!(stat("up"), Stat::Refused(TreeRefusal::LinkEscapes));
    assert_eq!(stat("lfs"), Stat::Refused(TreeRefusal::LfsPointer));
    assert_eq!(stat("module"), Stat::Refused(TreeRefusal::Submodule));
    assert_eq!(stat("in"), stat("folder/ok.yaml"));
    assert_eq!(tree.read(&path("in")).unwrap(), "a: 1\n");
    let listing = tree.list(&RepoPath::root()).unwrap();
    assert_eq!(
        listing.refused,
        vec![
            (".git".to_owned(), TreeRefusal::NameForbidden),
            ("\\xff.yaml".to_owned(), TreeRefusal::NameNotUtf8),
        ]
    );
    assert_eq!(listing.entries.len(), 6);
}

#[test]
fn a_missing_object_is_a_fault_and_not_an_absence() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(dir.path()).unwrap();
    let root = write_tree(
        &repository,
        &[(b"gone", Oid::from_bytes(&[9; 20]).unwrap(), 0o040_000)],
    );
    let tree = GitStore::new(repository).tree(root);
    assert!(tree.stat(&path("gone/x")).is_err());
}

#[test]
fn changes_name_what_was_added_removed_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(dir.path()).unwrap();
    let one = repository.blob(b"1").unwrap();
    let two = repository.blob(b"2").unwrap();
    let old = write_tree(
        &repository,
        &[
            (b"a", one, 0o100_644),
            (b"b", one, 0o100_644),
            (b"d", one, 0o100_644),
        ],
    );
    let new = write_tree(
        &repository,
        &[
            (b"a", two, 0o100_644),
            (b"c", one, 0o100_644),
            (b"d", one, 0o120_000),
        ],
    );
    let author = Signature::now("a", "a@example.org").unwrap();
    let commit = repository
        .commit(
            None,
            &author,
            &author,
            "x",
            &repository.find_tree(new).unwrap(),
            &[],
        )
        .unwrap();
    let store = GitStore::new(repository);
    let changed = changes(&store, Some(old), new).unwrap();
    assert_eq!(
        changed.into_iter().collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    assert!(changes(&store, Some(new), new).unwrap().is_empty());
    assert_eq!(changes(&store, None, new).unwrap().len(), 3);
    assert_eq!(store.commit(commit).unwrap().oid(), new);
    assert!(store.resolve("--upload-pack=x").is_err());
}
