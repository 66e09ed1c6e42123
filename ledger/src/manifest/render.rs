//! What a second renderer can reproduce of a manifest: its objects, without what only the hub can know.
//!
//! Tombstones and orphans follow from earlier manifests and reports, not from the commit. Of a Secret, the digest and the
//! length of the ciphertext are new with each encryption; its commitment is not.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

use super::line::{Content, Line, ObjectLine};

/// SHA-256 of the object lines of `lines`, sorted by identity, each as canonical JSON and a line feed; a Secret's without
/// `blob` and `bytes`.
#[must_use]
pub fn render_digest(lines: &[Line]) -> Digest {
    let mut objects: Vec<&ObjectLine> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Object(object) => Some(object),
            Line::Tombstone(_) | Line::Orphan(_) => None,
        })
        .collect();
    objects.sort_by(|a, b| a.id.cmp(&b.id));
    let mut hash = Sha256::new();
    let mut written = Vec::with_capacity(512);
    for object in objects {
        written.clear();
        match &object.content {
            Content::Plain { .. } => Line::Object(object.clone()).write(&mut written),
            Content::Secret { commitment, .. } => object.write_secret(commitment, &mut written),
        }
        written.push(b'\n');
        hash.update(&written);
    }
    Digest::from_bytes(hash.finalize().into())
}
