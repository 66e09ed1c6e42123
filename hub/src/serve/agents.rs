//! The gRPC service of agents: each call finds its cluster in the verified certificate, never in the request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_proto::agent::v1 as wire;
use countersign_proto::agent::v1::agents_server::{Agents, AgentsServer};
use countersign_proto::limits::{HEAD_BYTES_MAX, REPORT_BYTES_MAX};
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};

use super::access::Caller;
use super::blobs::unread;
use super::heads::{Ended, Follower, NoCommits, Position, Taken};
use super::identity::Peer;
use super::refuse::{fault, refuse};
use super::state::{Cluster, State};
use super::{blobs, enrol, receipts, register, renew, revoke, wire as read};

/// The service over a state.
pub struct Service {
    state: Arc<State>,
    stop: CancellationToken,
}

/// The gRPC server for the service, with the limits of each message.
pub fn server(state: Arc<State>, stop: CancellationToken) -> AgentsServer<Service> {
    AgentsServer::new(Service { state, stop })
        .max_decoding_message_size(REPORT_BYTES_MAX)
        .max_encoding_message_size(HEAD_BYTES_MAX)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Zstd)
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// The caller's certificate and its cluster. The access table has refused anybody else before; this is the only way
    /// to a cluster, so a method that forgets it has none.
    fn caller<T>(&self, request: &Request<T>) -> Result<(Arc<Peer>, Arc<Cluster>), Status> {
        let unproven = || {
            refuse(
                Code::Unauthenticated,
                "NO_CERTIFICATE",
                "a client certificate is needed",
            )
        };
        let Some(Caller::Agent(peer)) = request.extensions().get::<Caller>() else {
            return Err(unproven());
        };
        let cluster = self.state.cluster(&peer.cluster).ok_or_else(unproven)?;
        Ok((peer.clone(), cluster))
    }
}

