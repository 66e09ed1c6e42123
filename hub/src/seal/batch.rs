//! A cluster's manifest, built and checked before anything is written.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_ledger::Digest;
use countersign_ledger::manifest::{Line, Manifest, SectionList};
use countersign_ledger::statement::{Admission, Permit};

use super::{SealError, Unsealed};

/// A state whose manifest is built.
pub(super) struct Built {
    pub(super) cluster: String,
    pub(super) environment: String,
    pub(super) manifest: Manifest,
    /// Blobs that were given: objects, verdicts.
    pub(super) given: BTreeMap<Digest, Bytes>,
    /// Blobs that lines name and that were not given.
    pub(super) elsewhere: Vec<Digest>,
    pub(super) renderer: String,
    pub(super) admission: Admission,
    pub(super) ring: String,
    pub(super) permits: Vec<Permit>,
}

pub(super) fn build(state: Unsealed) -> Result<Built, SealError> {
    let Unsealed {
        cluster,
        environment,
        lines,
        apps,
        blobs: given,
        renderer,
        admission,
        ring,
        permits,
    } = state;
    let mut elsewhere = Vec::new();
    for (digest, bytes) in &given {
        if Digest::of(bytes) != *digest {
            return Err(SealError::BlobMismatch {
                cluster,
                digest: *digest,
            });
        }
    }
    for line in &lines {
        let Line::Object(object) = line else { continue };
        let digest = *object.content.blob();
        match given.get(&digest) {
            Some(bytes) if bytes.len() as u64 != object.bytes => {
                return Err(SealError::BlobMismatch { cluster, digest });
            }
            Some(_) => {}
            None => elsewhere.push(digest),
        }
    }
    let missing = [admission.policies, admission.verdicts];
    elsewhere.extend(
        missing
            .into_iter()
            .flatten()
            .filter(|digest| !given.contains_key(digest)),
    );
    let manifest = match Manifest::build(lines, apps) {
        Ok(manifest) => manifest,
        Err(error) => return Err(SealError::Manifest { cluster, error }),
    };
    Ok(Built {
        cluster,
        environment,
        manifest,
        given,
        elsewhere,
        renderer,
        admission,
        ring,
        permits,
    })
}

impl Built {
    /// The blobs that the manifest itself consists of, the most needed first; sections that `before` has are left out.
    pub(super) fn parts(&self, before: Option<&SectionList>) -> Vec<(Digest, Bytes)> {
        let list = self.manifest.list();
        let mut parts = vec![(
            self.manifest.digest(),
            Bytes::copy_from_slice(self.manifest.list_bytes()),
        )];
        if before.is_none_or(|before| before.apps != list.apps) {
            parts.push((
                list.apps,
                Bytes::copy_from_slice(self.manifest.apps_bytes()),
            ));
        }
        let had: Vec<Digest> = before
            .map(|before| {
                before
                    .sections
                    .iter()
                    .map(|section| section.digest)
                    .collect()
            })
            .unwrap_or_default();
        for (named, section) in list.sections.iter().zip(self.manifest.sections()) {
            if !had.contains(&named.digest) {
                parts.push((named.digest, Bytes::copy_from_slice(section.bytes())));
            }
        }
        parts
    }

    /// All blobs that the manifest names, itself included.
    pub(super) fn names(&self) -> Vec<Digest> {
        let lines = self
            .manifest
            .sections()
            .iter()
            .flat_map(|section| section.lines());
        names(self.manifest.digest(), self.manifest.list(), lines)
    }
}

/// All blobs that a manifest names, itself included.
pub(super) fn names<'l>(
    manifest: Digest,
    list: &SectionList,
    lines: impl Iterator<Item = &'l Line>,
) -> Vec<Digest> {
    let objects = lines.filter_map(|line| match line {
        Line::Object(object) => Some(*object.content.blob()),
        Line::Tombstone(_) | Line::Orphan(_) => None,
    });
    let parts = [manifest, list.apps]
        .into_iter()
        .chain(list.sections.iter().map(|section| section.digest));
    let mut names: Vec<Digest> = parts.chain(objects).collect();
    names.sort_unstable();
    names.dedup();
    names
}
