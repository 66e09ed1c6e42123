//! Tracking a repository on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use countersign_hub::track::limits::FetchLimits;
use countersign_hub::track::refmove::RewritePermit;
use countersign_hub::track::remote::http::HttpAuth;
use countersign_hub::track::tracker::{Moved, TrackConfig, TrackHandle, Tracker};
use countersign_hub::track::{CommitId, RefName, Source};
use support::git::Repo;
use support::until;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

struct Running {
    handle: TrackHandle,
    moved: watch::Receiver<Option<Moved>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn commit(&self) -> Option<CommitId> {
        self.moved.borrow().as_ref().map(|moved| moved.commit)
    }

    fn trouble(&self) -> Option<&'static str> {
        self.handle
            .state()
            .trouble
            .map(|(trouble, _)| trouble.code())
    }

    /// Wakes and waits for the look after.
    async fn look(&self) {
        let before = self.handle.state().looks;
        self.handle.wake();
        until("a look", || self.handle.state().looks > before).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn track(path: &Path, data: &Path, name: &str, sealed: Option<CommitId>) -> Running {
    let config = TrackConfig {
        source: Source::Local(path.to_owned()),
        name: RefName::parse(name).unwrap(),
        data: data.to_owned(),
        poll: Duration::from_secs(3600),
        limits: FetchLimits::default(),
        http: HttpAuth::default(),
        ssh: None,
    };
    let (tracker, handle, moved) = Tracker::new(config, sealed).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(tracker.run(stop.clone()));
    Running {
        handle,
        moved,
        stop,
        task,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_seen_within_milliseconds_without_polling() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("clusters/a/x.yaml", "a: 1\n")]);
    let mut running = track(&repo.path(), data.path(), "main", None);
    running
        .moved
        .wait_for(|moved| moved.as_ref().is_some_and(|moved| moved.commit == first))
        .await
        .unwrap();
    let mut fastest = Duration::MAX;
    let mut last = first;
    for n in 0..10 {
        let commit = repo.commit(&[last], &[("clusters/a/x.yaml", &format!("a: {n}\n"))]);
        let start = Instant::now();
        repo.set("refs/heads/main", commit);
        running
            .moved
            .wait_for(|moved| moved.as_ref().is_some_and(|moved| moved.commit == commit))
            .await
            .unwrap();
        fastest = fastest.min(start.elapsed());
        let moved = running.moved.borrow().clone().unwrap();
        assert_eq!(moved.old, Some(last));
        last = commit;
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    assert_eq!(running.handle.state().fetches, 11, "one fetch a change");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewritten_history_is_refused_until_a_person_permits_exactly_that_commit() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let second = repo.push(&[("x", "2")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(second)).await;
    let sideways = repo.commit(&[first], &[("x", "3")]);
    repo.set("refs/heads/main", sideways);
    until("refusal", || running.trouble() == Some("FORCE_PUSH")).await;
    assert_eq!(running.commit(), Some(second));
    assert_eq!(running.handle.state().commit, Some(second));
    repo.set("refs/heads/main", first);
    running.look().await;
    assert_eq!(running.trouble(), Some("FORCE_PUSH"), "also back");
    repo.set("refs/heads/main", sideways);
    running.look().await;
    let name = RefName::parse("main").unwrap();
    let other = RewritePermit {
        name: name.clone(),
        commit: first,
    };
    running.handle.permit_rewrite(other, None);
    running.look().await;
    assert_eq!(running.commit(), Some(second), "another commit's permit");
    let permit = RewritePermit {
        name,
        commit: sideways,
    };
    let ended = jiff::Timestamp::now();
    running.handle.permit_rewrite(permit.clone(), Some(ended));
    running.look().await;
    assert_eq!(running.commit(), Some(second), "a permit that has ended");
    running.handle.permit_rewrite(permit.clone(), None);
    until("permitted", || running.commit() == Some(sideways)).await;
    assert_eq!(running.handle.spent_permits(), vec![permit]);
    assert_eq!(running.trouble(), None);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_branch_keeps_the_last_commit_and_is_followed_when_it_comes_back() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    repo.delete("refs/heads/main");
    until("gone", || running.trouble() == Some("REF_GONE")).await;
    assert_eq!(running.commit(), Some(first));
    let second = repo.commit(&[first], &[("x", "2")]);
    repo.set("refs/heads/main", second);
    until("back", || running.commit() == Some(second)).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_vanishes_is_unreachable_and_found_again() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    let away = repo.root().join("away.git");
    std::fs::rename(repo.path(), &away).unwrap();
    running.look().await;
    assert_eq!(running.trouble(), Some("UNREACHABLE"));
    std::fs::rename(&away, repo.path()).unwrap();
    let second = repo.push(&[("x", "2")]);
    running.handle.wake();
    until("back", || running.commit() == Some(second)).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_nested_and_moved_are_followed_to_their_commit() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let who = git2::Signature::now("T", "t@example.org").unwrap();
    let target = repo.git().find_object(first.oid().unwrap(), None).unwrap();
    let inner = repo
        .git()
        .tag_annotation_create("inner", &target, &who, "m")
        .unwrap();
    let inner = repo.git().find_object(inner, None).unwrap();
    repo.git().tag("v1", &inner, &who, "m", true).unwrap();
    // A branch of the same short name must not be mistaken for the tag.
    let other = repo.commit(&[first], &[("x", "branch")]);
    repo.set("refs/heads/v1", other);
    let running = track(&repo.path(), data.path(), "refs/tags/v1", None);
    until("tag", || running.commit() == Some(first)).await;
    let second = repo.push(&[("x", "2")]);
    repo.git()
        .tag(
            "v1",
            &repo.git().find_object(second.oid().unwrap(), None).unwrap(),
            &who,
            "m",
            true,
        )
        .unwrap();
    until("moved tag", || running.commit() == Some(second)).await;
    let blob = repo.git().blob(b"x").unwrap();
    repo.set("refs/tags/v1", CommitId::from(blob));
    until("a tag of a blob", || {
        running.trouble() == Some("NOT_A_COMMIT")
    })
    .await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_commit_and_an_unsafe_tree_are_refused_and_never_enter_the_mirror() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    let tree = repo.tree(&[("x", "2")]);
    let person = "A <a@example.org> 1700000000 +0000";
    let doubled = repo.raw_commit(&format!(
        "tree {tree}\ntree {tree}\nparent {first}\nauthor {person}\ncommitter {person}\n\nm\n"
    ));
    std::fs::write(repo.path().join("refs/heads/main"), format!("{doubled}\n")).unwrap();
    until("malformed", || {
        matches!(running.trouble(), Some("COMMIT_MALFORMED" | "FORCE_PUSH"))
    })
    .await;
    let mirror = git2::Repository::open_bare(running.handle.mirror()).unwrap();
    assert!(!mirror.odb().unwrap().exists(doubled.oid().unwrap()));
    let blob = repo.git().blob(b"x").unwrap();
    let hostile = repo.raw_tree(&[("100644", b"..", blob)]);
    let unsafe_commit = repo.raw_commit(&format!(
        "tree {hostile}\nparent {first}\nauthor {person}\ncommitter {person}\n\nm\n"
    ));
    std::fs::write(
        repo.path().join("refs/heads/main"),
        format!("{unsafe_commit}\n"),
    )
    .unwrap();
    until("unsafe", || running.trouble() == Some("TREE_UNSAFE")).await;
    assert!(!mirror.odb().unwrap().exists(unsafe_commit.oid().unwrap()));
    assert_eq!(running.commit(), Some(first));
    let good = repo.commit(&[first], &[("x", "3")]);
    repo.set("refs/heads/main", good);
    until("good again", || running.commit() == Some(good)).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rendered_is_reported_and_the_commit_is_followed() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let git = repo.git();
    let blob = |content: &[u8]| git.blob(content).unwrap();
    let first = repo.push(&[("x", "1")]);
    let tree = repo.raw_tree(&[
        ("100644", b"big", blob(&vec![b'x'; 11 << 20])),
        (
            "100644",
            b"lfs",
            blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        ),
        ("120000", b"out", blob(b"../../etc/passwd")),
        ("160000", b"sub", first.oid().unwrap()),
        ("100644", b"x\xff", blob(b"1")),
    ]);
    let odd = repo.commit_tree(&[first], tree);
    repo.set("refs/heads/main", odd);
    let running = track(&repo.path(), data.path(), "main", None);
    until("followed", || running.commit() == Some(odd)).await;
    let mut codes: Vec<_> = running
        .handle
        .state()
        .notices
        .iter()
        .map(|notice| notice.what.code())
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "FILE_HUGE",
            "LFS_POINTER",
            "LINK_OUTSIDE",
            "NAME_NOT_UTF8",
            "SUBMODULE_FORBIDDEN"
        ]
    );
    let clean = repo.commit(&[odd], &[("x", "2")]);
    repo.set("refs/heads/main", clean);
    until("clean", || running.commit() == Some(clean)).await;
    assert!(running.handle.state().notices.is_empty());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_mirror_is_filled_again_and_a_rewrite_is_still_noticed() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let second = repo.push(&[("x", "2")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(second)).await;
    running.end().await;
    std::fs::remove_dir_all(data.path().join("mirror")).unwrap();
    let third = repo.push(&[("x", "3")]);
    let running = track(&repo.path(), data.path(), "main", Some(second));
    until("followed", || running.commit() == Some(third)).await;
    let mirror = git2::Repository::open_bare(running.handle.mirror()).unwrap();
    assert!(
        mirror
            .find_commit(second.oid().unwrap())
            .unwrap()
            .tree()
            .is_ok(),
        "the commit before is there to compare with"
    );
    running.end().await;
    std::fs::remove_dir_all(data.path().join("mirror")).unwrap();
    repo.set("refs/heads/main", first);
    let running = track(&repo.path(), data.path(), "main", Some(third));
    until("refused", || running.trouble() == Some("FORCE_PUSH")).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_mirror_is_rebuilt() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("a/x", "1"), ("b/y", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    let mirror = running.handle.mirror().to_owned();
    running.end().await;
    for folder in std::fs::read_dir(mirror.join("objects")).unwrap().flatten() {
        for object in std::fs::read_dir(folder.path()).unwrap().flatten() {
            if folder.file_name().len() == 2 {
                std::fs::remove_file(object.path()).unwrap();
                std::fs::write(object.path(), b"damaged").unwrap();
            }
        }
    }
    let second = repo.push(&[("a/x", "2"), ("b/y", "1")]);
    let running = track(&repo.path(), data.path(), "main", Some(first));
    until("followed", || running.commit() == Some(second)).await;
    let mirror = git2::Repository::open_bare(running.handle.mirror()).unwrap();
    let tree = mirror
        .find_commit(second.oid().unwrap())
        .unwrap()
        .tree()
        .unwrap();
    for path in ["a/x", "b/y"] {
        let entry = tree.get_path(Path::new(path)).unwrap();
        assert!(mirror.find_blob(entry.id()).is_ok(), "{path}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_32020_objects_of_the_mirror_are_links_to_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("a/x", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    let mut files = 0;
    let mut folders = vec![running.handle.mirror().join("objects")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                assert_eq!(about.nlink(), 1);
            }
        }
    }
    assert!(files >= 4);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_wakes_costs_few_looks_and_no_fetch() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let running = track(&repo.path(), data.path(), "main", None);
    until("first look", || running.commit() == Some(first)).await;
    let before = running.handle.state();
    for _ in 0..10_000 {
        running.handle.wake();
    }
    running.look().await;
    let after = running.handle.state();
    assert!(
        after.looks - before.looks < 1_000,
        "{}",
        after.looks - before.looks
    );
    assert_eq!(after.fetches, before.fetches);
    running.end().await;
}
