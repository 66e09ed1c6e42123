//! Level `authored` on the real programs: what people signed goes live, what nobody signed does not, whoever asks for it.

use std::{path::Path, process::Command, time::Duration};

use countersign_tests::{
    cli::Cli,
    cluster::{Cluster, Options},
    git::{GitRepo, SshSigner},
    until,
    witness::{Witness, policy},
    world::{FLEET, World},
};

use crate::{
    attacks::heals,
    fixture::{CLUSTER, ONE, Stand, config_map},
};

mod deletions;
mod guide;
mod keys;
mod thief;

const LIMIT: Duration = Duration::from_secs(90);

/// May change everything.
fn ada() -> SshSigner {
    SshSigner::from_seed([1; 32]).unwrap()
}

/// May change the cluster's own folder.
fn bob() -> SshSigner {
    SshSigner::from_seed([2; 32]).unwrap()
}

fn mallory() -> SshSigner {
    SshSigner::from_seed([9; 32]).unwrap()
}

/// A fleet of one cluster, its people, and the witness whose clock their keys are judged at.
struct Place {
    stand: Stand,
    witness: Witness,
}

/// How the fleet begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// At level `authored`, with a first commit by Ada.
    Authored,
    /// At level `signed`, with a first commit by nobody.
    Signed,
}

impl Place {
    /// The cluster has object `a` and `healed` others, each to be healed once.
    async fn new(begins: Begins, healed: usize) -> Self {
        let repo = GitRepo::new().unwrap();
        repo.write(CLUSTER.0, CLUSTER.1).unwrap();
        repo.write("fleet/readme", "what only Ada may change")
            .unwrap();
        for name in std::iter::once("a".to_owned()).chain((0..healed).map(|n| format!("h{n}"))) {
            repo.write(&file(&name), config_map(&name, "v", "1"))
                .unwrap();
        }
        let commit = match begins {
            Begins::Authored => repo.commit_signed("the fleet", &ada()).unwrap(),
            Begins::Signed => repo.commit("the fleet").unwrap(),
        };
        let world = World::start(repo, &["one=test"]).await.unwrap();
        let log = world.trust.log_vkey(FLEET).unwrap();
        let witness = Witness::start("witness.example/w1", &[log]).await.unwrap();
        let mut stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
        if begins == Begins::Authored {
            demand(&mut stand.world, &witness).await;
        }
        stand.settled(&commit).await;
        Self { stand, witness }
    }

    /// Commits `a` with that value as this person, and pushes.
    fn push(&self, value: &str, signer: &SshSigner) -> String {
        let repo = &self.stand.world.repo;
        repo.write(&file("a"), config_map("a", "v", value)).unwrap();
        self.pushed(repo.commit_signed(value, signer).unwrap())
    }

    fn pushed(&self, commit: String) -> String {
        self.stand.world.repo.push(&self.stand.world.bare).unwrap();
        commit
    }

    /// The commit is live, and `a` has that value.
    async fn live(&self, commit: &str, value: &str) {
        self.stand.settled(commit).await;
        let live = self.stand.value("default", "a", "v").await;
        assert_eq!(live.as_deref(), Some(value));
    }

    /// The agent refuses what was pushed by that code, touches nothing, and goes on healing what was live.
    async fn refused(&self, code: &str, heal: &str) {
        let before = self.mark().await;
        until(code, LIMIT, async || {
            let cluster = self.stand.world.operator.cluster(ONE).await;
            let cluster = cluster.map_err(|error| error.to_string())?;
            if cluster.refusals.iter().any(|seen| seen.code == code) {
                Ok(())
            } else {
                Err(format!("{:?}\n{}", cluster.refusals, self.stand.logs()))
            }
        })
        .await;
        assert_eq!(self.mark().await, before, "{code}");
        heals(&self.stand, heal).await;
    }

    /// UID and resource version of `a`: a write moves it.
    async fn mark(&self) -> (Option<String>, Option<String>) {
        let found = self.stand.config_maps("default").get("a").await.unwrap();
        (found.metadata.uid, found.metadata.resource_version)
    }

    /// Takes the branch back to `commit` as a team does after a commit that nobody may have made: by a person's permit for
    /// what comes next.
    fn rewrite(&self, commit: &str) {
        self.stand.world.repo.reset(commit).unwrap();
    }

    /// Commits as this person onto a branch that was taken back, and pushes with a permit.
    fn push_again(&self, value: &str, signer: &SshSigner) -> String {
        let world = &self.stand.world;
        let repo = &world.repo;
        repo.write(&file("a"), config_map("a", "v", value)).unwrap();
        let commit = repo.commit_signed(value, signer).unwrap();
        let data = world.hub.data();
        let reason = "a commit that nobody signed is dropped";
        let branch = "refs/heads/main";
        Cli::new()
            .ok([
                "permit".as_ref(),
                "rewrite".as_ref(),
                branch.as_ref(),
                commit.as_ref(),
                "--reason".as_ref(),
                reason.as_ref(),
                "--data".as_ref(),
                data.as_os_str(),
            ])
            .unwrap();
        repo.push_force(&world.bare).unwrap();
        commit
    }

