//! Against a stand-in that answers as Vault's transit engine and Kubernetes login do; it is not Vault.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _, Verify as _};
use serde_json::{Value, json};

use super::*;

/// What the stand-in knows.
#[derive(Default)]
struct Fake {
    /// Answers of this status come first, as often as said.
    failing: Mutex<Vec<u16>>,
    /// Tokens that are taken; the last is what a login gives.
    tokens: Mutex<Vec<String>>,
    /// Signs with a key that is not the one it shows.
    lies: bool,
    asked: Mutex<Vec<String>>,
}

fn version(version: u32) -> FileKey {
    FileKey::from_seed(&[version as u8; 32]).unwrap()
}

impl Fake {
    fn admit(&self, what: &str, headers: &HeaderMap) -> Result<(), (StatusCode, Json<Value>)> {
        self.asked.lock().unwrap().push(what.to_owned());
        let no = |status: u16, text: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            Err((status, Json(json!({ "errors": [text] }))))
        };
        if let Some(status) = self.failing.lock().unwrap().pop() {
            return no(status, "later");
        }
        let token = headers.get("x-vault-token").map(|t| t.to_str().unwrap());
        let known = self.tokens.lock().unwrap();
        match token {
            Some(token) if known.iter().any(|had| had == token) => Ok(()),
            _ => no(403, "permission\ndenied"),
        }
    }
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

async fn keys(
    State(fake): State<Arc<Fake>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Answer {
    fake.admit("keys", &headers)?;
    let kind = if key == "rsa" { "rsa-4096" } else { "ed25519" };
    let one = |n| json!({ "public_key": version(n).public() });
    Ok(Json(json!({ "data": {
        "type": kind, "latest_version": 11, "keys": { "2": one(2), "9": one(9), "11": one(11) }
    }})))
}

async fn sign(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    fake.admit("sign", &headers)?;
    let said = body["key_version"].as_u64().unwrap() as u32;
    let message = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
    let signature = version(if fake.lies { 5 } else { said }).sign(&message);
    let text = format!("vault:v{said}:{}", STANDARD.encode(signature.unwrap()));
    Ok(Json(json!({ "data": { "signature": text } })))
}

async fn login(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Answer {
    fake.asked.lock().unwrap().push("login".into());
    assert_eq!(body, json!({ "role": "hub", "jwt": "the-jwt" }));
    let token = fake.tokens.lock().unwrap().last().cloned().unwrap();
    Ok(Json(json!({ "auth": { "client_token": token } })))
}

async fn start(fake: Fake) -> (Arc<Fake>, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fake = Arc::new(fake);
    let router = Router::new()
        .route("/v1/transit/keys/{key}", get(keys))
        .route("/v1/transit/sign/{key}", post(sign))
        .route("/v1/auth/kubernetes/login", post(login))
        .with_state(Arc::clone(&fake));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (fake, url)
}

fn env(url: &str) -> impl Fn(&str) -> Option<String> + Send + Sync + use<> {
    let url = url.to_owned();
    move |name: &str| match name {
        "VAULT_ADDR" => Some(url.clone()),
        "VAULT_TOKEN" => Some("s.secret".to_owned()),
        _ => None,
    }
}

fn knowing(token: &str) -> Fake {
    Fake {
        tokens: Mutex::new(vec![token.to_owned()]),
        ..Fake::default()
    }
}

#[tokio::test]
async fn the_version_that_is_wanted_signs_else_the_newest() {
    let (_, url) = start(knowing("s.secret")).await;
    let env = env(&url);
    for (named, wanted, want) in [
        (None, vec![], 11),
        (None, vec![version(9).public()], 9),
        (None, vec![version(77).public()], 11),
        (Some(2), vec![version(9).public()], 2),
    ] {
        let signer = open("transit", "prod", named, &wanted, &env).await.unwrap();
        assert_eq!(signer.public(), version(want).public());
        let signature = signer.sign(b"message").await.unwrap();
        assert!(RingVerifier.verify(&signer.public(), b"message", &signature));
    }
    let none = open("transit", "prod", Some(3), &[], &env).await.err();
    assert!(matches!(none, Some(VaultError::Version(3))));
}

#[tokio::test]
async fn a_key_of_another_type_is_refused() {
    let (_, url) = start(knowing("s.secret")).await;
    let refused = open("transit", "rsa", None, &[], &env(&url)).await.err();
    assert!(matches!(refused, Some(VaultError::Kind(kind)) if kind == "rsa-4096"));
}

#[tokio::test]
async fn a_signature_of_another_key_is_not_passed_on() {
    let fake = Fake {
        lies: true,
        ..knowing("s.secret")
    };
    let (_, url) = start(fake).await;
    let signer = open("transit", "prod", None, &[], &env(&url))
        .await
        .unwrap();
    let wrong = signer.sign(b"message").await.unwrap_err();
    assert_eq!(wrong.0, "Vault: the signature is not of this key");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_a_refusal_is_not() {
    let fake = Fake {
        failing: Mutex::new(vec![503, 429, 472]),
        ..knowing("s.secret")
    };
    let (fake, url) = start(fake).await;
    open("transit", "prod", None, &[], &env(&url))
        .await
        .unwrap();
    assert_eq!(fake.asked.lock().unwrap().len(), 4);

    let (fake, url) = start(knowing("another")).await;
    let refused = open("transit", "prod", None, &[], &env(&url))
        .await
        .err()
        .unwrap();
    assert_eq!(fake.asked.lock().unwrap().len(), 1);
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("permission denied"), "{text}");
    assert!(!text.contains("s.secret"), "{text}");
}

#[tokio::test]
async fn a_service_account_signs_in_again_once_its_token_has_ended() {
    let (fake, url) = start(knowing("first")).await;
    let jwt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwt.path(), "the-jwt\n").unwrap();
    let path = jwt.path().to_str().unwrap().to_owned();
    let env = move |name: &str| match name {
        "VAULT_ADDR" => Some(url.clone()),
        "COUNTERSIGN_VAULT_ROLE" => Some("hub".to_owned()),
        "COUNTERSIGN_VAULT_JWT_FILE" => Some(path.clone()),
        _ => None,
    };
    let signer = open("transit", "prod", None, &[], &env).await.unwrap();
    signer.sign(b"one").await.unwrap();
    *fake.tokens.lock().unwrap() = vec!["second".into()];
    signer.sign(b"two").await.unwrap();
    assert_eq!(
        *fake.asked.lock().unwrap(),
        ["login", "keys", "sign", "sign", "login", "sign"]
    );
}
