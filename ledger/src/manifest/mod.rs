//! The manifest: what a cluster runs, as lines, in sections of at most 256, under one list of sections.
//!
//! The sections are a function of the set of lines alone: an identity's hash decides where its line stands, so one
//! changed line changes one section, whatever was added or removed before. The manifest's digest is that of the list.

mod apps;
mod line;
mod render;
mod section;

pub use apps::{AppEntry, Apps};
pub use line::{Content, Line, ObjectLine, OrphanLine, TombstoneLine};
pub use render::render_digest;
pub use section::{FORMAT, Prefix, Section, SectionList, SectionRef, diff_sections};

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::identity::{BadIdentity, ObjectId};
use crate::json::JsonError;
use crate::limits::MANIFEST_LINES_MAX;

/// A manifest that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    list: SectionList,
    list_bytes: Vec<u8>,
    sections: Vec<Section>,
    apps: Vec<u8>,
}

/// Why lines make no manifest, or bytes are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON as we take it.
    #[error("{place} {error}")]
    Json {
        /// Which part.
        place: &'static str,
        /// Why.
        error: JsonError,
    },
    /// A field is missing, unknown or of another type.
    #[error("{place}: {problem}")]
    Shape {
        /// Which part.
        place: &'static str,
        /// Why.
        problem: String,
    },
    /// An identity that can not be.
    #[error("{0}")]
    Identity(#[from] BadIdentity),
    /// Two lines for one identity.
    #[error("two lines for {0}")]
    IdentityTwice(Box<ObjectId>),
    /// Two apps of one name.
    #[error("two apps are named {0:?}")]
    AppTwice(String),
    /// An object of an app that is not among the apps.
    #[error("{id} belongs to the app {app:?}, which is not among the apps")]
    AppUnknown {
        /// The object.
        id: Box<ObjectId>,
        /// The app.
        app: String,
    },
    /// More than the limit.
    #[error("{what}: {got} are more than {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: u64,
        /// How many are allowed.
        max: u64,
    },
    /// Bytes that say the right thing in the wrong form.
    #[error("{place} is not in canonical form")]
    NotCanonical {
        /// Which part.
        place: &'static str,
    },
    /// Sections that are not cut as the lines ask.
    #[error("section {prefix:?}: {problem}")]
    Section {
        /// Its prefix.
        prefix: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Manifest {
    /// Builds the manifest of `lines`, in any order, and `apps`.
    pub fn build(lines: Vec<Line>, apps: Vec<AppEntry>) -> Result<Self, ManifestError> {
        let apps = Apps::new(apps)?;
        let count = lines.len() as u64;
        if count > MANIFEST_LINES_MAX {
            return Err(ManifestError::TooMany {
                what: "lines",
                got: count,
                max: MANIFEST_LINES_MAX,
            });
        }
        let mut seen = BTreeSet::new();
        for line in &lines {
            line.check_to_write()?;
            if !seen.insert(line.id()) {
                return Err(ManifestError::IdentityTwice(Box::new(line.id().clone())));
            }
            apps.check_line(line)?;
        }
        drop(seen);
        let apps = apps.bytes()?;
        let sections = section::cut(lines);
        let list = SectionList::of(Digest::of(&apps), &sections);
        let list_bytes = list.bytes();
        Ok(Self {
            list,
            list_bytes,
            sections,
            apps,
        })
    }

    /// The digest that a statement names: SHA-256 of the section list.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.list_bytes)
    }

    /// What a second renderer can reproduce of it, see [`render_digest`].
    #[must_use]
    pub fn render_digest(&self) -> Digest {
        let lines: Vec<Line> = self
            .sections
            .iter()
            .flat_map(Section::lines)
            .cloned()
            .collect();
        render_digest(&lines)
    }

    /// The section list.
    #[must_use]
    pub fn list(&self) -> &SectionList {
        &self.list
    }

    /// The bytes of the section list.
    #[must_use]
    pub fn list_bytes(&self) -> &[u8] {
        &self.list_bytes
    }

    /// The sections, by prefix.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The bytes of the blob with the apps.
    #[must_use]
    pub fn apps_bytes(&self) -> &[u8] {
        &self.apps
    }

    /// The sections of `new` that `old` does not have.
    #[must_use]
    pub fn diff_sections<'n>(old: &SectionList, new: &'n SectionList) -> Vec<&'n SectionRef> {
        diff_sections(old, new)
    }
}

#[cfg(test)]
mod tests;
