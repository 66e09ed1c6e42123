//! A new certificate for a known receipt key: asked for with a signature of that key, never with the old certificate,
//! so that a cluster that was away for a year comes back without a person.

use countersign_proto::agent::v1 as wire;
use ring::signature::{ED25519, UnparsedPublicKey};
use tonic::{Code, Status};

use super::csr;
use super::limits::RENEW_SKEW_SECONDS;
use super::refuse::{fault, refuse};
use super::state::State;
use countersign_ledger::digest::Digest;

/// What the receipt key signs to renew.
pub fn message(cluster: &str, time: i64, csr: &[u8]) -> String {
    format!(
        "countersign renew v1\n{cluster}\n{time}\n{}",
        Digest::of(csr)
    )
}

/// Is this request signed by that key, near enough to now, and for that key itself? Pure.
fn check(request: &wire::RenewRequest, key: &[u8; 32], now: i64) -> Result<(), Status> {
    let refused = |code, text: &str| refuse(Code::Unauthenticated, code, text);
    if now.abs_diff(request.time) > RENEW_SKEW_SECONDS.unsigned_abs() {
        return Err(refused(
            "CLOCK_APART",
            "the request's time is more than a day from the hub's; set the cluster's clock",
        ));
    }
    let signed = message(&request.cluster, request.time, &request.csr);
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed.as_bytes(), &request.signature)
        .map_err(|_| {
            refused(
                "KEY_UNKNOWN",
                "the request is not signed by the key registered for this cluster",
            )
        })?;
    match csr::key(&request.csr) {
        Ok(asked) if asked == *key => Ok(()),
        Ok(_) => Err(refused(
            "KEY_UNKNOWN",
            "the certificate is asked for another key than the registered one",
        )),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// Renews a certificate.
pub async fn renew(
    state: &State,
    request: wire::RenewRequest,
) -> Result<wire::RenewResponse, Status> {
    let outcome = attempt(state, &request).await;
    state.metrics.renewal(match &outcome {
        Ok(_) => "OK",
        Err(status) if status.code() == Code::Unavailable => "FAULT",
        Err(_) => "REFUSED",
    });
    outcome
}

async fn attempt(
    state: &State,
    request: &wire::RenewRequest,
) -> Result<wire::RenewResponse, Status> {
    let now = state.now();
    let mut checked = known(state, request, now.as_second());
    if checked.is_err() {
        // Another replica may have registered it since.
        state.registry.refresh().await.map_err(|e| fault(&e))?;
        checked = known(state, request, now.as_second());
    }
    let key = checked?;
    // Told to the key's holder alone: the request is signed by it.
    if state.registry.revoked(&key).is_some() {
        return Err(super::revoke::revoked());
    }
    let certificate = state
        .authority
        .client_certificate(&state.fleet, &request.cluster, &key, now)
        .map_err(|e| fault(&e))?;
    Ok(wire::RenewResponse { certificate })
}

fn known(state: &State, request: &wire::RenewRequest, now: i64) -> Result<[u8; 32], Status> {
    let unknown = || {
        refuse(
            Code::Unauthenticated,
            "KEY_UNKNOWN",
            "the request is not signed by the key registered for this cluster",
        )
    };
    let registration = state.registration(&request.cluster).ok_or_else(unknown)?;
    if state.cluster(&request.cluster).is_none() {
        return Err(unknown());
    }
    check(request, &registration.key, now)?;
    Ok(registration.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
    use ring::signature::Ed25519KeyPair;

    const NOW: i64 = 1_800_000_000;

    fn request(pair: &KeyPair, signer: &KeyPair, time: i64) -> wire::RenewRequest {
        let csr = CertificateParams::default()
            .serialize_request(pair)
            .unwrap()
            .der()
            .to_vec();
        let signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&signer.serialize_der()).unwrap();
        let signature = signer.sign(message("metal-fra", time, &csr).as_bytes());
        wire::RenewRequest {
            cluster: "metal-fra".into(),
            csr: csr.into(),
            time,
            signature: signature.as_ref().to_vec().into(),
        }
    }

    fn code(outcome: Result<(), Status>) -> Option<String> {
        let code = outcome
            .err()?
            .metadata()
            .get(super::super::refuse::CODE_HEADER)?
            .to_str()
            .unwrap()
            .to_owned();
        Some(code)
    }

    #[test]
    fn only_the_registered_key_renews_and_only_for_itself() {
        let known = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let key: [u8; 32] = known.public_key_raw().try_into().unwrap();
        assert!(check(&request(&known, &known, NOW), &key, NOW).is_ok());
        assert_eq!(
            code(check(&request(&other, &other, NOW), &key, NOW)).as_deref(),
            Some("KEY_UNKNOWN")
        );
        assert_eq!(
            code(check(&request(&other, &known, NOW), &key, NOW)).as_deref(),
            Some("KEY_UNKNOWN")
        );
        let mut moved = request(&known, &known, NOW);
        moved.cluster = "eks".into();
        assert_eq!(
            code(check(&moved, &key, NOW)).as_deref(),
            Some("KEY_UNKNOWN")
        );
    }

    #[test]
    fn a_clock_may_be_hours_but_not_days_apart() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let key: [u8; 32] = pair.public_key_raw().try_into().unwrap();
        for (time, ok) in [
            (NOW - 3_600, true),
            (NOW + 3_600, true),
            (NOW - RENEW_SKEW_SECONDS - 1, false),
            (NOW + RENEW_SKEW_SECONDS + 1, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(
                check(&request(&pair, &pair, time), &key, NOW).is_ok(),
                ok,
                "{time}"
            );
        }
    }
}
