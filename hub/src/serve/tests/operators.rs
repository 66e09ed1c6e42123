//! What operators meet: the socket, loopback with a token, and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_fleet::api::{Fleet, PermitKind, Permits, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::Hub;
use crate::serve::access::{Role, Surface, TABLE};
use crate::serve::{Options, StartError, Webhooks, start};

#[tokio::test]
async fn every_operators_row_needs_the_token() {
    let hub = Hub::start().await;
    let http = hub.http();
    for row in TABLE.iter().filter(|row| row.surface == Surface::Operators) {
        let url = hub.url(
            &row.path
                .replace("{cluster}", "metal")
                .replace("{nonce}", "ab")
                .replace("{app}", "cart"),
        );
        let request = || {
            http.request(row.method.parse().unwrap(), &url)
                .json(&serde_json::json!({}))
        };
        assert_eq!(row.role, Role::Operator);
        for (case, request) in [
            ("none", request()),
            ("wrong", request().bearer_auth("x".repeat(43))),
            ("empty", request().bearer_auth("")),
            ("prefix", request().bearer_auth(&hub.token()[..42])),
            ("basic", request().basic_auth("operator", Some(hub.token()))),
            (
                "twice",
                request()
                    .bearer_auth(hub.token())
                    .header("authorization", "Bearer x"),
            ),
            ("in the query", request().query(&[("token", hub.token())])),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{case}: {} {}", row.method, row.path);
            assert_eq!(
                answer.json::<Problem>().await.unwrap().code,
                "UNAUTHENTICATED"
            );
        }
        let answer = request().bearer_auth(hub.token()).send().await.unwrap();
        assert_ne!(answer.status(), 401, "{} {}", row.method, row.path);
        let elsewhere = format!(
            "https://{}{}",
            hub.agents,
            row.path.replace("{cluster}", "metal")
        );
        let elsewhere = elsewhere
            .replace("{app}", "cart")
            .replace("{nonce}", "ab")
            .replace("127.0.0.1", "localhost");
        let answer = http
            .request(row.method.parse().unwrap(), elsewhere)
            .bearer_auth(hub.token())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{} on the agents' listener", row.path);
    }
}

#[tokio::test]
async fn the_socket_needs_no_token_and_shows_the_fleet() {
    let hub = Hub::start().await;
    let mut stream = tokio::net::UnixStream::connect(hub.data.path().join("operator.sock"))
        .await
        .unwrap();
    stream
        .write_all(b"GET /api/v1/fleet HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let fleet: Fleet = serde_json::from_str(body).unwrap();
    let names: Vec<_> = fleet
        .clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect();
    assert_eq!(
        (fleet.fleet.as_str(), names),
        ("acme", vec!["eks", "metal"])
    );
}

#[tokio::test]
async fn sync_wakes_the_tracker_and_a_permit_is_kept_with_who_gave_it() {
    let hub = Hub::start().await;
    let http = hub.http();
    let answer = http
        .post(hub.url("/api/v1/sync"))
        .bearer_auth(hub.token())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(hub.woken.load(Ordering::SeqCst), 1);
    let give = |body: serde_json::Value| {
        http.post(hub.url("/api/v1/permits"))
            .bearer_auth(hub.token())
            .json(&body)
            .send()
    };
    let digest = "ab".repeat(32);
    let good = serde_json::json!({
        "permit": { "kind": "deletion", "app": "cart", "manifest": digest }, "reason": "shop closes"
    });
    assert_eq!(give(good).await.unwrap().status(), 201);
    for bad in [
        serde_json::json!({ "permit": { "kind": "deletion", "app": "cart", "manifest": digest }, "reason": "" }),
        serde_json::json!({ "permit": { "kind": "everything" }, "reason": "x" }),
        serde_json::json!({ "reason": "x" }),
    ] {
        assert_eq!(give(bad.clone()).await.unwrap().status(), 422, "{bad}");
    }
    let answer = http
        .get(hub.url("/api/v1/permits"))
        .bearer_auth(hub.token())
        .send()
        .await
        .unwrap();
    let permits: Permits = answer.json().await.unwrap();
    assert_eq!(permits.permits.len(), 1);
    assert_eq!(permits.permits[0].by, "token");
    assert!(
        matches!(&permits.permits[0].permit, PermitKind::Deletion { app, .. } if app == "cart")
    );
}

#[tokio::test]
async fn unknown_names_and_wrong_questions_are_answered_in_words() {
    let hub = Hub::start().await;
    let http = hub.http();
    for (path, status, code) in [
        ("/api/v1/clusters/nowhere", 404, "NO_SUCH_CLUSTER"),
        ("/api/v1/apps/nothing", 404, "NO_SUCH_APP"),
        ("/api/v1/clusters/metal/objects?limit=0", 400, "BAD_REQUEST"),
        ("/api/v1/clusters/metal/objects?after=x", 400, "BAD_REQUEST"),
        (
            "/api/v1/clusters/metal/objects?colour=red",
            400,
            "BAD_REQUEST",
        ),
        ("/api/v1/drifts?cluster=nowhere", 404, "NO_SUCH_CLUSTER"),
        ("/api/v2/fleet", 404, "NO_SUCH_ROUTE"),
        ("/api/v1/fleet/", 404, "NO_SUCH_ROUTE"),
        ("/api/v1/clusters/a%2fb", 404, "NO_SUCH_ROUTE"),
    ] {
        let answer = http
            .get(hub.url(path))
            .bearer_auth(hub.token())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<Problem>().await.unwrap().code, code, "{path}");
    }
    let large = http
        .post(hub.url("/api/v1/permits"))
        .bearer_auth(hub.token())
        .body(vec![b' '; 100_000]);
    let answer = large
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn answers_are_what_the_openapi_document_says() {
    let hub = Hub::start().await;
    let http = hub.http();
    let get = async |path: &str| -> serde_json::Value {
        let answer = http
            .get(hub.url(path))
            .bearer_auth(hub.token())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    };
    let document = get("/api/v1/openapi.json").await;
    for (row, path) in [
        ("/api/v1/fleet", "/api/v1/fleet"),
        ("/api/v1/clusters/{cluster}", "/api/v1/clusters/metal"),
        (
            "/api/v1/clusters/{cluster}/objects",
            "/api/v1/clusters/metal/objects",
        ),
        ("/api/v1/apps", "/api/v1/apps"),
        ("/api/v1/drifts", "/api/v1/drifts"),
        ("/api/v1/permits", "/api/v1/permits"),
    ] {
        let mut schema = document["paths"][row]["get"]["responses"]["200"]["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let answer = get(path).await;
        let errors: Vec<_> = validator
            .iter_errors(&answer)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
    }
}

#[tokio::test]
async fn any_other_bind_address_for_operators_is_a_start_error() {
    let hub = Hub::start().await;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let options = Options {
            agents: ([127, 0, 0, 1], 0).into(),
            operators: Some(address.parse().unwrap()),
            ..Options::new(hub.data.path())
        };
        let outcome = start(
            hub.state.clone(),
            options,
            Webhooks::default(),
            Arc::default(),
            tokio_util::sync::CancellationToken::new(),
        )
        .await;
        assert!(
            matches!(outcome, Err(StartError::NotLoopback { .. })),
            "{address}"
        );
    }
}
