//! Signed notes (`signed-note`): a text, a blank line, and a line a signature.
//!
//! The rules of opening one are those of Go's `sumdb/note`: signatures of unknown keys are ignored, a known key's bad
//! signature rejects the whole note, a key that signs twice counts once, and without a known signature there is no text.

use crate::digest::Digest;
use crate::key::{PublicKey, Sign, SignFault, Verify};
use crate::tlog::cosignature;
use crate::tlog::text;

mod parse;
mod vkey;

#[cfg(test)]
mod tests;

pub use vkey::{KeyKind, NAME_BYTES_MAX, Vkey, VkeyError};

/// Signature lines of a note: as in Go; C2SP asks for 16 at least.
pub const SIGNATURE_LINES_MAX: usize = 100;
/// Bytes of a note: a hundred signatures of the largest kind (ML-DSA-44, 3.3 kB in base64) and a text beside them.
pub const NOTE_BYTES_MAX: usize = 512 << 10;

/// A note as it was read: nothing in it is checked beyond its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last newline.
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key, as the line says.
    pub name: String,
    /// Hint which of the name's keys it is.
    pub id: u32,
    /// What follows the hint: the signature itself, behind its time if it is a cosignature.
    pub bytes: Vec<u8>,
}

/// A note of which at least one known key's signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    text: String,
    verified: Vec<Verified>,
    unknown: Vec<Signature>,
}

/// A signature that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub key: Vkey,
    /// When a cosignature was made, in seconds since 1970; nothing for a plain signature.
    pub time: Option<u64>,
    /// The line it came from.
    pub signature: Signature,
}

/// Why bytes are no note, or no known key signed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than are read.
    #[error("has {bytes} bytes, at most {NOTE_BYTES_MAX} are read")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
    /// Not UTF-8, or with a control character other than a newline.
    #[error("byte {at} is no text")]
    NotText {
        /// Where.
        at: usize,
    },
    /// No blank line stands before the signatures, or no text before the blank line.
    #[error("has no blank line between text and signatures")]
    NoSplit,
    /// The last line does not end.
    #[error("the last line does not end in a newline")]
    Unterminated,
    /// A signature line is none.
    #[error("line {line} of the signatures is none")]
    SignatureLine {
        /// Which one, from 0.
        line: usize,
    },
    /// More signature lines than are read.
    #[error("has more than {SIGNATURE_LINES_MAX} signatures")]
    TooManySignatures,
    /// The text to be signed is no note's text.
    #[error("the text must be lines without control characters, the last one ended")]
    Text,
    /// Two known keys share their name and id, so that a signature would be of either.
    #[error("two known keys are {name}+{id:08x}")]
    AmbiguousKey {
        /// The shared name.
        name: String,
        /// The shared id.
        id: u32,
    },
    /// A known key's signature is not over this text.
    #[error("the signature of {name}+{id:08x} is wrong")]
    WrongSignature {
        /// Name of the key.
        name: String,
        /// Its id.
        id: u32,
    },
    /// No known key signed.
    #[error("no known key signed it")]
    NoKnownSignature,
}

