//! Sections: lines whose identities' hashes begin with the same bits; and the list of them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Line, ManifestError};
use crate::digest::Digest;
use crate::json::{self, Limits};
use crate::limits::{
    MANIFEST_LINES_MAX, PREFIX_BITS_MAX, SECTION_BYTES_MAX, SECTION_LINES_MAX,
    SECTION_LIST_BYTES_MAX,
};

/// The format's name.
pub const FORMAT: &str = "https://countersign.dev/manifest/v1";

/// The first bits of a hash, as text of `0` and `1`; empty for all hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prefix(String);

impl Prefix {
    /// Reads a prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let bits = text.bytes().all(|bit| matches!(bit, b'0' | b'1'));
        (bits && text.len() <= PREFIX_BITS_MAX).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `hash` begins with it.
    #[must_use]
    pub fn covers(&self, hash: &Digest) -> bool {
        self.0
            .bytes()
            .enumerate()
            .all(|(index, bit)| hash.bit(index) == (bit == b'1'))
    }

    fn child(&self, bit: char) -> Self {
        Self(format!("{}{bit}", self.0))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A section: lines sorted by identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    prefix: Prefix,
    lines: Vec<Line>,
    bytes: Vec<u8>,
}

impl Section {
    fn new(prefix: Prefix, mut lines: Vec<Line>) -> Self {
        lines.sort_by(|a, b| a.id().cmp(b.id()));
        let mut bytes = Vec::with_capacity(lines.len() * 320);
        for line in &lines {
            line.write(&mut bytes);
            bytes.push(b'\n');
        }
        Self {
            prefix,
            lines,
            bytes,
        }
    }

    /// Reads the section of `prefix`: canonical lines, sorted, each of the section's own.
    pub fn parse(prefix: &Prefix, bytes: &[u8]) -> Result<Self, ManifestError> {
        let bad = |problem| ManifestError::Section {
            prefix: prefix.0.clone(),
            problem,
        };
        if bytes.len() > SECTION_BYTES_MAX {
            return Err(bad("has too many bytes"));
        }
        let Some(body) = bytes.strip_suffix(b"\n") else {
            return Err(bad("does not end with a line feed"));
        };
        let mut lines: Vec<Line> = Vec::new();
        for bytes in body.split(|byte| *byte == b'\n') {
            let line = Line::parse(bytes)?;
            if lines.last().is_some_and(|before| before.id() >= line.id()) {
                return Err(bad("its lines are not sorted by identity"));
            }
            if !prefix.covers(&line.id().digest()) {
                return Err(bad("has a line of another section"));
            }
            if lines.len() == SECTION_LINES_MAX {
                return Err(bad("has too many lines"));
            }
            lines.push(line);
        }
        Ok(Self {
            prefix: prefix.clone(),
            lines,
            bytes: bytes.to_vec(),
        })
    }

    /// The bits that all its hashes begin with.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines, without a copy.
    #[must_use]
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// The bytes of the blob.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Cuts lines into sections, ordered by prefix. Each identity stands in `lines` once.
pub(super) fn cut(lines: Vec<Line>) -> Vec<Section> {
    let lines = lines
        .into_iter()
        .map(|line| (line.id().digest(), line))
        .collect();
    let mut sections = Vec::new();
    split(Prefix::default(), lines, &mut sections);
    sections
}

fn split(prefix: Prefix, lines: Vec<(Digest, Line)>, sections: &mut Vec<Section>) {
    if lines.is_empty() {
        return;
    }
    if lines.len() <= SECTION_LINES_MAX {
        sections.push(Section::new(
            prefix,
            lines.into_iter().map(|(_, line)| line).collect(),
        ));
        return;
    }
    let bit = prefix.0.len();
    let (ones, zeros) = lines.into_iter().partition(|(hash, _)| hash.bit(bit));
    split(prefix.child('0'), zeros, sections);
    split(prefix.child('1'), ones, sections);
}

/// One section in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionRef {
    /// Its bytes.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
    /// Its lines.
    pub lines: u64,
    /// The bits that all its hashes begin with.
    pub prefix: Prefix,
}

/// The list of sections. Its digest is the manifest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionList {
    /// Digest of the blob with the apps.
    pub apps: Digest,
    /// All lines.
    pub lines: u64,
    /// The sections, by prefix.
    pub sections: Vec<SectionRef>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    apps: Digest,
    format: String,
    lines: u64,
    sections: Vec<SectionRef>,
}

const PLACE: &str = "section list";

