//! A report: who the agent is, if a person admits it, and what it countersigned.

use std::sync::Arc;

use bytes::Bytes;
use countersign_fleet::api::ReportTaken;
use countersign_proto::agent::v1 as wire;
use countersign_proto::courier::v1 as courier;
use countersign_proto::limits::RECEIPTS_PER_REQUEST_MAX;
use countersign_proto::parcel::{Kind, Reader};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use tonic::{Code, Status};

use super::speaking;
use crate::serve::limits::PUT_BLOBS_PER_REQUEST_MAX;
use crate::serve::refuse::{fault, refuse};
use crate::serve::registry::hex;
use crate::serve::state::State;
use crate::serve::{csr, enrol, receipts, register, tokens};

/// A report, read whole.
struct Report {
    header: courier::ReportHeader,
    blobs: Vec<Bytes>,
    receipts: Vec<Bytes>,
}

pub(super) async fn report(
    state: &Arc<State>,
    name: &str,
    admit: Option<&str>,
    file: &[u8],
) -> Result<ReportTaken, Status> {
    let report = read(file)?;
    let cluster = state.cluster(name).ok_or_else(|| {
        let text = format!("the trust root lists no cluster {name:?}");
        refuse(Code::NotFound, "NO_SUCH_CLUSTER", text)
    })?;
    let header = report.header;
    if header.fleet != state.fleet || header.cluster != name {
        let text = format!(
            "the report is of cluster {:?} in fleet {:?}",
            header.cluster, header.fleet
        );
        return Err(refuse(Code::FailedPrecondition, "OTHER_CLUSTER", text));
    }
    let registered = match header.registration {
        Some(registration) => admitted(state, name, admit, registration).await?,
        None => false,
    };
    let Some(registration) = state.registration(name) else {
        return Err(refuse(
            Code::FailedPrecondition,
            "NOT_REGISTERED",
            "no agent is registered for this cluster, and the report does not say who wrote it",
        ));
    };
    let peer = speaking(name, registration.key);
    if let Some(mut enrolment) = header.enrolment {
        enrolment.tree_size = 0;
        enrol::enrol(
            Arc::clone(state),
            Arc::clone(&peer),
            Arc::clone(&cluster),
            enrolment,
        )
        .await?;
    }
    for blobs in report.blobs.chunks(PUT_BLOBS_PER_REQUEST_MAX) {
        let blobs = blobs.iter().map(|content| wire::Blob {
            digest: Bytes::copy_from_slice(digest(&SHA256, content).as_ref()),
            content: content.clone(),
        });
        let request = wire::PutBlobsRequest {
            blobs: blobs.collect(),
        };
        receipts::put_blobs(state, request).await?;
    }
    let mut taken = ReportTaken {
        cluster: name.to_owned(),
        key: registration.key_digest(),
        registered,
        receipts: report.receipts.len() as u64,
        next_seq: header.first_seq,
        refused_code: String::new(),
        refused: String::new(),
    };
    let mut left = &report.receipts[..];
    while !left.is_empty() {
        let (now, later) = left.split_at(left.len().min(RECEIPTS_PER_REQUEST_MAX));
        let request = wire::ReceiptsRequest {
            envelopes: now.to_vec(),
            tree_size: 0,
        };
        let answer = receipts::receipts(
            Arc::clone(state),
            Arc::clone(&peer),
            Arc::clone(&cluster),
            request,
        )
        .await?;
        taken.next_seq = answer.next_seq;
        (taken.refused_code, taken.refused) = (answer.refused_code, answer.refused);
        if !taken.refused_code.is_empty() {
            break;
        }
        left = later;
    }
    Ok(taken)
}

/// Whether the agent that wrote the report was registered now; one that is not must be admitted by its key.
async fn admitted(
    state: &State,
    name: &str,
    admit: Option<&str>,
    mut request: wire::RegisterRequest,
) -> Result<bool, Status> {
    let key = csr::key(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let before = state.registration(name);
    if before.as_ref().is_some_and(|before| before.key == key) {
        return Ok(false);
    }
    let digest = hex(digest(&SHA256, &key).as_ref());
    let asked = admit.map(|admit| admit.trim().trim_start_matches("sha256:"));
    if asked != Some(&*digest) {
        let text = format!(
            "the report is of an agent with the key sha256:{digest}, which is not registered for {name}; compare it with what the agent says of itself in its log, then admit it with --admit sha256:{digest}"
        );
        return Err(refuse(Code::FailedPrecondition, "NOT_REGISTERED", text));
    }
    if request.cluster != name {
        return Err(Status::invalid_argument(
            "the registration in the report is for another cluster",
        ));
    }
    let (token, _) = tokens::issue(&state.records, name, before.is_some(), state.now())
        .await
        .map_err(|error| fault(&error))?;
    request.token = token.reveal();
    register::register(state, request).await?;
    Ok(true)
}

fn read(file: &[u8]) -> Result<Report, Status> {
    let odd = |error: &dyn std::fmt::Display| {
        refuse(
            Code::InvalidArgument,
            "NO_REPORT",
            format!("the file {error}"),
        )
    };
    let mut reader = Reader::new(file).map_err(|e| odd(&e))?;
    let (mut header, mut blobs, mut receipts) = (None, Vec::new(), Vec::new());
    while let Some((kind, content)) = reader.frame().map_err(|e| odd(&e))? {
        match kind {
            Kind::Report => {
                let read = courier::ReportHeader::decode(&content[..]);
                header = Some(read.map_err(|_| odd(&"has a header that can't be read"))?);
            }
            Kind::Blob => blobs.push(content.into()),
            Kind::Receipt => receipts.push(content.into()),
            Kind::Parcel | Kind::TrustRoot | Kind::Ways | Kind::Head | Kind::Answer => {
                return Err(odd(&"is a parcel of a hub, not a report of an agent"));
            }
        }
    }
    let header = header.ok_or_else(|| odd(&"has no header"))?;
    Ok(Report {
        header,
        blobs,
        receipts,
    })
}
