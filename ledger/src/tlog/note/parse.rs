//! The form of a note.

use super::vkey::is_name;
use super::{NOTE_BYTES_MAX, Note, NoteError, SIGNATURE_LINES_MAX, Signature};
use crate::tlog::text as spelling;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Bytes as a note's characters: UTF-8 without control characters but newlines.
pub(super) fn text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| NoteError::NotText {
        at: error.valid_up_to(),
    })?;
    match text.find(|c| c < ' ' && c != '\n') {
        Some(at) => Err(NoteError::NotText { at }),
        None => Ok(text),
    }
}

pub(super) fn note(bytes: &[u8]) -> Result<Note, NoteError> {
    let all = text(bytes)?;
    // The last blank line: a text may have some of its own.
    let split = all.rfind("\n\n").ok_or(NoteError::NoSplit)?;
    let (text, signatures) = (all.get(..=split), all.get(split + 2..));
    let (Some(text), Some(signatures)) = (text, signatures) else {
        return Err(NoteError::NoSplit);
    };
    Ok(Note {
        text: text.to_owned(),
        signatures: self::signatures(signatures)?,
    })
}

/// One or more signature lines.
pub(super) fn signatures(text: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = text.strip_suffix('\n').ok_or(NoteError::Unterminated)?;
    let mut signatures = Vec::new();
    for (number, line) in lines.split('\n').enumerate() {
        let signature = signature(line).ok_or(NoteError::SignatureLine { line: number })?;
        if number == SIGNATURE_LINES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(signature);
    }
    Ok(signatures)
}

/// A signature line without its newline.
pub(super) fn signature(line: &str) -> Option<Signature> {
    let (name, base64) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    if !is_name(name) {
        return None;
    }
    let bytes = spelling::bytes(base64)?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    if bytes.is_empty() {
        return None;
    }
    Some(Signature {
        name: name.to_owned(),
        id: u32::from_be_bytes(*id),
        bytes: bytes.to_vec(),
    })
}
