//! The levels of assurance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How sure an agent must be before it applies a state; each level holds all that the ones before it do.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Signed for this cluster and in the log.
    #[default]
    Signed,
    /// The log is witnessed.
    Witnessed,
    /// The commit is signed by an allowed person.
    Authored,
    /// A second renderer agrees.
    Reproduced,
}

impl Level {
    /// All levels, the least first.
    pub const ALL: [Self; 4] = [
        Self::Signed,
        Self::Witnessed,
        Self::Authored,
        Self::Reproduced,
    ];

    /// The level's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Witnessed => "witnessed",
            Self::Authored => "authored",
            Self::Reproduced => "reproduced",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be signed, witnessed, authored or reproduced")]
pub struct NotALevel;

impl std::str::FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Self, NotALevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or(NotALevel)
    }
}
