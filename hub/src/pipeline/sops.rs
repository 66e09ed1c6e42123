//! Reads files that SOPS encrypted for an age identity of the hub: the data key by age, each value by AES-256-GCM with its
//! path, and the MAC over all values. Nothing is taken from a file whose MAC is not right.
//!
//! The format is SOPS's own (its `sops.go`, `aes/cipher.go`). Shared keys (`shamir_threshold`) are not read.

use aes_gcm::aead::generic_array::typenum::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use age::x25519::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_fleet::object::{Decrypt, NotDecrypted, SOPS};
use countersign_fleet::yaml::{Node, Value};
use ring::digest;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

/// Identities of one file; a person has a few.
const IDENTITIES_MAX: usize = 32;
/// Recipients of one file that are tried.
const RECIPIENTS_MAX: usize = 256;
/// What a MAC over encrypted values alone starts with: SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// The hub's age identities.
#[derive(Clone)]
pub struct SopsKey(Vec<Identity>);

/// Why a file holds no identities. Nothing of it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is no age identity (AGE-SECRET-KEY-1…), or there are none or more than {IDENTITIES_MAX}"
)]
pub struct NotIdentities {
    /// From 1; 0 if the file as a whole is meant.
    pub line: usize,
}

impl std::fmt::Debug for SopsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SopsKey").finish_non_exhaustive()
    }
}

impl SopsKey {
    /// Reads a file as `age-keygen` writes it: an identity a line, and comments.
    ///
    /// # Errors
    /// [`NotIdentities`]
    pub fn parse(text: &SecretString) -> Result<Self, NotIdentities> {
        let mut identities = Vec::new();
        for (index, line) in text.expose_secret().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line
                .parse()
                .map_err(|_| NotIdentities { line: index + 1 })?;
            identities.push(identity);
        }
        if identities.is_empty() || identities.len() > IDENTITIES_MAX {
            return Err(NotIdentities { line: 0 });
        }
        Ok(Self(identities))
    }

    /// The key that encrypts a file's values, if one of its recipients is ours.
    fn data_key(&self, notes: &Node) -> Result<Zeroizing<Vec<u8>>, NotDecrypted> {
        let not_for_us = |why: &str| NotDecrypted::NotForUs(why.to_owned());
        if notes.get("shamir_threshold").is_some() || notes.get("key_groups").is_some() {
            return Err(not_for_us(
                "SOPS shared its key among groups, which is not read",
            ));
        }
        let Some(Value::List(recipients)) = notes.get("age").map(|node| &node.value) else {
            return Err(not_for_us("SOPS encrypted it for no age recipient"));
        };
        for recipient in recipients.iter().take(RECIPIENTS_MAX) {
            let Some(armored) = recipient.get("enc").and_then(Node::text) else {
                continue;
            };
            for identity in &self.0 {
                if let Ok(key) = age::decrypt(identity, armored.as_bytes()) {
                    return Ok(Zeroizing::new(key));
                }
            }
        }
        Err(not_for_us(
            "none of its age recipients is an identity of the hub (--age-identity)",
        ))
    }
}

impl Decrypt for SopsKey {
    fn decrypt(
        &self,
        documents: &[&Node],
        number: usize,
    ) -> Result<Map<String, Json>, NotDecrypted> {
        let notes = documents
            .get(number)
            .and_then(|document| document.get(SOPS))
            .ok_or_else(|| NotDecrypted::NotForUs("there is no such document".to_owned()))?;
        let key = self.data_key(notes)?;
        let cipher = Cipher::new(&key)?;
        let said = cipher.mac(notes)?;
        let only_encrypted = notes
            .get("mac_only_encrypted")
            .is_some_and(|node| node.value == Value::Bool(true));
        let mut walk = Walk {
            cipher: &cipher,
            only_encrypted,
            hash: digest::Context::new(&digest::SHA512),
        };
        if only_encrypted {
            walk.hash.update(&ONLY_ENCRYPTED);
        }
        let mut plain = Map::new();
        for (index, document) in documents.iter().enumerate() {
            let opened = walk.document(document)?;
            if index == number {
                plain = opened;
            }
        }
        let is: String = walk
            .hash
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        if is.as_bytes() == said.as_slice() {
            Ok(plain)
        } else {
            Err(NotDecrypted::Tampered(
                "its MAC is wrong: something in the file was changed, added, moved or taken away after SOPS encrypted it"
                    .to_owned(),
            ))
        }
    }
}

