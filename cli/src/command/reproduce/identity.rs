//! The age identities of a second renderer, for Secrets that stand in Git encrypted by SOPS.

use std::path::Path;
use std::sync::Arc;

use countersign_fleet::desired::EncryptedSecrets;
use countersign_fleet::sops::SopsKey;
use secrecy::SecretString;

use crate::exit::Failure;

/// Reads them. Without a file such Secrets fail by name, and the state stays open.
pub fn read(file: Option<&Path>) -> Result<EncryptedSecrets, Failure> {
    let Some(file) = file else {
        return Ok(EncryptedSecrets::Refused);
    };
    let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, &e))?;
    let identities = SopsKey::parse(&SecretString::from(text))
        .map_err(|e| Failure::Mistake(format!("--age-identity {}: {e}", file.display())))?;
    Ok(EncryptedSecrets::Decrypted(Arc::new(identities)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_identities_is_a_mistake_that_shows_nothing_of_it() {
        assert!(matches!(read(None), Ok(EncryptedSecrets::Refused)));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let Err(Failure::Mistake(why)) = read(Some(file.path())) else {
            panic!("it was taken");
        };
        assert!(why.contains("line 1") && !why.contains("hunter2"), "{why}");
        let missing = file.path().with_extension("none");
        assert!(matches!(read(Some(&missing)), Err(Failure::Mistake(_))));
    }
}
