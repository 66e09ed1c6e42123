//! Files in the place of a network: what a parcel holds, and what of a report is taken in.

use bytes::Bytes;
use countersign_fleet::api::{Problem, ReportTaken};
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as wire;
use countersign_proto::courier::v1 as courier;
use countersign_proto::parcel::{Kind, Reader, write};
use http::StatusCode;
use prost::Message as _;
use serde_json::json;

use super::support::{Agent, FLEET, Hub, envelope};

type Frames = Vec<(Kind, Vec<u8>)>;

async fn parcel(hub: &Hub, cluster: &str, asked: serde_json::Value) -> Result<Frames, Problem> {
    let url = hub.url(&format!("/api/v1/clusters/{cluster}/parcel"));
    let asking = hub.http().post(url).bearer_auth(hub.token()).json(&asked);
    let answer = asking.send().await.unwrap();
    if !answer.status().is_success() {
        return Err(answer.json().await.unwrap());
    }
    let bytes = answer.bytes().await.unwrap();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.frame().unwrap() {
        frames.push(frame);
    }
    Ok(frames)
}

async fn report(
    hub: &Hub,
    query: &str,
    file: Vec<u8>,
) -> Result<ReportTaken, (StatusCode, String)> {
    let url = hub.url(&format!("/api/v1/clusters/metal/report{query}"));
    let sending = hub.http().post(url).bearer_auth(hub.token()).body(file);
    let answer = sending.send().await.unwrap();
    if answer.status().is_success() {
        return Ok(answer.json().await.unwrap());
    }
    let status = answer.status();
    let problem: Problem = answer.json().await.unwrap();
    Err((status, problem.code))
}

/// A report as that agent would write it.
fn written(agent: &Agent, change: impl FnOnce(&mut courier::ReportHeader)) -> Vec<u8> {
    let mut header = courier::ReportHeader {
        fleet: FLEET.into(),
        cluster: "metal".into(),
        registration: Some(wire::RegisterRequest {
            cluster: "metal".into(),
            csr: agent.csr(),
            encryption_recipient: agent.recipient.clone(),
            identity: Some(wire::ClusterIdentity {
                uid: agent.uid.clone(),
                ca_fingerprint: Bytes::from_static(&[3; 32]),
                kubernetes: "v1.35.4".into(),
            }),
            ..wire::RegisterRequest::default()
        }),
        ..courier::ReportHeader::default()
    };
    change(&mut header);
    let mut bytes = Vec::new();
    let header = header.encode_to_vec();
    write(&mut bytes, [(Kind::Report, &header[..])]).unwrap();
    bytes
}

fn key_of(agent: &Agent) -> String {
    Digest::of(agent.key.public_key_raw()).to_string()
}

#[tokio::test]
async fn a_parcel_holds_what_an_agent_that_stands_there_lacks() {
    let hub = Hub::start().await;
    let first = hub.seal("metal", "one");
    let second = hub.seal("metal", "two");
    let whole = parcel(&hub, "metal", json!({})).await.unwrap();
    let kinds: Vec<Kind> = whole.iter().map(|(kind, _)| *kind).collect();
    assert!(
        kinds.starts_with(&[Kind::Parcel, Kind::TrustRoot]),
        "{kinds:?}"
    );
    let header = courier::ParcelHeader::decode(&whole[0].1[..]).unwrap();
    assert_eq!(
        (
            &*header.fleet,
            &*header.cluster,
            header.from_generation,
            header.generation
        ),
        (FLEET, "metal", 0, 2)
    );
    let envelopes: Vec<Bytes> = whole
        .iter()
        .filter(|(kind, _)| *kind == Kind::Head)
        .flat_map(|(_, bytes)| wire::Head::decode(&bytes[..]).unwrap().envelopes)
        .collect();
    assert_eq!(envelopes, [envelope("metal", 1), envelope("metal", 2)]);
    let blobs: Vec<Digest> = whole
        .iter()
        .filter_map(|(kind, bytes)| match kind {
            Kind::Blob => Some(Digest::of(bytes)),
            Kind::Head => None,
            _ => None,
        })
        .chain(
            whole
                .iter()
                .filter(|(kind, _)| *kind == Kind::Head)
                .flat_map(|(_, bytes)| {
                    let head = wire::Head::decode(&bytes[..]).unwrap();
                    head.attached
                        .into_iter()
                        .map(|blob| Digest::of(&blob.content))
                }),
        )
        .collect();
    assert!(
        blobs.contains(&second) && !blobs.contains(&first),
        "the newest state alone"
    );
    assert_eq!(
        whole,
        parcel(&hub, "metal", json!({})).await.unwrap(),
        "the same bytes again"
    );
}

