//! Detached OpenPGP signatures (RFC 9580 and its forerunners) over the exact bytes of a commit.
//!
//! Taken: RSA of 2,048 to 4,096 bits, ECDSA on the NIST curves, Ed25519 and Ed448; SHA-2 from 256 bits on and SHA-3,
//! everywhere in the chain from the primary key to the signature. Keys are judged once, when the trust root is read: a key
//! whose self-signature is weak, missing or not for signing never becomes one that may sign. A revocation that stands in
//! the key counts even where it can not be checked: the safe side is to believe it.

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersion, SubpacketData,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails as _, KeyVersion, PublicParams, Tag,
};

use super::limits::{KEY_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// The first line of such a signature.
pub(super) const ARMOUR: &str = "-----BEGIN PGP SIGNATURE-----";
const ARMOUR_END: &str = "-----END PGP SIGNATURE-----";

/// A primary key or subkey that may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpKey {
    material: Material,
    /// Seconds since 1970.
    created: u64,
    /// Seconds since 1970; the earlier of its own end and its primary key's.
    expires: Option<u64>,
    revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Primary(PublicKey),
    Sub(PublicSubkey),
}

/// What the newest self-signature says.
struct SelfSigned {
    made: u64,
    signs: bool,
    expires: Option<u64>,
}

impl OpenPgpKey {
    /// Reads an armoured key: all that it holds that may sign.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing in it may sign.
    pub fn read(text: &str) -> Result<Vec<Self>, &'static str> {
        if text.len() > KEY_BYTES_MAX {
            return Err("a key longer than 64 KiB; export it minimal");
        }
        let (keys, _) = SignedPublicKey::from_string_many(text)
            .map_err(|_| "no armoured OpenPGP public key")?;
        let mut keys = keys
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "no OpenPGP public key")?;
        let (Some(key), true) = (keys.pop(), keys.is_empty()) else {
            return Err("not exactly one OpenPGP public key");
        };
        let found = usable(&key)?;
        if found.is_empty() {
            return Err("an OpenPGP key in which nothing may sign");
        }
        Ok(found)
    }

    /// The fingerprint in hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match &self.material {
            Material::Primary(key) => key.fingerprint().to_string(),
            Material::Sub(key) => key.fingerprint().to_string(),
        }
    }

    /// Its owner took it back.
    pub(super) const fn revoked(&self) -> bool {
        self.revoked
    }

    /// Whether the key lets itself be used at `time`.
    pub(super) fn counts_at(&self, time: u64) -> Result<(), &'static str> {
        if time < self.created {
            return Err("it is before the OpenPGP key was made");
        }
        if self.expires.is_some_and(|end| time >= end) {
            return Err("the OpenPGP key has expired");
        }
        Ok(())
    }
}

fn usable(key: &SignedPublicKey) -> Result<Vec<OpenPgpKey>, &'static str> {
    let primary = &key.primary_key;
    strong_key(primary.public_params())?;
    if !matches!(primary.version(), KeyVersion::V4 | KeyVersion::V6) {
        return Err("an OpenPGP key of an old version");
    }
    let own = primary_self_signature(key)?;
    let revoked = !key.details.revocation_signatures.is_empty();
    let primary_made = seconds(primary.created_at());
    let primary_end = own.expires.map(|after| primary_made.saturating_add(after));
    let mut found = Vec::new();
    if own.signs {
        found.push(OpenPgpKey {
            material: Material::Primary(primary.clone()),
            created: primary_made,
            expires: primary_end,
            revoked,
        });
    }
    for sub in &key.public_subkeys {
        let taken_back = sub
            .signatures
            .iter()
            .any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
        let binding = newest(sub.signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::SubkeyBinding)
                && signature.verify_subkey_binding(primary, &sub.key).is_ok()
        }));
        // A weak or missing binding takes this subkey alone: it may be one for encryption.
        let Ok(Some((signature, bound))) = binding else {
            continue;
        };
        // A subkey that signs must itself have agreed to belong to this primary key.
        let agreed = signature.embedded_signature().is_some_and(|back| {
            strong_signature(back).is_ok()
                && back.verify_primary_key_binding(&sub.key, primary).is_ok()
        });
        if !bound.signs || !agreed || strong_key(sub.key.public_params()).is_err() {
            continue;
        }
        let made = seconds(sub.key.created_at());
        let end = bound.expires.map(|after| made.saturating_add(after));
        found.push(OpenPgpKey {
            material: Material::Sub(sub.key.clone()),
            created: made.max(primary_made),
            expires: match (end, primary_end) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            revoked: revoked || taken_back,
        });
    }
    Ok(found)
}

/// The newest of the signatures that the primary key made over itself and its names.
fn primary_self_signature(key: &SignedPublicKey) -> Result<SelfSigned, &'static str> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
    });
    let named = key.details.users.iter().flat_map(|user| {
        let taken_back = user
            .signatures
            .iter()
            .any(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        user.signatures.iter().filter(move |signature| {
            !taken_back
                && signature.is_certification()
                && signature
                    .verify_certification(primary, Tag::UserId, &user.id)
                    .is_ok()
        })
    });
    newest(direct.chain(named))?
        .map(|(_, own)| own)
        .ok_or("an OpenPGP key without a valid self-signature")
}

