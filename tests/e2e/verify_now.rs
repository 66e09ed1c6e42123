//! `countersign verify now` on the real programs: who is there answers at once with a signed word that is checked, who is not is
//! named.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use countersign_tests::cli::{Cli, Output};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::world::World;

use crate::fixture::{CLUSTER, ONE, Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);
const TWO: (&str, &str) = (
    "clusters/two/cluster.yaml",
    "apiVersion: countersign.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: two\nspec:\n  labels:\n    env: test\n",
);

fn now(stand: &Stand, words: &[&str]) -> Output {
    let mut args: Vec<OsString> = vec!["verify".into(), "now".into()];
    args.extend(words.iter().map(OsString::from));
    args.extend(["--data".into(), stand.world.hub.data().into()]);
    args.extend(["--trust".into(), stand.world.trust.newest().into()]);
    Cli::new().run(args).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_answers_with_its_signed_word_and_one_that_is_away_is_named() {
    let repo = GitRepo::new().unwrap();
    let a = config_map("a", "v", "1");
    let files = [CLUSTER, TWO, ("clusters/one/a.yaml", &a)];
    let commit = repo.commit_files(&files, "the fleet").unwrap();
    let world = World::start(repo, &["one=test", "two=test"]).await.unwrap();
    let stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
    stand.settled(&commit).await;

    // Its first word must be in the log, so that its key is enrolled.
    let one = until("it answers", LIMIT, async || {
        let began = Instant::now();
        let output = now(&stand, &["--cluster", ONE, "--wait", "10s", "-o", "json"]);
        let answered = output.code == Some(0);
        answered
            .then_some((output.stdout.clone(), began.elapsed()))
            .ok_or_else(|| format!("{output:?}\n{}", stand.logs()))
    })
    .await;
    let (said, took) = one;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let word = &said[0]["word"];
    assert_eq!(word["generation"], 1, "{said}");
    assert_eq!(word["enrolled"], true, "{said}");
    assert_eq!(said[0]["connected"], true, "{said}");

    let both = now(&stand, &["--all", "--wait", "3s"]);
    assert_eq!(both.code, Some(1), "{both:?}");
    assert!(both.stdout.contains("one "), "{both:?}");
    let silent = "no answer within 3 s: two (not connected)";
    assert!(both.stderr.contains(silent), "{both:?}");

    // Another question is another word.
    let again = now(&stand, &["--cluster", ONE, "-o", "json"]);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let seq = |said: &serde_json::Value| said[0]["word"]["seq"].as_u64().unwrap();
    assert!(seq(&again) > seq(&said), "{again}");
}
