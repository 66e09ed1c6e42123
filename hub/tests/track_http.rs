//! Tracking over smart HTTP, honest and hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_hub::track::follow::{Follower, Upstream};
use countersign_hub::track::limits::FetchLimits;
use countersign_hub::track::mirror::Mirror;
use countersign_hub::track::refmove::RewritePermit;
use countersign_hub::track::remote::http::HttpAuth;
use countersign_hub::track::remote::ssh::SshAuth;
use countersign_hub::track::remote::{HttpWire, Remote, SshWire};
use countersign_hub::track::{CommitId, RefName, Source};
use support::crypto;
use support::git::Repo;
use support::http::{Manner, Server};

const CANARY: &str = "canary-9e41c0";

fn auth() -> HttpAuth {
    HttpAuth {
        user: "u".into(),
        token: Some(CANARY.to_owned().into()),
        roots: Vec::new(),
    }
}

fn follower(url: &str, data: &Path, limits: FetchLimits, accepted: Option<CommitId>) -> Follower {
    crypto();
    let Source::Http(parsed) = Source::parse(url, Path::new("/")).unwrap() else {
        panic!("{url}")
    };
    let remote = Remote::new(Box::new(HttpWire::new(parsed, &auth()).unwrap()));
    let mirror = Mirror::open(&data.join("mirror")).unwrap();
    Follower::new(
        Upstream::Remote(remote),
        mirror,
        RefName::parse("main").unwrap(),
        limits,
        accepted,
    )
}

fn look(follower: &mut Follower) -> Result<Option<CommitId>, &'static str> {
    follower
        .look(&[])
        .map(|moved| moved.map(|moved| moved.commit))
        .map_err(|trouble| {
            assert!(!format!("{trouble} {trouble:?}").contains(CANARY));
            trouble.code()
        })
}

#[test]
fn a_push_is_fetched_once_by_either_protocol_version() {
    for manner in [Manner::Honest, Manner::Old] {
        let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
        for n in 0..30 {
            repo.push(&[("deep/er/x", &n.to_string())]);
        }
        let first = repo.push(&[("a/x", "1"), ("b/y", "1")]);
        let server = Server::start(repo.root());
        server.behave(manner.clone());
        let mut follower = follower(&server.url(), data.path(), FetchLimits::default(), None);
        assert_eq!(look(&mut follower), Ok(Some(first)));
        assert_eq!(look(&mut follower), Ok(None));
        assert_eq!(server.fetches(), 1);
        let mirror = git2::Repository::open_bare(follower.mirror()).unwrap();
        assert!(
            mirror
                .find_commit(first.oid().unwrap())
                .unwrap()
                .parent_id(0)
                .is_ok_and(|id| mirror.find_commit(id).is_err()),
            "only the tip at first"
        );
        let mut last = first;
        for n in 0..3 {
            repo.push(&[("a/x", &format!("between {n}")), ("b/y", "1")]);
            let next = repo.push(&[("a/x", &format!("after {n}")), ("b/y", "1")]);
            let moved = follower.look(&[]).unwrap().unwrap();
            assert_eq!((moved.commit, moved.old), (next, Some(last)));
            last = next;
        }
        assert_eq!(server.fetches(), 4, "one fetch a change");
        assert_eq!(follower.fetches, 4);
        if matches!(manner, Manner::Honest) {
            let greetings = server
                .seen()
                .iter()
                .filter(|head| head.starts_with("GET"))
                .count();
            assert_eq!(greetings, 1, "a known server is not greeted again");
        }
    }
}

#[test]
fn rewritten_history_and_deleted_branches_are_seen_through_a_shallow_mirror() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let base = repo.push(&[("x", "0")]);
    let first = repo.push(&[("x", "1")]);
    let server = Server::start(repo.root());
    let mut follower = follower(&server.url(), data.path(), FetchLimits::default(), None);
    assert_eq!(look(&mut follower), Ok(Some(first)));
    repo.set("refs/heads/main", base);
    assert_eq!(look(&mut follower), Err("FORCE_PUSH"), "back");
    let sideways = repo.commit(&[base], &[("x", "2")]);
    repo.set("refs/heads/main", sideways);
    assert_eq!(look(&mut follower), Err("FORCE_PUSH"), "sideways");
    let asked = server.fetches();
    assert_eq!(look(&mut follower), Err("FORCE_PUSH"), "still");
    assert_eq!(
        server.fetches(),
        asked,
        "a refused commit is not fetched again"
    );
    let mirror = git2::Repository::open_bare(follower.mirror()).unwrap();
    assert!(
        mirror.find_commit(sideways.oid().unwrap()).is_err(),
        "it never entered the mirror"
    );
    repo.delete("refs/heads/main");
    assert_eq!(look(&mut follower), Err("REF_GONE"));
    repo.set("refs/heads/main", sideways);
    let permit = RewritePermit {
        name: RefName::parse("main").unwrap(),
        commit: sideways,
    };
    let moved = follower
        .look(std::slice::from_ref(&permit))
        .unwrap()
        .unwrap();
    assert_eq!((moved.commit, moved.by_permit), (sideways, Some(permit)));
    let merged = repo.commit(&[sideways, first], &[("x", "3")]);
    repo.set("refs/heads/main", merged);
    assert_eq!(
        look(&mut follower),
        Ok(Some(merged)),
        "a merge of a branch from before the boundary"
    );
}

