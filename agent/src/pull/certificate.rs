//! The client certificate: the first one for a join token or the service account's token, each later one for a signature of the
//! receipt key.

use std::time::Duration;

use bytes::Bytes;
use countersign_proto::agent::v1 as proto;

use super::hub::{self, HubFault};
use super::{Failure, Puller};
use crate::clock;
use crate::keys::KeyError;

/// A client certificate and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Chain as PEM.
    pub(super) pem: String,
    /// Seconds since 1970 from which it is valid.
    pub(super) from: i64,
    /// Seconds since 1970 until which it is valid.
    pub(super) until: i64,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    #[must_use]
    pub(super) fn read(pem: &str) -> Option<Self> {
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
    pub(super) fn due_in(&self, now: i64) -> Duration {
        const SKEW: i64 = 600;
        let due = self.from + (self.until - self.from) / 3 * 2;
        if now + SKEW < self.from {
            return Duration::ZERO;
        }
        Duration::from_secs(u64::try_from(due - now).unwrap_or(0))
    }
}

impl Puller {
    /// A certificate that is good for a while: the kept one, a renewed one, or the first one.
    pub(super) async fn certificate(&mut self) -> Result<Certificate, Failure> {
        let now = clock::unix();
        let kept = self
            .keys
            .certificate()
            .await?
            .and_then(|pem| Certificate::read(&pem));
        if let Some(certificate) = kept
            .as_ref()
            .filter(|certificate| !self.renew && !certificate.due_in(now).is_zero())
        {
            return Ok(certificate.clone());
        }
        let fleet = self.roots.newest().fleet().to_owned();
        let request = self.keys.certificate_request(&fleet, &self.cluster)?;
        let channel = self.connect(None).await?;
        let mut client = hub::client(channel);
        let pem = match (kept, self.credential()?) {
            (None, Some((token, service_account_token))) => {
                let response = client
                    .register(proto::RegisterRequest {
                        cluster: self.cluster.clone(),
                        token,
                        csr: request.into(),
                        encryption_recipient: self.keys.recipient(),
                        identity: Some(self.identity.clone()),
                        service_account_token,
                    })
                    .await
                    .map_err(HubFault::from)?
                    .into_inner();
                self.extend_roots(&response.trust_roots)?;
                response.certificate
            }
            (None, None) => return Err(HubFault::NoToken.into()),
            (Some(_), _) => {
                let signature = self
                    .keys
                    .sign_renewal(&self.cluster, now, &request)
                    .map_err(|error| KeyError::Request(error.to_string()))?;
                let renewal = proto::RenewRequest {
                    cluster: self.cluster.clone(),
                    csr: request.into(),
                    time: now,
                    signature: Bytes::copy_from_slice(&signature),
                };
                client
                    .renew(renewal)
                    .await
                    .map_err(HubFault::from)?
                    .into_inner()
                    .certificate
            }
        };
        let certificate = Certificate::read(&pem).ok_or(HubFault::OddCertificate)?;
        self.keys.keep_certificate(&pem).await?;
        self.token = None;
        self.renew = false;
        tracing::info!(until = certificate.until, "new client certificate");
        Ok(certificate)
    }

    /// What a first certificate is asked for with: the join token, or that of the service account, read anew each time since it
    /// is replaced while it lies there.
    fn credential(&self) -> Result<Option<(String, String)>, HubFault> {
        if let Some(token) = &self.token {
            return Ok(Some((token.clone(), String::new())));
        }
        let Some(file) = &self.service_account else {
            return Ok(None);
        };
        let token = std::fs::read_to_string(file).map_err(|error| HubFault::ServiceAccount {
            file: file.display().to_string(),
            error,
        })?;
        Ok(Some((String::new(), token.trim().to_owned())))
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
