//! Colour, on terminals only.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use countersign_fleet::api::{HealthState, SyncState};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb".
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Shall standard output be coloured?
    pub fn on_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// How a cell is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// Of less weight.
    Dim,
    /// As wished.
    Good,
    /// On its way, or unknown.
    Open,
    /// Wrong.
    Bad,
}

impl Style {
    /// The text with its colour, if colour is on.
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Open => "33",
            Self::Bad => "31",
        };
        if color && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How a sync state is shown.
pub const fn sync_style(state: SyncState) -> Style {
    match state {
        SyncState::Synced => Style::Good,
        SyncState::Syncing | SyncState::Unknown => Style::Open,
        SyncState::OutOfSync | SyncState::Failed => Style::Bad,
    }
}

/// How a health state is shown.
pub const fn health_style(state: HealthState) -> Style {
    match state {
        HealthState::Healthy => Style::Good,
        HealthState::Suspended | HealthState::Progressing | HealthState::Unknown => Style::Open,
        HealthState::Missing | HealthState::Degraded => Style::Bad,
    }
}