#[test]
fn a_lost_mirror_is_filled_again_and_knows_the_commit_before() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let second = repo.push(&[("x", "2")]);
    let server = Server::start(repo.root());
    let mut follower = follower(
        &server.url(),
        data.path(),
        FetchLimits::default(),
        Some(first),
    );
    assert_eq!(look(&mut follower), Ok(Some(second)));
    let mirror = git2::Repository::open_bare(follower.mirror()).unwrap();
    assert!(
        mirror
            .find_commit(first.oid().unwrap())
            .unwrap()
            .tree()
            .is_ok()
    );
}

#[test]
fn cve_2026_41506_a_credential_follows_no_redirect() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    repo.push(&[("x", "1")]);
    let (a, b) = (Server::start(repo.root()), Server::start(repo.root()));
    for target in [
        format!("{}/info/refs?service=git-upload-pack", b.url()),
        format!(
            "http://localhost:{}/fleet.git/info/refs",
            a.address().port()
        ),
        "https://127.0.0.1/x".into(),
    ] {
        a.behave(Manner::Raw(format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()));
        let mut follower = follower(&a.url(), data.path(), FetchLimits::default(), None);
        assert_eq!(look(&mut follower), Err("CREDENTIAL_SCOPE"), "{target}");
    }
    assert!(b.seen().is_empty(), "nobody called B");
    let realm = format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{}\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b.url()
    );
    a.behave(Manner::Raw(realm.into_bytes()));
    assert_eq!(
        look(&mut follower(
            &a.url(),
            data.path(),
            FetchLimits::default(),
            None
        )),
        Err("ACCESS_DENIED")
    );
    assert!(b.seen().is_empty());
    assert!(
        a.seen()
            .iter()
            .all(|head| head.to_lowercase().contains("authorization: basic "))
    );
}

#[test]
fn a_redirect_within_the_origin_is_followed() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let server = Server::start(repo.root());
    let old = format!("{}/old.git", server.url().rsplit_once('/').unwrap().0);
    // The first request is answered by a redirect; the manner changes once it was seen.
    server.behave(Manner::Raw(b"HTTP/1.1 301 Moved\r\nLocation: /fleet.git/info/refs?service=git-upload-pack\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.seen().is_empty() {
                std::thread::yield_now();
            }
            server.behave(Manner::Honest);
        });
        let mut follower = follower(&old, data.path(), FetchLimits::default(), None);
        let mut outcome = look(&mut follower);
        while outcome == Err("PROTOCOL_BROKEN") {
            outcome = look(&mut follower);
        }
        assert_eq!(outcome, Ok(Some(first)));
    });
}

#[test]
fn hostile_and_broken_servers_end_in_a_typed_state() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    repo.push(&[("x", "1")]);
    let server = Server::start(repo.root());
    let http = |status: &str, kind: &str, body: &str| {
        Manner::Raw(format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes())
    };
    let advertisement = "application/x-git-upload-pack-advertisement";
    let refs: String = (0..200)
        .map(|n| format!("{} refs/heads/b{n}", "1".repeat(40)))
        .map(|line| format!("{:04x}{line}", line.len() + 4))
        .collect();
    let first = format!("{} HEAD\0side-band-64k", "1".repeat(40));
    let many = format!("{:04x}{first}{refs}0000", first.len() + 4);
    let cases = [
        (http("200 OK", "text/html", "<html>"), "PROTOCOL_BROKEN"),
        (http("200 OK", advertisement, ""), "PROTOCOL_BROKEN"),
        (http("200 OK", advertisement, "zzzz"), "PROTOCOL_BROKEN"),
        (
            http("200 OK", advertisement, "000dERR canary"),
            "PROTOCOL_BROKEN",
        ),
        (http("200 OK", advertisement, &many), "FETCH_LIMIT"),
        (http("404 Not Found", "text/plain", ""), "ACCESS_DENIED"),
        (http("503 Busy", "text/plain", ""), "UNREACHABLE"),
        (http("429 Slow", "text/plain", ""), "UNREACHABLE"),
        (Manner::Raw(Vec::new()), "UNREACHABLE"),
    ];
    for (manner, code) in cases {
        server.behave(manner);
        let limits = FetchLimits {
            refs: 100,
            ..FetchLimits::default()
        };
        assert_eq!(
            look(&mut follower(&server.url(), data.path(), limits, None)),
            Err(code)
        );
    }
    server.behave(Manner::Honest);
    let tight = FetchLimits {
        pack_bytes: 100,
        ..FetchLimits::default()
    };
    assert_eq!(
        look(&mut follower(&server.url(), data.path(), tight, None)),
        Err("FETCH_LIMIT")
    );
    let one = FetchLimits {
        objects: 1,
        ..FetchLimits::default()
    };
    assert_eq!(
        look(&mut follower(&server.url(), data.path(), one, None)),
        Err("FETCH_LIMIT")
    );
    assert!(
        look(&mut follower(
            &server.url(),
            data.path(),
            FetchLimits::default(),
            None
        ))
        .is_ok(),
        "the next is served"
    );
}

