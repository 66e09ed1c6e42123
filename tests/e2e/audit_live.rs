//! An auditor with a copy of a real hub's log and the trust root, and nothing else: the hub is gone.

use std::{ffi::OsString, path::Path, time::Duration};

use countersign_tests::{
    cli::{Cli, Output},
    tool::Tool,
    until,
};

use crate::fixture::{ONE, Stand, config_map};

const LIMIT: Duration = Duration::from_secs(60);

/// What an auditor holds.
struct Auditor {
    log: std::path::PathBuf,
    trust: std::path::PathBuf,
    cache: tempfile::TempDir,
}

impl Auditor {
    fn audit(&self, args: &[&str]) -> Output {
        let cache = self.cache.path().join("index.sqlite");
        let mut all: Vec<OsString> = vec!["audit".into()];
        all.extend(args.iter().map(OsString::from));
        for (flag, path) in [
            ("--log", self.log.as_path()),
            ("--trust", self.trust.as_path()),
            ("--index", cache.as_path()),
        ] {
            all.extend([flag.into(), path.into()]);
        }
        Cli::new().run(all).unwrap()
    }

    fn fsck(&self, log: &Path) -> Output {
        let args: [&std::ffi::OsStr; 5] = [
            "log".as_ref(),
            "fsck".as_ref(),
            log.as_ref(),
            "--trust".as_ref(),
            self.trust.as_ref(),
        ];
        Cli::new().run(args).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_log_answers_who_deployed_what_without_hub_or_network() {
    let mut stand = Stand::new(&[("clusters/one/a.yaml", &config_map("a", "v", "1"))]).await;
    let commit = stand
        .push(&[("clusters/one/a.yaml", &config_map("a", "v", "2"))])
        .await;
    let auditor = Auditor {
        log: stand.world.hub.data().join("store"),
        trust: stand.world.trust.document(),
        cache: tempfile::tempdir().unwrap(),
    };
    // The log is published a moment after it is acknowledged, and the cluster's word comes after it has applied: the
    // trust root, the enrolment, then twice a source, a state and a receipt.
    until(
        "both states and both receipts are published",
        LIMIT,
        async || {
            let checkpoint =
                std::fs::read_to_string(auditor.log.join("checkpoint")).unwrap_or_default();
            let size = checkpoint.lines().nth(1).map(str::to_owned);
            if size.as_deref() == Some("8") {
                Ok(())
            } else {
                Err(format!("{size:?}\n{}", stand.logs()))
            }
        },
    )
    .await;
    stand.world.hub.stop().await.unwrap();

    let whole = auditor.fsck(&auditor.log);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let verified = auditor.audit(&["verify", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    let codes: std::collections::BTreeSet<&str> = found["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["code"].as_str())
        .collect();
    assert_eq!(codes, std::collections::BTreeSet::new(), "{verified:?}");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let who = auditor.audit(&["who", "a", "--cluster", ONE]);
    assert_eq!(who.code, Some(0), "{who:?}");
    assert!(who.stdout.contains(&commit[..12]), "{who:?}");
    let at = auditor.audit(&["at", "--cluster", ONE]);
    // What a cluster runs is its own word, and it counts since the cluster is enrolled in the log.
    assert_eq!(at.code, Some(0), "{at:?}");
    assert!(at.stdout.contains(&commit[..12]), "{at:?}");

    // Readers that we did not write come to the same verdict.
    let interop = tokio::task::spawn_blocking(|| Tool::Interop.path())
        .await
        .unwrap()
        .unwrap();
    let root: serde_json::Value = serde_json::from_str(
        &Cli::new()
            .ok([
                "trust".as_ref(),
                "show".as_ref(),
                auditor.trust.as_os_str(),
                "-o".as_ref(),
                "json".as_ref(),
            ])
            .unwrap(),
    )
    .unwrap();
    let vkey = auditor.cache.path().join("vkey");
    std::fs::write(&vkey, root["log"]["vkey"].as_str().unwrap()).unwrap();
    for reader in ["gate", "xmod"] {
        let read = std::process::Command::new(&interop)
            .arg(reader)
            .arg(&auditor.log)
            .arg(&vkey)
            .output()
            .unwrap();
        assert!(read.status.success(), "{reader}: {read:?}");
    }

    // One bit of one entry, and nobody believes it any more.
    let bundles = auditor.log.join("tile/entries");
    let bundle = newest(&bundles);
    let mut bytes = std::fs::read(&bundle).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let broken = auditor.fsck(&auditor.log);
    assert_eq!(broken.code, Some(1), "{broken:?}");
    let fresh = Auditor {
        cache: tempfile::tempdir().unwrap(),
        ..auditor
    };
    let broken = fresh.audit(&["verify"]);
    assert_eq!(broken.code, Some(1), "{broken:?}");
}

/// The widest partial bundle: the one that the newest checkpoint needs.
fn newest(bundles: &Path) -> std::path::PathBuf {
    let mut widths: Vec<(u32, std::path::PathBuf)> = std::fs::read_dir(bundles.join("000.p"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let width = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (width, path)
        })
        .collect();
    widths.sort();
    widths.pop().unwrap().1
}
