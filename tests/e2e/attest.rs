//! CI says in the log what it does below the clusters: by a key of its own, by an operator's token, by a workflow's identity
//! token. And how a key comes to count: a trust root that a running hub takes.
//!
//! Terraform is not here: `testdata/plan.json` of the command is a document in the form that HashiCorp documents for format
//! version 1.2. The issuer of the workflow's token is a stand-in, with a key made here.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_tests::cli::{Cli, Output};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::world::World;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

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

/// A stand-in for GitHub's issuer: it signs what it is told to.
struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap();
        Self { pair }
    }

    fn jwks(&self) -> String {
        let point = self.pair.public_key().as_ref();
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "stand-in",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
        .to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "ES256", "kid": "stand-in", "typ": "JWT" });
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

/// A stand-in for the runner's end point: one answer with this token to each who asks with the right bearer.
fn runner(tokens: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/token?api-version=2",
        listener.local_addr().unwrap()
    );
    std::thread::spawn(move || {
        for token in tokens {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 8_192];
            let got = stream.read(&mut asked).unwrap();
            let asked = String::from_utf8_lossy(&asked[..got]).into_owned();
            assert!(
                asked.starts_with("GET /token?api-version=2&audience=countersign "),
                "{asked}"
            );
            assert!(
                asked
                    .to_lowercase()
                    .contains("authorization: bearer runner-secret")
            );
            let body = json!({ "value": token }).to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_speaks_by_its_identity_token_if_the_operator_allowed_its_repository_and_ref() {
    let issuer = Issuer::new();
    let config = tempfile::tempdir().unwrap();
    std::fs::write(config.path().join("jwks.json"), issuer.jwks()).unwrap();
    let rules = config.path().join("ci.toml");
    std::fs::write(
        &rules,
        "[[workflows]]\nissuer = \"https://stand-in.example\"\njwks-file = \"jwks.json\"\nrepository = \"acme/infra\"\nref = \"refs/heads/main\"\nworkspace = \"eks\"\nenvironment = \"test\"\naudience = \"countersign\"\n",
    )
    .unwrap();
    let ci =
        Ci::start(|options| options.args([OsString::from("--ci-workflows"), rules.into()])).await;
    let trust = ci.world.trust.document();
    let now = jiff::Timestamp::now().as_second();
    let claims = |reference: &str, until: i64| {
        issuer.token(&json!({
            "iss": "https://stand-in.example", "aud": "countersign",
            "sub": format!("repo:acme/infra:ref:{reference}"), "repository": "acme/infra",
            "ref": reference, "iat": now - 10, "nbf": now - 10, "exp": until,
        }))
    };
    let url = runner(vec![
        claims("refs/heads/main", now + 300),
        claims("refs/heads/evil", now + 300),
        claims("refs/heads/main", now - 1),
        Issuer::new().token(&json!({ "iss": "https://stand-in.example" })),
        claims("refs/heads/main", now + 300),
        claims("refs/heads/main", now + 300),
    ]);
    let cli = || {
        Cli::new()
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret")
    };
    let attest = || ci.attest(cli(), "eks", &trust, &["--github-oidc"]);
    index(&attest().await);
    for why in ["claim \"ref\"", "expired", "no key of the issuer"] {
        let refused = attest().await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("WORKFLOW_REFUSED"), "{refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
    }
    action(&ci, &url, &trust);
    ci.holds_no_value();
}

/// Runs the step of the GitHub Action as a runner would. A workspace that looks like shell and like an option stays a word.
fn action(ci: &Ci, url: &str, trust: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../actions/attest-infrastructure");
    let text = std::fs::read_to_string(folder.join("action.yml")).unwrap();
    let action: Value = serde_saphyr::from_str(&text).unwrap();
    for step in action["runs"]["steps"].as_array().unwrap() {
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "an input is part of a script");
        assert!(step.get("uses").is_none(), "another action is used");
    }
    let step = |workspace: &str| {
        let output = ci.path("github-output");
        let ran = std::process::Command::new("bash")
            .arg(folder.join("attest.sh"))
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret")
            .env("GITHUB_OUTPUT", &output)
            .env("RUNNER_TEMP", ci.folder.path())
            .env("CS_PLAN", ci.path("plan.json"))
            .env("CS_PHASE", "apply")
            .env("CS_ENVIRONMENT", "test")
            .env("CS_WORKSPACE", workspace)
            .env("CS_HUB", ci.world.hub.agents_url())
            .env("CS_CA", ci.ca())
            .env("CS_TRUST", trust)
            .env(
                "CS_PROGRAM",
                countersign_tests::program::path("countersign").unwrap(),
            )
            .output()
            .unwrap();
        (ran, std::fs::read_to_string(output).unwrap_or_default())
    };
    let (ran, output) = step("eks");
    assert!(ran.status.success(), "{ran:?}");
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].starts_with("index="), "{output}");
    let proof = lines[1].strip_prefix("proof=").unwrap();
    assert!(
        std::fs::read_to_string(proof)
            .unwrap()
            .starts_with("c2sp.org/tlog-proof@v1")
    );
    let touched = ci.path("touched");
    let (ran, _) = step(&format!(
        "--key $(touch {0}) `touch {0}`; touch {0}",
        touched.display()
    ));
    assert!(!ran.status.success(), "{ran:?}");
    assert!(!touched.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_whose_key_is_not_there_waits_and_the_others_go_on() {
    let ci = Ci::start(|options| options).await;
    let elsewhere = ci.path("sealer-late.key");
    let document = ci.world.trust.document();
    let made = ci
        .publish(&[
            &[
                "add",
                "sealer",
                "--environment",
                "late",
                "--generate",
                elsewhere.to_str().unwrap(),
            ],
            &["add", "cluster", "two=late"],
        ])
        .await;
    assert_eq!(made.code, Some(0), "{made:?}\n{}", document.display());
    ci.under(2).await;
    let alarms = || async {
        let fleet = ci.world.operator.fleet().await.unwrap();
        let mut codes = fleet.alarms.iter().map(|alarm| alarm.code.clone());
        codes.any(|code| code == "SEALER_KEY_MISSING")
    };
    assert!(alarms().await);
    // The other environment is sealed for under the new root.
    ci.world
        .repo
        .commit_files(
            &[("clusters/one/a.yaml", &config_map("a", "v", "2"))],
            "more",
        )
        .unwrap();
    ci.world.repo.push(&ci.world.bare).unwrap();
    let _: Value = ci.world.operator.post("sync", &json!({})).await.unwrap();
    until(
        "cluster one is sealed for under the new root",
        LIMIT,
        async || {
            let cluster = ci.world.operator.cluster("one").await;
            let cluster = cluster.map_err(|error| format!("{error:#}"))?;
            let text = serde_json::to_string(&cluster).unwrap();
            match serde_json::to_value(&cluster).unwrap()["generationSealed"].as_u64() {
                Some(generation) if generation >= 2 => Ok(()),
                _ => Err(text),
            }
        },
    )
    .await;

    let place = ci.world.trust.hub_keys().join("sealer-late.key");
    std::fs::rename(&elsewhere, &place).unwrap();
    until(
        "the key is found without a restart",
        LIMIT,
        async || match ci.world.operator.fleet().await {
            Ok(fleet) if fleet.alarms.is_empty() => Ok(()),
            Ok(fleet) => Err(format!("{:?}", fleet.alarms)),
            Err(error) => Err(format!("{error:#}")),
        },
    )
    .await;

    // A root that the threshold did not sign is not taken.
    let forged = ci.path("forged.json");
    let text = std::fs::read_to_string(ci.world.trust.path().join("trust.next.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["signatures"] = json!([]);
    std::fs::write(&forged, value.to_string()).unwrap();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let answer = client
        .post(format!("{}/log/trust", ci.world.hub.agents_url()))
        .body(std::fs::read(&forged).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}
