//! The files in `cases` were written by SOPS 3.13 itself, for `identity.txt`, from one file of two Secrets.

use serde_json::json;

use super::*;
use crate::yaml;

const IDENTITY: &str = include_str!("cases/identity.txt");
const BOTH: &str = include_str!("cases/both.yaml");
/// Written with `mac_only_encrypted`.
const ONLY: &str = include_str!("cases/only.yaml");

fn key(text: &str) -> SopsKey {
    SopsKey::parse(&text.to_owned().into()).unwrap()
}

fn opened(file: &str, number: usize) -> Result<Map<String, Json>, NotDecrypted> {
    let documents = yaml::parse(file).unwrap();
    let documents: Vec<&Node> = documents.iter().collect();
    key(IDENTITY).decrypt(&documents, number)
}

fn tampered(file: &str) {
    let error = opened(file, 0).unwrap_err();
    assert!(matches!(error, NotDecrypted::Tampered(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn what_sops_wrote_is_read() {
    for file in [BOTH, ONLY] {
        assert!(!file.contains("hunter2"));
        let first = opened(file, 0).unwrap();
        assert_eq!(first["metadata"]["name"], "zebra");
        assert_eq!(
            first["stringData"],
            json!({"user": "ada", "password": "hunter2, ü\n", "port": "5432", "ratio": "0.25", "tls": "true", "empty": ""})
        );
        assert_eq!(first["data"], json!({"token": "aGVsbG8="}));
        let second = opened(file, 1).unwrap();
        assert_eq!(second["metadata"]["name"], "alpha");
        assert_eq!(second["data"], json!({"a": "MQ=="}));
    }
}

#[test]
fn nothing_is_taken_from_a_file_that_was_changed() {
    let line = |name: &str| {
        let start = format!("  {name}: ENC");
        let found = BOTH.lines().find(|line| line.starts_with(&start));
        found.unwrap().to_owned()
    };
    let (user, password) = (line("user"), line("password"));
    // A value is bound to its place.
    let swapped = BOTH
        .replace(&user, "@")
        .replace(&password, &user.replace("user", "password"))
        .replace('@', &password.replace("password", "user"));
    tampered(&swapped);
    // All of the file is bound together: a value that is gone, an order that changed, and what stands in plain text.
    tampered(&BOTH.replace(&format!("{user}\n"), ""));
    tampered(&BOTH.replace(
        &format!("{user}\n{password}\n"),
        &format!("{password}\n{user}\n"),
    ));
    tampered(&BOTH.replace("name: zebra", "name: zebru"));
    tampered(&BOTH.replace("immutable: false", "immutable: true"));
    // The MAC is bound to its time.
    let time = BOTH
        .lines()
        .find(|line| line.contains("lastmodified"))
        .unwrap();
    tampered(&BOTH.replace(time, "  lastmodified: \"2020-01-01T00:00:00Z\""));
    let mac = BOTH
        .lines()
        .find(|line| line.starts_with("  mac: "))
        .unwrap();
    tampered(&BOTH.replace(mac, "  mac: none"));
    // The two kinds of MAC don't stand for each other.
    tampered(&ONLY.replace("  mac_only_encrypted: true\n", ""));
    tampered(&BOTH.replace(mac, &format!("{mac}\n  mac_only_encrypted: true")));
}

#[test]
fn a_file_for_others_is_refused_as_such() {
    let other = Identity::generate();
    let text = age::secrecy::ExposeSecret::expose_secret(&other.to_string()).to_owned();
    let documents = yaml::parse(BOTH).unwrap();
    let documents: Vec<&Node> = documents.iter().collect();
    let error = key(&text).decrypt(&documents, 0).unwrap_err();
    assert!(
        error.to_string().contains("none of its age recipients"),
        "{error}"
    );
    for (notes, why) in [
        ("{mac: x}", "for no age recipient"),
        ("{age: [], shamir_threshold: 2}", "shared its key"),
    ] {
        let error = opened(&format!("sops: {notes}"), 0).unwrap_err();
        assert!(
            matches!(&error, NotDecrypted::NotForUs(text) if text.contains(why)),
            "{error}"
        );
    }
}

#[test]
fn identities_are_read_as_age_keygen_writes_them() {
    let twice = format!("{IDENTITY}\n\n{IDENTITY}");
    assert_eq!(key(&twice).0.len(), 2);
    for (text, line) in [("", 0), ("# nothing", 0), ("# a\nage1abc", 2)] {
        let error = SopsKey::parse(&text.to_owned().into()).unwrap_err();
        assert_eq!(error.line, line, "{text}");
    }
    let debug = format!("{:?}", key(IDENTITY));
    assert!(!debug.contains("AGE-SECRET"), "{debug}");
}
