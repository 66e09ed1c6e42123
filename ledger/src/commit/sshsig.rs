//! Signatures of SSH keys (PROTOCOL.sshsig), as `git commit -S` with `gpg.format = ssh` makes them.
//!
//! Taken: Ed25519, ECDSA on P-256 and P-384, RSA of 2,048 to 4,096 bits with SHA-2, and the hardware keys
//! `sk-ssh-ed25519` and `sk-ecdsa-sha2-nistp256` if they were touched. Not taken: DSA, P-521, `ssh-rsa` with SHA-1, and
//! certificates: a person's key stands in the trust root itself, no CA may add one.

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey, SshSig};

use super::limits::{KEY_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// The first line of such a signature.
pub(super) const ARMOUR: &str = "-----BEGIN SSH SIGNATURE-----";
/// What git signs for; a signature for files or for another program is not taken.
const NAMESPACE: &str = "git";
/// Bytes behind the signature of a hardware key: flags and a counter.
const HARDWARE_TRAILER: usize = 5;
/// The flag that says that a person touched it.
const TOUCHED: u8 = 1;

/// A public key that may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey(KeyData);

impl SshKey {
    /// Reads an OpenSSH line, `ssh-ed25519 AAAA… comment`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &str) -> Result<Self, &'static str> {
        if line.len() > KEY_BYTES_MAX {
            return Err("a key longer than 64 KiB");
        }
        if line.starts_with("cert-authority") || line.contains("-cert-v01@openssh.com") {
            return Err("an SSH certificate or its authority; list the person's own key instead");
        }
        let key = PublicKey::from_openssh(line.trim_end()).map_err(|_| "no OpenSSH public key")?;
        allowed(key.key_data())?;
        Ok(Self(key.key_data().clone()))
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// What an armoured signature says of itself; nothing in it is verified.
pub(super) struct Claim(SshSig);

impl Claim {
    /// Reads an armoured signature.
    pub(super) fn read(armour: &str) -> Result<Self, &'static str> {
        let signature =
            SshSig::from_pem(armour).map_err(|_| "no SSH signature that can be read")?;
        if signature.version() != SshSig::VERSION {
            return Err("an SSH signature of another version");
        }
        if signature.namespace() != NAMESPACE {
            return Err("an SSH signature for another namespace than \"git\"");
        }
        if !signature.reserved().is_empty() {
            return Err("an SSH signature with a reserved field");
        }
        Ok(Self(signature))
    }

    /// The key that is said to have made it.
    pub(super) fn key(&self) -> SshKey {
        SshKey(self.0.public_key().clone())
    }

    /// Whether `key` signed `payload`.
    pub(super) fn verify(&self, key: &SshKey, payload: &[u8]) -> Result<(), &'static str> {
        allowed(&key.0)?;
        if !fits(&key.0, &self.0.algorithm()) {
            return Err("made with another algorithm than its key is for");
        }
        if hardware(&key.0) {
            let bytes = self.0.signature_bytes();
            let flags = bytes
                .len()
                .checked_sub(HARDWARE_TRAILER)
                .and_then(|at| bytes.get(at));
            if flags.is_none_or(|flags| flags & TOUCHED == 0) {
                return Err("a hardware key that nobody touched");
            }
        }
        PublicKey::from(key.0.clone())
            .verify(NAMESPACE, payload, &self.0)
            .map_err(|_| "it is not over this commit by this key")
    }
}

const fn hardware(key: &KeyData) -> bool {
    matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
}

fn allowed(key: &KeyData) -> Result<(), &'static str> {
    match key {
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        KeyData::Ecdsa(key) if key.curve() != EcdsaCurve::NistP521 => Ok(()),
        KeyData::Rsa(key) => {
            let n = key.n.as_positive_bytes().unwrap_or_default();
            let bits = n.first().map_or(0, |first| {
                n.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
            });
            if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                Ok(())
            } else {
                Err("an RSA key that has not 2048 to 4096 bits")
            }
        }
        _ => Err("a kind of SSH key that is not taken"),
    }
}

/// Whether the signature's algorithm is one of the key's.
fn fits(key: &KeyData, algorithm: &Algorithm) -> bool {
    match key {
        KeyData::Rsa(_) => matches!(algorithm, Algorithm::Rsa { hash: Some(_) }),
        _ => key.algorithm() == *algorithm,
    }
}
