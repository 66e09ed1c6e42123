//! Somebody who speaks to a hub's agents' listener by hand: with a key of their own, or with one that they stole.

use bytes::Bytes;
use countersign_proto::agent::v1 as proto;
use countersign_proto::agent::v1::agents_client::AgentsClient;
use countersign_tests::{agent::Agent, world::World};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A client of the hub.
pub(crate) type Client = AgentsClient<Channel>;

/// Connects to the hub, with a client certificate or without.
pub(crate) async fn connect(world: &World, identity: Option<Identity>) -> Client {
    let ca = std::fs::read(world.trust.hub_keys().join("hub-ca.crt")).unwrap();
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(world.hub.agents_url()).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await;
    AgentsClient::new(channel.unwrap())
}

/// What an agent's volume gives to whoever copies it.
pub(crate) fn stolen(agent: &Agent) -> Identity {
    let keys = agent.data().join("keys");
    let read = |name: &str| std::fs::read_to_string(keys.join(name)).unwrap();
    Identity::from_pem(read("client.pem"), read("receipt.key"))
}

/// The hub's stable code.
pub(crate) fn code(status: &Status) -> &str {
    let code = status.metadata().get("countersign-code");
    code.map_or("", |code| code.to_str().unwrap())
}

/// How somebody proves to be a cluster's agent.
pub(crate) enum Proof<'p> {
    Token(&'p str),
    ServiceAccount(&'p str),
}

/// Somebody with a new key.
pub(crate) struct Stranger {
    key: KeyPair,
    recipient: String,
    uid: String,
}

impl Stranger {
    /// On a Kubernetes cluster with this UID.
    pub(crate) fn on(uid: &str) -> Self {
        Self {
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            recipient: age::x25519::Identity::generate().to_public().to_string(),
            uid: uid.to_owned(),
        }
    }

    /// Asks to be registered as `cluster`.
    pub(crate) async fn register(
        &self,
        world: &World,
        cluster: &str,
        proof: Proof<'_>,
    ) -> Result<Identity, Status> {
        let request = CertificateParams::default().serialize_request(&self.key);
        let (token, service_account_token) = match proof {
            Proof::Token(token) => (token.to_owned(), String::new()),
            Proof::ServiceAccount(token) => (String::new(), token.to_owned()),
        };
        let request = proto::RegisterRequest {
            cluster: cluster.to_owned(),
            token,
            csr: request.unwrap().der().to_vec().into(),
            encryption_recipient: self.recipient.clone(),
            identity: Some(proto::ClusterIdentity {
                uid: self.uid.clone(),
                ca_fingerprint: Bytes::from_static(&[3; 32]),
                kubernetes: "v1.35.4".to_owned(),
            }),
            service_account_token,
        };
        let answer = connect(world, None).await.register(request).await?;
        let certificate = answer.into_inner().certificate;
        Ok(Identity::from_pem(certificate, self.key.serialize_pem()))
    }

    /// The code of the refusal.
    pub(crate) async fn refused(&self, world: &World, cluster: &str, proof: Proof<'_>) -> String {
        let refused = self.register(world, cluster, proof).await;
        code(&refused.expect_err("registered")).to_owned()
    }
}
