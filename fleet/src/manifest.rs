//! Between what a cluster runs next and the signed form of it. Pure.
use std::collections::BTreeSet;

use countersign_ledger::manifest::{Apps, Manifest, ManifestError, Section};

use crate::carry::{Carried, Previous};

/// The manifest of what a cluster runs next.
///
/// # Errors
/// [`ManifestError`] if it is beyond a limit of the format.
pub fn build(carried: &Carried) -> Result<Manifest, ManifestError> {
    Manifest::build(carried.lines.clone(), carried.apps.clone())
}

/// What a manifest said, as the next step needs it. `removals` are those of the fleet at that manifest's commit.
pub fn previous(
    sections: impl IntoIterator<Item = Section>,
    apps: &Apps,
    removals: BTreeSet<String>,
) -> Previous {
    Previous {
        lines: sections.into_iter().flat_map(Section::into_lines).collect(),
        apps: apps.as_slice().to_vec(),
        removals,
    }
}
