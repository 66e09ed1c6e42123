//! Keys in a real Vault: its core and its API, in memory. How a signer meets an answer that is late, false or cut off is
//! tested beside it, on stand-ins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_fleet::api::Fleet;
use countersign_ledger::key::RingVerifier;
use countersign_ledger::trust::VerifiedRoot;
use countersign_tests::cli::{Cli, Output, Trust};
use countersign_tests::cluster::{Cluster, Options};
use countersign_tests::git::GitRepo;
use countersign_tests::until;
use countersign_tests::vault::Vault;
use countersign_tests::world::{FLEET, World};
use kube::api::DeleteParams;

use crate::fixture::{CLUSTER, Stand, config_map};

pub(crate) mod sign_in;

const LIMIT: Duration = Duration::from_secs(90);
const SEALER: &str = "vault:transit/test";
const LOG: &str = "vault:transit/log";
const ROOT: &str = "vault:transit/root";
/// What Vault says to a token that it does not know, or that lacks a right.
const DENIED: &str = "permission denied";

/// A Vault with the keys of a fleet, and the rights of the hub: to sign as sealer and log, not as root.
pub(crate) async fn vault() -> Vault {
    let vault = Vault::start().await.unwrap();
    vault.transit(&["root", "test", "log"]).await.unwrap();
    vault.signing_policy("hub", &["test", "log"]).await.unwrap();
    vault
}

/// The command line of a person who may use all keys.
fn person(vault: &Vault) -> Cli {
    Cli::new()
        .env("VAULT_ADDR", vault.url())
        .env("VAULT_TOKEN", vault.root_token())
}

/// A trust root whose root, sealer and log keys never were anywhere but in Vault.
pub(crate) async fn trust(vault: &Vault) -> Trust {
    let cli = person(vault);
    let named = [
        "--root-key",
        ROOT,
        "--sealer-key",
        &format!("test={SEALER}"),
        "--log-key",
        LOG,
    ]
    .map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        let named = named.each_ref().map(String::as_str);
        Trust::init_with(&cli, FLEET, &["one=test"], &named).unwrap()
    })
    .await
    .unwrap()
}

/// How a hub is told of its keys; `further` says how it signs in.
fn hub(
    vault: &Vault,
    further: &[(&str, &str)],
) -> impl FnOnce(countersign_tests::hub::Options) -> countersign_tests::hub::Options + use<> {
    let mut env = vec![("VAULT_ADDR".to_owned(), vault.url())];
    let further = further.iter().copied();
    env.extend(further.map(|(name, value)| (name.to_owned(), value.to_owned())));
    move |mut options| {
        options.env.extend(env);
        options.args(["--sealer-keys", &format!("test={SEALER}"), "--log-key", LOG])
    }
}

async fn run(cli: Cli, args: Vec<OsString>) -> Output {
    tokio::task::spawn_blocking(move || cli.run(args).unwrap())
        .await
        .unwrap()
}

fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

/// A file with a token, as an agent of Vault keeps it.
fn token_file(folder: &Path, token: &str) -> PathBuf {
    let path = folder.join("token");
    std::fs::write(&path, token).unwrap();
    path
}

/// Waits until the hub says that it may not sign, in Vault's own words.
async fn said_that_it_may_not(world: &World, words: &str) -> Fleet {
    until("the hub says that it may not sign", LIMIT, async || {
        let fleet = world.operator.fleet().await;
        let fleet = fleet.map_err(|error| format!("{error:#}"))?;
        let said = fleet.alarms.iter().any(|alarm| {
            alarm.code == "NOT_SEALED"
                && alarm.message.contains("Vault: refused with 403")
                && alarm.message.contains(words)
        });
        if said {
            Ok(fleet)
        } else {
            Err(format!("{:?}", fleet.alarms))
        }
    })
    .await
}

