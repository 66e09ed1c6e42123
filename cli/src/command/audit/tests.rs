use std::path::Path;

use clap::Parser as _;
use countersign_ledger::statement::receipt::ReceiptKind;
use countersign_ledger::trust::Level;
use serde_json::Value;

use super::answer::Answer;
use super::*;
use crate::args::{Cli, Command};
use crate::audit::judge::time;
use crate::audit::tests::fixture::{Fixture, MINUTE, START, deployment};

pub(super) fn parsed(line: &str, folder: &Path) -> AuditArgs {
    let words = line.split(' ').map(|word| word.replace('_', " "));
    let log = folder.join("log").display().to_string();
    let index = folder.join("index.sqlite").display().to_string();
    let words = words.chain(["--log".into(), log, "--index".into(), index, "-q".into()]);
    let cli = Cli::try_parse_from(
        ["countersign".to_owned(), "audit".to_owned()]
            .into_iter()
            .chain(words),
    );
    match cli.unwrap().command {
        Command::Audit(args) => args,
        other => panic!("{other:?}"),
    }
}

/// A folder with a log as no network has it.
pub(super) fn copied(fixture: &Fixture) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fixture.write(&folder.path().join("log"));
    folder
}

pub(super) fn ask(
    folder: &Path,
    ask: impl FnOnce(&mut open::Audit<'_>) -> Result<Answer, Failure>,
) -> Answer {
    let args = parsed("verify", folder);
    open::with(&args.log, |audit| {
        audit.sound()?;
        ask(audit)
    })
    .unwrap()
}

/// The cells of a column.
pub(super) fn column(answer: &Answer, name: &str) -> Vec<Value> {
    let at = answer.columns.iter().position(|had| *had == name).unwrap();
    answer.rows.iter().map(|row| row[at].clone()).collect()
}

#[test]
fn each_of_an_auditors_questions_has_a_command() {
    let page = include_str!("../../../../docs/audit.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("| `audit "))
        .collect();
    assert_eq!(rows.len(), 12, "the twelve questions");
    let folder = copied(&Fixture::complete(Level::Signed));
    for row in rows {
        for command in row.split('`').skip(1).step_by(2) {
            let line = command.strip_prefix("audit ").unwrap();
            let _ = parsed(line, folder.path());
        }
    }
}

#[test]
fn every_command_answers_offline() {
    let fixture = Fixture::complete(Level::Signed);
    let folder = copied(&fixture);
    let since = folder.path().join("log/checkpoint").display().to_string();
    let out = folder.path().join("pack").display().to_string();
    for form in ["table", "json", "jsonl", "csv"] {
        for line in [
            "verify".to_owned(),
            "at --cluster eks-a --time now".into(),
            "who cart".into(),
            "who --app cart --cluster eks-a".into(),
            "changes".into(),
            "exceptions".into(),
            "diff eks-a@1 eks-a@3".into(),
            "drift".into(),
            "history cart".into(),
            "access".into(),
            format!("consistency --since {since}"),
            format!("export --out {out}-{form}"),
        ] {
            let args = parsed(&format!("{line} -o {form}"), folder.path());
            run(&args, false).unwrap_or_else(|failure| panic!("{line}: {failure}"));
        }
    }
}

#[test]
fn what_ran_at_a_time_is_told_from_the_clusters_own_word() {
    let fixture = Fixture::complete(Level::Signed);
    let folder = copied(&fixture);
    // The first sync of eks-a ended a minute and a second after the start.
    let answer = ask(folder.path(), |audit| {
        running::at(audit, "eks-a", START + MINUTE + 2_000)
    });
    let images = column(&answer, "images");
    assert_eq!(images, ["registry.example/cart:1", ""]);
    assert!(
        answer.notes[0].starts_with("Generation 1 "),
        "{:?}",
        answer.notes
    );
    let now = ask(folder.path(), |audit| {
        running::at(audit, "eks-a", fixture.now + MINUTE)
    });
    assert_eq!(column(&now, "images")[0], "registry.example/cart:3");
    let args = parsed("verify", folder.path());
    let before = open::with(&args.log, |audit| running::at(audit, "eks-a", START));
    assert!(matches!(before, Err(Failure::Negative(_))));
}

