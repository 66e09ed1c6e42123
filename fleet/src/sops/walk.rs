//! A file, value by value in the order in which SOPS hashed them.

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha512};

use super::cipher::{Cipher, Encrypted};
use crate::object::{NotDecrypted, SOPS};
use crate::yaml::{Node, Value};

/// What a MAC over encrypted values alone starts with: SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Goes through documents in their order, as the MAC does.
pub(super) struct Walk<'a> {
    cipher: &'a Cipher,
    only_encrypted: bool,
    hash: Sha512,
}

impl<'a> Walk<'a> {
    pub(super) fn new(cipher: &'a Cipher, only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if only_encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        Self {
            cipher,
            only_encrypted,
            hash,
        }
    }

    /// The MAC over all that was gone through, as SOPS writes it.
    pub(super) fn mac(self) -> String {
        self.hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect()
    }

    pub(super) fn document(&mut self, document: &Node) -> Result<Map<String, Json>, NotDecrypted> {
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
