use http::{HeaderName, HeaderValue};
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use crate::track::limits::FetchLimits;
use crate::track::tracker::{TrackConfig, Tracker};
use crate::track::url::Source;

const SECRET: &str = "canary-secret-5b1f";

fn hook(forge: Forge) -> (Hook, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let config = TrackConfig {
        source: Source::Local(data.path().join("none")),
        name: RefName::parse("main").unwrap(),
        data: data.path().to_owned(),
        poll: std::time::Duration::from_secs(60),
        limits: FetchLimits::default(),
        http: crate::track::remote::http::HttpAuth::default(),
        ssh: None,
    };
    let (_tracker, handle, _) = Tracker::new(config, None).unwrap();
    let name = RefName::parse("main").unwrap();
    (
        Hook::new(forge, SECRET.to_owned().into(), "Acme/Fleet", name, handle),
        data,
    )
}

fn payload(forge: Forge) -> Value {
    match forge {
        Forge::Github | Forge::Gitea => json!({
            "ref": "refs/heads/main", "before": "00", "after": "11", "created": false, "forced": false,
            "repository": {"id": 7, "full_name": "acme/fleet", "clone_url": "https://h/acme/fleet.git", "owner": {"name": "acme"}},
            "pusher": {"name": "a"}, "commits": [{"id": "11", "added": ["a"], "modified": []}], "head_commit": {"id": "11"}
        }),
        Forge::Gitlab => json!({
            "object_kind": "push", "ref": "refs/heads/main", "checkout_sha": "11", "project_id": 7,
            "project": {"id": 7, "path_with_namespace": "acme/fleet", "git_http_url": "https://h/acme/fleet.git"},
            "repository": {"name": "fleet", "url": "x"}, "commits": [{"id": "11"}], "total_commits_count": 1
        }),
    }
}