/// AES-256-GCM with nonces of 32 bytes, as SOPS makes them.
struct Cipher(AesGcm<Aes256, U32>);

impl Cipher {
    fn new(key: &[u8]) -> Result<Self, NotDecrypted> {
        AesGcm::new_from_slice(key)
            .map(Self)
            .map_err(|_| NotDecrypted::NotForUs("its data key has not 32 bytes".to_owned()))
    }

    /// The MAC that the file says, which is bound to the time that it says.
    fn mac(&self, notes: &Node) -> Result<Zeroizing<Vec<u8>>, NotDecrypted> {
        let text = |name: &str| notes.get(name).and_then(Node::text).unwrap_or_default();
        let value = Encrypted::parse(text("mac")).ok_or_else(|| {
            NotDecrypted::Tampered(
                "it has no MAC: it was not written by SOPS, or was changed".to_owned(),
            )
        })?;
        self.open(&value, text("lastmodified"), "sops.mac")
    }

    fn open(
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
struct Encrypted<'a> {
    data: &'a str,
    iv: &'a str,
    tag: &'a str,
    kind: &'a str,
}

impl<'a> Encrypted<'a> {
    fn parse(text: &'a str) -> Option<Self> {
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

/// Goes through documents in their order, as the MAC does.
struct Walk<'a> {
    cipher: &'a Cipher,
    only_encrypted: bool,
    hash: digest::Context,
}

impl Walk<'_> {
    fn document(&mut self, document: &Node) -> Result<Map<String, Json>, NotDecrypted> {
        let Value::Map(fields) = &document.value else {
            return Ok(Map::new());
        };
        let mut plain = Map::new();
        for (key, node) in fields.iter().filter(|(key, _)| key.name != SOPS) {
            let mut path = format!("{}:", key.name);
            plain.insert(key.name.clone(), self.value(node, &mut path)?);
        }
        Ok(plain)
    }

    /// `path` is that of the value, each name followed by a colon; a place in a list has no name.
    fn value(&mut self, node: &Node, path: &mut String) -> Result<Json, NotDecrypted> {
        match &node.value {
            Value::Null => Ok(Json::Null),
            Value::Map(fields) => {
                let mut plain = Map::new();
                for (key, below) in fields {
                    let length = path.len();
                    path.push_str(&key.name);
                    path.push(':');
                    plain.insert(key.name.clone(), self.value(below, path)?);
                    path.truncate(length);
                }
                Ok(Json::Object(plain))
            }
            Value::List(items) => items.iter().map(|item| self.value(item, path)).collect(),
            Value::Text(text) => match Encrypted::parse(text) {
                Some(value) => self.encrypted(&value, path),
                None => Ok(self.plain(text.as_bytes(), || Json::String(text.clone()))),
            },
            Value::Bool(value) => Ok(self.plain(truth(*value), || Json::Bool(*value))),
            Value::Number(number) => {
                let text = number.as_f64().filter(|_| number.is_f64());
                let text = text.map_or_else(|| number.to_string(), |float| format!("{float}"));
                Ok(self.plain(text.as_bytes(), || Json::Number(number.clone())))
            }
        }
    }

    fn plain(&mut self, bytes: &[u8], json: impl FnOnce() -> Json) -> Json {
        if !self.only_encrypted {
            self.hash.update(bytes);
        }
        json()
    }

    fn encrypted(&mut self, value: &Encrypted<'_>, path: &str) -> Result<Json, NotDecrypted> {
        let place = path.trim_end_matches(':').replace(':', ".");
        let bytes = self.cipher.open(value, path, &place)?;
        if value.kind != "comment" {
            self.hash.update(&bytes);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            NotDecrypted::NotForUs(format!(
                "{place} holds bytes that are no text; write them in base64"
            ))
        })?;
        // The values of a Secret are texts; numbers and truths get the form in which a person would have quoted them.
        Ok(Json::String(match value.kind {
            "bool" => text.to_lowercase(),
            _ => text.to_owned(),
        }))
    }
}

const fn truth(value: bool) -> &'static [u8] {
    if value { b"True" } else { b"False" }
}

#[cfg(test)]
mod tests;
