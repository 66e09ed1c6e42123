//! Serving: agents over gRPC, operators over HTTP, probes and forges.
//!
//! In: heads, blobs and status from the pipeline ([`State`]); reports and registrations from agents; permits from people.
//! Out: to each agent its cluster's heads and blobs; to operators JSON. Read [`access`] first (who may call what), then
//! [`state`] (what is shared), [`heads`] (how an agent is brought to the newest state), [`listener`] (limits).
//!
//! | pure | acts |
//! |---|---|
//! | [`access`] [`identity`] [`csr`] [`reports`] [`wire`] [`views`] [`openapi`] [`alarms`] [`join::jwt`] | [`enrol`] [`listener`] [`tls`] [`agents`] [`operators`] [`public`] [`records`] |
//!
//! Two listeners: TLS for agents ([`Options::agents`]), reachable from clusters; a Unix socket and loopback for operators,
//! nothing else, until sign-in exists.

pub mod access;
pub mod agents;
pub mod alarms;
pub mod authority;
mod blobs;
pub mod ci;
pub mod clock;
pub mod courier;
pub mod csr;
pub mod enrol;
mod entries;
mod guard;
pub mod heads;
mod health;
pub mod identity;
pub mod join;
pub mod limits;
mod listener;
pub mod local;
mod logfiles;
pub mod metrics;
pub mod nonce;
pub mod openapi;
mod operators;
pub mod permits;
mod public;
pub mod publish;
mod questions;
mod receipts;
pub mod records;
pub mod refuse;
mod register;
pub mod registry;
pub mod renew;
pub mod reports;
mod revoke;
mod said;
pub mod state;
pub mod tls;
pub mod tokens;
mod verify;
pub mod views;
pub mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::{Caller, Role};
pub use authority::Authority;
pub use clock::Clock;
pub use heads::{Commits, Head, NoCommits, Sealed, SealedFault, restore};
pub use metrics::Metrics;
pub use public::{Hook, Webhooks};
pub use publish::{NotTaken, RootDoor};
pub use state::{FleetStatus, Guests, Member, Setup, State, Trust};

use limits::{AGENT_CONNECTIONS_MAX, OPERATOR_CONNECTIONS_MAX, Patience, SHUTDOWN_MAX};
use listener::{Listener, Proof};

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Options {
    /// Agents, probes and forges, over TLS.
    pub agents: SocketAddr,
    /// DNS names and addresses under which agents reach it, for the server certificate.
    pub names: Vec<String>,
    /// Operators, on loopback; none for the socket alone.
    pub operators: Option<SocketAddr>,
    /// The hub's data folder: `operator.sock` and `operator.token` are made here.
    pub data: PathBuf,
}

impl Options {
    /// Usual places below a data folder.
    pub fn new(data: &Path) -> Self {
        Self {
            agents: SocketAddr::from(([0, 0, 0, 0], 7443)),
            names: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
            operators: Some(SocketAddr::from(([127, 0, 0, 1], 7080))),
            data: data.to_owned(),
        }
    }
}

/// Why serving did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Operators are served on this machine only, until they can sign in.
    #[error(
        "operators can't be served on {address}: without sign-in only loopback addresses are allowed (127.0.0.1, [::1])"
    )]
    NotLoopback {
        /// As configured.
        address: SocketAddr,
    },
    /// An address is taken or not ours.
    #[error("can't listen on {place}: {source}")]
    Bind {
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Socket or token file can't be made.
    #[error(transparent)]
    Local(#[from] local::LocalError),
    /// gRPC services can't be put together.
    #[error(transparent)]
    Routes(#[from] public::RoutesError),
}

/// Running listeners. Cancel the token that was given to [`start`], then wait for [`Serving::stopped`].
#[derive(Debug)]
pub struct Serving {
    /// Where agents are served.
    pub agents: SocketAddr,
    /// Where operators are served, if on loopback.
    pub operators: Option<SocketAddr>,
    /// The operators' socket.
    pub socket: PathBuf,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection ended by itself.
    Drained,
    /// Some were cut off at the deadline.
    CutOff,
}

impl Serving {
    /// Waits until all connections have ended after the stop, or the deadline has passed.
    pub async fn stopped(self) -> Stopped {
        self.stop.cancelled().await;
        self.tasks.close();
        let outcome = match tokio::time::timeout(SHUTDOWN_MAX, self.tasks.wait()).await {
            Ok(()) => Stopped::Drained,
            Err(_) => Stopped::CutOff,
        };
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "operator.sock not removed");
        }
        outcome
    }
}

/// Starts all listeners; agents are answered NOT_READY until [`State::set_ready`].
pub async fn start(
    state: Arc<State>,
    options: Options,
    webhooks: Webhooks,
    metrics: Arc<Registry>,
    stop: CancellationToken,
) -> Result<Serving, StartError> {
    start_with(state, options, webhooks, metrics, stop, Patience::default()).await
}

async fn start_with(
    state: Arc<State>,
    options: Options,
    webhooks: Webhooks,
    metrics: Arc<Registry>,
    stop: CancellationToken,
    patience: Patience,
) -> Result<Serving, StartError> {
    if let Some(address) = options.operators
        && !address.ip().is_loopback()
    {
        return Err(StartError::NotLoopback { address });
    }
    let certificate = tls::Certificate::mint(&state.authority, options.names, state.now())?;
    let acceptor = TlsAcceptor::from(tls::config(
        &state.authority,
        certificate.clone(),
        state.clock.clone(),
    )?);
    let tasks = TaskTracker::new();

    let agents = bind(options.agents).await?;
    let for_agents = Listener {
        surface: access::Surface::Agents,
        router: public::router(state.clone(), metrics, &webhooks, stop.clone())?,
        state: state.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
        places: Arc::new(Semaphore::new(AGENT_CONNECTIONS_MAX)),
        patience,
    };
    let for_operators = Listener {
        surface: access::Surface::Operators,
        router: operators::router(state.clone()),
        places: Arc::new(Semaphore::new(OPERATOR_CONNECTIONS_MAX)),
        ..for_agents.clone()
    };
    let token = local::token(&options.data)?;
    let (socket, socket_path) = local::socket(&options.data)?;
    let loopback = match options.operators {
        Some(address) => Some(bind(address).await?),
        None => None,
    };

    let serving = Serving {
        agents: local_address(&agents)?,
        operators: loopback.as_ref().map(local_address).transpose()?,
        socket: socket_path,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    tasks.spawn(for_agents.serve_tls(agents, acceptor));
    tasks.spawn(for_operators.clone().serve_socket(socket));
    if let Some(loopback) = loopback {
        tasks.spawn(for_operators.serve_loopback(loopback, Proof::Token(token)));
    }
    tasks.spawn(keep_certificate(state, certificate, stop));
    Ok(serving)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Bind {
            place: address.to_string(),
            source,
        })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Bind {
        place: "a listener".to_owned(),
        source,
    })
}

/// Looks each hour whether the server certificate must be made anew.
async fn keep_certificate(
    state: Arc<State>,
    certificate: Arc<tls::Certificate>,
    stop: CancellationToken,
) {
    let mut hourly = tokio::time::interval(std::time::Duration::from_secs(3600));
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            _ = hourly.tick() => {}
        }
        match certificate.renew(&state.authority, state.now()) {
            Ok(true) => tracing::info!("server certificate made anew"),
            Ok(false) => {}
            Err(error) => state.alarm("SERVER_CERTIFICATE", format!("not made anew: {error}")),
        }
    }
}

#[cfg(test)]
mod tests;
