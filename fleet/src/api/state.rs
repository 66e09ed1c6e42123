//! The two scales on which everything is judged, worst last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Does the cluster hold what was signed for it? Ordered from best to worst, so that the maximum sums up a group.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum SyncState {
    /// All objects are as signed.
    Synced,
    /// An apply is under way.
    Syncing,
    /// Nothing is known: the agent has not reported yet.
    Unknown,
    /// Something differs and is not being applied.
    OutOfSync,
    /// An apply failed; the message says which and why.
    Failed,
}

/// Does it work? Ordered from best to worst, so that the maximum sums up a group.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum HealthState {
    /// It works.
    Healthy,
    /// Paused on purpose.
    Suspended,
    /// On its way.
    Progressing,
    /// Nothing is known.
    Unknown,
    /// It should exist and does not.
    Missing,
    /// It does not work; the message names the deepest cause.
    Degraded,
}

impl SyncState {
    /// Its word, as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::Syncing => "Syncing",
            Self::Unknown => "Unknown",
            Self::OutOfSync => "OutOfSync",
            Self::Failed => "Failed",
        }
    }

    /// The state of that word; [`SyncState::Unknown`] for any other.
    pub fn from_word(word: &str) -> Self {
        [Self::Synced, Self::Syncing, Self::OutOfSync, Self::Failed]
            .into_iter()
            .find(|state| state.word() == word)
            .unwrap_or(Self::Unknown)
    }
}

impl HealthState {
    /// Its word, as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Unknown => "Unknown",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
        }
    }

    /// The state of that word; [`HealthState::Unknown`] for any other.
    pub fn from_word(word: &str) -> Self {
        [
            Self::Healthy,
            Self::Suspended,
            Self::Progressing,
            Self::Missing,
            Self::Degraded,
        ]
        .into_iter()
        .find(|state| state.word() == word)
        .unwrap_or(Self::Unknown)
    }
}

impl std::fmt::Display for SyncState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl std::fmt::Display for HealthState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_state_and_any_other_to_unknown() {
        for state in [
            SyncState::Synced,
            SyncState::Syncing,
            SyncState::Unknown,
            SyncState::OutOfSync,
            SyncState::Failed,
        ] {
            assert_eq!(SyncState::from_word(state.word()), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        for state in [
            HealthState::Healthy,
            HealthState::Suspended,
            HealthState::Progressing,
            HealthState::Unknown,
            HealthState::Missing,
            HealthState::Degraded,
        ] {
            assert_eq!(HealthState::from_word(state.word()), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        assert_eq!(SyncState::from_word("synced"), SyncState::Unknown);
        assert_eq!(HealthState::from_word(""), HealthState::Unknown);
    }

    #[test]
    fn the_maximum_is_the_worst() {
        assert_eq!(
            [
                HealthState::Healthy,
                HealthState::Degraded,
                HealthState::Progressing
            ]
            .into_iter()
            .max(),
            Some(HealthState::Degraded)
        );
        assert_eq!(
            [SyncState::Synced, SyncState::Failed, SyncState::OutOfSync]
                .into_iter()
                .max(),
            Some(SyncState::Failed)
        );
    }
}