/// The claims in the hub's store: what was sealed.
fn claims(world: &World) -> usize {
    let folder = world.hub.data().join("store/claims");
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_keys_are_in_vault_seals_and_logs_and_waits_while_it_may_not() {
    let vault = vault().await;
    let trust = trust(&vault).await;
    for file in ["root.key", "hub/keys/sealer-test.key", "hub/keys/log.key"] {
        assert!(!trust.path().join(file).exists(), "{file}");
    }
    let folder = tempfile::tempdir().unwrap();
    let token = vault.token("hub").await.unwrap();
    let file = token_file(folder.path(), &token);
    let file = file.to_str().unwrap();
    let repo = GitRepo::new().unwrap();
    let files = [CLUSTER, ("clusters/one/a.yaml", &config_map("a", "v", "1"))];
    let commit = repo.commit_files(&files, "the fleet").unwrap();
    let signing_in = [("COUNTERSIGN_VAULT_TOKEN_FILE", file)];
    let world = World::start_under(trust, repo, hub(&vault, &signing_in))
        .await
        .unwrap();
    let stand = Stand::join(world, Cluster::start(Options::default()).await.unwrap()).await;
    stand.settled(&commit).await;
    let second = ("clusters/one/a.yaml", &*config_map("a", "v", "2"));
    stand.push(&[second]).await;

    // The log is whole, and signed by the key that the trust root names: anybody can check, without Vault.
    let store = stand.world.hub.data().join("store");
    let document = stand.world.trust.document();
    let fsck: Vec<OsString> = vec![
        "log".into(),
        "fsck".into(),
        store.into(),
        "--trust".into(),
        document.into(),
    ];
    until("all is published and whole", LIMIT, async || {
        let fsck = run(Cli::new(), fsck.clone()).await;
        if fsck.code == Some(0) {
            Ok(())
        } else {
            Err(format!("{fsck:?}"))
        }
    })
    .await;

    vault.revoke(&token).await.unwrap();
    let third = config_map("a", "v", "3");
    let waiting = stand
        .world
        .push_files(&[("clusters/one/a.yaml", &third)], "while it may not")
        .unwrap();
    let fleet = said_that_it_may_not(&stand.world, DENIED).await;
    let sealed = fleet.clusters[0].generation_sealed;
    let before = claims(&stand.world);
    // What runs goes on: served, and healed.
    let maps = stand.config_maps("default");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    until("what was deleted is back", LIMIT, async || {
        stand.value("default", "a", "v").await.as_deref() == Some("2")
    })
    .await;
    let fleet = said_that_it_may_not(&stand.world, DENIED).await;
    assert_eq!(fleet.clusters[0].generation_sealed, sealed);
    assert_eq!(claims(&stand.world), before, "something unsigned was taken");

    // A new token in the file, as an agent of Vault writes it; nobody restarts anything.
    token_file(folder.path(), &vault.token("hub").await.unwrap());
    until("the waiting commit is live", LIMIT, async || {
        match stand.value("default", "a", "v").await {
            Some(value) if value == "3" => Ok(()),
            other => Err(format!("{other:?}\n{}", stand.logs())),
        }
    })
    .await;
    stand.settled(&waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_in_vault_signs_the_next_trust_root_and_the_hubs_token_does_not() {
    let vault = vault().await;
    let trust = trust(&vault).await;
    let current = trust.document();
    let draft = trust.path().join("trust.next.json");
    let between = |mut args: Vec<OsString>| {
        args.extend(["--current".into(), current.clone().into()]);
        args
    };
    // The sealer key is rotated in Vault; that alone changes nothing.
    let rotate = vault.ask(
        reqwest::Method::POST,
        "transit/keys/test/rotate",
        serde_json::Value::Null,
    );
    rotate.await.unwrap();
    let sealer = words(&["trust", "add", "sealer", "--environment", "test", SEALER]);
    let log = words(&["trust", "add", "log", LOG]);
    for mut add in [sealer, log] {
        add.extend(["--draft".into(), draft.clone().into()]);
        let added = run(person(&vault), between(add)).await;
        assert_eq!(added.code, Some(0), "{added:?}");
    }

    let sign = |key: &str| {
        let mut args = words(&["trust", "sign"]);
        args.extend([draft.clone().into(), "--key".into(), key.into()]);
        between(args)
    };
    // The hub may use its own keys and no other, and its keys are no root keys.
    let hub = Cli::new()
        .env("VAULT_ADDR", vault.url())
        .env("VAULT_TOKEN", vault.token("hub").await.unwrap());
    let refused = run(hub.clone(), sign(ROOT)).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains(DENIED), "{refused:?}");
    let refused = run(hub, sign(LOG)).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("is no root key"), "{refused:?}");

    let signed = run(person(&vault), sign(ROOT)).await;
    assert_eq!(signed.code, Some(0), "{signed:?}");
    assert!(signed.stdout.contains("Complete: sha256:"), "{signed:?}");
    let root = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        VerifiedRoot::parse(&bytes, &RingVerifier).unwrap()
    };
    let first = root(&current);
    let next = first
        .succeed(&std::fs::read(&draft).unwrap(), &RingVerifier)
        .unwrap();
    let sealers = |root: &VerifiedRoot| root.sealers("test").copied().collect::<Vec<_>>();
    assert_eq!(next.version(), 2);
    assert_eq!(next.log(), first.log(), "named as the fleet's log is");
    assert_eq!(sealers(&first).len(), 1);
    assert_eq!(sealers(&next).len(), 2, "the old version and the new one");
    assert!(sealers(&next).contains(&sealers(&first)[0]));
}
