//! Keys with which a person, CI or a second renderer signs. Every command takes them by the same words (`--key`), through
//! [`load`] alone.

use std::io::IsTerminal as _;

use countersign_ledger::dsse::{Envelope, pae};
use countersign_ledger::key::FileKey;
use countersign_signer::{Around, KeyFileError, OpenError, Prompt, Reference, Signer};

use zeroize::Zeroizing;

use crate::command::wait;
use crate::exit::Failure;
use crate::output::safe;

/// What `--key` takes, for help texts.
pub const KEY_HELP: &str = "\
A key is a file (PEM, also with a passphrase), vault:<mount>/<key>[@<version>] or awskms:<arn>.
Passphrase: COUNTERSIGN_KEY_PASSPHRASE_FILE, COUNTERSIGN_KEY_PASSPHRASE, or you are asked.
Vault: VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT, VAULT_NAMESPACE. AWS: as AWS's own command finds them.";

/// Opens the key that `reference` names: a path of a key file, `vault:<mount>/<key>` or `awskms:<arn>`.
///
/// Not within an asynchronous runtime: it makes its own.
pub fn load(reference: &str) -> Result<Box<dyn Signer>, Failure> {
    let parsed: Reference = reference
        .parse()
        .map_err(|e| Failure::Mistake(format!("key: {}", safe(&format!("{e}")))))?;
    wait(async { Ok(countersign_signer::open(&parsed, &[], around()).await) })?.map_err(failed)
}

/// This process's environment, and the person at the terminal if there is one.
pub fn around() -> Around {
    Around {
        prompt: person(),
        ..Around::service()
    }
}

/// Asks at the terminal, without showing what is typed.
fn person() -> Option<Prompt> {
    let ask: Prompt = |what| rpassword::prompt_password(safe(what));
    std::io::stdin().is_terminal().then_some(ask)
}

fn failed(error: OpenError) -> Failure {
    if let OpenError::File(KeyFileError::File { path, source }) = &error {
        return Failure::file(path, source);
    }
    let text = safe(&error.to_string());
    if error.is_fault() {
        Failure::Fault(text)
    } else {
        Failure::Mistake(text)
    }
}

/// A key as a file with a passphrase, which the environment or the person gives.
pub fn encrypted(key: &FileKey, what: &str) -> Result<Zeroizing<String>, Failure> {
    let around = around();
    let passphrase = countersign_signer::new_passphrase(&around.env, around.prompt, what)
        .map_err(|e| Failure::Mistake(safe(&e.to_string())))?;
    countersign_signer::encrypt(key, &passphrase, &ring::rand::SystemRandom::new())
        .map_err(|e| Failure::Fault(format!("{what}: {e}")))
}

/// Signs a payload with one key: the envelope that travels. Not within an asynchronous runtime.
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
    wait(async {
        signer
            .sign(message)
            .await
            .map_err(|fault| Failure::Fault(safe(&fault.to_string())))
    })
}
