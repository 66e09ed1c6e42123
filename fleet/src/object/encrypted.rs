//! A Secret that stands encrypted in Git (SOPS). Pure; who holds the key decrypts.
//!
//! Only its values are encrypted, each for its place. So what is applied may come from a build that moved or renamed the
//! Secret, while the file as it was encrypted is what is checked as a whole.
use std::fmt;

use serde_json::{Map, Value as Json};

use super::fail;
use crate::failure::AppFailure;
use crate::yaml::Node;

/// Field with what SOPS notes about a file.
pub const SOPS: &str = "sops";
/// Start of an encrypted value.
const ENCRYPTED: &str = "ENC[";

/// Decrypts files.
pub trait Decrypt: Send + Sync + fmt::Debug {
    /// A document of a file, decrypted, without its `sops`. `documents` are all of the file that were encrypted together,
    /// `number` says which is meant.
    ///
    /// # Errors
    /// [`NotDecrypted`]
    fn decrypt(
        &self,
        documents: &[&Node],
        number: usize,
    ) -> Result<Map<String, Json>, NotDecrypted>;
}

/// Why a file can't be decrypted. Holds nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDecrypted {
    /// It is for other keys, or of a form that is not read.
    #[error("{0}")]
    NotForUs(String),
    /// It is not what was encrypted.
    #[error("{0}")]
    Tampered(String),
}

/// What is done with such Secrets.
#[derive(Debug, Clone, Copy, Default)]
pub enum Encrypted<'a> {
    /// They stay as they are: for whoever only shows them.
    #[default]
    Shown,
    /// They fail their app: there is no key.
    Refused,
    /// They are decrypted.
    Decrypted {
        /// By whom.
        by: &'a dyn Decrypt,
        /// All documents of the file that the Secret comes from, none if it can't be found.
        documents: &'a [Node],
    },
}

/// Puts the decrypted values in their places.
pub(super) fn open(fields: &mut Map<String, Json>, how: Encrypted<'_>) -> Result<(), AppFailure> {
    for name in ["data", "stringData"] {
        let values = fields.get(name).and_then(Json::as_object);
        let plain = |value: &Json| !value.as_str().is_some_and(is_encrypted) && *value != "";
        if values.is_some_and(|map| map.values().any(plain)) {
            let why =
                "a value of it stands in plain text in Git: encrypt all of data and stringData";
            return Err(fail("SECRET_IN_GIT", name, why));
        }
    }
    let (by, documents) = match how {
        Encrypted::Shown => return Ok(()),
        Encrypted::Refused => {
            let why = "is encrypted with SOPS, and there is no key to read it: give --age-identity FILE, or refer to a secret store";
            return Err(fail("SECRET_ENCRYPTED", SOPS, why));
        }
        Encrypted::Decrypted { by, documents } => (by, documents),
    };
    let mac = fields.get(SOPS).and_then(|sops| sops["mac"].as_str());
    let mac = mac.filter(|mac| !mac.is_empty()).map(str::to_owned);
    let together: Vec<&Node> = documents
        .iter()
        .filter(|document| {
            let theirs = document.at(&[SOPS, "mac"]).and_then(Node::text);
            mac.is_some() && theirs == mac.as_deref()
        })
        .collect();
    let number = together
        .iter()
        .position(|document| stands_in(fields, document))
        .ok_or_else(|| {
            let why = "is encrypted with SOPS, but no file of the fleet holds it as it was encrypted, so that it can't be checked";
            fail("SECRET_ENCRYPTED", SOPS, why)
        })?;
    let plain = by.decrypt(&together, number).map_err(|error| {
        let code = match error {
            NotDecrypted::NotForUs(_) => "SECRET_ENCRYPTED",
            NotDecrypted::Tampered(_) => "SOPS_TAMPERED",
        };
        fail(code, SOPS, error.to_string())
    })?;
    for name in ["data", "stringData"] {
        let Some(values) = fields.get_mut(name).and_then(Json::as_object_mut) else {
            continue;
        };
        for (key, value) in values {
            *value = plain
                .get(name)
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default();
        }
    }
    fields.remove(SOPS);
    Ok(())
}