#[test]
fn the_population_of_a_time_is_complete() {
    let mut fixture = Fixture::complete(Level::Signed);
    fixture.now += 1_000 * MINUTE;
    let quarter = fixture.now;
    fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    fixture.source();
    let state = fixture.desired("eks-a", &[]);
    fixture.receipt("eks-a", ReceiptKind::Sync);
    let folder = copied(&fixture);
    let all = ask(folder.path(), |audit| {
        changes::changes(audit, &Which::default())
    });
    // Seven states, and one apply of the infrastructure below them.
    assert_eq!(all.rows.len(), 8);
    let what = column(&all, "what");
    let below = what
        .iter()
        .filter(|what| **what == "infrastructure apply of eks");
    assert_eq!((below.count(), what.len()), (1, 8));
    let late = Which {
        from: Some(quarter),
        ..Which::default()
    };
    let late = ask(folder.path(), |audit| changes::changes(audit, &late));
    assert_eq!(column(&late, "index"), [state]);
    assert_eq!(column(&late, "author"), ["Ann Author <ann@example.com>"]);
    assert_eq!(column(&late, "signer"), ["ann"]);
    assert_eq!(column(&late, "appliedAt"), [time(fixture.now + 1_000)]);
    let early = Which {
        to: Some(quarter),
        cluster: Some("eks-a".into()),
        ..Which::default()
    };
    let early = ask(folder.path(), |audit| changes::changes(audit, &early));
    assert_eq!(column(&early, "generation"), [1, 2, 3]);
    let other = Which {
        environment: Some("test".into()),
        ..Which::default()
    };
    assert!(
        ask(folder.path(), |audit| changes::changes(audit, &other))
            .rows
            .is_empty()
    );
}

#[test]
fn who_is_behind_an_object_an_image_or_an_app() {
    let folder = copied(&Fixture::complete(Level::Signed));
    for (what, cluster, count) in [
        (Some("Deployment.apps/shop/cart"), None, 2),
        (Some("cart"), Some("eks-a"), 1),
        (Some("registry.example/cart:3"), None, 2),
        (Some("registry.example/cart:1"), None, 0),
        (None, Some("metal-b"), 2),
    ] {
        let answer = ask(folder.path(), |audit| {
            running::who(audit, what, cluster, None)
        });
        assert_eq!(answer.rows.len(), count, "{what:?} {cluster:?}");
        assert!(
            column(&answer, "author")
                .iter()
                .all(|author| author == "Ann Author <ann@example.com>")
        );
    }
}

#[test]
fn a_content_that_ran_once_is_found_and_told_apart_from_what_runs() {
    let folder = copied(&Fixture::complete(Level::Signed));
    let old = ask(folder.path(), |audit| {
        running::history(audit, "registry.example/cart:1")
    });
    assert_eq!(column(&old, "now"), [false, false]);
    assert_eq!(column(&old, "untilGeneration"), [2, 2]);
    let digest =
        countersign_ledger::Digest::of(deployment("cart", "registry.example/cart:3").as_bytes());
    let new = ask(folder.path(), |audit| {
        running::history(audit, &format!("sha256:{digest}"))
    });
    assert_eq!(column(&new, "now"), [true, true]);
    let object = ask(folder.path(), |audit| running::history(audit, "cart"));
    assert_eq!(object.rows.len(), 6);
    let never = ask(folder.path(), |audit| running::history(audit, "nothing"));
    assert_eq!(
        never.notes,
        ["It is in no state of any cluster, and was in none."]
    );
}

#[test]
fn two_states_differ_in_what_changed() {
    let mut fixture = Fixture::complete(Level::Signed);
    fixture.source();
    fixture.desired("eks-a", &[("new", "{}")]);
    let folder = copied(&fixture);
    let answer = ask(folder.path(), |audit| {
        let ms = |_: &str| Ok(START + MINUTE + 2_000);
        let a = running::state(audit, "2026-11-01", Some("eks-a"), ms)?;
        let b = running::state(audit, "eks-a@4", None, ms)?;
        running::diff(audit, &a, &b)
    });
    assert_eq!(column(&answer, "change"), ["removed", "removed", "added"]);
}

#[test]
fn access_is_that_of_the_root_in_effect_at_the_time() {
    let mut fixture = Fixture::complete(Level::Signed);
    let before = fixture.now + MINUTE / 2;
    fixture.now += 100 * MINUTE;
    fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    fixture.root(|root| root.people.clear());
    fixture.trust(2);
    fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    let folder = copied(&fixture);
    let people = |answer: &Answer| {
        column(answer, "role")
            .iter()
            .filter(|role| *role == "signs commits")
            .count()
    };
    let then = ask(folder.path(), |audit| {
        authority::access(audit, Some(before))
    });
    assert_eq!(people(&then), 2);
    let now = ask(folder.path(), |audit| authority::access(audit, None));
    assert_eq!(people(&now), 0);
    assert!(now.notes[0].contains("trust root 2"));
}

