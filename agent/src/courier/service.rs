//! The hub's calls, answered out of parcels. Nothing is decided here: the callers check what they get.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use countersign_ledger::digest::{Digest, leaf_hash};
use countersign_proto::agent::v1 as proto;
use countersign_proto::agent::v1::agents_server::Agents;
use countersign_proto::courier::v1::Answer;
use futures::stream::{self, Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::Signed;
use super::desk::Desk;
use super::parcel::way;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The stand-in.
pub(super) struct Service {
    desk: Arc<Desk>,
    signed: Signed,
}

impl Service {
    pub(super) fn new(desk: Arc<Desk>, signed: Signed) -> Self {
        Self { desk, signed }
    }

    /// The newest that the hub answered.
    fn answer(&self) -> Option<Answer> {
        let parcels = self.desk.all();
        let answers = parcels.iter().filter_map(|parcel| parcel.answer.as_ref());
        answers.max_by_key(|answer| answer.tree_size).cloned()
    }
}

fn unanswered() -> Status {
    Status::unavailable("no parcel brings the hub's answer yet")
}

/// What a person has to do first.
fn by_person() -> Status {
    Status::failed_precondition("a person carries it: see the report in the export folder")
}

#[tonic::async_trait]
impl Agents for Service {
    type HeadsStream = Streamed<proto::Head>;
    type BlobsStream = Streamed<proto::Blob>;

    async fn register(
        &self,
        _: Request<proto::RegisterRequest>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        Err(by_person())
    }

    async fn renew(
        &self,
        _: Request<proto::RenewRequest>,
    ) -> Result<Response<proto::RenewResponse>, Status> {
        Err(by_person())
    }

    async fn trust_roots(
        &self,
        _: Request<proto::TrustRootsRequest>,
    ) -> Result<Response<proto::TrustRootsResponse>, Status> {
        let trust_roots = self.desk.trust_roots();
        Ok(Response::new(proto::TrustRootsResponse { trust_roots }))
    }

    /// The newest parcel that leads on; the stream ends when another comes, and the agent asks again.
    async fn heads(
        &self,
        request: Request<proto::HeadsRequest>,
    ) -> Result<Response<Self::HeadsStream>, Status> {
        let at = request.into_inner();
        let mut changes = self.desk.changes();
        changes.mark_unchanged();
        let heads = self.desk.open(at.generation, at.tree_size);
        let heads = stream::iter(heads.unwrap_or_default()).map(Ok);
        let until = stream::once(async move {
            let _ = changes.changed().await;
            Err(Status::unavailable("another parcel came"))
        });
        Ok(Response::new(Box::pin(heads.chain(until))))
    }

    async fn blobs(
        &self,
        request: Request<proto::BlobsRequest>,
    ) -> Result<Response<Self::BlobsStream>, Status> {
        let parcels = self.desk.all();
        let digests = request.into_inner().digests;
        let blobs = stream::iter(digests).filter_map(move |digest| {
            let found = <[u8; 32]>::try_from(&digest[..])
                .ok()
                .map(Digest::from_bytes)
                .and_then(|name| parcels.iter().find_map(|parcel| parcel.blob(&name)));
            async move { found.map(|content| Ok(proto::Blob { digest, content })) }
        });
        Ok(Response::new(Box::pin(blobs)))
    }

    /// Live status has nobody to look at it.
    async fn report(
        &self,
        _: Request<proto::ReportRequest>,
    ) -> Result<Response<proto::ReportResponse>, Status> {
        Ok(Response::new(proto::ReportResponse::default()))
    }

    async fn receipts(
        &self,
        request: Request<proto::ReceiptsRequest>,
    ) -> Result<Response<proto::ReceiptsResponse>, Status> {
        let request = request.into_inner();
        let found = self.answer().and_then(|answer| answered(&answer, &request));
        found.map(Response::new).ok_or_else(unanswered)
    }

    /// What is signed goes with the report; the entry comes with a later parcel.
    async fn enrol(
        &self,
        request: Request<proto::EnrolRequest>,
    ) -> Result<Response<proto::EnrolResponse>, Status> {
        let request = request.into_inner();
        let Some(answer) = self.answer() else {
            return Err(unanswered());
        };
        if !answer.enrols {
            return Err(Status::unimplemented("this fleet enrols nobody"));
        }
        if let Some(entry) = answer.enrolment {
            let consistency = way(&answer.ways, request.tree_size, answer.tree_size);
            return Ok(Response::new(proto::EnrolResponse {
                entry: Some(entry),
                checkpoint: answer.checkpoint,
                consistency: consistency.ok_or_else(unanswered)?,
                ..proto::EnrolResponse::default()
            }));
        }
        if answer.offer.is_empty() {
            return Err(unanswered());
        }
        if request.payload != answer.offer {
            return Ok(Response::new(proto::EnrolResponse {
                payload: answer.offer,
                ..proto::EnrolResponse::default()
            }));
        }
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        Err(unanswered())
    }

    /// They go with the report.
    async fn put_blobs(
        &self,
        _: Request<proto::PutBlobsRequest>,
    ) -> Result<Response<proto::PutBlobsResponse>, Status> {
        Ok(Response::new(proto::PutBlobsResponse {}))
    }
}

/// What the hub would answer, as far as the parcel's answer knows. None if it does not lead on from what the agent has seen.
fn answered(answer: &Answer, request: &proto::ReceiptsRequest) -> Option<proto::ReceiptsResponse> {
    let consistency = way(&answer.ways, request.tree_size, answer.tree_size)?;
    let proof = |envelope: &Bytes| {
        let leaf = leaf_hash(envelope);
        let found = answer
            .proven
            .iter()
            .find(|proven| proven.leaf == leaf.as_bytes()[..])?;
        found.proof.clone()
    };
    Some(proto::ReceiptsResponse {
        checkpoint: answer.checkpoint.clone(),
        consistency,
        proofs: request.envelopes.iter().map_while(proof).collect(),
        nonce: answer.nonce.clone(),
        next_seq: answer.next_seq,
        newest: answer.newest.clone(),
        ..proto::ReceiptsResponse::default()
    })
}
