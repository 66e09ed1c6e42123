//! Secrets that stand in Git encrypted by SOPS: decrypted by the hub alone, and to the cluster's key at once.

use countersign_tests::{cluster::Options, git::GitRepo, until, workspace, world::World};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::fixture::{CLUSTER, ONE, Stand, config_map, plain_app};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A file of two Secrets as SOPS wrote it.
fn case(name: &str) -> String {
    let folder = workspace::root().join("fleet/src/sops/cases");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_sops_encrypted_for_the_hub_arrives_and_is_nowhere_in_plain_text() {
    let identity = workspace::root().join("fleet/src/sops/cases/identity.txt");
    let file = case("both.yaml");
    let build = "namePrefix: pre-\nresources: [both.yaml]\n";
    let stand = Stand::with(
        &[
            ("clusters/plain.yaml", &plain_app("plain", "apps/plain")),
            ("apps/plain/both.yaml", &file),
            ("clusters/built.yaml", &plain_app("built", "apps/built")),
            ("apps/built/kustomization.yaml", build),
            ("apps/built/both.yaml", &file),
        ],
        Options::default(),
        |options| options.args(["--age-identity".into(), identity.into_os_string()]),
    )
    .await;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), "default");
    for name in ["zebra", "pre-zebra"] {
        let secret = secrets.get(name).await.unwrap();
        let data = secret.data.unwrap();
        assert_eq!(data["password"].0, "hunter2, ü\n".as_bytes(), "{name}");
        assert_eq!(data["token"].0, b"hello", "{name}");
        assert_eq!(data["port"].0, b"5432", "{name}");
    }
    assert_eq!(
        secrets.get("alpha").await.unwrap().data.unwrap()["a"].0,
        b"1"
    );
    // Whatever the hub wrote down, and whatever it said: not that.
    let mut folders = vec![stand.world.hub.data()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                files += 1;
                let content = std::fs::read(entry.path()).unwrap();
                for plain in [&b"hunter2"[..], b"aHVudGVyMi"] {
                    let found = content.windows(plain.len()).any(|part| part == plain);
                    assert!(!found, "{}", entry.path().display());
                }
            }
        }
    }
    assert!(files > 10);
    assert!(!stand.world.hub.process.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_an_encrypted_secret_fails_its_app_by_name_and_the_others_move_on() {
    let repo = GitRepo::new().unwrap();
    let file = case("both.yaml");
    repo.commit_files(
        &[
            CLUSTER,
            ("clusters/one/own.yaml", &config_map("own", "v", "1")),
            ("clusters/hidden.yaml", &plain_app("hidden", "apps/hidden")),
            ("apps/hidden/both.yaml", &file),
            ("clusters/whole.yaml", &plain_app("whole", "apps/whole")),
            ("apps/whole/a.yaml", &config_map("a", "v", "1")),
            ("apps/whole/secret.yaml.age", "age-encryption.org/v1\n"),
        ],
        "the fleet",
    )
    .unwrap();
    let world = World::start(repo, &["one=test"]).await.unwrap();
    for (app, words) in [
        ("hidden", "there is no key to read it: give --age-identity"),
        ("whole", "is encrypted with age as a whole"),
    ] {
        until(&format!("{app} says why"), LIMIT, async || {
            let text = serde_json::to_string(&world.operator.app(app).await?)?;
            anyhow::ensure!(
                text.contains("SECRET_ENCRYPTED") && text.contains(words),
                "{text}"
            );
            Ok(())
        })
        .await;
    }
    let cluster = world.operator.cluster(ONE).await.unwrap();
    assert_eq!(
        cluster.summary.generation_sealed, 1,
        "the cluster's own object is sealed"
    );
}