impl SectionList {
    pub(super) fn of(apps: Digest, sections: &[Section]) -> Self {
        let sections: Vec<SectionRef> = sections
            .iter()
            .map(|section| SectionRef {
                bytes: section.bytes.len() as u64,
                digest: Digest::of(&section.bytes),
                lines: section.lines.len() as u64,
                prefix: section.prefix.clone(),
            })
            .collect();
        Self {
            apps,
            lines: sections.iter().map(|section| section.lines).sum(),
            sections,
        }
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{{\"apps\":\"{}\",\"format\":\"{FORMAT}\",\"lines\":{},\"sections\":[",
            self.apps, self.lines
        );
        for (index, section) in self.sections.iter().enumerate() {
            let SectionRef {
                bytes,
                digest,
                lines,
                prefix,
            } = section;
            let comma = if index > 0 { "," } else { "" };
            text.push_str(&format!("{comma}{{\"bytes\":{bytes},\"digest\":\"{digest}\",\"lines\":{lines},\"prefix\":\"{prefix}\"}}"));
        }
        text.push_str("]}");
        text.into_bytes()
    }

    /// Reads a list: canonical, its sections cut as the rule asks, its sums right.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let value =
            json::parse(bytes, &Limits::document(SECTION_LIST_BYTES_MAX)).map_err(|error| {
                ManifestError::Json {
                    place: PLACE,
                    error,
                }
            })?;
        let shape = |problem: String| ManifestError::Shape {
            place: PLACE,
            problem,
        };
        let wire: Wire = serde_json::from_value(value).map_err(|error| shape(error.to_string()))?;
        if wire.format != FORMAT {
            return Err(shape(format!("the format is not {FORMAT:?}")));
        }
        let list = Self {
            apps: wire.apps,
            lines: wire.lines,
            sections: wire.sections,
        };
        list.check()?;
        if list.bytes() == bytes {
            Ok(list)
        } else {
            Err(ManifestError::NotCanonical { place: PLACE })
        }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let bad = |section: &SectionRef, problem| ManifestError::Section {
            prefix: section.prefix.0.clone(),
            problem,
        };
        let mut sum = 0_u64;
        for section in &self.sections {
            if Prefix::parse(&section.prefix.0).is_none() {
                return Err(bad(
                    section,
                    "its prefix is not up to 64 of \"0\" and \"1\"",
                ));
            }
            if section.lines == 0 || section.lines > SECTION_LINES_MAX as u64 {
                return Err(bad(section, "must have 1 to 256 lines"));
            }
            if section.bytes > SECTION_BYTES_MAX as u64 {
                return Err(bad(section, "has too many bytes"));
            }
            sum += section.lines;
        }
        for (section, next) in self.sections.iter().zip(self.sections.iter().skip(1)) {
            if section.prefix >= next.prefix {
                return Err(bad(next, "is not in the order of prefixes"));
            }
            if next.prefix.0.starts_with(&section.prefix.0) {
                return Err(bad(next, "lies inside another section"));
            }
        }
        if sum != self.lines {
            return Err(ManifestError::Shape {
                place: PLACE,
                problem: "its lines are not the sum of its sections'".into(),
            });
        }
        if sum > MANIFEST_LINES_MAX {
            return Err(ManifestError::TooMany {
                what: "lines",
                got: sum,
                max: MANIFEST_LINES_MAX,
            });
        }
        self.check_cut()
    }

    /// A section is cut only where more than 256 lines would stand in one.
    fn check_cut(&self) -> Result<(), ManifestError> {
        for section in &self.sections {
            let Some(parent) = section
                .prefix
                .0
                .len()
                .checked_sub(1)
                .and_then(|length| section.prefix.0.get(..length))
            else {
                continue;
            };
            let from = self
                .sections
                .partition_point(|other| other.prefix.0.as_str() < parent);
            let inside = self
                .sections
                .iter()
                .skip(from)
                .take_while(|other| other.prefix.0.starts_with(parent));
            // Stops at the first sum that is large enough, so that a long list costs little.
            let mut lines = 0;
            if !inside.into_iter().any(|other| {
                lines += other.lines;
                lines > SECTION_LINES_MAX as u64
            }) {
                return Err(ManifestError::Section {
                    prefix: section.prefix.0.clone(),
                    problem: "is cut without need",
                });
            }
        }
        Ok(())
    }
}

/// The sections of `new` that `old` does not have.
#[must_use]
pub fn diff_sections<'n>(old: &SectionList, new: &'n SectionList) -> Vec<&'n SectionRef> {
    let had: BTreeSet<&Digest> = old.sections.iter().map(|section| &section.digest).collect();
    new.sections
        .iter()
        .filter(|section| !had.contains(&section.digest))
        .collect()
}
