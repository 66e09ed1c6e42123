//! Key files with a passphrase: PKCS#8 `EncryptedPrivateKeyInfo` in PEM, as `openssl pkcs8 -topk8` reads and writes it.
//! Written with scrypt and AES-256-CBC; PBKDF2 is read too. Pure.

use countersign_ledger::key::{FileKey, NotAKey};
use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::pbes2::{self, Kdf};
use pkcs8::pkcs5::{EncryptionScheme, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, SecretDocument};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

/// How a file of this kind begins.
pub(crate) const PEM_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// What deriving the key costs. Of OWASP's choices the one that fits below 32 MiB, which openssl does not go beyond.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

pub(crate) const COST: Cost = Cost {
    log_n: 14,
    r: 8,
    p: 5,
};

/// Most work that a file may ask for: bytes that scrypt fills in all its rounds. Beyond it nobody waits.
const SCRYPT_WORK_MAX: u64 = 4 << 30;
/// Most memory that a file may ask for, bytes.
const SCRYPT_MEMORY_MAX: u64 = 256 << 20;
/// Most rounds of PBKDF2 that a file may ask for.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

/// Why a file with a passphrase is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptedKeyError {
    /// No such file.
    #[error("must be one PEM block \"ENCRYPTED PRIVATE KEY\" by PBES2 with scrypt or PBKDF2")]
    Form,
    /// It asks for more than we give.
    #[error("asks for more work than this program does for a passphrase")]
    Costly,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    Passphrase,
    /// It is open, and holds something else.
    #[error("{0}")]
    Key(#[from] NotAKey),
}

/// Opens a file.
pub(crate) fn open(pem: &str, passphrase: &str) -> Result<FileKey, EncryptedKeyError> {
    let (label, document) =
        SecretDocument::from_pem(pem.trim()).map_err(|_| EncryptedKeyError::Form)?;
    EncryptedPrivateKeyInfo::validate_pem_label(label).map_err(|_| EncryptedKeyError::Form)?;
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|_| EncryptedKeyError::Form)?;
    affordable(&info.encryption_algorithm)?;
    let plain = info
        .decrypt(passphrase.as_bytes())
        .map_err(|_| EncryptedKeyError::Passphrase)?;
    // A wrong passphrase passes the padding once in 256 times: what comes out is no key then.
    FileKey::from_pkcs8(plain.as_bytes()).map_err(EncryptedKeyError::Key)
}

fn affordable(scheme: &EncryptionScheme<'_>) -> Result<(), EncryptedKeyError> {
    let EncryptionScheme::Pbes2(parameters) = scheme else {
        return Err(EncryptedKeyError::Form);
    };
    let fits = match &parameters.kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= PBKDF2_ROUNDS_MAX,
        Kdf::Scrypt(scrypt) => {
            let memory = 128u64
                .saturating_mul(scrypt.cost_parameter)
                .saturating_mul(scrypt.block_size.into());
            let work = memory.saturating_mul(scrypt.parallelization.into());
            memory <= SCRYPT_MEMORY_MAX && work <= SCRYPT_WORK_MAX
        }
        _ => return Err(EncryptedKeyError::Form),
    };
    if fits {
        Ok(())
    } else {
        Err(EncryptedKeyError::Costly)
    }
}

/// Writes a key as a file with a passphrase.
///
/// # Errors
/// [`NotAKey::Random`] without randomness.
pub fn encrypt(
    key: &FileKey,
    passphrase: &str,
    random: &dyn SecureRandom,
) -> Result<Zeroizing<String>, NotAKey> {
    encrypt_at(COST, key, passphrase, random)
}

pub(crate) fn encrypt_at(
    cost: Cost,
    key: &FileKey,
    passphrase: &str,
    random: &dyn SecureRandom,
) -> Result<Zeroizing<String>, NotAKey> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random.fill(&mut salt).map_err(|_| NotAKey::Random)?;
    random.fill(&mut iv).map_err(|_| NotAKey::Random)?;
    let wrong = |_| NotAKey::Ed25519;
    let params =
        scrypt::Params::new(cost.log_n, cost.r, cost.p, 32).map_err(|_| NotAKey::Ed25519)?;
    let scheme =
        pbes2::Parameters::scrypt_aes256cbc(params, &salt, &iv).map_err(|_| NotAKey::Ed25519)?;
    let data = scheme
        .encrypt(passphrase.as_bytes(), key.to_pkcs8().as_ref())
        .map_err(|_| NotAKey::Ed25519)?;
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: scheme.into(),
        encrypted_data: &data,
    };
    let document = SecretDocument::try_from(info).map_err(|_| NotAKey::Ed25519)?;
    document
        .to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF)
        .map_err(wrong)
}

#[cfg(test)]
mod tests {
    use countersign_ledger::key::Sign as _;
    use ring::rand::SystemRandom;

    use super::*;

    const CHEAP: Cost = Cost {
        log_n: 4,
        r: 8,
        p: 1,
    };

    /// `openssl genpkey -algorithm ed25519` of the seed 7…7, then `openssl pkcs8 -topk8 -scrypt -passout pass:swordfish`.
    const BY_OPENSSL_SCRYPT: &str = include_str!("testdata/openssl-scrypt.key");
    /// The same key by `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -passout pass:swordfish`.
    const BY_OPENSSL_PBKDF2: &str = include_str!("testdata/openssl-pbkdf2.key");

    fn key() -> FileKey {
        FileKey::from_seed(&[7; 32]).unwrap()
    }

    #[test]
    fn a_key_survives_its_passphrase() {
        let pem = encrypt_at(CHEAP, &key(), "swordfish", &SystemRandom::new()).unwrap();
        assert!(pem.starts_with(PEM_BEGIN));
        assert_eq!(open(&pem, "swordfish").unwrap().public(), key().public());
    }

    #[test]
    fn another_passphrase_opens_nothing() {
        let pem = encrypt_at(CHEAP, &key(), "swordfish", &SystemRandom::new()).unwrap();
        for n in 0..300 {
            assert!(open(&pem, &format!("{n}")).is_err());
        }
    }

    #[test]
    fn files_that_openssl_wrote_are_read() {
        for pem in [BY_OPENSSL_SCRYPT, BY_OPENSSL_PBKDF2] {
            assert_eq!(open(pem, "swordfish").unwrap().public(), key().public());
        }
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_not_tried() {
        let salt = [0; 16];
        for (log_n, r, p) in [(19, 8, 1), (14, 8, 1000)] {
            let params = scrypt::Params::new(log_n, r, p, 32).unwrap();
            let scheme = pbes2::Parameters::scrypt_aes256cbc(params, &salt, &salt).unwrap();
            assert_eq!(affordable(&scheme.into()), Err(EncryptedKeyError::Costly));
        }
        let rounds = pbes2::Parameters::pbkdf2_sha256_aes256cbc(10_000_001, &salt, &salt).unwrap();
        assert_eq!(affordable(&rounds.into()), Err(EncryptedKeyError::Costly));
        let params = scrypt::Params::new(COST.log_n, COST.r, COST.p, 32).unwrap();
        let ours = pbes2::Parameters::scrypt_aes256cbc(params, &salt, &salt).unwrap();
        assert_eq!(affordable(&ours.into()), Ok(()));
    }

    #[test]
    fn other_files_are_none() {
        for text in ["", PEM_BEGIN, &key().to_pem()] {
            assert!(matches!(open(text, "x"), Err(EncryptedKeyError::Form)));
        }
    }
}
