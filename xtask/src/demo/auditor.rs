//! The auditor's act: a copy of the log and the trust root on a laptop, and no hub.

use std::{ffi::OsStr, path::Path};

use countersign_tests::cli::Cli;

use super::{scenes::PATIENCE, stage::Stage};

/// What the auditor asks for.
const OBJECT: &str = "wallet";

/// Copies the hub's log away, checks all of it, and asks who deployed an object.
///
/// # Errors
/// If the log does not hold, or has no answer.
pub(super) async fn ask(stage: &mut Stage) -> anyhow::Result<((), String)> {
    let laptop = tempfile::tempdir()?;
    let log = laptop.path().join("log");
    let store = stage.world.hub.data().join("store");
    // The log is published a moment after it is acknowledged.
    countersign_tests::wait("the log is published", PATIENCE, async || {
        if store.join("checkpoint").exists() {
            Ok(())
        } else {
            Err("no checkpoint yet")
        }
    })
    .await?;
    // The checkpoint first: what is copied after it is at least as new.
    std::fs::create_dir(&log)?;
    std::fs::copy(store.join("checkpoint"), log.join("checkpoint"))?;
    for folder in ["tile", "trust", "blobs"] {
        copy(&store.join(folder), &log.join(folder))?;
    }
    let trust = stage.world.trust.document();
    let index = laptop.path().join("index.sqlite");
    let cluster = stage.members[0].name;
    let run = |question: &[&str]| {
        let mut args: Vec<&OsStr> = question.iter().map(OsStr::new).collect();
        args.extend([
            OsStr::new("--log"),
            log.as_os_str(),
            OsStr::new("--trust"),
            trust.as_os_str(),
            OsStr::new("--index"),
            index.as_os_str(),
        ]);
        Cli::new().ok(args)
    };
    run(&["audit", "verify"])?;
    let who: serde_json::Value = serde_json::from_str(&run(&[
        "audit",
        "who",
        OBJECT,
        "--cluster",
        cluster,
        "-o",
        "json",
    ])?)?;
    let row = who["rows"].get(0).unwrap_or(&serde_json::Value::Null);
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let (commit, author) = (text("commit"), text("author"));
    anyhow::ensure!(!commit.is_empty(), "no answer who deployed {OBJECT}: {who}");
    let detail = format!(
        "from a copy of the log and the trust root, with no hub: all {} entries hold;\n\
         {OBJECT} on {cluster} comes from commit {} by {author}",
        who["basis"]["size"],
        &commit[..commit.len().min(10)],
    );
    Ok(((), detail))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