/// The newest of signatures that were verified; where two are of one second, what both allow.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
) -> Result<Option<(&'a Signature, SelfSigned)>, &'static str> {
    let mut found: Option<(&Signature, SelfSigned)> = None;
    for signature in signatures {
        let Some(made) = signature.created().map(seconds) else {
            continue;
        };
        if found.as_ref().is_some_and(|(_, best)| made < best.made) {
            continue;
        }
        let mut said = SelfSigned {
            made,
            signs: signature.key_flags().sign(),
            // Zero means never, as if it were not said.
            expires: signature
                .key_expiration_time()
                .map(|after| u64::from(after.as_secs()))
                .filter(|after| *after != 0),
        };
        if let Some((_, best)) = found.filter(|(_, best)| best.made == made) {
            said.signs &= best.signs;
            said.expires = match (said.expires, best.expires) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        found = Some((signature, said));
    }
    if let Some((signature, _)) = &found {
        strong_signature(signature)?;
    }
    Ok(found)
}

/// Strong hashes, and nothing marked as critical that is not understood here.
fn strong_signature(signature: &Signature) -> Result<(), &'static str> {
    let config = signature
        .config()
        .ok_or("an OpenPGP signature of an unknown version")?;
    if !matches!(
        config.version(),
        SignatureVersion::V4 | SignatureVersion::V6
    ) {
        return Err("an OpenPGP signature of an old version");
    }
    match config.hash_alg {
        HashAlgorithm::Sha256
        | HashAlgorithm::Sha384
        | HashAlgorithm::Sha512
        | HashAlgorithm::Sha3_256
        | HashAlgorithm::Sha3_512 => {}
        _ => return Err("an OpenPGP signature with a weak hash"),
    }
    let unknown = config.hashed_subpackets().any(|packet| {
        packet.is_critical
            && matches!(
                packet.data,
                SubpacketData::Notation(_)
                    | SubpacketData::Experimental(..)
                    | SubpacketData::Other(..)
            )
    });
    if unknown {
        return Err("an OpenPGP signature with a critical part that is not understood");
    }
    Ok(())
}

fn strong_key(params: &PublicParams) -> Result<(), &'static str> {
    match params {
        PublicParams::RSA(key) => {
            // The modulus comes first, behind the number of its bits.
            let mut bytes = Vec::new();
            key.to_writer(&mut bytes).map_err(|_| "no RSA key")?;
            let bits = bytes
                .first_chunk::<2>()
                .map_or(0, |bits| usize::from(u16::from_be_bytes(*bits)));
            if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                Ok(())
            } else {
                Err("an RSA key that has not 2048 to 4096 bits")
            }
        }
        PublicParams::ECDSA(
            EcdsaPublicParams::P256 { .. }
            | EcdsaPublicParams::P384 { .. }
            | EcdsaPublicParams::P521 { .. },
        )
        | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. })
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => Ok(()),
        _ => Err("a kind of OpenPGP key that is not taken"),
    }
}

/// What an armoured signature says of itself; nothing in it is verified.
pub(super) struct Claim(DetachedSignature);

impl Claim {
    /// Reads an armoured signature: exactly one.
    pub(super) fn read(armour: &str) -> Result<Self, &'static str> {
        const UNREADABLE: &str = "no OpenPGP signature that can be read";
        if armour.matches("-----BEGIN").count() != 1 || !armour.trim_end().ends_with(ARMOUR_END) {
            return Err("more or less than one armoured OpenPGP signature");
        }
        let (found, _) = DetachedSignature::from_string_many(armour).map_err(|_| UNREADABLE)?;
        let mut found = found
            .take(2)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| UNREADABLE)?;
        let (Some(claim), true) = (found.pop(), found.is_empty()) else {
            return Err("not exactly one OpenPGP signature");
        };
        if claim.signature.typ() != Some(SignatureType::Binary) {
            return Err("an OpenPGP signature that is not over bytes");
        }
        strong_signature(&claim.signature)?;
        Ok(Self(claim))
    }

    /// Whether it says to be of `key`. Anybody may write that: only [`Self::verify`] decides.
    pub(super) fn names(&self, key: &OpenPgpKey) -> bool {
        let (fingerprint, id) = match &key.material {
            Material::Primary(key) => (key.fingerprint(), key.legacy_key_id()),
            Material::Sub(key) => (key.fingerprint(), key.legacy_key_id()),
        };
        let fingerprints = self.0.signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            self.0.signature.issuer_key_id().contains(&&id)
        } else {
            fingerprints.contains(&&fingerprint)
        }
    }

    /// The key that it names, for people.
    pub(super) fn issuer(&self) -> String {
        let signature = &self.0.signature;
        signature
            .issuer_fingerprint()
            .first()
            .map(ToString::to_string)
            .or_else(|| signature.issuer_key_id().first().map(ToString::to_string))
            .unwrap_or_else(|| "an OpenPGP key that it does not name".to_owned())
    }

    /// Whether `key` signed `payload`, and the signature itself still holds at `time`.
    pub(super) fn verify(
        &self,
        key: &OpenPgpKey,
        payload: &[u8],
        time: u64,
    ) -> Result<(), &'static str> {
        let checked = match &key.material {
            Material::Primary(key) => self.0.verify(key, payload),
            Material::Sub(key) => self.0.verify(key, payload),
        };
        checked.map_err(|_| "it is not over this commit by this key")?;
        let signature = &self.0.signature;
        let made = signature
            .created()
            .map(seconds)
            .ok_or("an OpenPGP signature that does not say when it was made")?;
        if made < key.created {
            return Err("an OpenPGP signature older than its key");
        }
        let holds_for = signature
            .signature_expiration_time()
            .map(|after| u64::from(after.as_secs()))
            .filter(|after| *after != 0);
        if holds_for.is_some_and(|after| time >= made.saturating_add(after)) {
            return Err("an OpenPGP signature that has expired");
        }
        Ok(())
    }
}

fn seconds(time: pgp::types::Timestamp) -> u64 {
    u64::from(time.as_secs())
}
