//! Whose word is needed (`tlog-policy`): logs, witnesses, groups of them, and the quorum.
//!
//! A quorum counts parties, not signatures. A party is the name in a witness's key: however many keys one has, it
//! counts once in the one group it may stand in, and one key under two names is refused.

use std::collections::BTreeSet;

use crate::tlog::note::{Vkey, VkeyError};

mod parse;
mod quorum;

#[cfg(test)]
mod tests;

pub use quorum::Cosigned;

/// Bytes of a policy that are read.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Logs, witnesses and groups of a policy, each: C2SP asks for 32 at least.
pub const POLICY_LINES_MAX: usize = 64;

/// A log that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub vkey: Vkey,
    /// Where it is served, if the policy says.
    pub url: Option<String>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name within the policy.
    pub name: String,
    /// Its key; the key's name is its party.
    pub vkey: Vkey,
    /// Where it is asked, if the policy says.
    pub url: Option<String>,
}

/// Some of its members must have cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name within the policy.
    pub name: String,
    /// How many of its members are needed, at least 1.
    pub threshold: usize,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// Who is counted in a group, or is the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The witness in this place of [`Policy::witnesses`].
    Witness(usize),
    /// The group in this place of [`Policy::groups`].
    Group(usize),
}

/// A policy as it was read: what it names exists, its quorum can be reached and needs at least one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Member,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More bytes than are read.
    #[error("has {bytes} bytes, at most {POLICY_BYTES_MAX} are read")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
    /// Not UTF-8, or with a control character other than tab and newline.
    #[error("byte {at} is no text")]
    NotText {
        /// Where.
        at: usize,
    },
    /// The last line does not end.
    #[error("the last line does not end in a newline")]
    Unterminated,
    /// A line says something that is wrong by itself.
    #[error("line {line}: {mistake}")]
    Line {
        /// Which one, from 1.
        line: usize,
        /// What is wrong.
        mistake: PolicyMistake,
    },
    /// No line says which quorum.
    #[error("has no quorum")]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyMistake {
    /// It begins with a word that is none of the four.
    #[error("must begin with log, witness, group or quorum")]
    Keyword,
    /// It has too few or too many words.
    #[error("has too few or too many words")]
    Words,
    /// A key is none.
    #[error(transparent)]
    Vkey(#[from] VkeyError),
    /// A log with a witness's kind of key, or the reverse.
    #[error("a log signs with kind 0x01, a witness with kind 0x04")]
    KeyKind,
    /// The key stands in another line too.
    #[error("the key is that of line {line} too")]
    DuplicateKey {
        /// The other line.
        line: usize,
    },
    /// The name is taken.
    #[error("{name:?} is named already")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// `none` as the name of something.
    #[error("\"none\" names nothing")]
    NoneIsReserved,
    /// A name that no line before gives.
    #[error("no line before names {name:?}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The threshold is no decimal from 1.
    #[error("the threshold must be all, any or a number from 1")]
    Threshold,
    /// More are needed than there are parties in the group.
    #[error("needs {threshold} of {parties}")]
    ThresholdTooHigh {
        /// How many are needed.
        threshold: usize,
        /// How many there are, one a party.
        parties: usize,
    },
    /// A name that is in a group already.
    #[error("{name:?} is in a group already")]
    InTwoGroups {
        /// The name.
        name: String,
    },
    /// A party whose keys stand in different groups.
    #[error("the party {party:?} is in another group already")]
    PartyInTwoGroups {
        /// The name in its keys.
        party: String,
    },
    /// A second line says which quorum.
    #[error("the quorum is said already")]
    SecondQuorum,
    /// `quorum none`: any log could say anything.
    #[error("\"quorum none\" asks nobody")]
    QuorumNone,
    /// More lines of a kind than are read.
    #[error("has more than {POLICY_LINES_MAX} lines of this kind")]
    TooMany,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        parse::policy(text)
    }

    /// The logs that are accepted; none where the log is known otherwise.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Who must have cosigned.
    #[must_use]
    pub fn quorum(&self) -> Member {
        self.quorum
    }

    /// The witness of that name.
    #[must_use]
    pub fn witness(&self, name: &str) -> Option<&Witness> {
        self.witnesses.iter().find(|witness| witness.name == name)
    }

    /// The keys of all logs and witnesses: what a note is opened with.
    #[must_use]
    pub fn vkeys(&self) -> Vec<Vkey> {
        let logs = self.logs.iter().map(|log| &log.vkey);
        let witnesses = self.witnesses.iter().map(|witness| &witness.vkey);
        logs.chain(witnesses).cloned().collect()
    }

    /// Whether the witnesses of these names are a quorum.
    #[must_use]
    pub fn satisfied(&self, cosigned: &BTreeSet<&str>) -> bool {
        quorum::satisfied(self, &|witness| cosigned.contains(witness.name.as_str()))
    }

    /// The newest time of a quorum: the latest moment at or after which enough witnesses cosigned. Nothing where they
    /// are no quorum.
    #[must_use]
    pub fn newest_time(&self, cosigned: &Cosigned<'_>) -> Option<u64> {
        quorum::newest_time(self, cosigned)
    }
}
