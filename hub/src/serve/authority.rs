//! The hub's certificate authority: it signs the hub's own server certificate and the agents' client certificates.
//!
//! Made by `countersign trust init`; its fingerprint stands in the trust root, by which agents pin it.

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SecureRandom as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::identity::spiffe_id;
use super::limits::{CLIENT_CERTIFICATE_SECONDS, CLOCK_SKEW_SECONDS, SERVER_CERTIFICATE_SECONDS};
use super::nonce::Nonces;

/// Why the authority can't work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key file is not a PEM PKCS#8 key.
    #[error("hub-ca.key: {0}; it must be the PEM file that `countersign trust init` wrote")]
    Key(String),
    /// The certificate file is not a PEM certificate.
    #[error("hub-ca.crt: {0}; it must be the PEM file that `countersign trust init` wrote")]
    Certificate(String),
    /// Key and certificate do not belong together.
    #[error("hub-ca.key is not the key of hub-ca.crt; copy both from one `countersign trust init`")]
    OtherKey,
    /// A name for the server certificate is neither a DNS name nor an address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    BadName {
        /// As configured.
        name: String,
    },
    /// Signing failed.
    #[error("certificate not signed: {0}")]
    Signing(String),
}

/// The authority, its key in memory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    nonces: hmac::Tag,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A server certificate with its chain and key.
#[derive(Debug)]
pub struct ServerCertificate {
    /// Leaf, then the CA: an agent finds the CA that it has pinned in here.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl Authority {
    /// Reads both PEM files and checks that they belong together.
    pub fn load(key_pem: &str, certificate_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|e| AuthorityError::Key(e.to_string()))?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| AuthorityError::Certificate(e.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|e| AuthorityError::Certificate(e.to_string()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::OtherKey);
        }
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.serialize_der());
        let nonces = hmac::sign(&secret, b"countersign nonces v1");
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|e| AuthorityError::Certificate(e.to_string()))?;
        Ok(Self {
            issuer,
            certificate,
            pem: certificate_pem.to_owned(),
            nonces,
        })
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Gives nonces, and knows them again: the same in each hub of this CA.
    pub(crate) fn nonces(&self) -> Nonces {
        Nonces::new(self.nonces.as_ref())
    }

    /// SHA-256 of the CA's certificate (DER): what the trust root's `hubCa` holds.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// A client certificate for a cluster's receipt key (Ed25519), valid for 24 hours: PEM, the CA after it.
    pub fn client_certificate(
        &self,
        fleet: &str,
        cluster: &str,
        key: &[u8; 32],
        now: Timestamp,
    ) -> Result<String, AuthorityError> {
        let failed = |e: rcgen::Error| AuthorityError::Signing(e.to_string());
        let id = spiffe_id(fleet, cluster);
        let uri = id
            .as_str()
            .try_into()
            .map_err(|_| AuthorityError::BadName { name: id.clone() })?;
        let mut params = self.params(cluster, now, CLIENT_CERTIFICATE_SECONDS)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = SubjectPublicKeyInfo::from_der(&ed25519_spki(key)).map_err(failed)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(format!("{}{}", leaf.pem(), self.pem))
    }

    /// A new server certificate, with a new key, for these DNS names and addresses.
    pub fn server_certificate(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerCertificate, AuthorityError> {
        let failed = |e: rcgen::Error| AuthorityError::Signing(e.to_string());
        let mut params = self.params("countersign hub", now, SERVER_CERTIFICATE_SECONDS)?;
        for name in names {
            let bad = |_| AuthorityError::BadName { name: name.clone() };
            params
                .subject_alt_names
                .push(match name.parse::<std::net::IpAddr>() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName(name.as_str().try_into().map_err(bad)?),
                });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(ServerCertificate {
            chain: vec![leaf.der().clone(), self.certificate.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            not_after: now.as_second() + SERVER_CERTIFICATE_SECONDS,
        })
    }

    fn params(
        &self,
        name: &str,
        now: Timestamp,
        seconds: i64,
    ) -> Result<CertificateParams, AuthorityError> {
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        params.distinguished_name = subject;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_1970(now.as_second() - CLOCK_SKEW_SECONDS);
        params.not_after = epoch + since_1970(now.as_second() + seconds);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

/// SHA-256 of a certificate (DER).
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, certificate).as_ref());
    out
}

/// SubjectPublicKeyInfo (DER) of an Ed25519 key, RFC 8410 section 4.
fn ed25519_spki(key: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    [HEAD.as_slice(), key].concat()
}

/// A count of seconds since 1970 as a duration; nothing before that.
fn since_1970(seconds: i64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// 16 random bytes, positive (RFC 5280, 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0u8; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::Signing("no randomness".to_owned()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
