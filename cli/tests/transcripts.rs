//! What a person types and sees: each file in `transcripts/` is a session. `UPDATE_GOLDEN=1` writes them anew; their
//! difference is reviewed like code.
//!
//! A line `$ countersign …` is run in an empty folder with an empty environment; what follows is its standard output,
//! its standard error with `! ` before each line, and `? ` with its exit code. `HUB` stands for the socket of a hub that
//! gives fixed answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let before = std::fs::read_to_string(&path).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("operator.sock");
    fake_hub(&socket);
    let home = scratch.path().join("work");
    std::fs::create_dir(&home).unwrap();
    let mut after = String::new();
    for line in before
        .lines()
        .filter(|line| line.starts_with("$ ") || line.starts_with("# "))
    {
        if !after.is_empty() && !after.ends_with("\n\n") {
            after.push('\n');
        }
        after.push_str(line);
        after.push('\n');
        if let Some(command) = line.strip_prefix("$ countersign") {
            after.push_str(&run(command, &home, &socket));
        }
    }
    let difference = "a transcript differs; look at it, then accept it with UPDATE_GOLDEN=1";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &after).unwrap();
    } else {
        assert!(
            before == after,
            "{}: {difference}\n--- was\n{before}\n--- is\n{after}",
            path.display()
        );
    }
}

fn run(line: &str, home: &Path, socket: &Path) -> String {
    let arguments = words(line)
        .into_iter()
        .map(|word| word.replace("HUB", socket.to_str().unwrap()));
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .env_clear()
        .current_dir(home)
        .output()
        .unwrap();
    let mut text = tidy(&String::from_utf8(output.stdout).unwrap(), socket);
    for line in tidy(&String::from_utf8(output.stderr).unwrap(), socket).lines() {
        text.push_str(&format!("! {line}\n").replace(" \n", "\n"));
    }
    text.push_str(&format!("? {}\n", output.status.code().unwrap()));
    text
}

/// What differs from run to run is named instead: the socket, and digests that are not of one digit.
fn tidy(text: &str, socket: &Path) -> String {
    let text = text.replace(socket.to_str().unwrap(), "HUB");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(at);
        let digits = from.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, after) = from.split_at(digits);
        out.push_str(before);
        let digest = digits == 64 && !run.bytes().all(|b| b == run.as_bytes()[0]);
        out.push_str(if digest { "DIGEST" } else { run });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut word: Option<String> = None;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A hub that gives the answers in `transcripts/hub/`, by path.
fn fake_hub(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            answer(stream);
        }
    });
}

fn answer(mut stream: UnixStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let mut parts = first.split(' ');
    let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
    let file = path
        .trim_start_matches("/api/v1/")
        .split('?')
        .next()
        .unwrap()
        .replace('/', ".");
    let found = std::fs::read_to_string(folder().join("hub").join(format!("{method} {file}.json")));
    let (status, body) = match found {
        Ok(body) => ("200 OK", body),
        Err(_) => (
            "404 Not Found",
            "{\"code\":\"NO_SUCH_CLUSTER\",\"message\":\"the trust root lists no cluster \\u001b[2J\"}".to_owned(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()));
}

#[test]
fn help_names_every_command_with_examples_and_exit_codes() {
    check("help");
}

#[test]
fn a_mistake_is_named_with_the_way_out() {
    check("mistakes");
}

#[test]
fn a_hub_is_asked_and_its_answers_are_shown() {
    check("hub");
}

#[test]
fn a_first_trust_root_is_made_and_read() {
    check("trust");
}

#[test]
fn a_second_renderer_says_what_it_needs() {
    check("reproduce");
}

#[test]
fn people_with_override_keys_see_what_they_can_say() {
    check("overrides");
}

#[test]
fn every_command_has_an_example_in_its_help() {
    for command in [
        "pause",
        "resume",
        "break-glass",
        "override",
        "override list",
        "verify",
        "verify now",
        "status",
        "sync",
        "reproduce",
        "permit",
        "permit deletion",
        "permit rewrite",
        "permit list",
        "trust",
        "trust init",
        "trust show",
        "trust add",
        "trust rotate",
        "trust revoke",
        "trust threshold",
        "trust sign",
        "trust publish",
        "trust explain",
        "cluster",
        "cluster add",
        "health",
        "completions",
        "man",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(command.split(' '))
            .arg("--help")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("Example"),
            "{command}: {text}"
        );
        assert!(!text.contains('\u{1b}'), "no colour when not on a terminal");
    }
}

#[test]
fn completions_and_manual_come_from_the_same_description() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("permit"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["man", "--out"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(folder.path().join("countersign-trust-init.1").exists());
}