#[tonic::async_trait]
impl Agents for Service {
    type HeadsStream = Streamed<wire::Head>;
    type BlobsStream = Streamed<wire::Blob>;

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        register::register(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        renew::renew(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn trust_roots(
        &self,
        request: Request<wire::TrustRootsRequest>,
    ) -> Result<Response<wire::TrustRootsResponse>, Status> {
        let above = request.into_inner().above_version;
        let trust_roots = self
            .state
            .trust()
            .documents
            .iter()
            .filter(|(version, _)| *version > above)
            .map(|(_, bytes)| bytes.clone())
            .collect();
        Ok(Response::new(wire::TrustRootsResponse { trust_roots }))
    }

    async fn heads(
        &self,
        request: Request<wire::HeadsRequest>,
    ) -> Result<Response<Self::HeadsStream>, Status> {
        let (peer, cluster) = self.caller(&request)?;
        if !self.state.is_ready() {
            return Err(refuse(
                Code::Unavailable,
                "NOT_READY",
                "the hub is reading what was sealed; ask again",
            ));
        }
        let at = Position::parse(request.get_ref())?;
        let mut follower = Follower::new(
            &peer.cluster,
            self.state.sealed.clone(),
            &cluster.newest,
            at,
        );
        if let Some(log) = &self.state.log {
            let trust = self.state.trust();
            let level = trust.clusters.get(&peer.cluster);
            let taken = Taken::at(level.map_or("", |member| member.level.as_str()));
            let proven = follower.proven(log.clone(), taken).await;
            follower = proven.map_err(|error| unread(&self.state, &error))?;
            let came = self.state.watch_outside();
            let clock = self.state.clock.clone();
            follower = follower.overridden(log.clone(), came, clock.clone());
            if let Some(root) = &trust.newest {
                follower = follower.through_glass(root.clone(), clock);
            }
            if level.is_some_and(|member| member.level == "reproduced") {
                follower = follower.reproduced(log.clone());
            }
        }
        let questions = cluster.questions.subscribe();
        follower = follower.asked(questions, self.state.clock.clone());
        if let Some(commits) = self.state.commits_for(&peer.cluster) {
            follower = follower.authored(commits, &request.get_ref().authored_commit);
        }
        let stream = HeadStream::open(
            self.state.clone(),
            peer,
            cluster,
            follower,
            self.stop.clone(),
        );
        Ok(Response::new(Box::pin(futures::stream::unfold(
            Some(stream),
            |stream| async {
                let mut stream = stream?;
                match stream.next().await {
                    Ok(head) => Some((Ok(head), Some(stream))),
                    Err(status) => Some((Err(status), None)),
                }
            },
        ))))
    }

    async fn blobs(
        &self,
        request: Request<wire::BlobsRequest>,
    ) -> Result<Response<Self::BlobsStream>, Status> {
        let (_, cluster) = self.caller(&request)?;
        let names = blobs::parse(&cluster, request.get_ref())?;
        Ok(Response::new(blobs::send(self.state.clone(), names)))
    }

    async fn report(
        &self,
        request: Request<wire::ReportRequest>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        let (peer, cluster) = self.caller(&request)?;
        let request = request.into_inner();
        let metrics = &self.state.metrics;
        metrics.reports.inc();
        metrics.drifts.inc_by(request.drifts.len() as u64);
        metrics.agent_refusals.inc_by(request.refusals.len() as u64);
        let report = read::report(&peer.cluster, request);
        let reply = cluster
            .live
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take_in(report, self.state.now());
        if reply.newly_gone {
            self.state.tell_gone();
        }
        let warnings = cluster
            .warnings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .list();
        Ok(Response::new(wire::ReportResponse {
            send_full: reply.send_full,
            warnings: warnings.into_iter().map(read::warning).collect(),
        }))
    }

    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::EnrolResponse>, Status> {
        let (peer, cluster) = self.caller(&request)?;
        enrol::enrol(self.state.clone(), peer, cluster, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn receipts(
        &self,
        request: Request<wire::ReceiptsRequest>,
    ) -> Result<Response<wire::ReceiptsResponse>, Status> {
        let (peer, cluster) = self.caller(&request)?;
        let request = request.into_inner();
        receipts::receipts(self.state.clone(), peer, cluster, request)
            .await
            .map(Response::new)
    }

    async fn put_blobs(
        &self,
        request: Request<wire::PutBlobsRequest>,
    ) -> Result<Response<wire::PutBlobsResponse>, Status> {
        let _ = self.caller(&request)?;
        receipts::put_blobs(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }
}

/// One open stream of heads; counted while it lives.
struct HeadStream {
    state: Arc<State>,
    peer: Arc<Peer>,
    cluster: Arc<Cluster>,
    follower: Follower,
    access: tokio::sync::watch::Receiver<u64>,
    expires: Pin<Box<tokio::time::Sleep>>,
    stop: CancellationToken,
}

impl HeadStream {
    fn open(
        state: Arc<State>,
        peer: Arc<Peer>,
        cluster: Arc<Cluster>,
        follower: Follower,
        stop: CancellationToken,
    ) -> Self {
        cluster.streams.fetch_add(1, Ordering::AcqRel);
        state.metrics.streams.inc();
        let left = peer.not_after.saturating_sub(state.now().as_second());
        Self {
            access: state.watch_access(),
            expires: Box::pin(tokio::time::sleep(Duration::from_secs(
                left.max(0).unsigned_abs(),
            ))),
            state,
            peer,
            cluster,
            follower,
            stop,
        }
    }

    /// The next message, or why the stream ends: the agent's certificate ran out or counts no longer, the hub stops, or
    /// its past is not ours.
    async fn next(&mut self) -> Result<wire::Head, Status> {
        loop {
            // All four may be dropped half-way: `advance` and `changed` say so, the others hold nothing.
            tokio::select! { biased;
                () = self.stop.cancelled() => {
                    return Err(refuse(Code::Unavailable, "SHUTTING_DOWN", "the hub is shutting down"));
                }
                () = &mut self.expires => return Err(must_renew()),
                changed = self.access.changed() => {
                    if self.state.registry.revoked(&self.peer.key).is_some() {
                        return Err(revoke::revoked());
                    }
                    if changed.is_err() || !self.state.admits(&self.peer) {
                        return Err(must_renew());
                    }
                }
                head = self.follower.advance() => {
                    return head.inspect(|head| {
                        self.state.metrics.heads_sent.inc();
                        self.state.metrics.blobs_sent.inc_by(head.attached.len() as u64);
                        let bytes: usize = head.attached.iter().map(|blob| blob.content.len()).sum();
                        self.state.metrics.blob_bytes_sent.inc_by(bytes as u64);
                    }).map_err(|ended| self.ended(ended));
                }
            }
        }
    }

    fn ended(&self, ended: Ended) -> Status {
        match ended {
            Ended::Apart(apart) => {
                self.state
                    .alarm_on(&self.peer.cluster, apart.code(), apart.to_string());
                refuse(Code::FailedPrecondition, apart.code(), apart.to_string())
            }
            Ended::Fault(error) => unread(&self.state, &error),
            Ended::Commits(NoCommits::Refused { code, problem }) => {
                self.state
                    .alarm_on(&self.peer.cluster, code, problem.clone());
                refuse(Code::FailedPrecondition, code, problem)
            }
            Ended::Commits(error @ NoCommits::Unreadable(_)) => fault(&error),
            Ended::Stopped => refuse(
                Code::Unavailable,
                "SHUTTING_DOWN",
                "the hub is shutting down",
            ),
        }
    }
}

impl Drop for HeadStream {
    fn drop(&mut self) {
        self.cluster.streams.fetch_sub(1, Ordering::AcqRel);
        self.state.metrics.streams.dec();
    }
}

fn must_renew() -> Status {
    refuse(
        Code::Unauthenticated,
        "CERTIFICATE_ENDED",
        "the client certificate counts no longer; renew it with the receipt key",
    )
}