#[test]
fn an_empty_remote_and_a_port_that_is_closed_are_reported() {
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let server = Server::start(repo.root());
    for manner in [Manner::Honest, Manner::Old] {
        server.behave(manner);
        assert_eq!(
            look(&mut follower(
                &server.url(),
                data.path(),
                FetchLimits::default(),
                None
            )),
            Err("REF_GONE")
        );
    }
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        look(&mut follower(
            &format!("http://{closed}/x"),
            data.path(),
            FetchLimits::default(),
            None
        )),
        Err("UNREACHABLE")
    );
}

#[test]
fn rustsec_2023_0002_an_untrusted_certificate_is_refused_before_the_credential_is_sent() {
    crypto();
    for names in [
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        vec!["other.example.org".to_owned()],
    ] {
        let data = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key =
            rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let mut tls = rustls::ServerConnection::new(config).unwrap();
            let mut got = Vec::new();
            let mut buffer = [0; 4096];
            while tls.complete_io(&mut stream).is_ok() {
                match tls.reader().read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => got.extend_from_slice(&buffer[..length]),
                    Err(_) if tls.is_handshaking() => {}
                    Err(_) => break,
                }
            }
            let _ = stream.flush();
            got
        });
        let mut follower = follower(
            &format!("https://127.0.0.1:{}/fleet.git", address.port()),
            data.path(),
            FetchLimits::default(),
            None,
        );
        assert_eq!(look(&mut follower), Err("HOST_UNTRUSTED"));
        assert!(
            server.join().unwrap().is_empty(),
            "no byte of a request was sent"
        );
    }
}

#[test]
fn ssh_speaks_to_upload_pack_by_fixed_arguments() {
    use std::os::unix::fs::PermissionsExt as _;
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    let first = repo.push(&[("x", "1")]);
    let program = repo.root().join("ssh");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > {0}/arguments\nPATH=/usr/bin:/bin; export PATH\nfor last; do :; done\ncase \"$last\" in\n\"git-upload-pack '/denied.git'\") echo 'Host key verification failed.' >&2; exit 255;;\n*) exec git -c safe.directory='*' upload-pack {1};;\nesac\n",
        repo.root().display(),
        repo.path().display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = |url: &str| {
        let Source::Ssh(url) = Source::parse(url, Path::new("/")).unwrap() else {
            panic!("{url}")
        };
        let auth = SshAuth {
            program: program.clone(),
            key: "/keys/id".into(),
            known_hosts: "/keys/known_hosts".into(),
        };
        let mirror = Mirror::open(&data.path().join("mirror")).unwrap();
        let remote = Remote::new(Box::new(SshWire::new(url, auth)));
        Follower::new(
            Upstream::Remote(remote),
            mirror,
            RefName::parse("main").unwrap(),
            FetchLimits::default(),
            None,
        )
    };
    let mut follower = open("ssh://git@git.example.org/fleet.git");
    assert_eq!(look(&mut follower), Ok(Some(first)));
    let second = repo.push(&[("x", "2")]);
    assert_eq!(look(&mut follower), Ok(Some(second)));
    assert_eq!(look(&mut follower), Ok(None));
    let arguments = std::fs::read_to_string(repo.root().join("arguments")).unwrap();
    assert!(
        arguments.ends_with("--\ngit.example.org\ngit-upload-pack '/fleet.git'\n"),
        "{arguments}"
    );
    assert_eq!(
        look(&mut open("ssh://git@git.example.org/denied.git")),
        Err("HOST_UNTRUSTED")
    );
}

/// Everything that any library writes to the log.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn cve_2024_31216_no_credential_reaches_log_or_error_even_at_trace_level() {
    use base64::Engine as _;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let (repo, data) = (Repo::new(), tempfile::tempdir().unwrap());
    repo.push(&[("x", "1")]);
    let server = Server::start(repo.root());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let answers = [
        Manner::Honest,
        Manner::Old,
        Manner::Raw(Vec::new()),
        Manner::Raw(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Manner::Raw(
            b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.2/x\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
        Manner::Raw(b"garbage".to_vec()),
    ];
    for manner in answers {
        server.behave(manner);
        // `look` searches the error itself.
        let _ = look(&mut follower(
            &server.url(),
            data.path(),
            FetchLimits::default(),
            None,
        ));
    }
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.len() > 1_000, "trace level was on");
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("u:{CANARY}"));
    assert!(!text.contains(CANARY) && !text.contains(&encoded));
    assert!(
        server.seen().iter().any(|head| head.contains(&encoded)),
        "the server itself got it"
    );
}
