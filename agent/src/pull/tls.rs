//! TLS to the hub: the server's chain must end in the one CA whose fingerprint stands in the trust root. No other root
//! counts, neither the system's nor anybody's.

use std::sync::{Arc, Mutex, PoisonError};

use countersign_ledger::digest::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Accepts a server only by a CA of this fingerprint.
#[derive(Debug)]
pub struct PinnedCa {
    fingerprint: Digest,
    provider: Arc<CryptoProvider>,
}

impl PinnedCa {
    /// SHA-256 of the CA certificate's DER.
    #[must_use]
    pub fn new(fingerprint: Digest) -> Self {
        Self {
            fingerprint,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        }
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The hub sends its CA along; the pinned one is the only anchor, and everything else is checked as usual:
        // signatures, name, time.
        let ca = intermediates
            .iter()
            .find(|certificate| Digest::of(certificate) == self.fingerprint)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a server presented.
#[derive(Debug, Clone)]
pub struct Presented {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    now: UnixTime,
}

impl Presented {
    /// Whether it stands under the CA of this fingerprint.
    #[must_use]
    pub fn is_of(&self, ca: Digest) -> bool {
        PinnedCa::new(ca)
            .verify_server_cert(&self.leaf, &self.others, &self.name, &[], self.now)
            .is_ok()
    }
}

/// Accepts any server that holds the key of what it presents, and remembers that. Only for what proves itself.
#[derive(Debug)]
pub struct Witness {
    presented: Mutex<Option<Presented>>,
    signatures: PinnedCa,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            presented: Mutex::default(),
            // Asked about signatures alone, which need no CA.
            signatures: PinnedCa::new(Digest::default()),
        }
    }
}

impl Witness {
    /// What the server presented; none before the handshake.
    #[must_use]
    pub fn presented(&self) -> Option<Presented> {
        self.presented
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = Presented {
            leaf: end_entity.clone().into_owned(),
            others: intermediates
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            name: server_name.to_owned(),
            now,
        };
        *self
            .presented
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(presented);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    fn ca() -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().clone(), Issuer::new(params, key))
    }

    fn server(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = CertificateParams::new(vec!["hub.example.org".to_owned()]).unwrap();
        params.signed_by(&key, issuer).unwrap().der().clone()
    }

    fn check(
        pinned: &CertificateDer<'_>,
        server: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &str,
    ) -> bool {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_780_000_000));
        PinnedCa::new(Digest::of(pinned))
            .verify_server_cert(server, sent, &name, &[], now)
            .is_ok()
    }

    #[test]
    fn only_the_pinned_ca_and_the_right_name_are_accepted() {
        let ((ours, issuer), (theirs, other)) = (ca(), ca());
        assert!(check(
            &ours,
            &server(&issuer),
            std::slice::from_ref(&ours),
            "hub.example.org"
        ));
        assert!(!check(
            &ours,
            &server(&issuer),
            std::slice::from_ref(&ours),
            "other.example.org"
        ));
        assert!(!check(
            &ours,
            &server(&other),
            std::slice::from_ref(&theirs),
            "hub.example.org"
        ));
        // A stranger's certificate with our CA sent along proves nothing.
        assert!(!check(
            &ours,
            &server(&other),
            &[theirs, ours.clone()],
            "hub.example.org"
        ));
        assert!(!check(&ours, &server(&issuer), &[], "hub.example.org"));
    }
}
