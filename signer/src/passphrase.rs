//! Where the passphrase of a key file comes from: `COUNTERSIGN_KEY_PASSPHRASE_FILE`, `COUNTERSIGN_KEY_PASSPHRASE`, or a
//! person at a terminal. It has no printable form.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// The variable that names a file with the passphrase.
pub const PASSPHRASE_FILE: &str = "COUNTERSIGN_KEY_PASSPHRASE_FILE";
/// The variable that holds the passphrase.
pub const PASSPHRASE: &str = "COUNTERSIGN_KEY_PASSPHRASE";
/// Longest passphrase, bytes.
const PASSPHRASE_BYTES_MAX: usize = 4_096;

/// Asks a person; the text is what to show.
pub type Prompt = fn(&str) -> std::io::Result<String>;

/// Reads a variable of the environment.
pub type Env<'e> = &'e (dyn Fn(&str) -> Option<String> + Send + Sync);

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// Nobody gave one.
    #[error("it is encrypted: set {PASSPHRASE_FILE} or {PASSPHRASE}")]
    Missing,
    /// An empty one encrypts nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// A person said two different ones.
    #[error("the two passphrases differ")]
    Differ,
    /// Too long.
    #[error("the passphrase is longer than {PASSPHRASE_BYTES_MAX} bytes")]
    Long,
    /// The file or the terminal can't be read.
    #[error("passphrase{}: {source}", path.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default())]
    Read {
        /// The file; none for a terminal.
        path: Option<PathBuf>,
        /// Why.
        source: std::io::Error,
    },
}

/// The passphrase for a key that is there; `what` names it to a person.
pub(crate) fn existing(
    env: Env<'_>,
    prompt: Option<Prompt>,
    what: &str,
) -> Result<Zeroizing<String>, PassphraseError> {
    match given(env)? {
        Some(passphrase) => Ok(passphrase),
        None => ask(prompt, &format!("Passphrase of {what}: ")),
    }
}

/// The passphrase for a key that is made; a person says it twice.
pub fn new(
    env: Env<'_>,
    prompt: Option<Prompt>,
    what: &str,
) -> Result<Zeroizing<String>, PassphraseError> {
    if let Some(passphrase) = given(env)? {
        return Ok(passphrase);
    }
    let first = ask(prompt, &format!("New passphrase for {what}: "))?;
    let again = ask(prompt, "The same again: ")?;
    if first == again {
        Ok(first)
    } else {
        Err(PassphraseError::Differ)
    }
}

fn given(env: Env<'_>) -> Result<Option<Zeroizing<String>>, PassphraseError> {
    if let Some(path) = env(PASSPHRASE_FILE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let text = std::fs::read_to_string(&path).map_err(|source| PassphraseError::Read {
            path: Some(path),
            source,
        })?;
        return checked(Zeroizing::new(text)).map(Some);
    }
    env(PASSPHRASE)
        .map(|text| checked(Zeroizing::new(text)))
        .transpose()
}

fn ask(prompt: Option<Prompt>, what: &str) -> Result<Zeroizing<String>, PassphraseError> {
    let ask = prompt.ok_or(PassphraseError::Missing)?;
    let text = ask(what).map_err(|source| PassphraseError::Read { path: None, source })?;
    checked(Zeroizing::new(text))
}

/// Without the end of the line that editors add.
fn checked(text: Zeroizing<String>) -> Result<Zeroizing<String>, PassphraseError> {
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.len() {
        0 => Err(PassphraseError::Empty),
        len if len > PASSPHRASE_BYTES_MAX => Err(PassphraseError::Long),
        _ => Ok(Zeroizing::new(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_wins_over_the_variable_and_both_over_the_person() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from the file\r\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let both = move |name: &str| match name {
            PASSPHRASE_FILE => Some(path.clone()),
            PASSPHRASE => Some("from the variable".into()),
            _ => None,
        };
        let prompt: Option<Prompt> = Some(|_| Ok("from the person".into()));
        let one = |env: Env<'_>| existing(env, prompt, "x").unwrap().to_string();
        assert_eq!(one(&both), "from the file");
        let variable = |name: &str| (name == PASSPHRASE).then(|| "from the variable".to_owned());
        assert_eq!(one(&variable), "from the variable");
        assert_eq!(one(&|_| None), "from the person");
    }

    #[test]
    fn none_and_an_empty_one_are_said_and_not_used() {
        assert!(matches!(
            existing(&|_| None, None, "x"),
            Err(PassphraseError::Missing)
        ));
        let empty = |name: &str| (name == PASSPHRASE).then(String::new);
        assert!(matches!(
            existing(&empty, None, "x"),
            Err(PassphraseError::Empty)
        ));
    }
}
