//! Reads files that SOPS encrypted for an age identity: the data key by age, each value by AES-256-GCM with its path, and
//! the MAC over all values. Nothing is taken from a file whose MAC is not right. Pure: the identities come in.
//!
//! `cipher` opens one value, `walk` goes through a file as the MAC does.
//!
//! The format is SOPS's own (its `sops.go`, `aes/cipher.go`). Shared keys (`shamir_threshold`) are not read.

use age::x25519::Identity;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use crate::object::{Decrypt, NotDecrypted, SOPS};
use crate::yaml::{Node, Value};

mod cipher;
mod walk;

use cipher::Cipher;
use walk::Walk;

/// Identities of one file; a person has a few.
const IDENTITIES_MAX: usize = 32;
/// Recipients of one file that are tried.
const RECIPIENTS_MAX: usize = 256;

/// Age identities.
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
            "none of its age recipients is an identity that was given (--age-identity)",
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
        let mut walk = Walk::new(&cipher, only_encrypted);
        let mut plain = Map::new();
        for (index, document) in documents.iter().enumerate() {
            let opened = walk.document(document)?;
            if index == number {
                plain = opened;
            }
        }
        if walk.mac().as_bytes() == said.as_slice() {
            Ok(plain)
        } else {
            Err(NotDecrypted::Tampered(
                "its MAC is wrong: something in the file was changed, added, moved or taken away after SOPS encrypted it"
                    .to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
