//! One value: encrypted for its place.

use aes_gcm::aead::generic_array::typenum::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::object::NotDecrypted;
use crate::yaml::Node;

/// AES-256-GCM with nonces of 32 bytes, as SOPS makes them.
pub(super) struct Cipher(AesGcm<Aes256, U32>);

impl Cipher {
    pub(super) fn new(key: &[u8]) -> Result<Self, NotDecrypted> {
        AesGcm::new_from_slice(key)
            .map(Self)
            .map_err(|_| NotDecrypted::NotForUs("its data key has not 32 bytes".to_owned()))
    }

    /// The MAC that the file says, which is bound to the time that it says.
    pub(super) fn mac(&self, notes: &Node) -> Result<Zeroizing<Vec<u8>>, NotDecrypted> {
        let text = |name: &str| notes.get(name).and_then(Node::text).unwrap_or_default();
        let value = Encrypted::parse(text("mac")).ok_or_else(|| {
            NotDecrypted::Tampered(
                "it has no MAC: it was not written by SOPS, or was changed".to_owned(),
            )
        })?;
        self.open(&value, text("lastmodified"), "sops.mac")
    }

    pub(super) fn open(
        &self,
        value: &Encrypted<'_>,
        path: &str,
        place: &str,
    ) -> Result<Zeroizing<Vec<u8>>, NotDecrypted> {
        let tampered =
            || NotDecrypted::Tampered(format!("{place} is not what was encrypted there"));
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| tampered());
        let (nonce, mut content) = (bytes(value.iv)?, bytes(value.data)?);
        content.extend(bytes(value.tag)?);
        if nonce.len() != 32 {
            return Err(tampered());
        }
        let payload = Payload {
            msg: &content,
            aad: path.as_bytes(),
        };
        self.0
            .decrypt(Nonce::from_slice(&nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| tampered())
    }
}

/// `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`
pub(super) struct Encrypted<'a> {
    data: &'a str,
    iv: &'a str,
    tag: &'a str,
    pub(super) kind: &'a str,
}

impl<'a> Encrypted<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let inside = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
        let mut parts = inside.split(',');
        let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(':');
        let value = Self {
            data: part("data")?,
            iv: part("iv")?,
            tag: part("tag")?,
            kind: part("type")?,
        };
        parts.next().is_none().then_some(value)
    }
}