impl Note {
    /// A note of `text` without signatures yet; they are added with [`Note::sign`] and [`Note::add`].
    pub fn new(text: &str) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Text);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Reads a note, signatures unchecked.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        parse::note(bytes)
    }

    /// The text, with its last newline. Whoever uses it without [`Note::open`] trusts whoever sent it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The note as it is written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut written = self.text.clone();
        written.push('\n');
        for signature in &self.signatures {
            written.push_str(&signature.line());
        }
        written.into_bytes()
    }

    /// Adds a signature line, as another party sent it. A line of the same key is replaced.
    pub fn add(&mut self, signature: Signature) {
        self.signatures
            .retain(|had| had.name != signature.name || had.id != signature.id);
        self.signatures.push(signature);
    }

    /// Signs the text with the plain Ed25519 key that the vkey says.
    pub fn sign(&mut self, name: &str, key: &dyn Sign) -> Result<(), NoteSignError> {
        let vkey = Vkey::new(name, KeyKind::Ed25519, key.public())?;
        let signature = key.sign(self.text.as_bytes())?;
        self.add(Signature {
            name: name.to_owned(),
            id: vkey.id(),
            bytes: signature.to_vec(),
        });
        Ok(())
    }

    /// Checks the signatures of `known` keys; the text is theirs from then on.
    pub fn open(&self, known: &[Vkey], verifier: &dyn Verify) -> Result<Opened, NoteError> {
        let mut verified: Vec<Verified> = Vec::new();
        let mut unknown: Vec<Signature> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = find(known, signature)? else {
                if !unknown.contains(signature) {
                    unknown.push(signature.clone());
                }
                continue;
            };
            if verified.iter().any(|other| other.key == *key) {
                continue;
            }
            let time = check(key, &self.text, &signature.bytes, verifier).ok_or_else(|| {
                NoteError::WrongSignature {
                    name: signature.name.clone(),
                    id: signature.id,
                }
            })?;
            verified.push(Verified {
                key: key.clone(),
                time,
                signature: signature.clone(),
            });
        }
        if verified.is_empty() {
            return Err(NoteError::NoKnownSignature);
        }
        Ok(Opened {
            text: self.text.clone(),
            verified,
            unknown,
        })
    }
}

/// Reads a note and checks the signatures of `known` keys.
pub fn open(bytes: &[u8], known: &[Vkey], verifier: &dyn Verify) -> Result<Opened, NoteError> {
    Note::parse(bytes)?.open(known, verifier)
}

/// The one known key that a line names.
fn find<'k>(known: &'k [Vkey], signature: &Signature) -> Result<Option<&'k Vkey>, NoteError> {
    let mut named = known
        .iter()
        .filter(|key| key.id() == signature.id && key.name() == signature.name);
    let first = named.next();
    if named.any(|other| Some(other) != first) {
        return Err(NoteError::AmbiguousKey {
            name: signature.name.clone(),
            id: signature.id,
        });
    }
    Ok(first)
}

/// Whether the signature is of `key`: nothing if not, else the time it says, if its kind has one.
fn check(key: &Vkey, text: &str, bytes: &[u8], verifier: &dyn Verify) -> Option<Option<u64>> {
    match key.kind() {
        KeyKind::Ed25519 => verifier
            .verify(key.key(), text.as_bytes(), bytes)
            .then_some(None),
        KeyKind::Cosignature => cosignature::verify(key.key(), text, bytes, verifier).map(Some),
    }
}

impl Opened {
    /// The text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures that were checked, one a key.
    #[must_use]
    pub fn verified(&self) -> &[Verified] {
        &self.verified
    }

    /// The signatures of keys that are not known.
    #[must_use]
    pub fn unknown(&self) -> &[Signature] {
        &self.unknown
    }

    /// The checked signature of `key`.
    #[must_use]
    pub fn by(&self, key: &Vkey) -> Option<&Verified> {
        self.verified.iter().find(|verified| verified.key == *key)
    }
}

impl Signature {
    /// Reads one signature line, with its newline.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        line.strip_suffix('\n')
            .and_then(parse::signature)
            .ok_or(NoteError::SignatureLine { line: 0 })
    }

    /// Reads signature lines, as a witness answers.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Self>, NoteError> {
        parse::signatures(parse::text(bytes)?)
    }

    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        format!("\u{2014} {} {}\n", self.name, text::base64(&bytes))
    }
}

/// Why a note could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteSignError {
    /// The name is no key's.
    #[error(transparent)]
    Name(#[from] VkeyError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFault),
    /// The time is past what a cosignature can say.
    #[error("time {time} is past 2^63 - 1")]
    Time {
        /// Seconds since 1970.
        time: u64,
    },
}

/// The id of a key: the first four bytes of SHA-256 of name, newline, kind and key.
fn key_id(name: &str, kind: KeyKind, key: &PublicKey) -> u32 {
    let mut named = name.as_bytes().to_vec();
    named.push(b'\n');
    named.push(kind.byte());
    named.extend_from_slice(&key.0);
    let digest = Digest::of(&named);
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}
