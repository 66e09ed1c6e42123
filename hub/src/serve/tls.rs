//! TLS of the agents' listener: the hub's own certificate, made anew before it ends, and client certificates asked for
//! but not demanded (the access table demands them, call by call).

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::authority::{Authority, AuthorityError};
use super::clock::Clock;
use super::limits::SERVER_CERTIFICATE_SECONDS;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority can't sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// rustls refuses the settings.
    #[error("TLS settings: {0}")]
    Settings(String),
}

/// The hub's certificate now.
#[derive(Debug)]
pub struct Certificate {
    names: Vec<String>,
    current: RwLock<(Arc<CertifiedKey>, i64)>,
}

impl Certificate {
    /// Makes the first one, for these DNS names and addresses.
    pub fn mint(
        authority: &Authority,
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(minted(authority, &names, now)?);
        Ok(Arc::new(Self { names, current }))
    }

    /// Makes a new one if half of the current one's life is over. Says whether it did.
    pub fn renew(&self, authority: &Authority, now: Timestamp) -> Result<bool, TlsError> {
        let not_after = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1;
        if not_after - now.as_second() > SERVER_CERTIFICATE_SECONDS / 2 {
            return Ok(false);
        }
        let renewed = minted(authority, &self.names, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .0
                .clone(),
        )
    }
}

fn minted(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<(Arc<CertifiedKey>, i64), TlsError> {
    let made = authority.server_certificate(names, now)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&made.key)
        .map_err(|e| TlsError::Settings(e.to_string()))?;
    Ok((Arc::new(CertifiedKey::new(made.chain, key)), made.not_after))
}

/// The listener's settings. Certificates of clients are judged by the same clock that made them.
pub fn config(
    authority: &Authority,
    certificate: Arc<Certificate>,
    clock: Clock,
) -> Result<Arc<ServerConfig>, TlsError> {
    let settings = |e: &dyn std::fmt::Display| TlsError::Settings(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate().clone())
        .map_err(|e| settings(&e))?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| settings(&e))?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_safe_default_protocol_versions()
        .map_err(|e| settings(&e))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Agents stay connected; kept sessions would cost memory and carry an old certificate along.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