#[tokio::test]
async fn a_parcel_is_not_made_from_where_this_hub_never_was() {
    let hub = Hub::start().await;
    hub.seal("metal", "one");
    for (cluster, asked, code) in [
        ("nobody", json!({}), "NO_SUCH_CLUSTER"),
        ("metal", json!({"fromGeneration": 7}), "NO_SUCH_GENERATION"),
        ("metal", json!({"treeSizes": vec![1; 65]}), "REFUSED"),
        ("metal", json!({"more": 1}), "BAD_REQUEST"),
    ] {
        let refused = parcel(&hub, cluster, asked).await.unwrap_err();
        assert_eq!(refused.code, code);
    }
    // A blob that the store lost breaks the file off: it has no end and counts for nothing.
    let lost = hub.seal("metal", "two");
    hub.damage(lost);
    let url = hub.url("/api/v1/clusters/metal/parcel");
    let asking = hub
        .http()
        .post(url)
        .bearer_auth(hub.token())
        .json(&json!({}));
    let got = async { asking.send().await?.bytes().await };
    let whole = match got.await {
        Err(_) => false,
        Ok(bytes) => {
            let mut reader = Reader::new(&bytes[..]).unwrap();
            loop {
                match reader.frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            }
        }
    };
    assert!(!whole);
}

#[tokio::test]
async fn an_agent_is_admitted_by_its_key_and_by_nothing_else() {
    let hub = Hub::start_logged().await;
    let agent = Agent::new("metal");
    let file = written(&agent, |_| {});
    let wrong = format!("?admit=sha256:{}", "ab".repeat(32));
    for query in ["", &wrong] {
        let refused = report(&hub, query, file.clone()).await.unwrap_err();
        assert_eq!(refused, (StatusCode::CONFLICT, "NOT_REGISTERED".to_owned()));
    }
    assert!(hub.state.registration("metal").is_none());

    let admit = format!("?admit=sha256:{}", key_of(&agent));
    let taken = report(&hub, &admit, file.clone()).await.unwrap();
    assert_eq!((taken.registered, &taken.key), (true, &key_of(&agent)));
    let again = report(&hub, "", file).await.unwrap();
    assert!(!again.registered);

    // Another key takes its place only if a person says so.
    let other = Agent::new("metal");
    let file = written(&other, |_| {});
    let refused = report(&hub, "", file).await.unwrap_err();
    assert_eq!(refused.1, "NOT_REGISTERED");
    assert_eq!(
        hub.state.registration("metal").unwrap().key_digest(),
        key_of(&agent)
    );
}

#[tokio::test]
async fn a_file_that_is_no_report_of_this_cluster_is_refused() {
    let hub = Hub::start_logged().await;
    let agent = Agent::new("metal");
    let admit = format!("?admit={}", key_of(&agent));
    let whole = written(&agent, |_| {});
    let mut parcel = Vec::new();
    write(&mut parcel, [(Kind::Parcel, &b""[..])]).unwrap();
    let mut odd_header = Vec::new();
    write(&mut odd_header, [(Kind::Report, &[0xff; 20][..])]).unwrap();
    let mut empty = Vec::new();
    write(&mut empty, []).unwrap();
    for (what, file, code) in [
        ("nothing", Vec::new(), "NO_REPORT"),
        ("no end", whole[..whole.len() - 1].to_vec(), "NO_REPORT"),
        ("a parcel", parcel, "NO_REPORT"),
        ("no message", odd_header, "NO_REPORT"),
        ("no header", empty, "NO_REPORT"),
        (
            "another fleet's",
            written(&agent, |header| header.fleet = "other".into()),
            "OTHER_CLUSTER",
        ),
        (
            "another cluster's",
            written(&agent, |header| header.cluster = "eks".into()),
            "OTHER_CLUSTER",
        ),
        (
            "of nobody",
            written(&agent, |header| header.registration = None),
            "NOT_REGISTERED",
        ),
        (
            "a request that its key did not sign",
            written(&agent, |header| {
                if let Some(registration) = &mut header.registration {
                    let mut csr = registration.csr.to_vec();
                    *csr.last_mut().unwrap() ^= 1;
                    registration.csr = csr.into();
                }
            }),
            "REFUSED",
        ),
    ] {
        let refused = report(&hub, &admit, file).await.unwrap_err();
        assert_eq!(refused.1, code, "{what}");
    }
    assert!(hub.state.registration("metal").is_none());
}
