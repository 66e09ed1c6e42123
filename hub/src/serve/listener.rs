//! Accepts connections, with a limit on everything that an outsider can make us wait for or hold.
//!
//! One connection is one task. A fault of `accept` (no descriptors left, a client that went away) costs that client or a
//! short pause, never the loop.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Caller, Surface};
use super::guard::{admit, bearer};
use super::identity;
use super::limits::{HEADER_BYTES_MAX, PING_EVERY, Patience, STREAMS_PER_CONNECTION_MAX};
use super::metrics::{ListenerLabels, Metrics};
use super::state::State;
use super::tokens::same;

/// What all connections of one listener share.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) surface: Surface,
    pub(crate) router: Router,
    pub(crate) state: Arc<State>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) patience: Patience,
}

/// How a caller on the operators' listeners proves itself.
#[derive(Clone)]
pub(crate) enum Proof {
    /// By having opened the socket, which only its owner can.
    Socket,
    /// By the token in each request.
    Token(Arc<str>),
}

impl Listener {
    /// Serves agents over TLS until stopped.
    pub(crate) async fn serve_tls(self, listener: TcpListener, acceptor: TlsAcceptor) {
        while let Some(stream) = self
            .next(|| async { listener.accept().await.map(|(stream, _)| stream) })
            .await
        {
            let Some(place) = self.place() else { continue };
            // Small messages must not wait for more.
            let _ = stream.set_nodelay(true);
            let (this, acceptor) = (self.clone(), acceptor.clone());
            self.tasks.spawn(async move {
                let _place = place;
                let handshake = acceptor.accept(Idle::new(stream, self.patience.idle));
                match tokio::time::timeout(this.patience.handshake, handshake).await {
                    Ok(Ok(stream)) => {
                        let caller = this.caller(stream.get_ref().1).await;
                        this.connection(stream, move |_| caller.clone()).await;
                    }
                    Ok(Err(_)) | Err(_) => {
                        this.metrics().handshakes_failed.inc();
                    }
                }
            });
        }
    }

    /// Serves operators on loopback until stopped; each request bears the token.
    pub(crate) async fn serve_loopback(self, listener: TcpListener, proof: Proof) {
        while let Some(stream) = self
            .next(|| async { listener.accept().await.map(|(stream, _)| stream) })
            .await
        {
            self.spawn_operator(stream, proof.clone(), "token".into());
        }
    }

    /// Serves operators on the socket until stopped.
    pub(crate) async fn serve_socket(self, listener: UnixListener) {
        while let Some(stream) = self
            .next(|| async { listener.accept().await.map(|(stream, _)| stream) })
            .await
        {
            let who = match stream.peer_cred() {
                Ok(peer) => format!("uid {}", peer.uid()),
                Err(_) => "socket".to_owned(),
            };
            self.spawn_operator(stream, Proof::Socket, who.into());
        }
    }

    fn spawn_operator<S>(&self, stream: S, proof: Proof, who: Arc<str>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(place) = self.place() else { return };
        let this = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let caller = move |request: &Request<Incoming>| match &proof {
                Proof::Socket => Caller::Operator(who.clone()),
                Proof::Token(token) => match bearer(request) {
                    Some(given) if same(given.as_bytes(), token.as_bytes()) => {
                        Caller::Operator(who.clone())
                    }
                    Some(_) | None => Caller::Anonymous,
                },
            };
            this.connection(Idle::new(stream, this.patience.idle), caller)
                .await;
        });
    }

    /// The next connection; none when stopped.
    async fn next<S, F>(&self, accept: impl Fn() -> F) -> Option<S>
    where
        F: Future<Output = std::io::Result<S>>,
    {
        loop {
            // `accept` of both listeners is cancel safe.
            let accepted = tokio::select! { biased;
                () = self.stop.cancelled() => return None,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok(stream) => return Some(stream),
                Err(error) => {
                    tracing::warn!(%error, listener = self.label(), "a connection could not be accepted");
                    // Out of descriptors: others must end first. Gone clients: the next call is good at once.
                    if !gone(&error) {
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let place = self.places.clone().try_acquire_owned().ok();
        if place.is_none() {
            self.metrics()
                .connections_refused
                .get_or_create(&self.labels())
                .inc();
        }
        place
    }

    /// Who is on the other side of a TLS connection: asked once, judged again with every request.
    async fn caller(&self, tls: &rustls::ServerConnection) -> Caller {
        let Some(leaf) = tls.peer_certificates().and_then(|chain| chain.first()) else {
            return Caller::Anonymous;
        };
        match identity::peer(&self.state.fleet, leaf) {
            Ok(peer) => {
                let revoked = self.state.registry.revoked(&peer.key).is_some();
                if !revoked && !self.state.admits(&peer) {
                    // Another replica may have registered it since.
                    if let Err(error) = self.state.registry.refresh().await {
                        tracing::warn!(%error, "registrations not read again");
                    }
                }
                Caller::Agent(Arc::new(peer))
            }
            Err(error) => {
                tracing::warn!(%error, "a certificate of our authority names no agent");
                Caller::Anonymous
            }
        }
    }

    async fn connection<S>(
        &self,
        stream: S,
        caller: impl Fn(&Request<Incoming>) -> Caller + Clone + Send + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let open = self
            .metrics()
            .connections
            .get_or_create_owned(&self.labels());
        open.inc();
        let spoken = Arc::new(AtomicBool::new(false));
        let service = {
            let (this, spoken) = (self.clone(), spoken.clone());
            service_fn(move |request: Request<Incoming>| {
                spoken.store(true, Ordering::Relaxed);
                let caller = this.judged(caller(&request));
                let this = this.clone();
                async move {
                    admit(
                        this.surface,
                        this.router.clone(),
                        this.metrics(),
                        caller,
                        request.map(Body::new),
                    )
                    .await
                }
            })
        };
        let builder = builder(&self.patience);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut silent = pin!(sleep(self.patience.first_request));
        let (mut stopping, mut watched) = (false, true);
        loop {
            // A connection may be polled on after any other arm.
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, listener = self.label(), "a connection ended");
                    }
                    break;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = silent.as_mut(), if watched => {
                    if !spoken.load(Ordering::Relaxed) {
                        break;
                    }
                    watched = false;
                }
            }
        }
        open.dec();
    }

    /// A certificate that has run out, or whose key was replaced, proves nothing; one whose key was revoked is told so.
    fn judged(&self, caller: Caller) -> Caller {
        match caller {
            Caller::Agent(peer) if self.state.registry.revoked(&peer.key).is_some() => {
                Caller::Revoked
            }
            Caller::Agent(peer) if !self.state.admits(&peer) => Caller::Anonymous,
            caller @ (Caller::Agent(_)
            | Caller::Revoked
            | Caller::Anonymous
            | Caller::Operator(_)) => caller,
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.state.metrics
    }

    fn label(&self) -> &'static str {
        match self.surface {
            Surface::Agents => "agents",
            Surface::Operators => "operators",
        }
    }

    fn labels(&self) -> ListenerLabels {
        ListenerLabels {
            listener: self.label(),
        }
    }
}

/// Between two attempts to accept when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn builder(patience: &Patience) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .max_buf_size(HEADER_BYTES_MAX as usize)
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

/// A stream that fails when nothing came in for too long.
struct Idle<S> {
    stream: S,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            deadline: Box::pin(sleep(limit)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                let next = Instant::now() + self.limit;
                self.deadline.as_mut().reset(next);
                Poll::Ready(done)
            }
            Poll::Pending => match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(std::io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
