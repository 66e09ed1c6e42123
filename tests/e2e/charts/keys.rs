//! The real hub as its chart starts it where its keys are in Vault: signed in by its service account at a real API server,
//! with the issuers and workflows that the values name.

use countersign_tests::cluster::{Cluster, Options};

use super::hub::{Volumes, fleet, run_in};
use crate::vault::sign_in::{authority, let_in};
use crate::vault::{trust, vault};

/// As the case's values have it.
const MOUNT: &str = "clusters/platform";

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_signs_with_keys_in_vault_as_its_chart_s_values_say() {
    let (_repo, bare, commit) = fleet("fleet");
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let client = cluster.client().await.unwrap();
    let vault = vault().await;
    let token = let_in(&vault, &cluster, &client, MOUNT).await;
    let trust = trust(&vault).await;
    let volumes = Volumes::new(&trust);
    volumes.file("vault-token/token", token);
    volumes.file("vault-ca/ca.crt", authority(&cluster));
    let keys = client
        .request_text(
            http::Request::get("/openid/v1/jwks")
                .body(Vec::new())
                .unwrap(),
        )
        .await
        .unwrap();
    volumes.file("join/one.jwks", &keys);
    volumes.file(
        "join/join.toml",
        "[clusters.one]\nissuer = \"https://kubernetes.default.svc.cluster.local\"\n\
         service-account = \"countersign/countersign-agent\"\njwks-file = \"one.jwks\"\n",
    );
    volumes.file("ci/forge.jwks", &keys);
    volumes.file(
        "ci/ci.toml",
        "[[workflows]]\nissuer = \"https://forge.example\"\njwks-file = \"forge.jwks\"\n\
         repository = \"acme/infra\"\nref = \"refs/heads/main\"\nworkspace = \"eks\"\n\
         environment = \"test\"\naudience = \"countersign\"\n",
    );
    let repo = bare.path().to_str().unwrap().to_owned();
    let run = run_in(
        "vault",
        &volumes,
        &[
            ("/etc/countersign/join", "join"),
            ("/etc/countersign/ci", "ci"),
            ("/etc/countersign/vault", "vault-ca"),
            ("/var/run/secrets/countersign/vault", "vault-token"),
        ],
        &[("repo", repo)],
        &[],
        // Plain HTTP on this machine in place of TLS; all else is as the chart says.
        &[("VAULT_ADDR", vault.url())],
    )
    .await;
    run.sees(&commit).await;
    assert!(!run.hub.log().contains("root-token"), "{}", run.hub.log());
}