fn mac(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::sign(&key, body)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn headers(forge: Forge, body: &[u8], delivery: &str) -> HeaderMap {
    let (proof, event) = match forge {
        Forge::Github => (format!("sha256={}", mac(body)), "push"),
        Forge::Gitea => (mac(body), "push"),
        Forge::Gitlab => (SECRET.to_owned(), "Push Hook"),
    };
    let names = forge.headers();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (names.proof, proof.as_str()),
        (names.event, event),
        (names.delivery, delivery),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn status(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> u16 {
    hook.receive(headers, body).status()
}

#[test]
fn a_genuine_push_to_the_tracked_ref_wakes() {
    for forge in Forge::ALL {
        let (hook, _data) = hook(forge);
        let body = payload(forge).to_string().into_bytes();
        assert_eq!(
            hook.receive(&headers(forge, &body, "1"), &body),
            Answer::Woken,
            "{forge:?}"
        );
    }
}

#[test]
fn a_bad_or_missing_proof_is_refused_before_anything_is_parsed() {
    for forge in Forge::ALL {
        let (hook, _data) = hook(forge);
        let garbage = b"\xff not json".as_slice();
        let name = forge.headers().proof;
        let mut wrong = headers(forge, garbage, "1");
        let zeros = "0".repeat(64);
        for proof in [
            "",
            "x",
            SECRET,
            &SECRET[1..],
            "sha256=",
            "sha1=00",
            &zeros,
            &format!("sha256={zeros}"),
        ] {
            if forge == Forge::Gitlab && proof == SECRET {
                continue;
            }
            wrong.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(proof).unwrap(),
            );
            assert_eq!(
                hook.receive(&wrong, garbage),
                Answer::Refused(Refused::ProofWrong),
                "{forge:?} {proof}"
            );
        }
        wrong.remove(name);
        assert_eq!(
            hook.receive(&wrong, garbage),
            Answer::Refused(Refused::ProofMissing)
        );
        let body = payload(forge).to_string().into_bytes();
        let mut doubled = headers(forge, &body, "1");
        doubled.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        assert_eq!(status(&hook, &doubled, &body), 401, "two proofs");
        if forge != Forge::Gitlab {
            let genuine = headers(forge, &body, "1");
            let changed = [body.as_slice(), b" "].concat();
            assert_eq!(
                status(&hook, &genuine, &changed),
                401,
                "the MAC is over the raw bytes"
            );
        }
    }
}

#[test]
fn cve_2026_40109_replays_other_events_and_empty_bodies_wake_nobody() {
    for forge in Forge::ALL {
        let (hook, _data) = hook(forge);
        let body = payload(forge).to_string().into_bytes();
        let first = headers(forge, &body, "7");
        assert_eq!(hook.receive(&first, &body), Answer::Woken);
        assert_eq!(
            hook.receive(&first, &body),
            Answer::Refused(Refused::Replayed)
        );
        assert_eq!(status(&hook, &headers(forge, b"", "8"), b""), 400);
        let mut other = headers(forge, &body, "9");
        other.insert(
            HeaderName::from_static(forge.headers().event),
            HeaderValue::from_static("issues"),
        );
        assert_eq!(status(&hook, &other, &body), 422);
        let mut anonymous = headers(forge, &body, "10");
        anonymous.remove(forge.headers().delivery);
        assert_eq!(status(&hook, &anonymous, &body), 400);
    }
}

#[test]
fn a_body_above_the_limit_is_refused_unread() {
    let (hook, _data) = hook(Forge::Github);
    let body = vec![b' '; WEBHOOK_BODY_BYTES_MAX + 1];
    assert_eq!(status(&hook, &HeaderMap::new(), &body), 413);
}

#[test]
fn cve_2026_44937_a_repository_is_compared_as_a_value() {
    let (hook, _data) = hook(Forge::Github);
    let long = "a".repeat(64 << 10);
    for (n, name) in [
        ".*",
        "(a+)+$",
        "acme/fleet2",
        "evil/acme/fleet",
        "acme/fleet/",
        "",
        long.as_str(),
    ]
    .iter()
    .enumerate()
    {
        let mut payload = payload(Forge::Github);
        payload["repository"]["full_name"] = json!(name);
        let body = payload.to_string().into_bytes();
        let answer = hook.receive(&headers(Forge::Github, &body, &n.to_string()), &body);
        assert_eq!(
            answer,
            Answer::Refused(Refused::OtherRepository),
            "{name:.20}"
        );
    }
}

#[test]
fn a_push_to_another_ref_is_no_error_for_the_forge() {
    for forge in Forge::ALL {
        let (hook, _data) = hook(forge);
        for (n, name) in ["refs/heads/other", "refs/tags/main"].iter().enumerate() {
            let mut payload = payload(forge);
            payload["ref"] = json!(name);
            let body = payload.to_string().into_bytes();
            assert_eq!(
                hook.receive(&headers(forge, &body, &n.to_string()), &body),
                Answer::Ignored(Ignored::OtherRef),
                "{name}"
            );
        }
        let mut payload = payload(forge);
        payload["ref"] = json!("refs/heads/--output=x");
        let body = payload.to_string().into_bytes();
        assert_eq!(status(&hook, &headers(forge, &body, "x"), &body), 400);
    }
}

#[test]
fn github_may_try_the_hook() {
    let (hook, _data) = hook(Forge::Github);
    let body = br#"{"zen":"x","hook_id":1}"#;
    let mut headers = headers(Forge::Github, body, "1");
    headers.insert("x-github-event", HeaderValue::from_static("ping"));
    assert_eq!(hook.receive(&headers, body), Answer::Ignored(Ignored::Ping));
}

/// Every pointer into a payload.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, below)| pointers(below, &format!("{at}/{key}"), into)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(n, below)| pointers(below, &format!("{at}/{n}"), into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn cve_2025_59531_every_json_type_in_every_field_is_answered() {
    let deep = (0..50).fold(json!(1), |below, _| json!([below]));
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("é".repeat(1000)),
        json!([]),
        json!([null]),
        json!([[]]),
        json!({}),
        json!({"": {}}),
        json!({"full_name": 1}),
        json!({"path_with_namespace": []}),
        json!({"ref": "x"}),
        deep,
    ];
    for forge in Forge::ALL {
        let (hook, _data) = hook(forge);
        let genuine = payload(forge);
        let mut places = Vec::new();
        pointers(&genuine, "", &mut places);
        let mut cases = 0;
        for first in &places {
            for value in &values {
                let mut changed = genuine.clone();
                *changed.pointer_mut(first).unwrap() = value.clone();
                for second in ["", "/ref", "/repository", "/project"] {
                    let mut body = changed.clone();
                    if let (Some(place), false) = (body.pointer_mut(second), second.is_empty()) {
                        *place = values[cases % values.len()].clone();
                    }
                    let body = body.to_string().into_bytes();
                    let got = status(&hook, &headers(forge, &body, &cases.to_string()), &body);
                    assert!(
                        matches!(got, 200 | 202 | 400 | 422),
                        "{forge:?} {first} {second}: {got}"
                    );
                    if matches!(first.as_str(), "" | "/ref" | "/project" | "/repository")
                        && second.is_empty()
                        && got < 400
                    {
                        assert!(
                            first == "/repository" && forge == Forge::Gitlab
                                || first == "/project" && forge != Forge::Gitlab,
                            "{first} woke with {value}"
                        );
                    }
                    cases += 1;
                }
            }
        }
        let raw: [&[u8]; 7] = [
            b"{",
            b"[]",
            b"null",
            b"\xff",
            b"{\"ref\":",
            b"{\"ref\":\"refs/heads/main\",\"ref\":\"refs/heads/x\"}",
            &[b'['; 100_000],
        ];
        for (n, body) in raw.iter().enumerate() {
            assert_eq!(
                status(&hook, &headers(forge, body, &format!("raw{n}")), body),
                400
            );
        }
        assert!(cases >= 1_000, "{cases}");
    }
}
