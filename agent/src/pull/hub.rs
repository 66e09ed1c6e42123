//! The hub by gRPC: a channel pinned to its CA, and what its answers mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_ledger::digest::Digest;
use countersign_proto::agent::v1::agents_client::AgentsClient;
use countersign_proto::limits;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity};

use super::tls::PinnedCa;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between pings: a NAT drops a silent stream, and the agent would wait for ever.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A ping that is not answered for so long ends the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

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
        /// For a person.
        message: String,
    },
    /// The stream ended.
    #[error("the stream of heads ended")]
    Ended,
    /// Neither a certificate nor a token.
    #[error(
        "not registered, and no join token given: run `countersign cluster add` and pass its token by --token-file"
    )]
    NoToken,
    /// What came as certificate is none.
    #[error("what the hub sent is no certificate")]
    OddCertificate,
}

impl From<tonic::Status> for HubFault {
    fn from(status: tonic::Status) -> Self {
        Self::Status {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// The hub's address and its pinned CA.
#[derive(Debug)]
pub struct Hub {
    url: String,
    ca: Mutex<Digest>,
}

impl Hub {
    /// A hub at `url` whose CA has this fingerprint.
    #[must_use]
    pub fn new(url: String, ca: Digest) -> Self {
        Self {
            url,
            ca: Mutex::new(ca),
        }
    }

    /// A newer trust root names another CA.
    pub fn pin(&self, ca: Digest) {
        *self.ca.lock().unwrap_or_else(PoisonError::into_inner) = ca;
    }

    /// Connects, with the client certificate and key (PEM) where there is one.
    ///
    /// # Errors
    /// [`HubFault::Unreachable`].
    pub async fn channel(&self, identity: Option<(&str, &str)>) -> Result<Channel, HubFault> {
        let unreachable = |error: tonic::transport::Error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(": ");
                text.push_str(&cause.to_string());
                source = cause.source();
            }
            HubFault::Unreachable(text)
        };
        let ca = *self.ca.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tls = ClientTlsConfig::new();
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Endpoint::from_shared(self.url.clone())
            .map_err(unreachable)?
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .tls_config_with_verifier(tls, Arc::new(PinnedCa::new(ca)))
            .map_err(unreachable)?
            .connect()
            .await
            .map_err(unreachable)
    }
}

/// The client on a channel, with the wire's limits.
#[must_use]
pub fn client(channel: Channel) -> Client {
    AgentsClient::new(channel)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limits::HEAD_BYTES_MAX)
        .max_encoding_message_size(limits::REPORT_BYTES_MAX)
}

/// A client certificate and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Chain as PEM.
    pub pem: String,
    /// Seconds since 1970 from which it is valid.
    pub from: i64,
    /// Seconds since 1970 until which it is valid.
    pub until: i64,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    #[must_use]
    pub fn read(pem: &str) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = block.parse_x509().ok()?;
        let validity = certificate.validity();
        Some(Self {
            pem: pem.to_owned(),
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }

    /// How long until it should be renewed: at two thirds of its life; zero when that is past, or when a clock that
    /// jumped makes it lie in the future.
    #[must_use]
    pub fn due_in(&self, now: i64) -> Duration {
        const SKEW: i64 = 600;
        let due = self.from + (self.until - self.from) / 3 * 2;
        if now + SKEW < self.from {
            return Duration::ZERO;
        }
        Duration::from_secs(u64::try_from(due - now).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let certificate = Certificate {
            pem: String::new(),
            from: 1_000,
            until: 4_000,
        };
        assert_eq!(certificate.due_in(1_000), Duration::from_secs(2_000));
        assert_eq!(certificate.due_in(3_000), Duration::ZERO);
        assert_eq!(certificate.due_in(9_000), Duration::ZERO);
        assert_eq!(certificate.due_in(0), Duration::ZERO);
    }
}
