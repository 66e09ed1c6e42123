//! Keys with which a person, CI or a second renderer signs. Every command takes them by the same words (`--key`), through
//! [`load`] alone.

use std::path::Path;

use countersign_ledger::dsse::{Envelope, pae};
use countersign_signer::{FileSigner, KeyFileError, Missing, Signer};

use crate::exit::Failure;
use crate::output::safe;

/// Opens the key that `reference` names: a path of a key file.
///
/// Not within an asynchronous runtime: it makes its own where it needs one.
pub fn load(reference: &str) -> Result<Box<dyn Signer>, Failure> {
    let signer = FileSigner::open(Path::new(reference), Missing::Refuse).map_err(|error| {
        let text = format!("--key: {}", safe(&error.to_string()));
        match &error {
            KeyFileError::File { path, source } => Failure::file(path, source),
            _ => Failure::Mistake(text),
        }
    })?;
    Ok(Box::new(signer))
}

/// Signs a payload with one key: the envelope that travels. Not within an asynchronous runtime.
#[allow(dead_code)] // the commands that sign statements use it
pub fn sign(signer: &dyn Signer, payload_type: &str, payload: &[u8]) -> Result<Envelope, Failure> {
    let message = pae(payload_type, payload);
    let signature = signature(signer, &message)?;
    Ok(Envelope::assemble(
        payload_type,
        payload,
        &[(signer.public(), signature)],
    ))
}

/// Signs a message. Not within an asynchronous runtime.
pub fn signature(signer: &dyn Signer, message: &[u8]) -> Result<[u8; 64], Failure> {
    crate::command::wait(async {
        signer
            .sign(message)
            .await
            .map_err(|fault| Failure::Fault(format!("--key: {}", safe(&fault.to_string()))))
    })
}
