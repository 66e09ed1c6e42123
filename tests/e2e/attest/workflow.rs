//! By a workflow's identity token.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_tests::cli::Cli;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{Ci, index};

/// A stand-in for GitHub's issuer: it signs what it is told to.
struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).unwrap();
        Self { pair }
    }

    fn jwks(&self) -> String {
        let point = self.pair.public_key().as_ref();
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "stand-in",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
        .to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "ES256", "kid": "stand-in", "typ": "JWT" });
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

/// A stand-in for the runner's end point: one answer with this token to each who asks with the right bearer.
fn runner(tokens: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/token?api-version=2",
        listener.local_addr().unwrap()
    );
    std::thread::spawn(move || {
        for token in tokens {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 8_192];
            let got = stream.read(&mut asked).unwrap();
            let asked = String::from_utf8_lossy(&asked[..got]).into_owned();
            assert!(
                asked.starts_with("GET /token?api-version=2&audience=countersign "),
                "{asked}"
            );
            assert!(
                asked
                    .to_lowercase()
                    .contains("authorization: bearer runner-secret")
            );
            let body = json!({ "value": token }).to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_speaks_by_its_identity_token_if_the_operator_allowed_its_repository_and_ref() {
    let issuer = Issuer::new();
    let config = tempfile::tempdir().unwrap();
    std::fs::write(config.path().join("jwks.json"), issuer.jwks()).unwrap();
    let rules = config.path().join("ci.toml");
    std::fs::write(
        &rules,
        "[[workflows]]\nissuer = \"https://stand-in.example\"\njwks-file = \"jwks.json\"\nrepository = \"acme/infra\"\nref = \"refs/heads/main\"\nworkspace = \"eks\"\nenvironment = \"test\"\naudience = \"countersign\"\n",
    )
    .unwrap();
    let ci =
        Ci::start(|options| options.args([OsString::from("--ci-workflows"), rules.into()])).await;
    let trust = ci.world.trust.document();
    let now = jiff::Timestamp::now().as_second();
    let claims = |reference: &str, until: i64| {
        issuer.token(&json!({
            "iss": "https://stand-in.example", "aud": "countersign",
            "sub": format!("repo:acme/infra:ref:{reference}"), "repository": "acme/infra",
            "ref": reference, "iat": now - 10, "nbf": now - 10, "exp": until,
        }))
    };
    let url = runner(vec![
        claims("refs/heads/main", now + 300),
        claims("refs/heads/evil", now + 300),
        claims("refs/heads/main", now - 1),
        Issuer::new().token(&json!({ "iss": "https://stand-in.example" })),
        claims("refs/heads/main", now + 300),
        claims("refs/heads/main", now + 300),
    ]);
    let cli = || {
        Cli::new()
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret")
    };
    let attest = || ci.attest(cli(), "eks", &trust, &["--github-oidc"]);
    index(&attest().await);
    for why in ["claim \"ref\"", "expired", "no key of the issuer"] {
        let refused = attest().await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("WORKFLOW_REFUSED"), "{refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
    }
    action(&ci, &url, &trust);
    ci.holds_no_value();
}

/// Runs the step of the GitHub Action as a runner would. A workspace that looks like shell and like an option stays a word.
fn action(ci: &Ci, url: &str, trust: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../actions/attest-infrastructure");
    let text = std::fs::read_to_string(folder.join("action.yml")).unwrap();
    let action: Value = serde_saphyr::from_str(&text).unwrap();
    for step in action["runs"]["steps"].as_array().unwrap() {
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "an input is part of a script");
        assert!(step.get("uses").is_none(), "another action is used");
    }
    let step = |workspace: &str| {
        let output = ci.path("github-output");
        let ran = std::process::Command::new("bash")
            .arg(folder.join("attest.sh"))
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret")
            .env("GITHUB_OUTPUT", &output)
            .env("RUNNER_TEMP", ci.folder.path())
            .env("CS_PLAN", ci.path("plan.json"))
            .env("CS_PHASE", "apply")
            .env("CS_ENVIRONMENT", "test")
            .env("CS_WORKSPACE", workspace)
            .env("CS_HUB", ci.world.hub.agents_url())
            .env("CS_CA", ci.ca())
            .env("CS_TRUST", trust)
            .env(
                "CS_PROGRAM",
                countersign_tests::program::path("countersign").unwrap(),
            )
            .output()
            .unwrap();
        (ran, std::fs::read_to_string(output).unwrap_or_default())
    };
    let (ran, output) = step("eks");
    assert!(ran.status.success(), "{ran:?}");
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].starts_with("index="), "{output}");
    let proof = lines[1].strip_prefix("proof=").unwrap();
    assert!(
        std::fs::read_to_string(proof)
            .unwrap()
            .starts_with("c2sp.org/tlog-proof@v1")
    );
    let touched = ci.path("touched");
    let (ran, _) = step(&format!(
        "--key $(touch {0}) `touch {0}`; touch {0}",
        touched.display()
    ));
    assert!(!ran.status.success(), "{ran:?}");
    assert!(!touched.exists());
}