    fn state(&self) -> serde_json::Value {
        let state = std::fs::read(self.stand.agent.data().join("state.json")).unwrap();
        serde_json::from_slice(&state).unwrap()
    }
}

fn file(name: &str) -> String {
    format!("clusters/one/{name}.yaml")
}

/// From here on cluster `one` demands people's word: Ada's for everything, Bob's for its folder.
async fn demand(world: &mut World, witness: &Witness) {
    let log = world.trust.log_vkey(FLEET).unwrap();
    let witnesses = world.trust.path().join("witnesses.txt");
    let policy = policy(&log, &[(witness.vkey(), witness.url())], 1);
    std::fs::write(&witnesses, policy).unwrap();
    let (ada, bob) = (ada().public(), bob().public());
    world
        .succeed(&[
            &["add", "witness-policy", &witnesses.to_string_lossy()],
            &["add", "person", &ada, "--name", "ada", "--path", "/"],
            &[
                "add",
                "person",
                &bob,
                "--name",
                "bob",
                "--path",
                "clusters/one/",
            ],
            &["add", "cluster", "one=test:authored"],
        ])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_signed_goes_live_and_nothing_else_does() {
    let mut place = Place::new(Begins::Authored, 3).await;
    let two = place.push("2", &ada());
    place.live(&two, "2").await;
    let good = place.push("3", &bob());
    place.live(&good, "3").await;
    assert_eq!(place.state()["authored"], good);

    // Nobody's word.
    let repo = &place.stand.world.repo;
    repo.write(&file("a"), config_map("a", "v", "4")).unwrap();
    place.pushed(repo.commit("unsigned").unwrap());
    place.refused("COMMIT_UNSIGNED", "h0").await;
    // A restart forgets neither where it stood nor what it refuses.
    place.stand.agent.process.kill().unwrap();
    place.stand.agent.restart().unwrap();
    // Even a good commit on top does not make the one below it somebody's word.
    place.push("5", &ada());
    place.rewrite(&good);
    place.push_again("6", &mallory());
    place.refused("COMMIT_SIGNER_UNKNOWN", "h1").await;

    // Somebody's word for what is not his to change.
    place.rewrite(&good);
    let repo = &place.stand.world.repo;
    repo.write("fleet/readme", "Bob was here").unwrap();
    place.push_again("7", &bob());
    place.refused("COMMIT_PATH_NOT_ALLOWED", "h2").await;

    place.rewrite(&good);
    let better = place.push_again("8", &bob());
    place.live(&better, "8").await;
    assert_eq!(place.state()["authored"], better);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_goes_live_by_its_signers_word_for_all_that_it_brings() {
    let place = Place::new(Begins::Authored, 1).await;
    let repo = &place.stand.world.repo;
    let base = repo.head().unwrap();
    // A branch of two commits of Bob's, merged by Ada onto a commit of hers.
    repo.write(&file("b"), config_map("b", "v", "1")).unwrap();
    repo.commit_signed("b", &bob()).unwrap();
    repo.write(&file("b"), config_map("b", "v", "2")).unwrap();
    let side = repo.commit_signed("b again", &bob()).unwrap();
    repo.reset(&base).unwrap();
    repo.write("fleet/readme", "hers").unwrap();
    let main = repo.commit_signed("main", &ada()).unwrap();
    repo.write(&file("b"), config_map("b", "v", "2")).unwrap();
    let sign = |raw: &str| ada().sign("git", raw.as_bytes());
    let merge = repo.commit_onto(&[&main, &side], "merge", sign).unwrap();
    let merge = place.pushed(merge);
    place.stand.settled(&merge).await;
    let merged = place.stand.value("default", "b", "v").await;
    assert_eq!(merged.as_deref(), Some("2"));

    // The same by somebody who may change all that it merges, with a commit on the branch that nobody signed.
    repo.write(&file("b"), config_map("b", "v", "3")).unwrap();
    let side = repo.commit("b, unsigned").unwrap();
    repo.reset(&merge).unwrap();
    repo.write(&file("b"), config_map("b", "v", "3")).unwrap();
    let merge = repo.commit_onto(&[&merge, &side], "merge", sign).unwrap();
    place.pushed(merge);
    place.refused("COMMIT_UNSIGNED", "h0").await;
    let merged = place.stand.value("default", "b", "v").await;
    assert_eq!(merged.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_level_is_raised_judges_as_at_a_first_start() {
    let mut place = Place::new(Begins::Signed, 3).await;
    let repo = &place.stand.world.repo;
    repo.write(&file("a"), config_map("a", "v", "2")).unwrap();
    let two = place.pushed(repo.commit("unsigned").unwrap());
    place.live(&two, "2").await;
    assert!(place.state()["authored"].is_null());

    demand(&mut place.stand.world, &place.witness).await;
    // Bob's word is none for what stood before: only who may change everything can vouch for that.
    place.push("3", &bob());
    place.refused("COMMIT_UNSIGNED", "h0").await;
    let ground = place.push("4", &ada());
    place.live(&ground, "4").await;
    assert_eq!(place.state()["authored"], ground);

    // From there on each commit is judged, over a restart too, and several at once.
    place.stand.agent.process.kill().unwrap();
    for value in ["5", "6"] {
        let commit = place.push(value, &bob());
        sealed(&place, &commit).await;
    }
    place.stand.agent.restart().unwrap();
    let last = place.push("7", &bob());
    place.live(&last, "7").await;
    let repo = &place.stand.world.repo;
    repo.write(&file("a"), config_map("a", "v", "8")).unwrap();
    place.pushed(repo.commit("unsigned again").unwrap());
    place.push("9", &ada());
    let before = place.mark().await;
    refused_again(&place, "COMMIT_UNSIGNED", 2).await;
    assert_eq!(place.mark().await, before);
    heals(&place.stand, "h1").await;
}

/// The hub has sealed what this commit asks for.
async fn sealed(place: &Place, commit: &str) {
    until("it is sealed", LIMIT, async || {
        let fleet = place.stand.world.operator.fleet().await;
        let fleet = fleet.map_err(|error| error.to_string())?;
        let seen = fleet.source.commit.as_ref().map(|seen| seen.id.as_str());
        if seen == Some(commit) && fleet.source.processed.is_some() {
            Ok(())
        } else {
            Err(format!("{:?}", fleet.source))
        }
    })
    .await;
}

async fn refused_again(place: &Place, code: &str, times: u64) {
    until(code, LIMIT, async || {
        let cluster = place.stand.world.operator.cluster(ONE).await;
        let cluster = cluster.map_err(|error| error.to_string())?;
        let seen = cluster.refusals.iter().filter(|seen| seen.code == code);
        if seen.map(|seen| seen.count).sum::<u64>() >= times {
            Ok(())
        } else {
            Err(format!("{:?}\n{}", cluster.refusals, place.stand.logs()))
        }
    })
    .await;
}

/// A commit that git itself made, signed by GnuPG, where that is installed.
#[tokio::test(flavor = "multi_thread")]
async fn what_gnupg_signed_goes_live() {
    let home = tempfile::Builder::new().prefix("gpg-").tempdir().unwrap();
    let gpg = |args: &[&str]| {
        Command::new("gpg")
            .env("GNUPGHOME", home.path())
            .args(["--batch", "--quiet", "--no-tty"])
            .args(args)
            .output()
    };
    let who = "Carol <carol@example.org>";
    let make = [
        "--passphrase",
        "",
        "--quick-generate-key",
        who,
        "ed25519",
        "sign",
    ];
    let Ok(made) = gpg(&make) else {
        return; // no GnuPG here
    };
    assert!(made.status.success(), "{made:?}");
    let public = home.path().join("carol.asc");
    std::fs::write(&public, gpg(&["--armor", "--export"]).unwrap().stdout).unwrap();

    let mut place = Place::new(Begins::Authored, 1).await;
    let key = public.to_string_lossy();
    let carol = [
        "add",
        "person",
        "--key-file",
        &key,
        "--name",
        "carol",
        "--path",
        "clusters/one/",
    ];
    place.stand.world.succeed(&[&carol]).await.unwrap();
    let repo = &place.stand.world.repo;
    repo.write(&file("a"), config_map("a", "v", "2")).unwrap();
    git(repo.path(), home.path(), &["add", "--all"]);
    git(
        repo.path(),
        home.path(),
        &["commit", "--quiet", "--gpg-sign", "--message", "by Carol"],
    );
    let _ = gpg_ended(home.path());
    let commit = place.pushed(repo.head().unwrap());
    place.live(&commit, "2").await;
}

/// The agent that GnuPG left running ends, and with it its files.
fn gpg_ended(home: &Path) -> std::io::Result<std::process::Output> {
    Command::new("gpgconf")
        .env("GNUPGHOME", home)
        .args(["--kill", "all"])
        .output()
}

fn git(repository: &Path, gnupg: &Path, args: &[&str]) {
    let done = Command::new("git")
        .current_dir(repository)
        .env("GNUPGHOME", gnupg)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args([
            "-c",
            "user.name=Carol",
            "-c",
            "user.email=carol@example.org",
        ])
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}
