//! The lines: an object to apply, a tombstone to delete by, an orphan to leave alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ManifestError;
use crate::digest::Digest;
use crate::identity::ObjectId;
use crate::json::{self, Limits, write_string};
use crate::limits::{LINE_BYTES_MAX, OBJECT_BYTES_MAX, WAVE_MAX};
use crate::secret::Commitment;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An object to apply.
    Object(ObjectLine),
    /// An object to delete.
    Tombstone(TombstoneLine),
    /// An object that nothing wants any more, and nobody said to delete: neither applied nor healed nor deleted.
    Orphan(OrphanLine),
}

/// An object to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLine {
    /// Its identity.
    pub id: ObjectId,
    /// The app that it belongs to.
    pub app: String,
    /// The commit that it was rendered from: that of its app's last good render.
    pub commit: String,
    /// The wave in which it is applied.
    pub wave: i32,
    /// Bytes of the blob.
    pub bytes: u64,
    /// The blob.
    pub content: Content,
}

/// The blob of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Canonical JSON.
    Plain {
        /// Its digest.
        sha256: Digest,
    },
    /// A Secret, encrypted to the cluster.
    Secret {
        /// Digest of the ciphertext.
        blob: Digest,
        /// Commitment to the canonical JSON.
        commitment: Commitment,
    },
}

