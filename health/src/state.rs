//! The verdict on one object, app or cluster.

use serde::{Deserialize, Serialize};

use crate::limits::MESSAGE_MAX;

/// Does it work? Ordered from best to worst, so that the maximum sums up a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HealthStatus {
    /// It works.
    Healthy,
    /// Paused on purpose.
    Suspended,
    /// On its way.
    Progressing,
    /// It can't be told.
    Unknown,
    /// It should exist and does not.
    Missing,
    /// It does not work.
    Degraded,
}

impl HealthStatus {
    /// All, from best to worst.
    pub const ALL: [Self; 6] = [
        Self::Healthy,
        Self::Suspended,
        Self::Progressing,
        Self::Unknown,
        Self::Missing,
        Self::Degraded,
    ];

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

    /// The status of that word, if it is one.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl std::fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// A verdict: the status, and why, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Health {
    /// The state.
    pub status: HealthStatus,
    /// Why; empty if there is nothing to say. One line, at most [`MESSAGE_MAX`] bytes.
    pub message: String,
}

impl Health {
    /// A verdict; the message is brought onto one line and cut to [`MESSAGE_MAX`].
    pub fn new(status: HealthStatus, message: impl AsRef<str>) -> Self {
        Self {
            status,
            message: one_line(message.as_ref()),
        }
    }

    /// It works, and there is nothing to say.
    pub fn healthy() -> Self {
        Self::new(HealthStatus::Healthy, "")
    }

    pub(crate) fn progressing(message: impl AsRef<str>) -> Self {
        Self::new(HealthStatus::Progressing, message)
    }

    pub(crate) fn degraded(message: impl AsRef<str>) -> Self {
        Self::new(HealthStatus::Degraded, message)
    }

    pub(crate) fn suspended(message: impl AsRef<str>) -> Self {
        Self::new(HealthStatus::Suspended, message)
    }

    /// The verdict on an object that should be there and is not.
    pub fn missing(message: impl AsRef<str>) -> Self {
        Self::new(HealthStatus::Missing, message)
    }

    /// The verdict when it can't be told.
    pub fn unknown(message: impl AsRef<str>) -> Self {
        Self::new(HealthStatus::Unknown, message)
    }
}

/// Runs of white space become one space; what is too long ends in `…`.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MESSAGE_MAX));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MESSAGE_MAX {
            let end = (0..=MESSAGE_MAX - '…'.len_utf8())
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0);
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_status_and_no_other_does() {
        for status in HealthStatus::ALL {
            assert_eq!(HealthStatus::from_word(status.word()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
        assert_eq!(HealthStatus::from_word("healthy"), None);
    }

    #[test]
    fn they_are_ordered_from_best_to_worst() {
        assert!(HealthStatus::ALL.is_sorted());
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(Health::degraded(" a\n\n\tb ").message, "a b");
        let long = Health::degraded("ä".repeat(MESSAGE_MAX)).message;
        assert!(
            long.len() <= MESSAGE_MAX && long.ends_with('…'),
            "{} bytes",
            long.len()
        );
    }
}
