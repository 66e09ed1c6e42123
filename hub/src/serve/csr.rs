//! Certificate requests of agents: only the key is read out of them, and only if the request is signed with it. Pure.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::identity::ed25519_key;

/// Largest request that is looked at, in bytes; an Ed25519 one has about 200.
const CSR_BYTES_MAX: usize = 4096;

/// Why a certificate request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCsr {
    /// Not a PKCS#10 request.
    #[error("csr is not the DER of a PKCS#10 request of at most {CSR_BYTES_MAX} bytes")]
    Unreadable,
    /// Receipt keys are Ed25519.
    #[error("csr must be of an Ed25519 key")]
    OtherKey,
    /// Whoever sent it does not hold the key.
    #[error("csr is not signed by its own key")]
    BadSignature,
}

/// The key of a request that is signed with it.
pub fn key(der: &[u8]) -> Result<[u8; 32], BadCsr> {
    if der.len() > CSR_BYTES_MAX {
        return Err(BadCsr::Unreadable);
    }
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|_| BadCsr::Unreadable)?;
    if !rest.is_empty() {
        return Err(BadCsr::Unreadable);
    }
    let key =
        ed25519_key(&request.certification_request_info.subject_pki).ok_or(BadCsr::OtherKey)?;
    request
        .verify_signature()
        .map_err(|_| BadCsr::BadSignature)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn a_request_signed_by_its_own_key_yields_that_key() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert_eq!(
            key(&request(&pair)).unwrap().as_slice(),
            pair.public_key_raw()
        );
    }

    #[test]
    fn another_kind_of_key_a_bent_signature_and_noise_are_refused() {
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(key(&request(&other)), Err(BadCsr::OtherKey));
        let mut bent = request(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
        if let Some(last) = bent.last_mut() {
            *last ^= 1;
        }
        assert_eq!(key(&bent), Err(BadCsr::BadSignature));
        assert_eq!(key(b""), Err(BadCsr::Unreadable));
        assert_eq!(key(&[0x30; CSR_BYTES_MAX + 1]), Err(BadCsr::Unreadable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(key(&bytes).is_err());
        }
    }
}
