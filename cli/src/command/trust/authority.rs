//! The hub's certificate authority, made once: Ed25519, ten years. Its fingerprint stands in the trust root.

use countersign_ledger::digest::Digest;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ED25519,
};
use zeroize::Zeroizing;

use crate::exit::Failure;

/// A rotated one comes with a new trust root long before.
const LIFE_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// Clocks differ.
const SKEW_SECONDS: u64 = 300;

/// The authority as files.
pub(super) struct Authority {
    pub(super) key: Zeroizing<String>,
    pub(super) certificate: String,
    pub(super) fingerprint: Digest,
}

pub(super) fn make(fleet: &str, now: Timestamp) -> Result<Authority, Failure> {
    let fault =
        |error: rcgen::Error| Failure::Fault(format!("hub's certificate authority: {error}"));
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(fault)?;
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("countersign hub of {fleet}"));
    params.distinguished_name = subject;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    params.not_before = epoch + std::time::Duration::from_secs(now.saturating_sub(SKEW_SECONDS));
    params.not_after = epoch + std::time::Duration::from_secs(now + LIFE_SECONDS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(fault)?;
    Ok(Authority {
        key: Zeroizing::new(key.serialize_pem()),
        fingerprint: Digest::of(certificate.der()),
        certificate: certificate.pem(),
    })
}

/// DER of a PEM certificate.
#[cfg(test)]
pub(super) fn der(pem: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
}