fn is_encrypted(text: &str) -> bool {
    text.starts_with(ENCRYPTED)
}

/// Whether every encrypted value of an object is that of the document, in the same place.
fn stands_in(fields: &Map<String, Json>, document: &Node) -> bool {
    ["data", "stringData"].iter().all(|name| {
        let values = fields.get(*name).and_then(Json::as_object);
        values
            .into_iter()
            .flatten()
            .all(|(key, value)| document.at(&[name, key]).and_then(Node::text) == value.as_str())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml;

    /// Says which document was asked for, in place of decrypting.
    #[derive(Debug)]
    struct Fake;

    impl Decrypt for Fake {
        fn decrypt(
            &self,
            documents: &[&Node],
            number: usize,
        ) -> Result<Map<String, Json>, NotDecrypted> {
            let name = documents[number]
                .at(&["metadata", "name"])
                .unwrap()
                .text()
                .unwrap();
            match name {
                "changed" => Err(NotDecrypted::Tampered("it was changed".into())),
                _ => Ok(
                    json!({"stringData": {"a": format!("of {name}, of {}", documents.len())}})
                        .as_object()
                        .unwrap()
                        .clone(),
                ),
            }
        }
    }

    const FILE: &str = "metadata: {name: one}\nstringData: {a: 'ENC[1]'}\nsops: {mac: one}\n---\nmetadata: {name: two}\nstringData: {a: 'ENC[2]'}\nsops: {mac: one}\n---\nmetadata: {name: other}\nstringData: {a: 'ENC[1]'}\nsops: {mac: two}\n---\nmetadata: {name: changed}\nstringData: {a: 'ENC[3]'}\nsops: {mac: one}\n";

    fn opened(value: &str, mac: &str) -> Result<Json, String> {
        let documents = yaml::parse(FILE).unwrap();
        let mut fields = json!({"stringData": {"a": value}, "sops": {"mac": mac}});
        let fields = fields.as_object_mut().unwrap();
        let how = Encrypted::Decrypted {
            by: &Fake,
            documents: &documents,
        };
        open(fields, how).map_err(|failure| failure.code)?;
        assert!(!fields.contains_key("sops"));
        Ok(fields["stringData"]["a"].clone())
    }

    #[test]
    fn the_document_is_found_by_its_values_among_those_encrypted_together() {
        assert_eq!(opened("ENC[1]", "one").unwrap(), "of one, of 3");
        assert_eq!(opened("ENC[2]", "one").unwrap(), "of two, of 3");
        assert_eq!(opened("ENC[1]", "two").unwrap(), "of other, of 1");
        for (value, mac, code) in [
            ("ENC[9]", "one", "SECRET_ENCRYPTED"),
            ("ENC[1]", "x", "SECRET_ENCRYPTED"),
            ("ENC[1]", "", "SECRET_ENCRYPTED"),
            ("ENC[3]", "one", "SOPS_TAMPERED"),
            ("hunter2", "one", "SECRET_IN_GIT"),
        ] {
            assert_eq!(opened(value, mac).unwrap_err(), code, "{value} {mac}");
        }
    }

    #[test]
    fn without_a_key_it_fails_by_name_and_plain_text_is_refused_in_any_case() {
        for (value, how, code) in [
            ("ENC[1]", Encrypted::Shown, None),
            ("ENC[1]", Encrypted::Refused, Some("SECRET_ENCRYPTED")),
            ("", Encrypted::Shown, None),
            ("hunter2", Encrypted::Shown, Some("SECRET_IN_GIT")),
            ("hunter2", Encrypted::Refused, Some("SECRET_IN_GIT")),
        ] {
            let mut fields = json!({"data": {"a": value}, "sops": {"mac": "m"}});
            let failure = open(fields.as_object_mut().unwrap(), how).err();
            assert_eq!(
                failure.as_ref().map(|failure| failure.code.as_str()),
                code,
                "{value}"
            );
            assert!(!failure.is_some_and(|failure| failure.to_string().contains("hunter2")));
        }
    }
}
