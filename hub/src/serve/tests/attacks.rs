//! What outsiders try on the agents' listener.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{Agent, FLEET, Hub};
use crate::serve::access::{Role, Surface, TABLE};
use crate::serve::limits::Patience;
use crate::serve::{Authority, Webhooks};

#[tokio::test]
async fn every_row_for_agents_is_refused_without_a_certificate() {
    let hub = Hub::start().await;
    let http = hub.http();
    for row in TABLE
        .iter()
        .filter(|row| row.surface == Surface::Agents && row.role == Role::Agent)
    {
        let answer = http
            .post(format!(
                "https://localhost:{}{}",
                hub.agents.port(),
                row.path
            ))
            .header("content-type", "application/grpc")
            .body(vec![0; 5])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["grpc-status"], "16", "{}", row.path);
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_fleet_or_use_proves_nothing() {
    let hub = Hub::start().await;
    let (agent, _) = Agent::joined(&hub, "metal").await;
    let key: [u8; 32] = agent.key.public_key_raw().try_into().unwrap();
    let (other_key, other_ca) = super::support::authority();
    let other = Authority::load(&other_key, &other_ca).unwrap();
    let now = hub.state.now();
    let foreign = other.client_certificate(FLEET, "metal", &key, now).unwrap();
    let identity = tonic::transport::Identity::from_pem(foreign, agent.key.serialize_pem());
    let refused = match hub.channel(Some(identity)).await {
        Err(_) => true,
        Ok(channel) => call(channel).await.is_err(),
    };
    assert!(refused, "a certificate of another authority");
    for (fleet, cluster) in [("other", "metal"), (FLEET, "eks"), (FLEET, "nowhere")] {
        let certificate = hub
            .state
            .authority
            .client_certificate(fleet, cluster, &key, now)
            .unwrap();
        let identity = tonic::transport::Identity::from_pem(certificate, agent.key.serialize_pem());
        let refused = call(hub.channel(Some(identity)).await.unwrap())
            .await
            .unwrap_err();
        assert_eq!(
            refused.code(),
            tonic::Code::Unauthenticated,
            "{fleet} {cluster}"
        );
    }
}

async fn call(channel: tonic::transport::Channel) -> Result<(), tonic::Status> {
    let mut client = countersign_proto::agent::v1::agents_client::AgentsClient::new(channel);
    client
        .report(countersign_proto::agent::v1::ReportRequest::default())
        .await
        .map(|_| ())
}

#[tokio::test]
async fn raw_path_tricks_are_never_admitted() {
    let hub = Hub::start().await;
    let path = "/countersign.agent.v1.Agents/Register";
    let good: &[(&str, &str)] = &[(":path", path)];
    assert!(
        raw(&hub, good).await,
        "the plain path is admitted, so this test can see the difference"
    );
    let tricks: &[&[(&str, &str)]] = &[
        &[(":path", "countersign.agent.v1.Agents/Register")],
        &[(":path", "//countersign.agent.v1.Agents/Register")],
        &[(":path", "/countersign.agent.v1.agents/register")],
        &[(":path", "/COUNTERSIGN.AGENT.V1.AGENTS/REGISTER")],
        &[(":path", "/countersign.agent.v1.Agents%2FRegister")],
        &[(":path", "/countersign.agent.v1.Agents/Register/")],
        &[(":path", "/countersign.agent.v1.Agents/./Register")],
        &[(":path", "/x/../countersign.agent.v1.Agents/Register")],
        &[(":path", "/countersign.agent.v1.Agents/%52egister")],
        &[(":path", "*")],
        &[(":path", "")],
        &[],
        &[(":path", path), (":path", path)],
        &[(":path", "/x"), (":path", path)],
        &[(":path", path), (":path", "/x")],
    ];
    for trick in tricks {
        assert!(!raw(&hub, trick).await, "{trick:?}");
    }
}

#[tokio::test]
async fn a_peer_that_talks_nonsense_costs_itself_only() {
    let hub = Hub::start().await;
    for noise in [
        &b""[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\xff\xff\xff",
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(hub.agents).await.unwrap();
        let _ = stream.write_all(noise).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    let answer = hub
        .http()
        .get(format!("https://localhost:{}/healthz", hub.agents.port()))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn who_stalls_is_closed_and_who_works_stays() {
    let short = Duration::from_millis(300);
    let patience = Patience {
        handshake: short,
        first_request: short,
        headers: short,
        idle: Duration::from_secs(60),
    };
    let hub = Hub::start_patient(Webhooks::default(), patience).await;
    let (_, mut client) = Agent::joined(&hub, "metal").await;
    let none = countersign_proto::agent::v1::HeadsRequest::default();
    let mut heads = client.heads(none).await.unwrap().into_inner();
    heads.message().await.unwrap().unwrap();

    let mut mute = TcpStream::connect(hub.agents).await.unwrap();
    assert_eq!(mute.read(&mut [0; 1]).await.unwrap_or(0), 0, "no handshake");
    let mut idle = tls(&hub).await;
    assert!(closed(&mut idle).await, "no request over HTTP/2");
    let mut stream = tokio::net::UnixStream::connect(hub.data.path().join("operator.sock"))
        .await
        .unwrap();
    stream
        .write_all(b"GET /api/v1/fleet HTTP/1.1\r\nx: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "half a head");

    hub.seal("metal", "one");
    let head = heads
        .message()
        .await
        .expect("the agent's older connection was not cut")
        .unwrap();
    assert_eq!(head.envelopes.len(), 1);
}

/// Reads to the end, whatever comes before it.
async fn closed(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    true
}

#[tokio::test]
async fn metrics_have_no_labels_from_requests() {
    let hub = Hub::start().await;
    let http = hub.http();
    let base = format!("https://localhost:{}", hub.agents.port());
    for n in 0..300 {
        let request = http
            .get(format!("{base}/canary{n}"))
            .header("user-agent", format!("canary{n}"));
        assert_eq!(request.send().await.unwrap().status(), 404);
    }
    let text = http
        .get(format!("{base}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains("countersign_hub_requests_total{route=\"none\",outcome=\"unknown\"} 300"),
        "{text}"
    );
    assert!(!text.contains("canary"));
    assert!(text.lines().count() < 200);
}

#[tokio::test]
async fn a_webhook_without_a_secret_has_no_route_and_one_with_sees_the_raw_body() {
    let hook: crate::serve::Hook = Arc::new(|headers: &HeaderMap, body: &[u8]| {
        if headers.contains_key("x-hub-signature-256") && body == b"{\"a\": 1}" {
            (202, "woken".to_owned())
        } else {
            (401, "the signature is missing".to_owned())
        }
    });
    let hub = Hub::start_with(Webhooks {
        github: Some(hook),
        ..Webhooks::default()
    })
    .await;
    let http = hub.http();
    let url = |forge: &str| format!("https://localhost:{}/webhooks/{forge}", hub.agents.port());
    let post = |forge: &str| http.post(url(forge)).body("{\"a\": 1}");
    assert_eq!(post("github").send().await.unwrap().status(), 401);
    assert_eq!(
        post("github")
            .header("x-hub-signature-256", "x")
            .send()
            .await
            .unwrap()
            .status(),
        202
    );
    assert_eq!(post("gitlab").send().await.unwrap().status(), 404);
    let large = http.post(url("github")).body(vec![b' '; 3 << 20]);
    assert_eq!(large.send().await.unwrap().status(), 413);
}

/// Sends one request with these pseudo-headers as raw HTTP/2 frames; says whether the access table admitted it.
async fn raw(hub: &Hub, path: &[(&str, &str)]) -> bool {
    let before = admitted(hub).await;
    let mut stream = tls(hub).await;
    let mut block = Vec::new();
    let method = [(":method", "POST"), (":scheme", "https")];
    let rest = [
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in method.iter().chain(path).chain(&rest) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0x4, 1, &block));
    bytes.extend(frame(0, 0x1, 1, &[0; 5]));
    stream.write_all(&bytes).await.unwrap();
    answered(&mut stream).await;
    admitted(hub).await > before
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Reads frames until the request was answered, reset or the connection closed.
async fn answered(stream: &mut TlsStream<TcpStream>) {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        let (headers, reset, go_away) = (1, 3, 7);
        if [headers, reset, go_away].contains(&head[3]) {
            return;
        }
    }
}

async fn tls(hub: &Hub) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(hub.ca.as_bytes()).unwrap())
        .unwrap();
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(hub.agents).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// How often Register was admitted.
async fn admitted(hub: &Hub) -> u64 {
    let labels = crate::serve::metrics::RequestLabels {
        route: "/countersign.agent.v1.Agents/Register",
        outcome: "admitted",
    };
    hub.state.metrics.requests.get_or_create(&labels).get()
}
