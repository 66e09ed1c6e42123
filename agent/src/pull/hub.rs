//! The hub by gRPC: a channel pinned to its CA, and what its answers mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1 as proto;
use countersign_proto::agent::v1::agents_client::AgentsClient;
use countersign_proto::limits;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity};

use super::tls::{PinnedCa, Presented, Witness};
use crate::courier::Line;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between pings: a NAT drops a silent stream, and the agent would wait for ever.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A ping that is not answered for so long ends the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Trailer with the hub's stable code.
const CODE_HEADER: &str = "countersign-code";

/// The generated client.
pub type Client = AgentsClient<Channel>;

/// Something that may pass.
#[derive(Debug, thiserror::Error)]
pub enum HubFault {
    /// No connection.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The hub answered with an error.
    #[error("{code:?}: {message}")]
    Status {
        /// gRPC's code.
        code: tonic::Code,
        /// The hub's own, where it gave one.
        reason: Option<String>,
        /// For a person.
        message: String,
    },
    /// The stream ended.
    #[error("the stream of heads ended")]
    Ended,
    /// Neither a certificate nor a token.
    #[error(
        "not registered, and no join token given: run `countersign cluster add` and pass its token by --token-file, or join by --join-service-account-token"
    )]
    NoToken,
    /// The service account's token can't be read.
    #[error("--join-service-account-token {file}: {error}")]
    ServiceAccount {
        /// Which file.
        file: String,
        /// Why not.
        error: std::io::Error,
    },
    /// What came as certificate is none.
    #[error("what the hub sent is no certificate")]
    OddCertificate,
}

impl HubFault {
    /// The hub does not take the certificate.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Status { code, .. } if *code == tonic::Code::Unauthenticated)
    }

    /// Why the hub said no, by its own stable code.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Status { reason, .. } => reason.as_deref(),
            _ => None,
        }
    }

    /// The hub speaks to this agent no more, or takes it for another cluster's: asking again changes nothing before a person did
    /// something. A stable code to tell it by.
    #[must_use]
    pub fn shut_out(&self) -> Option<&'static str> {
        const CODES: [&str; 7] = [
            "AGENT_REVOKED",
            "KEY_REVOKED",
            "SECOND_KEY",
            "SECOND_NAME",
            "SHARED_KEY",
            "SERVICE_ACCOUNT_REFUSED",
            "TOKEN_REFUSED",
        ];
        let reason = self.reason()?;
        CODES.into_iter().find(|code| *code == reason)
    }
}

impl From<tonic::Status> for HubFault {
    fn from(status: tonic::Status) -> Self {
        Self::Status {
            code: status.code(),
            reason: status
                .metadata()
                .get(CODE_HEADER)
                .and_then(|reason| reason.to_str().ok())
                .map(|reason| reason.chars().take(64).collect()),
            message: status.message().to_owned(),
        }
    }
}

/// The hub's address and its pinned CA.
#[derive(Debug)]
pub struct Hub {
    place: Place,
    ca: Mutex<Digest>,
}

/// Where the hub is.
#[derive(Debug)]
enum Place {
    Network(String),
    /// Nowhere near: its stand-in answers out of files.
    Files(Line),
}

impl Hub {
    /// A hub at `url` whose CA has this fingerprint.
    #[must_use]
    pub fn new(url: String, ca: Digest) -> Self {
        Self {
            place: Place::Network(url),
            ca: Mutex::new(ca),
        }
    }

    /// A hub whose words a person carries.
    #[must_use]
    pub fn by_files(line: Line, ca: Digest) -> Self {
        Self {
            place: Place::Files(line),
            ca: Mutex::new(ca),
        }
    }

    /// Whether no network joins the two: then neither proves itself to the other, and there is no certificate.
    #[must_use]
    pub fn is_by_files(&self) -> bool {
        matches!(self.place, Place::Files(_))
    }

    /// A newer trust root names this CA; whether it is another one than before.
    pub fn pin(&self, ca: Digest) -> bool {
        let mut pinned = self.ca.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *pinned, ca) != ca
    }

    /// Connects, with the client certificate and key (PEM) where there is one.
    ///
    /// # Errors
    /// [`HubFault::Unreachable`].
    pub async fn channel(&self, identity: Option<(&str, &str)>) -> Result<Channel, HubFault> {
        let url = match &self.place {
            Place::Network(url) => url,
            Place::Files(line) => return stand_in(line.clone()).await,
        };
        let ca = *self.ca.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tls = ClientTlsConfig::new();
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        open(url, tls, Arc::new(PinnedCa::new(ca))).await
    }

    /// Asks for the trust roots above a version although the hub did not prove itself: they prove themselves. What it
    /// presented comes with them, to be judged by them.
    ///
    /// # Errors
    /// [`HubFault`].
    pub async fn roots_unproven(
        &self,
        above_version: u64,
    ) -> Result<(Vec<Bytes>, Presented), HubFault> {
        let Place::Network(url) = &self.place else {
            return Err(HubFault::Unreachable("no network leads to it".to_owned()));
        };
        let witness = Arc::new(Witness::default());
        let verifier = Arc::clone(&witness);
        let channel = open(url, ClientTlsConfig::new(), verifier).await?;
        let response = client(channel)
            .trust_roots(proto::TrustRootsRequest { above_version })
            .await?
            .into_inner();
        let presented = witness
            .presented()
            .ok_or_else(|| HubFault::Unreachable("the hub presented no certificate".to_owned()))?;
        Ok((response.trust_roots, presented))
    }
}

async fn open(
    url: &str,
    tls: ClientTlsConfig,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Channel, HubFault> {
    Endpoint::from_shared(url.to_owned())
        .map_err(unreachable)?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tls_config_with_verifier(tls, verifier)
        .map_err(unreachable)?
        .connect()
        .await
        .map_err(unreachable)
}

/// A channel to the stand-in within this process; the address says nothing.
async fn stand_in(line: Line) -> Result<Channel, HubFault> {
    let connect = tower::service_fn(move |_: http::Uri| {
        let end = line.open().map(TokioIo::new);
        async move { end }
    });
    Endpoint::from_static("http://files.invalid")
        .connect_with_connector(connect)
        .await
        .map_err(unreachable)
}

fn unreachable(error: tonic::transport::Error) -> HubFault {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    HubFault::Unreachable(text)
}

/// The client on a channel, with the wire's limits.
#[must_use]
pub fn client(channel: Channel) -> Client {
    AgentsClient::new(channel)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limits::HEAD_BYTES_MAX)
        .max_encoding_message_size(limits::REPORT_BYTES_MAX)
}