impl Content {
    /// The digest by which the blob is fetched.
    #[must_use]
    pub const fn blob(&self) -> &Digest {
        match self {
            Self::Plain { sha256 } => sha256,
            Self::Secret { blob, .. } => blob,
        }
    }
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TombstoneLine {
    /// Its identity.
    pub id: ObjectId,
    /// The app that it belonged to.
    pub app: String,
    /// The commit that removed it.
    pub commit: String,
}

/// An object to leave alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanLine {
    /// Its identity.
    pub id: ObjectId,
    /// The app that it belonged to.
    pub app: String,
    /// The commit that dropped it.
    pub commit: String,
    /// Why nothing wants it any more.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase", deny_unknown_fields)]
enum Wire {
    Object {
        app: String,
        bytes: u64,
        commit: String,
        id: ObjectId,
        wave: i32,
        sha256: Option<Digest>,
        blob: Option<Digest>,
        commitment: Option<Commitment>,
    },
    Tombstone {
        app: String,
        commit: String,
        id: ObjectId,
    },
    Orphan {
        app: String,
        commit: String,
        id: ObjectId,
        reason: String,
    },
}

impl ObjectLine {
    /// Writes the canonical JSON of a Secret without what is new with each encryption.
    pub(super) fn write_secret(&self, commitment: &Commitment, out: &mut Vec<u8>) {
        text(out, "{\"app\":", &self.app);
        text(out, ",\"commit\":", &self.commit);
        raw(out, ",\"commitment\":\"", &commitment.to_string());
        out.push(b'"');
        identity(out, &self.id);
        raw(out, ",\"line\":", "\"object\"");
        raw(out, ",\"wave\":", &self.wave.to_string());
        out.push(b'}');
    }
}

impl Line {
    /// The identity.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Object(line) => &line.id,
            Self::Tombstone(line) => &line.id,
            Self::Orphan(line) => &line.id,
        }
    }

    /// The app.
    #[must_use]
    pub fn app(&self) -> &str {
        match self {
            Self::Object(line) => &line.app,
            Self::Tombstone(line) => &line.app,
            Self::Orphan(line) => &line.app,
        }
    }

    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &str {
        match self {
            Self::Object(line) => &line.commit,
            Self::Tombstone(line) => &line.commit,
            Self::Orphan(line) => &line.commit,
        }
    }

    /// Writes the canonical JSON, without a line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"app\":", self.app());
        match self {
            Self::Object(line) => {
                if let Content::Secret { blob, .. } = &line.content {
                    raw(out, ",\"blob\":\"", &blob.to_string());
                    out.push(b'"');
                }
                raw(out, ",\"bytes\":", &line.bytes.to_string());
                text(out, ",\"commit\":", &line.commit);
                if let Content::Secret { commitment, .. } = &line.content {
                    raw(out, ",\"commitment\":\"", &commitment.to_string());
                    out.push(b'"');
                }
                identity(out, &line.id);
                raw(out, ",\"line\":", "\"object\"");
                if let Content::Plain { sha256 } = &line.content {
                    raw(out, ",\"sha256\":\"", &sha256.to_string());
                    out.push(b'"');
                }
                raw(out, ",\"wave\":", &line.wave.to_string());
            }
            Self::Tombstone(line) => {
                text(out, ",\"commit\":", &line.commit);
                identity(out, &line.id);
                raw(out, ",\"line\":", "\"tombstone\"");
            }
            Self::Orphan(line) => {
                text(out, ",\"commit\":", &line.commit);
                identity(out, &line.id);
                raw(out, ",\"line\":", "\"orphan\"");
                text(out, ",\"reason\":", &line.reason);
            }
        }
        out.push(b'}');
    }

    /// Reads a line, without its line feed; only the canonical bytes are taken.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        const PLACE: &str = "line";
        let value: Value =
            json::parse(bytes, &Limits::document(LINE_BYTES_MAX)).map_err(|error| {
                ManifestError::Json {
                    place: PLACE,
                    error,
                }
            })?;
        let wire: Wire = serde_json::from_value(value).map_err(|error| ManifestError::Shape {
            place: PLACE,
            problem: error.to_string(),
        })?;
        let line = match wire {
            Wire::Object {
                app,
                bytes,
                commit,
                id,
                wave,
                sha256,
                blob,
                commitment,
            } => {
                let content = match (sha256, blob, commitment) {
                    (Some(sha256), None, None) => Content::Plain { sha256 },
                    (None, Some(blob), Some(commitment)) => Content::Secret { blob, commitment },
                    _ => {
                        let problem =
                            "an object has either sha256, or blob and commitment".to_owned();
                        return Err(ManifestError::Shape {
                            place: PLACE,
                            problem,
                        });
                    }
                };
                Self::Object(ObjectLine {
                    id,
                    app,
                    commit,
                    wave,
                    bytes,
                    content,
                })
            }
            Wire::Tombstone { app, commit, id } => {
                Self::Tombstone(TombstoneLine { id, app, commit })
            }
            Wire::Orphan {
                app,
                commit,
                id,
                reason,
            } => Self::Orphan(OrphanLine {
                id,
                app,
                commit,
                reason,
            }),
        };
        line.check()?;
        let mut again = Vec::with_capacity(bytes.len());
        line.write(&mut again);
        if again == bytes {
            Ok(line)
        } else {
            Err(ManifestError::NotCanonical { place: PLACE })
        }
    }

    /// Checks all bounds, the length of the written line too.
    pub(super) fn check_to_write(&self) -> Result<(), ManifestError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(512);
        self.write(&mut bytes);
        if bytes.len() < LINE_BYTES_MAX {
            return Ok(());
        }
        let (got, max) = (bytes.len() as u64, LINE_BYTES_MAX as u64 - 1);
        Err(ManifestError::TooMany {
            what: "bytes of a line",
            got,
            max,
        })
    }

    fn check(&self) -> Result<(), ManifestError> {
        let shape = |problem: &str| ManifestError::Shape {
            place: "line",
            problem: format!("{}: {problem}", self.id()),
        };
        self.id().check()?;
        if self.app().is_empty() {
            return Err(shape("has no app"));
        }
        if self.commit().is_empty() {
            return Err(shape("has no commit"));
        }
        if let Self::Object(line) = self {
            if line.wave.abs() > WAVE_MAX {
                return Err(shape("wave must be -1000 to 1000"));
            }
            if line.bytes == 0 || line.bytes > OBJECT_BYTES_MAX as u64 {
                return Err(shape("an object has 1 byte to 3 MiB"));
            }
            let secret = line.id.group.is_empty() && line.id.kind == "Secret";
            if secret != matches!(line.content, Content::Secret { .. }) {
                return Err(shape("a Secret, and nothing else, is encrypted"));
            }
        }
        Ok(())
    }
}

fn raw(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    write_string(value, out);
}

fn identity(out: &mut Vec<u8>, id: &ObjectId) {
    out.extend_from_slice(b",\"id\":");
    id.write(out);
}
