//! The commands of `docs/authored.md`, run as they stand there.

use std::{path::Path, process::Command};

use countersign_ledger::{
    commit::{ObjectKind, Oid, People, authored, frame},
    dsse,
    key::{FileKey, Sign as _},
    tlog::note::{KeyKind, Vkey},
    trust::TrustRoot,
};
use countersign_tests::{cli::Trust, program, witness::policy, workspace, world::FLEET};

#[test]
fn who_follows_the_guide_signs_commits_that_the_trust_root_knows() {
    let guide = std::fs::read_to_string(workspace::root().join("docs/authored.md")).unwrap();
    let blocks: Vec<&str> = guide
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [sign, list] = blocks[..] else {
        panic!("the guide has other commands: {blocks:?}");
    };

    let trust = Trust::init(FLEET, &["metal-fra=production"]).unwrap();
    let home = tempfile::tempdir().unwrap();
    let (ssh, work) = (home.path().join(".ssh"), home.path().join("work"));
    std::fs::create_dir_all(&ssh).unwrap();
    std::fs::create_dir_all(work.join("data")).unwrap();
    for (name, key) in [("ada", ssh.join("id_ed25519")), ("bob", work.join("bob"))] {
        run(
            home.path(),
            &work,
            &format!("ssh-keygen -q -t ed25519 -N '' -C '' -f {}", key.display()),
        );
        let public = key.with_extension("pub");
        let listed = work.join(format!("{name}.pub"));
        if public != listed {
            std::fs::copy(public, listed).unwrap();
        }
    }
    std::fs::copy(trust.document(), work.join("trust.json")).unwrap();
    std::fs::copy(trust.root_key(), work.join("root.key")).unwrap();
    // What the guide says must be there before: witnesses.
    let log = trust.log_vkey(FLEET).unwrap();
    let key = FileKey::from_seed(&[5; 32]).unwrap().public();
    let witness = Vkey::new("witness.example/w1", KeyKind::Cosignature, key).unwrap();
    let url = "https://w1.witness.example".to_owned();
    std::fs::write(
        work.join("witnesses.txt"),
        policy(&log, &[(&witness, url)], 1),
    )
    .unwrap();
    let add = "countersign trust add witness-policy witnesses.txt --current trust.json";
    run(home.path(), &work, add);

    run(home.path(), &work, list);
    let signed = std::fs::read(work.join("trust.next.json")).unwrap();
    let envelope = dsse::Envelope::parse(&signed, &dsse::Limits::trust_root()).unwrap();
    let root = TrustRoot::parse(envelope.payload()).unwrap();
    assert_eq!(
        std::fs::read(work.join("data/store/trust/2.json")).unwrap(),
        signed
    );

    run(home.path(), &work, "git init --quiet repo");
    let repo = work.join("repo");
    run(home.path(), &repo, sign);
    run(
        home.path(),
        &repo,
        "git -c user.name=Ada -c user.email=ada@example.org commit --quiet --allow-empty -m first",
    );
    let commit = run(home.path(), &repo, "git rev-parse HEAD");
    let raw = run(home.path(), &repo, "git cat-file commit HEAD");
    let id: Oid = commit.trim().parse().unwrap();
    let people = People::read(&root.people).unwrap();
    let object = frame(ObjectKind::Commit, raw.as_bytes());
    let judged = authored(&people, None, id, &[object], 2_000_000_000).unwrap();
    assert!(judged.signers().contains("ada"));
}

/// Runs commands as a person would who has `countersign` installed.
fn run(home: &Path, folder: &Path, commands: &str) -> String {
    let program = program::path("countersign").unwrap();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let done = Command::new("sh")
        .args(["-e", "-c", commands])
        .current_dir(folder)
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(done.status.success(), "{commands}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}
