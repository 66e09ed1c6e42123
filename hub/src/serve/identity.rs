//! From a client certificate that TLS has verified to the cluster that it names. Pure.

use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An agent, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The cluster.
    pub cluster: String,
    /// Its receipt key.
    pub key: [u8; 32],
    /// Seconds since 1970 from which the certificate counts.
    pub not_before: i64,
    /// Seconds since 1970 until which the certificate counts; connections end with it.
    pub not_after: i64,
}

/// Why a certificate names no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAgent {
    /// Not a certificate.
    #[error("the client certificate can't be read")]
    Unreadable,
    /// Anything but one URI of this fleet.
    #[error("the client certificate must hold one name, spiffe://{fleet}/cluster/<name>")]
    OtherName {
        /// The fleet that is served.
        fleet: String,
    },
    /// Receipt keys are Ed25519.
    #[error("the client certificate's key must be Ed25519")]
    OtherKey,
}

/// The SPIFFE id of a cluster's agent.
pub fn spiffe_id(fleet: &str, cluster: &str) -> String {
    format!("spiffe://{fleet}/cluster/{cluster}")
}

/// Reads the identity out of a certificate (DER) whose chain TLS has verified.
pub fn peer(fleet: &str, certificate: &[u8]) -> Result<Peer, NotAnAgent> {
    let (rest, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| NotAnAgent::Unreadable)?;
    if !rest.is_empty() {
        return Err(NotAnAgent::Unreadable);
    }
    let other_name = || NotAnAgent::OtherName {
        fleet: fleet.to_owned(),
    };
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| NotAnAgent::Unreadable)?
        .ok_or_else(other_name)?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return Err(other_name());
    };
    let cluster = uri
        .strip_prefix(&spiffe_id(fleet, ""))
        .filter(|name| countersign_ledger::name::check("cluster", name).is_ok())
        .ok_or_else(other_name)?;
    Ok(Peer {
        cluster: cluster.to_owned(),
        key: ed25519_key(certificate.public_key()).ok_or(NotAnAgent::OtherKey)?,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// The key of a SubjectPublicKeyInfo, if it is Ed25519.
pub fn ed25519_key(spki: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<[u8; 32]> {
    if spki.algorithm.algorithm != OID_SIG_ED25519 {
        return None;
    }
    spki.subject_public_key.data.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType};

    fn certificate(names: &[&str], key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.split_once("dns:") {
                Some((_, dns)) => SanType::DnsName(dns.try_into().unwrap()),
                None => SanType::URI((*name).try_into().unwrap()),
            })
            .collect();
        params.self_signed(key).unwrap().der().to_vec()
    }

    #[test]
    fn the_one_spiffe_name_of_this_fleet_names_the_cluster() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let found = peer(
            "acme",
            &certificate(&["spiffe://acme/cluster/metal-fra"], &key),
        )
        .unwrap();
        assert_eq!(found.cluster, "metal-fra");
        assert_eq!(found.key.as_slice(), key.public_key_raw());
    }

    #[test]
    fn any_other_name_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        for names in [
            &[][..],
            &["spiffe://other/cluster/metal-fra"],
            &["spiffe://acme/cluster/"],
            &["spiffe://acme/cluster/a/b"],
            &["spiffe://acme/cluster/../x"],
            &["spiffe://acme/cluster/A"],
            &["SPIFFE://acme/cluster/a"],
            &["spiffe://acme/hub"],
            &["spiffe://acme.evil/cluster/a"],
            &["spiffe://acme/cluster/a", "spiffe://acme/cluster/b"],
            &["spiffe://acme/cluster/a", "dns:a"],
            &["dns:metal-fra"],
        ] {
            assert!(
                matches!(
                    peer("acme", &certificate(names, &key)),
                    Err(NotAnAgent::OtherName { .. })
                ),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_key_that_is_not_ed25519_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = certificate(&["spiffe://acme/cluster/a"], &key);
        assert_eq!(peer("acme", &der), Err(NotAnAgent::OtherKey));
        assert_eq!(
            peer("acme", b"\x30\x03\x02\x01\x01"),
            Err(NotAnAgent::Unreadable)
        );
    }
}
