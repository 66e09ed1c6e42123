//! SSH signatures as git writes them, made here so that no key agent or ssh program is needed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{SHA512, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};

const ALGORITHM: &[u8] = b"ssh-ed25519";
/// Characters a line of the armour.
const LINE: usize = 70;

/// A person's Ed25519 key for signing commits.
pub struct SshSigner {
    key: Ed25519KeyPair,
}

impl std::fmt::Debug for SshSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SshSigner").field(&self.public()).finish()
    }
}

impl SshSigner {
    /// The key of a seed: the same seed is the same person.
    ///
    /// # Errors
    /// Never for a seed of 32 bytes.
    pub fn from_seed(seed: [u8; 32]) -> anyhow::Result<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| anyhow::anyhow!("make a key: {error}"))?;
        Ok(Self { key })
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn raw_public(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// The public key as it stands in an `allowed_signers` or `.pub` file: `ssh-ed25519 AAAA…`.
    #[must_use]
    pub fn public(&self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.public_blob()))
    }

    /// An armoured SSHSIG over `message` in `namespace` (git's is `git`; PROTOCOL.sshsig).
    #[must_use]
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let hash = digest(&SHA512, message);
        let mut signed = b"SSHSIG".to_vec();
        for field in [namespace.as_bytes(), b"", b"sha512", hash.as_ref()] {
            put(&mut signed, field);
        }
        let mut signature = Vec::new();
        put(&mut signature, ALGORITHM);
        put(&mut signature, self.key.sign(&signed).as_ref());

        let mut blob = b"SSHSIG".to_vec();
        blob.extend(1_u32.to_be_bytes());
        for field in [
            &self.public_blob(),
            namespace.as_bytes(),
            b"",
            b"sha512",
            &signature,
        ] {
            put(&mut blob, field);
        }
        let text = STANDARD.encode(blob);
        let mut armour = String::from("-----BEGIN SSH SIGNATURE-----\n");
        for line in text.as_bytes().chunks(LINE) {
            armour.push_str(&String::from_utf8_lossy(line));
            armour.push('\n');
        }
        armour.push_str("-----END SSH SIGNATURE-----");
        armour
    }

    fn public_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put(&mut blob, ALGORITHM);
        put(&mut blob, self.raw_public());
        blob
    }
}

/// An SSH string: its length, then its bytes.
fn put(to: &mut Vec<u8>, field: &[u8]) {
    // Every field here is shorter than 4 GiB.
    to.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(field);
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::git::GitRepo;

    #[test]
    fn a_signed_commit_carries_its_signature() {
        let signer = SshSigner::from_seed([7; 32]).unwrap();
        let repo = GitRepo::new().unwrap();
        repo.write("a", "1").unwrap();
        let commit = repo.commit_signed("signed", &signer).unwrap();
        let raw = Command::new("git")
            .args(["cat-file", "commit", &commit])
            .current_dir(repo.path())
            .output()
            .unwrap();
        let raw = String::from_utf8(raw.stdout).unwrap();
        assert!(
            raw.contains("gpgsig -----BEGIN SSH SIGNATURE-----"),
            "{raw}"
        );
        assert_eq!(repo.head().unwrap(), commit);
    }

    /// The judge is OpenSSH itself, where it is installed.
    #[test]
    fn openssh_accepts_the_signature() {
        if Command::new("ssh-keygen")
            .arg("--help")
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            return;
        }
        let signer = SshSigner::from_seed([7; 32]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (allowed, signature) = (folder.path().join("allowed"), folder.path().join("sig"));
        std::fs::write(&allowed, format!("ada@example.org {}\n", signer.public())).unwrap();
        std::fs::write(&signature, signer.sign("git", b"message")).unwrap();
        let mut verify = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", "git", "-I", "ada@example.org", "-f"])
            .arg(&allowed)
            .arg("-s")
            .arg(&signature)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        verify.stdin.take().unwrap().write_all(b"message").unwrap();
        assert!(verify.wait().unwrap().success());
    }
}
