//! Tokens as Kubernetes issues them, and everything that is not quite one.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::super::jwks;
use super::*;

const NOW: i64 = 1_800_000_000;
const WANT: Expected<'static> = Expected {
    issuer: "https://kubernetes.default.svc",
    audience: "countersign-hub:metal",
    subject: "system:serviceaccount:countersign:countersign-agent",
};

/// An issuer with one key of P-256.
struct Issuer {
    pair: EcdsaKeyPair,
    keys: Vec<Key>,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let set = json!({"keys": [
            {"kty": "oct", "k": encoded("secret"), "alg": "HS256"},
            {"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
                "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
        ]});
        let keys = jwks::parse(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        Self { pair, keys }
    }

    fn token(&self, header: &Value, payload: &Value) -> String {
        let signed = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(payload.to_string())
        );
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", encoded(signature.unwrap()))
    }

    fn check(&self, token: &str) -> Result<(), TokenRefused> {
        check(token, &self.keys, &WANT, NOW)
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "one"})
}

fn payload() -> Value {
    json!({
        "aud": ["countersign-hub:metal"],
        "exp": NOW + 600,
        "iat": NOW - 10,
        "iss": "https://kubernetes.default.svc",
        "nbf": NOW - 10,
        "kubernetes.io": {"namespace": "countersign", "serviceaccount": {"name": "countersign-agent", "uid": "u"}},
        "sub": "system:serviceaccount:countersign:countersign-agent",
    })
}

/// The payload with another value under one name, or without it.
fn but(name: &str, value: Value) -> Value {
    let mut changed = payload();
    let map = changed.as_object_mut().unwrap();
    match value {
        Value::Null => map.remove(name),
        value => map.insert(name.to_owned(), value),
    };
    changed
}

#[test]
fn a_token_of_the_agents_account_for_this_cluster_is_taken() {
    let issuer = Issuer::new();
    assert_eq!(issuer.check(&issuer.token(&header(), &payload())), Ok(()));
    let one = but("aud", json!("countersign-hub:metal"));
    assert_eq!(issuer.check(&issuer.token(&header(), &one)), Ok(()));
    let unnamed = json!({"alg": "ES256"});
    assert_eq!(issuer.check(&issuer.token(&unnamed, &payload())), Ok(()));
}

#[test]
fn a_token_of_another_time_audience_subject_or_issuer_is_refused_by_name() {
    use TokenRefused as No;
    let issuer = Issuer::new();
    let day = 24 * 3600;
    for (changed, want) in [
        (but("exp", json!(NOW)), No::Expired),
        (but("exp", json!(NOW - 600)), No::Expired),
        (but("exp", Value::Null), No::Endless),
        (but("exp", json!(NOW + 2 * day)), No::Endless),
        (but("exp", json!("soon")), No::Malformed),
        (but("nbf", json!(NOW + 600)), No::NotYet),
        (but("iat", json!(NOW + 600)), No::NotYet),
        (but("aud", Value::Null), No::Audience),
        (but("aud", json!("countersign-hub:eks")), No::Audience),
        (but("aud", json!([])), No::Audience),
        (
            but("aud", json!(["countersign-hub:metal", "other"])),
            No::Audience,
        ),
        (
            but("aud", json!(["https://kubernetes.default.svc"])),
            No::Audience,
        ),
        (but("iss", Value::Null), No::Issuer(String::new())),
        (
            but("iss", json!("https://evil")),
            No::Issuer("https://evil".into()),
        ),
        (but("sub", Value::Null), No::Subject(String::new())),
        (
            but("sub", json!("system:serviceaccount:default:default")),
            No::Subject("system:serviceaccount:default:default".into()),
        ),
    ] {
        let token = issuer.token(&header(), &changed);
        assert_eq!(issuer.check(&token), Err(want), "{changed}");
    }
}

#[test]
fn no_other_algorithm_and_no_key_of_the_tokens_own_counts() {
    use TokenRefused as No;
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    for name in ["none", "None", "HS256", "RS512", "PS256", "EdDSA", ""] {
        let token = issuer.token(&json!({"alg": name}), &payload());
        assert_eq!(issuer.check(&token), Err(No::Algorithm(name.into())));
    }
    // RS256 by name, made by the key of ES256.
    let confused = issuer.token(&json!({"alg": "RS256", "kid": "one"}), &payload());
    assert_eq!(issuer.check(&confused), Err(No::Signature));
    // Another issuer's key, offered by the token itself.
    let point = stranger.pair.public_key().as_ref().to_vec();
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
    for own in [
        json!({"alg": "ES256", "kid": "one"}),
        json!({"alg": "ES256", "kid": "../one"}),
        json!({"alg": "ES256", "jwk": jwk}),
        json!({"alg": "ES256", "jku": "https://evil/jwks"}),
        json!({"alg": "ES256", "x5c": ["AAAA"]}),
    ] {
        let token = stranger.token(&own, &payload());
        assert_eq!(issuer.check(&token), Err(No::Signature), "{own}");
    }
    let critical = json!({"alg": "ES256", "crit": ["b64"], "b64": false});
    let token = issuer.token(&critical, &payload());
    assert_eq!(issuer.check(&token), Err(No::Critical));
}

#[test]
fn no_change_of_a_token_is_taken_and_nothing_panics() {
    let issuer = Issuer::new();
    let token = issuer.token(&header(), &payload());
    for place in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(issuer.check(&changed).is_err(), "{place}");
    }
    let unsigned = token.rsplit_once('.').unwrap().0;
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        unsigned,
        &format!("{unsigned}."),
        &format!("{token}."),
        &format!("{token}="),
        &format!(" {token}"),
    ] {
        assert!(issuer.check(text).is_err(), "{text:?}");
    }
    let long = "a".repeat(20 << 20);
    assert_eq!(issuer.check(&long), Err(TokenRefused::TooLong));
    let doubled = format!(
        "{}.{}",
        encoded(r#"{"alg":"none","alg":"ES256"}"#),
        encoded(payload().to_string())
    );
    let signature = issuer.pair.sign(&SystemRandom::new(), doubled.as_bytes());
    let doubled = format!("{doubled}.{}", encoded(signature.unwrap()));
    assert_eq!(issuer.check(&doubled), Err(TokenRefused::Malformed));
}

#[test]
fn rs256_is_taken_from_the_issuers_key_alone() {
    // Made once with OpenSSL; the private key was thrown away.
    let token = include_str!("../testdata/rs256.jwt").trim();
    let keys = jwks::parse(include_bytes!("../testdata/rs256.jwks.json")).unwrap();
    assert_eq!(check(token, &keys, &WANT, NOW), Ok(()));
    assert_eq!(
        check(token, &Issuer::new().keys, &WANT, NOW),
        Err(TokenRefused::Signature)
    );
    assert_eq!(
        check(token, &keys, &WANT, NOW + 600),
        Err(TokenRefused::Expired)
    );
}
