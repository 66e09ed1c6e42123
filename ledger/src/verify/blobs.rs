//! Check 8, second half: every blob has the length and the digest that were signed.

use crate::digest::Digest;
use crate::limits::APPS_BYTES_MAX;
use crate::manifest::{Apps, Line};
use crate::refusal::Refusal;

use super::manifest::VerifiedManifest;

/// The bytes of a blob that have their signed length and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlob<B> {
    checked: Checked,
    bytes: B,
}

/// That a blob was checked once; its bytes may lie elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checked {
    digest: Digest,
    length: u64,
}

impl<B> VerifiedBlob<B> {
    /// That it was checked.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> B {
        self.bytes
    }
}

impl Checked {
    /// The blob's digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// A manifest all of whose objects' blobs were checked: this, and nothing less, may be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedState {
    manifest: VerifiedManifest,
}

impl VerifiedState {
    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The manifest, without a copy.
    #[must_use]
    pub fn into_manifest(self) -> VerifiedManifest {
        self.manifest
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.manifest.statement().generation()
    }
}

/// Checks one blob.
pub fn check_blob<B: AsRef<[u8]>>(
    digest: &Digest,
    length: u64,
    bytes: B,
) -> Result<VerifiedBlob<B>, Refusal> {
    let got = bytes.as_ref().len() as u64;
    if got != length {
        return Err(Refusal::BlobLength {
            digest: *digest,
            want: length,
            got,
        });
    }
    let got = Digest::of(bytes.as_ref());
    if got != *digest {
        return Err(Refusal::BlobTampered {
            digest: *digest,
            got,
        });
    }
    Ok(VerifiedBlob {
        checked: Checked {
            digest: *digest,
            length,
        },
        bytes,
    })
}

/// Checks and reads the blob with the apps. Its length is bounded, not signed.
pub fn check_apps(digest: &Digest, bytes: &[u8]) -> Result<Apps, Refusal> {
    let length = bytes.len() as u64;
    if bytes.len() > APPS_BYTES_MAX {
        return Err(Refusal::BlobLength {
            digest: *digest,
            want: APPS_BYTES_MAX as u64,
            got: length,
        });
    }
    check_blob(digest, length, bytes)?;
    Ok(Apps::parse(bytes)?)
}

/// Asks for each object of `manifest` whether its blob was checked. A state whose level asks for a second renderer's word is
/// complete only with it.
pub fn complete(
    manifest: VerifiedManifest,
    mut checked: impl FnMut(&Digest) -> Option<Checked>,
) -> Result<VerifiedState, Refusal> {
    if let Some(level) = manifest.statement().outstanding().renderer {
        return Err(Refusal::LevelNotMet { level });
    }
    for line in manifest.lines() {
        let Line::Object(object) = line else { continue };
        let digest = object.content.blob();
        let seen = checked(digest)
            .filter(|seen| seen.digest == *digest)
            .ok_or(Refusal::BlobMissing { digest: *digest })?;
        if seen.length != object.bytes {
            return Err(Refusal::BlobLength {
                digest: *digest,
                want: object.bytes,
                got: seen.length,
            });
        }
    }
    Ok(VerifiedState { manifest })
}
