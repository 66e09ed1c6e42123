use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_ledger::commit::authored;
use countersign_ledger::trust::{Person, PersonKey};

use super::*;
use crate::track::follow::{Follower, Upstream};
use crate::track::refname::RefName;

/// After the commits' signatures were made, whenever that is; no key here ends.
const NOW: u64 = 4_000_000_000;

/// A repository in which git itself signs, with a key of ssh-keygen.
struct Repo(tempfile::TempDir);

impl Repo {
    fn new() -> Self {
        let repo = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(repo.path()).unwrap();
        let key = repo.0.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        repo.git(&["init", "-q", "-b", "main"]);
        for (name, value) in [
            ("user.name", "Ada"),
            ("user.email", "ada@example.org"),
            ("gpg.format", "ssh"),
            ("user.signingkey", key.to_str().unwrap()),
            ("commit.gpgsign", "true"),
        ] {
            repo.git(&["config", name, value]);
        }
        repo
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("repo")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, file: &str, content: &str) -> CommitId {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", content]);
        self.tip()
    }

    fn tip(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn people(&self, paths: &[&str]) -> People {
        let person = Person {
            name: "ada".to_owned(),
            keys: vec![PersonKey {
                key: std::fs::read_to_string(self.0.path().join("key.pub")).unwrap(),
                valid_after: None,
                valid_before: None,
            }],
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            forge: false,
        };
        People::read(&[person]).unwrap()
    }
}

fn follow(repo: &Repo, data: &Path) -> Follower {
    let upstream = Upstream::Local {
        path: repo.path(),
        open: None,
    };
    let mirror = Mirror::open(&data.join("mirror")).unwrap();
    let name = RefName::parse("main").unwrap();
    Follower::new(upstream, mirror, name, FetchLimits::default(), None)
}

fn id(commit: CommitId) -> Oid {
    Oid::Sha1(*commit.bytes())
}

#[test]
fn the_mirror_proves_to_an_agent_what_git_signed_merges_and_all() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    repo.commit("apps/pay/a", "0");
    let fork = repo.commit("apps/cart/a", "1");
    let first = repo.commit("fleet.yaml", "1");
    let mut follower = follow(&repo, data.path());
    follower.look(&[]).unwrap();
    // A branch that parted before what the mirror has seen, two commits on it, a merge, and one more.
    repo.git(&["checkout", "-q", "-b", "side", &fork.to_string()]);
    repo.commit("apps/cart/a", "2");
    repo.commit("apps/cart/b/c", "3");
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    let last = repo.commit("fleet.yaml", "4");
    let moved = follower.look(&[]).unwrap().unwrap();
    assert_eq!((moved.old, moved.commit), (Some(first), last));

    let mirror = Mirror::open(&data.path().join("mirror")).unwrap();
    let all = repo.people(&["/"]);
    let proof = collect(mirror.repository(), &all, Some(first), last, NOW).unwrap();
    assert_eq!(proof.judged.as_ref().unwrap().commits().len(), 4);
    let agent = authored(&all, Some(id(first)), id(last), &proof.objects, NOW);
    assert_eq!(agent, proof.judged);

    let few = repo.people(&["apps/cart/", "fleet.yaml"]);
    let proof = collect(mirror.repository(), &few, Some(first), last, NOW).unwrap();
    let agent = authored(&few, Some(id(first)), id(last), &proof.objects, NOW);
    assert!(proof.judged.is_ok());
    assert_eq!(agent, proof.judged);

    let fewer = repo.people(&["fleet.yaml"]);
    let refused = collect(mirror.repository(), &fewer, Some(first), last, NOW).unwrap();
    let refusal = refused.judged.clone().unwrap_err();
    assert_eq!(refusal.code(), "COMMIT_PATH_NOT_ALLOWED");
    // The agent says so itself, by the objects that led there.
    let agent = authored(&fewer, Some(id(first)), id(last), &refused.objects, NOW);
    assert_eq!(agent, refused.judged);
    // The same objects, other people: the agent's own trust root decides, and asks for trees that ours did not need.
    let agent = authored(&fewer, Some(id(first)), id(last), &proof.objects, NOW);
    assert_eq!(agent.unwrap_err().code(), "TREE_MISSING");
}

#[test]
fn an_unsigned_commit_in_between_has_no_proof() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.commit("a", "1");
    let mut follower = follow(&repo, data.path());
    follower.look(&[]).unwrap();
    repo.git(&["config", "commit.gpgsign", "false"]);
    let unsigned = repo.commit("a", "2");
    repo.git(&["config", "commit.gpgsign", "true"]);
    let last = repo.commit("a", "3");
    follower.look(&[]).unwrap();
    let mirror = Mirror::open(&data.path().join("mirror")).unwrap();
    let proof = collect(
        mirror.repository(),
        &repo.people(&["/"]),
        Some(first),
        last,
        NOW,
    );
    let commit = id(unsigned);
    let proof = proof.unwrap();
    assert_eq!(proof.judged, Err(AuthorRefusal::Unsigned { commit }));
    let people = repo.people(&["/"]);
    let agent = authored(&people, Some(id(first)), id(last), &proof.objects, NOW);
    assert_eq!(agent, proof.judged);
    let ground = collect(mirror.repository(), &repo.people(&["/"]), None, last, NOW).unwrap();
    assert_eq!(
        ground.objects.len(),
        1,
        "its signer vouches for the whole tree"
    );
}

#[test]
fn a_mirror_that_was_lost_proves_from_the_last_sealed_commit_on() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.commit("apps/a", "1");
    repo.commit("apps/b/c", "2");
    let last = repo.commit("apps/a", "3");
    let upstream = Upstream::Local {
        path: repo.path(),
        open: None,
    };
    let mirror = Mirror::open(&data.path().join("mirror")).unwrap();
    let name = RefName::parse("main").unwrap();
    let limits = FetchLimits::default();
    let mut follower = Follower::new(upstream, mirror, name, limits, Some(first));
    follower.look(&[]).unwrap();
    let mirror = Mirror::open(&data.path().join("mirror")).unwrap();
    let people = repo.people(&["apps/"]);
    let proof = collect(mirror.repository(), &people, Some(first), last, NOW).unwrap();
    assert_eq!(proof.judged.unwrap().commits().len(), 2);
}