#[test]
fn the_log_of_the_last_audit_is_the_beginning_of_this_one_or_it_is_not() {
    let mut fixture = Fixture::complete(Level::Signed);
    let folder = tempfile::tempdir().unwrap();
    let since = folder.path().join("then");
    std::fs::write(&since, fixture.checkpoint()).unwrap();
    fixture.receipt("eks-a", ReceiptKind::Heartbeat);
    fixture.write(&folder.path().join("log"));
    let answer = ask(folder.path(), |audit| authority::consistency(audit, &since));
    assert_eq!(column(&answer, "witness"), ["w1", "w1"]);
    let mut other = Fixture::complete(Level::Authored);
    other.revoke("stranger");
    std::fs::write(&since, other.checkpoint()).unwrap();
    let args = parsed("verify", folder.path());
    let forked = open::with(&args.log, |audit| authority::consistency(audit, &since));
    assert!(matches!(forked, Err(Failure::Negative(_))));
}

#[test]
fn a_pinned_trust_root_that_is_another_is_refused() {
    let folder = copied(&Fixture::complete(Level::Signed));
    let right = countersign_ledger::Digest::of(
        &std::fs::read(folder.path().join("log/trust/1.json")).unwrap(),
    );
    for (digest, good) in [
        (right, true),
        (countersign_ledger::Digest::of(b"other"), false),
    ] {
        let args = parsed(&format!("verify --trust sha256:{digest}"), folder.path());
        assert_eq!(run(&args, false).is_ok(), good);
    }
}

#[test]
fn a_pack_holds_a_proof_of_each_entry_that_it_names() {
    let fixture = Fixture::complete(Level::Signed);
    let folder = copied(&fixture);
    let out = folder.path().join("pack");
    run(
        &parsed(&format!("export --out {}", out.display()), folder.path()),
        false,
    )
    .unwrap();
    let policy =
        countersign_ledger::tlog::Policy::parse(&std::fs::read(out.join("policy")).unwrap())
            .unwrap();
    let mut count = 0;
    for file in std::fs::read_dir(out.join("entries")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "tlog-proof") {
            let proof =
                countersign_ledger::tlog::proof::ProofFile::parse(&std::fs::read(&path).unwrap())
                    .unwrap();
            let entry = std::fs::read(path.with_extension("json")).unwrap();
            let leaf = countersign_ledger::digest::leaf_hash(&entry);
            proof
                .verify(&leaf, &policy, &countersign_ledger::key::RingVerifier)
                .unwrap();
            count += 1;
        }
    }
    // Six states, three sources, six receipts, three drift records, one apply of the infrastructure.
    assert_eq!(count, 19);
    for name in [
        "README.md",
        "report.html",
        "changes.csv",
        "drift.jsonl",
        "trust/1.json",
        "check/main.go",
        "log.vkey",
    ] {
        assert!(out.join(name).exists(), "{name}");
    }
    // The pack's own checker on Go's packages, where somebody has built it.
    if let Some(check) = std::env::var_os("AUDIT_GO_CHECK") {
        let holds = || {
            std::process::Command::new(&check)
                .arg(&out)
                .status()
                .unwrap()
                .success()
        };
        assert!(holds());
        let entry = out.join("entries/4.json");
        let good = std::fs::read(&entry).unwrap();
        std::fs::write(&entry, b"{}").unwrap();
        assert!(!holds(), "another entry under the same proof");
        std::fs::write(&entry, good).unwrap();
    }
    let again = run(
        &parsed(&format!("export --out {}", out.display()), folder.path()),
        false,
    );
    assert!(matches!(again, Err(Failure::Mistake(_))));
}

#[test]
fn a_damaged_log_answers_nothing_but_verify() {
    let folder = copied(&Fixture::complete(Level::Signed));
    let tile = std::fs::read_dir(folder.path().join("log/tile/0/000.p"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    for line in ["verify", "changes", "access"] {
        let failed = run(&parsed(line, folder.path()), false);
        assert!(
            matches!(failed, Err(Failure::Negative(_))),
            "{line}: {failed:?}"
        );
    }
}

/// Serves a folder's files on loopback until the test's process ends.
fn served(folder: std::path::PathBuf) -> String {
    use std::io::{BufRead as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines
                .next()
                .and_then(Result::ok)
                .is_some_and(|line| !line.is_empty())
            {}
            let path = first
                .split(' ')
                .nth(1)
                .unwrap_or("/")
                .trim_start_matches('/')
                .to_owned();
            let (status, body) = match std::fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

#[test]
fn a_log_behind_a_url_answers_like_its_folder() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = copied(&Fixture::complete(Level::Signed));
    let here = ask(folder.path(), |audit| running::history(audit, "cart"));
    let mut args = parsed("verify", folder.path());
    args.log.log = served(folder.path().join("log"));
    args.log.index = Some(folder.path().join("other.sqlite"));
    let there = open::with(&args.log, |audit| running::history(audit, "cart")).unwrap();
    assert_eq!(there, here);
}
