//! The second renderer on the real programs: what it renders again from its own clone, and what becomes of a state that is
//! not what its commit renders to.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use countersign_ledger::commit::{ObjectKind, frame};
use countersign_ledger::key::FileKey;
use countersign_tests::{
    cli::{Cli, Output},
    rogue::{Forgery, StolenLog, forge},
    tool::Tool,
    until,
    world::FLEET,
};
use serde_json::json;

use crate::{
    attacks::envelopes,
    fixture::{Stand, config_map},
};

mod level;
mod permits;
mod secrets;

const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who looks at a log with a clone of their own, and signs nothing.
struct Looker {
    repo: PathBuf,
    trust: PathBuf,
    renderer: PathBuf,
}

impl Looker {
    async fn of(stand: &Stand) -> Self {
        let renderer = tokio::task::spawn_blocking(|| Tool::Renderer.path().unwrap());
        Self {
            renderer: renderer.await.unwrap(),
            repo: stand.world.bare.path().to_owned(),
            trust: stand.world.trust.document(),
        }
    }

    fn looks(&self, log: &Path, more: &[&str]) -> Output {
        let mut args: Vec<OsString> = ["reproduce", "--once", "--repo"].map(Into::into).into();
        args.extend([
            self.repo.clone().into(),
            "--log".into(),
            log.into(),
            "--trust".into(),
            self.trust.clone().into(),
            "--renderer".into(),
            self.renderer.clone().into(),
        ]);
        args.extend(more.iter().map(OsString::from));
        Cli::new().run(args).unwrap()
    }
}

/// A state that the stolen sealer's key signed, behind the commit of the state before it.
pub(crate) fn forged(stand: &Stand) -> Forgery {
    let newest = envelopes(&stand.world.hub.data()).pop().unwrap();
    let keys = stand.world.trust.hub_keys();
    let pem = std::fs::read_to_string(keys.join("sealer-test.key")).unwrap();
    let sealer = FileKey::from_pem(&pem).unwrap();
    let loot = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loot", "namespace": "default"}, "data": {"v": "stolen"}});
    forge(&newest, &loot, &sealer).unwrap()
}

/// The commit and the trees behind it, as they travel.
fn objects(repository: &Path, commit: &str) -> Vec<bytes::Bytes> {
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .current_dir(repository)
            .args(args)
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
        done.stdout
    };
    let list = git(&["rev-list", "--objects", "--no-object-names", commit]);
    let list = String::from_utf8(list).unwrap();
    let framed = list.lines().filter_map(|id| {
        let kind = String::from_utf8(git(&["cat-file", "-t", id])).unwrap();
        let (kind, name) = match kind.trim() {
            "commit" => (ObjectKind::Commit, "commit"),
            "tree" => (ObjectKind::Tree, "tree"),
            _ => return None,
        };
        Some(frame(kind, &git(&["cat-file", name, id])).into())
    });
    framed.collect()
}

/// A copy of the store's blobs and trust roots, with the forgery's blobs.
pub(crate) fn copy(store: &Path, forged: &Forgery, to: &Path) {
    for folder in ["blobs", "trust"] {
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .args([store.join(folder), to.join(folder)])
            .status()
            .unwrap();
        assert!(copied.success(), "{folder}");
    }
    for blob in &forged.blobs {
        let digest = countersign_ledger::Digest::of(&blob.content).to_string();
        let folder = to.join("blobs").join(&digest[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(digest), &blob.content).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_manifest_behind_a_genuine_commit_is_found_on_any_level_from_a_copy_of_the_log() {
    let mut stand = Stand::new(&[
        ("clusters/one/a.yaml", &config_map("a", "v", "1")),
        ("clusters/one/b.yaml", &config_map("b", "v", "1")),
        ("clusters/one/c.yaml", &config_map("c", "v", "1")),
    ])
    .await;
    stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    stand.remove("clusters/one/b.yaml").await;
    let looker = Looker::of(&stand).await;
    let store = stand.world.hub.data().join("store");
    until(
        "all states are published, the last without the deleted object",
        LIMIT,
        async || {
            let honest = looker.looks(&store, &[]);
            if honest.code == Some(0) && honest.stderr.contains("4 agree") {
                Ok(())
            } else {
                Err(format!("{honest:?}"))
            }
        },
    )
    .await;
    stand.world.hub.stop().await.unwrap();

    let forged = forged(&stand);
    let copied = tempfile::tempdir().unwrap();
    copy(&store, &forged, copied.path());
    let keys = stand.world.trust.hub_keys();
    let mut log = StolenLog::take(FLEET, &store, &keys).unwrap();
    log.append(&forged.head.envelopes[0]);
    log.write(copied.path()).unwrap();
    let found = looker.looks(copied.path(), &[]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(
        found.stdout.contains("DISAGREES  one generation 5"),
        "{found:?}"
    );
    for told in [
        "loot: sealed, and not rendered",
        "a: rendered, and not sealed",
    ] {
        assert!(found.stdout.contains(told), "{told}: {found:?}");
    }
    // What was found before is not done again, and memory of another history stops it.
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_string_lossy().into_owned();
    let once = looker.looks(&store, &["--data", &data]);
    assert_eq!(once.code, Some(0), "{once:?}");
    assert!(once.stderr.contains("4 agree"), "{once:?}");
    let again = looker.looks(&store, &["--data", &data]);
    assert!(again.stderr.contains("0 agree"), "{again:?}");
    log.rewrite(1, b"it never was so");
    log.write(copied.path()).unwrap();
    let rewritten = looker.looks(copied.path(), &["--data", &data]);
    assert_eq!(rewritten.code, Some(1), "{rewritten:?}");
    assert!(rewritten.stderr.contains("LOG_FORKED"), "{rewritten:?}");
}
