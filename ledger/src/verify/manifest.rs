//! Check 8, first half: the section list is the one that was signed, and its sections are the ones that it names.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::manifest::{Apps, Line, Prefix, Section, SectionList, SectionRef};
use crate::refusal::Refusal;

use super::blobs::{check_apps, check_blob};
use super::chain::VerifiedStatement;

/// A section list that is the one of its statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSections {
    statement: VerifiedStatement,
    list: SectionList,
}

/// All lines of a verified statement.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedManifest {
    statement: VerifiedStatement,
    list: SectionList,
    lines: Vec<Line>,
    apps: Apps,
}

impl VerifiedSections {
    /// The list: which sections to fetch.
    #[must_use]
    pub fn list(&self) -> &SectionList {
        &self.list
    }

    /// The statement.
    #[must_use]
    pub fn statement(&self) -> &VerifiedStatement {
        &self.statement
    }

    /// Digests of all blobs that the lines are read from: the apps, then the sections.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.list.apps)
            .chain(self.list.sections.iter().map(|section| &section.digest))
    }

    /// Reads all sections, and the apps, of which `blob` gives the bytes.
    pub fn assemble<B: AsRef<[u8]>>(
        self,
        blob: impl FnMut(&Digest) -> Option<B>,
    ) -> Result<VerifiedManifest, Refusal> {
        self.assemble_after(None, blob)
    }

    /// [`Self::assemble`], where `blob` is asked only for what `before` lacks: a section of the same prefix and digest is
    /// the same lines, and those were read and checked.
    pub fn assemble_after<B: AsRef<[u8]>>(
        self,
        before: Option<VerifiedManifest>,
        mut blob: impl FnMut(&Digest) -> Option<B>,
    ) -> Result<VerifiedManifest, Refusal> {
        let mut had = before.map(Had::new);
        let mut fetch =
            |digest: &Digest| blob(digest).ok_or(Refusal::BlobMissing { digest: *digest });
        let apps = check_apps(&self.list.apps, fetch(&self.list.apps)?.as_ref())?;
        let mut lines = Vec::with_capacity(usize::try_from(self.list.lines).unwrap_or(0));
        for named in &self.list.sections {
            if let Some(known) = had.as_mut().and_then(|had| had.take(named)) {
                for line in known {
                    apps.check_line(&line)?;
                    lines.push(line);
                }
                continue;
            }
            let bytes = fetch(&named.digest)?;
            check_blob(&named.digest, named.bytes, bytes.as_ref())?;
            let section = Section::parse(&named.prefix, bytes.as_ref())?;
            if section.lines().len() as u64 != named.lines {
                let problem = "has another number of lines than the list says";
                let prefix = named.prefix.to_string();
                return Err(crate::manifest::ManifestError::Section { prefix, problem }.into());
            }
            for line in section.into_lines() {
                apps.check_line(&line)?;
                lines.push(line);
            }
        }
        Ok(VerifiedManifest {
            statement: self.statement,
            list: self.list,
            lines,
            apps,
        })
    }
}

/// Lines of an earlier manifest by section, each to be taken once.
struct Had(BTreeMap<Prefix, (SectionRef, Vec<Line>)>);

impl Had {
    fn new(manifest: VerifiedManifest) -> Self {
        let mut lines = manifest.lines.into_iter();
        let sections = manifest.list.sections.into_iter().map(|named| {
            let count = usize::try_from(named.lines).unwrap_or(usize::MAX);
            let own = lines.by_ref().take(count).collect();
            (named.prefix.clone(), (named, own))
        });
        Self(sections.collect())
    }

    fn take(&mut self, named: &SectionRef) -> Option<Vec<Line>> {
        let (same, _) = self.0.get(&named.prefix)?;
        if same != named {
            return None;
        }
        self.0.remove(&named.prefix).map(|(_, lines)| lines)
    }
}

impl VerifiedManifest {
    /// The statement.
    #[must_use]
    pub fn statement(&self) -> &VerifiedStatement {
        &self.statement
    }

    /// The section list.
    #[must_use]
    pub fn list(&self) -> &SectionList {
        &self.list
    }

    pub(super) fn mark_reproduced(mut self) -> Self {
        self.statement = self.statement.mark_reproduced();
        self
    }

    /// All lines: by section, in a section by identity.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The apps.
    #[must_use]
    pub fn apps(&self) -> &Apps {
        &self.apps
    }
}

/// Checks that `section_list` is the one that the statement names. A state whose level asks for a person's word is not
/// looked at before that was checked.
pub fn sections(
    statement: VerifiedStatement,
    section_list: &[u8],
) -> Result<VerifiedSections, Refusal> {
    if let Some(level) = statement.outstanding().author {
        return Err(Refusal::LevelNotMet { level });
    }
    let (want, got) = (statement.desired().manifest, Digest::of(section_list));
    if want != got {
        return Err(Refusal::ManifestMismatch { want, got });
    }
    let list = SectionList::parse(section_list)?;
    Ok(VerifiedSections { statement, list })
}

/// [`sections`], then [`VerifiedSections::assemble`].
pub fn assemble<B: AsRef<[u8]>>(
    statement: VerifiedStatement,
    section_list: &[u8],
    blob: impl FnMut(&Digest) -> Option<B>,
) -> Result<VerifiedManifest, Refusal> {
    sections(statement, section_list)?.assemble(blob)
}
