//! Against a stand-in that answers as AWS KMS does and checks the request's signature by its own reading of Signature
//! Version 4; it is not AWS.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use countersign_ledger::key::{FileKey, RingVerifier, Sign as _, Verify as _};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

const ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/0b1c2d3e";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[derive(Default)]
struct Fake {
    failing: Mutex<Vec<(u16, &'static str)>>,
    rsa: bool,
    lies: bool,
    asked: Mutex<usize>,
}

fn key() -> FileKey {
    FileKey::from_seed(&[7; 32]).unwrap()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signature Version 4 of a POST to "/", from the headers that came.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).map_or("", |v| v.to_str().unwrap());
    let authorization = text("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        Some(rest.split(", ").next().unwrap_or_default())
    };
    let (Some(names), Some(signature), Some(credential)) =
        (part("SignedHeaders"), part("Signature"), part("Credential"))
    else {
        return false;
    };
    let mut canonical = String::from("POST\n/\n\n");
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", text(name).trim()));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(&Sha256::digest(body))));
    let date = text("x-amz-date");
    let scope = format!("{}/eu-central-1/kms/aws4_request", &date[..8]);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut derived = hmac(format!("AWS4{SECRET}").as_bytes(), &date[..8]);
    for step in ["eu-central-1", "kms", "aws4_request"] {
        derived = hmac(&derived, step);
    }
    names.split(';').any(|name| name == "host")
        && names.split(';').any(|name| name == "x-amz-target")
        && credential == format!("AKIDEXAMPLE/{scope}")
        && hex(&hmac(&derived, &to_sign)) == signature
}

async fn answer(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    *fake.asked.lock().unwrap() += 1;
    let failed = |status: u16, kind: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        (
            status,
            json!({ "__type": kind, "message": "x" }).to_string(),
        )
    };
    if let Some((status, kind)) = fake.failing.lock().unwrap().pop() {
        return failed(status, kind);
    }
    if !is_signed(&headers, &body) {
        return failed(400, "com.amazon.coral.service#InvalidSignatureException");
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["KeyId"], ARN);
    let text = match headers["x-amz-target"].to_str().unwrap() {
        "TrentService.GetPublicKey" => {
            let mut der = vec![0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
            der.extend_from_slice(&key().public().0);
            let (spec, algorithm) = if fake.rsa {
                ("RSA_4096", "RSASSA_PSS_SHA_256")
            } else {
                ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512")
            };
            json!({ "PublicKey": STANDARD.encode(der), "KeySpec": spec, "SigningAlgorithms": [algorithm] })
        }
        "TrentService.Sign" => {
            assert_eq!(body["MessageType"], "RAW");
            assert_eq!(body["SigningAlgorithm"], "ED25519_SHA_512");
            let mut message = STANDARD.decode(body["Message"].as_str().unwrap()).unwrap();
            if fake.lies {
                message.push(0);
            }
            json!({ "Signature": STANDARD.encode(key().sign(&message).unwrap()) })
        }
        other => panic!("{other}"),
    };
    (StatusCode::OK, text.to_string())
}

async fn start(fake: Fake) -> (Arc<Fake>, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fake = Arc::new(fake);
    let router = Router::new()
        .route("/", post(answer))
        .with_state(Arc::clone(&fake));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (fake, url)
}

async fn opened(url: &str, secret: &'static str) -> Result<KmsSigner, KmsError> {
    let url = url.to_owned();
    let env = move |name: &str| match name {
        "AWS_ENDPOINT_URL_KMS" => Some(url.clone()),
        "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
        "AWS_SESSION_TOKEN" => Some("session".to_owned()),
        _ => None,
    };
    let Reference::AwsKms(arn) = format!("awskms:{ARN}").parse().unwrap() else {
        panic!("no KMS key");
    };
    open(&arn, &env).await
}

use crate::Reference;

#[tokio::test]
async fn a_key_signs_and_its_signature_is_plain_ed25519() {
    let (_, url) = start(Fake::default()).await;
    let signer = opened(&url, SECRET).await.unwrap();
    assert_eq!(signer.public(), key().public());
    let signature = signer.sign(b"message").await.unwrap();
    assert!(RingVerifier.verify(&key().public(), b"message", &signature));
    assert!(signer.sign(&[0; 4_096]).await.is_ok());
    assert!(signer.sign(&[0; 4_097]).await.is_err());
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_shown() {
    let (fake, url) = start(Fake::default()).await;
    let refused = opened(&url, "not-the-secret").await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "refused: 400 InvalidSignatureException"
    );
    assert!(!format!("{refused:?}").contains("not-the-secret"));
    assert_eq!(*fake.asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn throttling_and_faults_are_tried_again() {
    let fake = Fake {
        failing: Mutex::new(vec![
            (400, "ThrottlingException"),
            (500, "KMSInternalException"),
        ]),
        ..Fake::default()
    };
    let (fake, url) = start(fake).await;
    opened(&url, SECRET).await.unwrap();
    assert_eq!(*fake.asked.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_key_of_another_kind_and_a_wrong_signature_are_refused() {
    let (_, url) = start(Fake {
        rsa: true,
        ..Fake::default()
    })
    .await;
    let refused = opened(&url, SECRET).await.err();
    assert!(matches!(refused, Some(KmsError::Kind(kind)) if kind == "RSA_4096"));
    let (_, url) = start(Fake {
        lies: true,
        ..Fake::default()
    })
    .await;
    let signer = opened(&url, SECRET).await.unwrap();
    assert!(signer.sign(b"message").await.is_err());
}

#[test]
fn the_end_point_is_of_the_region_and_never_plain() {
    let arn = |text: &str| match text.parse() {
        Ok(Reference::AwsKms(arn)) => arn,
        other => panic!("{other:?}"),
    };
    let eu = arn(&format!("awskms:{ARN}"));
    let at = |arn: &Arn, said| endpoint(arn, said).map(|url| url.to_string());
    assert_eq!(
        at(&eu, None).unwrap(),
        "https://kms.eu-central-1.amazonaws.com/"
    );
    let cn = arn("awskms:arn:aws-cn:kms:cn-north-1:1:key/x");
    assert_eq!(
        at(&cn, None).unwrap(),
        "https://kms.cn-north-1.amazonaws.com.cn/"
    );
    assert!(at(&eu, Some("http://kms.example/")).is_err());
}
