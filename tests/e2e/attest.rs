//! CI says in the log what it does below the clusters: by a key of its own, by an operator's token, by a workflow's identity
//! token. And how a key comes to count: a trust root that a running hub takes.
//!
//! Terraform is not here: `testdata/plan.json` of the command is a document in the form that HashiCorp documents for format
//! version 1.2. The issuer of the workflow's token is a stand-in, with a key made here.

mod waiting;
mod workflow;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_tests::cli::{Cli, Output};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::world::World;

use crate::fixture::{CLUSTER, config_map};

const LIMIT: Duration = Duration::from_secs(60);
const PLAN: &str = include_str!("../../cli/src/command/attest/testdata/plan.json");
/// Values of the plan: none of them may leave CI's machine.
const SECRETS: [&str; 4] = ["hunter2", "s3cr3t.internal", "AKIAEXAMPLE", "BEGIN EXAMPLE"];

/// A fleet of one cluster, and a folder for CI.
struct Ci {
    world: World,
    folder: tempfile::TempDir,
}

impl Ci {
    async fn start(
        options: impl FnOnce(countersign_tests::hub::Options) -> countersign_tests::hub::Options,
    ) -> Self {
        let repo = GitRepo::new().unwrap();
        let files = [CLUSTER, ("clusters/one/a.yaml", &config_map("a", "v", "1"))];
        repo.commit_files(&files, "the fleet").unwrap();
        let world = World::start_with(repo, &["one=test"], options)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plan.json"), PLAN).unwrap();
        Self { world, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.world.trust.hub_keys().join("hub-ca.crt")
    }

    /// Makes the next trust root and hands it to the hub while it runs.
    async fn publish(&self, changes: &[&[&str]]) -> Output {
        let next = self.world.trust.next(changes).unwrap();
        self.publish_file(&next).await
    }

    async fn publish_file(&self, next: &Path) -> Output {
        let mut args: Vec<OsString> = vec!["trust".into(), "publish".into(), next.into()];
        args.extend(["--hub".into(), self.world.hub.agents_url().into()]);
        args.extend(["--ca".into(), self.ca().into()]);
        run(Cli::new(), args).await
    }

    /// The hub runs under this version, and serves again.
    async fn under(&self, version: u64) {
        until("the new trust root is in effect", LIMIT, async || {
            let fleet = self.world.operator.fleet().await;
            let fleet = fleet.map_err(|error| format!("{error:#}"))?;
            let ready = reqwest_ready(&self.world).await;
            match (fleet.trust_root.version == version, ready) {
                (true, true) => Ok(()),
                other => Err(format!("{other:?}: {:?}", fleet.trust_root)),
            }
        })
        .await;
    }

    async fn attest(&self, cli: Cli, workspace: &str, trust: &Path, way: &[&str]) -> Output {
        let mut args: Vec<OsString> = vec!["attest".into(), "infrastructure".into()];
        for (flag, value) in [
            ("--plan", self.path("plan.json").into_os_string()),
            ("--environment", "test".into()),
            ("--workspace", workspace.into()),
            ("--run", "https://ci.example/7".into()),
            ("--hub", self.world.hub.agents_url().into()),
            ("--ca", self.ca().into()),
            ("--trust", trust.into()),
        ] {
            args.extend([flag.into(), value]);
        }
        args.extend(way.iter().map(OsString::from));
        run(cli, args).await
    }

    /// Nothing of a value is in what the hub keeps.
    fn holds_no_value(&self) {
        for bytes in files_below(&self.world.hub.data().join("store")) {
            let text = String::from_utf8_lossy(&bytes);
            for secret in SECRETS {
                assert!(!text.contains(secret), "{secret} is in the hub's store");
            }
        }
    }
}

async fn reqwest_ready(world: &World) -> bool {
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let answer = client
        .get(format!("{}/readyz", world.hub.agents_url()))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

fn files_below(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found
}

async fn run(cli: Cli, args: Vec<OsString>) -> Output {
    tokio::task::spawn_blocking(move || cli.run(args).unwrap())
        .await
        .unwrap()
}

fn index(output: &Output) -> u64 {
    assert_eq!(output.code, Some(0), "{output:?}");
    let (_, rest) = output.stdout.split_once("In the log as entry ").unwrap();
    rest.split(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_ci_signed_is_in_the_log_and_named_by_the_audit_and_none_of_its_values() {
    let ci = Ci::start(|options| options).await;
    let key = ci.path("ci.key");
    let key = key.to_str().unwrap();
    let closed = ci.path("nightly.key");
    let closed = closed.to_str().unwrap();
    // A second key has a passphrase. The root that lists both comes to a hub that runs.
    let passphrase = ci.path("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let with = || Cli::new().env("COUNTERSIGN_KEY_PASSPHRASE_FILE", &passphrase);
    let trust = ci.world.trust.path().join("trust.next.json");
    let mut made: Vec<OsString> = [
        "trust",
        "add",
        "ci",
        "--name",
        "nightly",
        "--encrypt",
        "--generate",
        closed,
    ]
    .map(OsString::from)
    .to_vec();
    made.extend(["--current".into(), ci.world.trust.document().into()]);
    made.extend(["--draft".into(), trust.clone().into()]);
    let made = run(with(), made).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let add: &[&str] = &["add", "ci", "--name", "pipeline", "--generate", key];
    let published = ci.publish(&[add]).await;
    assert_eq!(published.code, Some(0), "{published:?}");
    ci.under(2).await;
    let again = ci
        .publish_file(&ci.world.trust.path().join("trust.next.json"))
        .await;
    assert!(again.stdout.contains("already"), "{again:?}");

    let by_key = ["--key", key];
    let plain = || ci.attest(Cli::new(), "eks", &trust, &by_key);
    let planned = plain().await;
    let place = index(&planned);
    assert!(
        planned
            .stdout
            .contains("2 to create, 1 to update, 1 to delete, 1 to replace"),
        "{planned:?}"
    );
    // The same words are the same entry.
    assert_eq!(index(&plain().await), place);
    let applied = ci
        .attest(
            Cli::new(),
            "eks",
            &trust,
            &["--key", key, "--phase", "apply"],
        )
        .await;
    assert!(index(&applied) > place);
    let proof = std::fs::read_to_string(ci.path("plan.tlog-proof")).unwrap();
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\n"), "{proof}");
    let way = ["--key", closed];
    index(&ci.attest(with(), "eks", &trust, &way).await);
    // Without the passphrase the key is of no use, and with a key that nobody lists the hub isn't even asked.
    let refused = ci.attest(Cli::new(), "eks", &trust, &way).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let stranger = ci.world.trust.root_key();
    let stranger = ci
        .attest(
            Cli::new(),
            "eks",
            &trust,
            &["--key", stranger.to_str().unwrap()],
        )
        .await;
    assert_eq!(stranger.code, Some(2), "{stranger:?}");
    ci.holds_no_value();

    let store = ci.world.hub.data().join("store");
    let changes = || async {
        let index = ci.path("index.sqlite");
        let args: Vec<OsString> = vec![
            "audit".into(),
            "changes".into(),
            "--log".into(),
            store.clone().into(),
            "--trust".into(),
            trust.clone().into(),
            "--index".into(),
            index.into(),
            "-o".into(),
            "json".into(),
        ];
        run(Cli::new(), args).await
    };
    until("the audit names plan and apply", LIMIT, async || {
        let output = changes().await;
        let text = &output.stdout;
        let named = text.contains("infrastructure plan of eks") && text.contains("pipeline");
        let phases = text.contains("infrastructure apply of eks") && text.contains("nightly");
        if named && phases {
            Ok(())
        } else {
            Err(format!("{output:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_speaks_for_its_workspace_alone() {
    let ci = Ci::start(|options| options).await;
    let trust = ci.world.trust.document();
    let data = ci.world.hub.data();
    let token = |args: &[&str]| {
        let mut all: Vec<OsString> = vec!["ci".into(), "token".into()];
        all.extend(args.iter().map(OsString::from));
        all.extend(["--data".into(), data.clone().into()]);
        run(Cli::new(), all)
    };
    let scope = [
        "--workspace",
        "eks",
        "--environment",
        "test",
        "--name",
        "nightly",
    ];
    let made = token(&[&scope[..], &["--for", "1h"]].concat()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let file = ci.path("ci.token");
    std::fs::write(&file, &made.stdout).unwrap();
    let way = ["--token-file", file.to_str().unwrap()];
    let place = index(&ci.attest(Cli::new(), "eks", &trust, &way).await);
    assert_eq!(
        index(&ci.attest(Cli::new(), "eks", &trust, &way).await),
        place
    );

    let other = ci.attest(Cli::new(), "vault", &trust, &way).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("CI_TOKEN_SCOPE"), "{other:?}");
    let mut changed = made.stdout.trim().to_owned();
    changed.replace_range(40..41, if &changed[40..41] == "A" { "B" } else { "A" });
    std::fs::write(&file, changed).unwrap();
    let forged = ci.attest(Cli::new(), "eks", &trust, &way).await;
    assert!(forged.stderr.contains("CI_TOKEN_UNKNOWN"), "{forged:?}");
    let long = token(&[&scope[..], &["--for", "25h"]].concat()).await;
    assert_ne!(long.code, Some(0), "{long:?}");
    ci.holds_no_value();
}
